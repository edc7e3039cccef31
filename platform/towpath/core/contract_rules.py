"""Limits, bounds and quality rules of a contract, read from the standard's models into `towpath.core.promises`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any

from open_data_contract_standard.model import CustomProperty, DataQuality, EnumValue

from towpath.core import odcs
from towpath.core.errors import DeclarationError, Problems, TowpathError
from towpath.core.evidence import Severity
from towpath.core.promises import Bound, Limits, LogicalType, Metric, Operator, Rule, Scalar, Unit

_RANGE = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_OPTIONS: dict[LogicalType, tuple[str, ...]] = {
    LogicalType.STRING: ("minLength", "maxLength", "pattern", "format"),
    LogicalType.INTEGER: (*_RANGE, "multipleOf", "format"),
    LogicalType.NUMBER: (*_RANGE, "multipleOf", "format"),
    LogicalType.DATE: (*_RANGE, "format"),
    LogicalType.TIME: (*_RANGE, "format", "timezone", "defaultTimezone"),
    LogicalType.TIMESTAMP: (*_RANGE, "format", "timezone", "defaultTimezone"),
    LogicalType.BOOLEAN: (),
    LogicalType.OBJECT: (),
    LogicalType.ARRAY: (),
}
_FORMATS = {
    "email": r"^[^@\s]+@[^@\s]+\.[^@\s]+$",
    "uuid": r"^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$",
    "ipv4": r"^((25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])(\.|$)){4}$",
    "hostname": r"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$",
    "uri": r"^[A-Za-z][A-Za-z0-9+.-]*:[^\s]+$",
}
_FLOATS = ("f32", "f64")
# Neither RE2 nor PostgreSQL's engine reads all of these, so no pattern with them means one thing everywhere.
_UNPORTABLE = re.compile(r"\(\?[=!<P]|(?<!\\)(\\\\)*\\[1-9bBpP]")
_ISO = {LogicalType.DATE: date, LogicalType.TIME: time, LogicalType.TIMESTAMP: datetime}
_SEVERITIES = {"error": Severity.ERROR, "warning": Severity.WARNING, "info": Severity.WARNING}
_ARGUMENTS = {
    Metric.MISSING_VALUES: ("missingValues",),
    Metric.INVALID_VALUES: ("validValues", "pattern", *_RANGE, "minLength", "maxLength", "multipleOf"),
}


@dataclass(frozen=True, kw_only=True)
class Notes:
    """The problems found so far, each with the file it is in."""

    origin: str
    problems: list[TowpathError] = field(default_factory=list)

    def refuse(
        self, where: str, message: str, *, value: object = None, valid: Iterable[object] = (), hint: str = ""
    ) -> None:
        self.problems.append(
            DeclarationError(f"{self.origin}: {where}: {message}", value=value, valid=valid, hint=hint)
        )

    def raise_any(self) -> None:
        if self.problems:
            raise Problems(self.problems)

    def custom(
        self, at: str, properties: Sequence[CustomProperty] | None, known: Sequence[str]
    ) -> dict[str, Any]:
        """Custom properties that Towpath reads; others are the producer's own, unless they are one of ours misspelt."""
        found = odcs.custom(properties)
        for name in found:
            if name not in known and (meant := odcs.misspelt(name, known)):
                self.refuse(
                    f"{at}.customProperties", f"{name!r} is not read; {meant!r} is.", value=name, valid=known
                )
        return {name: value for name, value in found.items() if name in known}


def severity(value: object, at: str, notes: Notes) -> Severity:
    """The severity; none is an error. `info` is a warning."""
    found = _SEVERITIES.get(str(value).lower()) if value is not None else Severity.ERROR
    if found is None:
        notes.refuse(at, f"severity is {value!r}.", value=value, valid=_SEVERITIES)
    return found or Severity.ERROR


def quarantine(extras: Mapping[str, Any], at: str, notes: Notes) -> bool | None:
    value = extras.get("quarantine")
    if value is not None and not isinstance(value, bool):
        notes.refuse(at, f"quarantine is {value!r}.", value=value, valid=["true", "false"])
        return None
    return value


def bound(
    given: Mapping[str, Any], unit: object, at: str, notes: Notes, *, default: Bound | None = None
) -> Bound:
    """The one operator given, with its numbers and unit."""
    if len(given) != 1:
        if default is not None and not given:
            return default
        notes.refuse(
            at, f"{len(given)} operators; a rule has exactly one.", value=", ".join(given), valid=Operator
        )
        return Bound()
    (key, value), operator = next(iter(given.items())), Operator(next(iter(given)))
    pair = operator in (Operator.BETWEEN, Operator.NOT_BETWEEN)
    numbers = value if isinstance(value, list) else [value]
    if len(numbers) != (2 if pair else 1) or not all(_number(one) for one in numbers):
        notes.refuse(
            at, f"{key} is {value!r}; it takes {'two numbers' if pair else 'a number'}.", value=value
        )
        return Bound()
    if pair and numbers[0] > numbers[1]:
        notes.refuse(at, f"{key} is {value!r}; the smaller number comes first.", value=value)
    if unit is not None and unit not in tuple(Unit):
        notes.refuse(at, f"unit is {unit!r}.", value=unit, valid=Unit)
        return Bound()
    return Bound(
        operator=operator, values=tuple(float(one) for one in numbers), unit=Unit(str(unit or "rows"))
    )


def limits(
    kind: LogicalType, options: Mapping[str, Any], enum: Sequence[EnumValue] | None, at: str, notes: Notes
) -> Limits:
    """The limits of a column: its `logicalTypeOptions` and `enum`."""
    at = f"{at}.logicalTypeOptions"
    for key in options:
        if key not in _OPTIONS[kind]:
            notes.refuse(at, f"{key!r} does not belong to {kind}.", value=key, valid=_OPTIONS[kind])
    if "timezone" in options and not isinstance(options["timezone"], bool):
        notes.refuse(
            at, f"timezone is {options['timezone']!r}.", value=options["timezone"], valid=["true", "false"]
        )
    if (zone := options.get("defaultTimezone", "UTC")) not in ("UTC", "Etc/UTC"):
        notes.refuse(
            at,
            f"defaultTimezone is {zone!r}; times without a zone are read as UTC.",
            value=zone,
            valid=["Etc/UTC"],
        )
    values = [item.value for item in enum or []]
    return _limits(kind, {**_from_format(kind, options, at, notes), **options}, values, at, notes)


def _from_format(kind: LogicalType, options: Mapping[str, Any], at: str, notes: Notes) -> dict[str, Any]:
    """Limits that a format implies. The format of a time says how its text was written, and columns here are typed."""
    name = options.get("format")
    if name is None or kind in _ISO:
        return {}
    if kind is LogicalType.STRING and name in _FORMATS and "pattern" not in options:
        return {"pattern": _FORMATS[name]}
    if kind is LogicalType.INTEGER and (match := re.fullmatch(r"([iu])(8|16|32|64|128)", str(name))):
        bits = int(match[2])
        low, high = (0, 2**bits - 1) if match[1] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        # Wider than 64 bits cannot be exceeded by any integer column a warehouse holds.
        given = set(options)
        return {} if bits > 32 else {
            **({} if given & {"minimum", "exclusiveMinimum"} else {"minimum": low}),
            **({} if given & {"maximum", "exclusiveMaximum"} else {"maximum": high}),
        }  # fmt: skip
    if kind is LogicalType.NUMBER and name in _FLOATS:
        return {}
    valid = {LogicalType.STRING: tuple(_FORMATS), LogicalType.NUMBER: _FLOATS}.get(
        kind, ("i8 to i64", "u8 to u64")
    )
    notes.refuse(
        at, f"format {name!r} is not checked.", value=name, valid=valid, hint="Or write a `pattern`."
    )
    return {}


def _limits(
    kind: LogicalType, options: Mapping[str, Any], values: Sequence[Any], at: str, notes: Notes
) -> Limits:
    low, low_open = _end(kind, options, "minimum", "exclusiveMinimum", at, notes)
    high, high_open = _end(kind, options, "maximum", "exclusiveMaximum", at, notes)
    if low is not None and high is not None and (low > high or (low == high and (low_open or high_open))):
        notes.refuse(at, f"nothing lies between {low} and {high}.", value=f"{low}..{high}")
    lengths = [options.get("minLength"), options.get("maxLength")]
    if any(
        one is not None and (isinstance(one, bool) or not isinstance(one, int) or one < 0) for one in lengths
    ):
        notes.refuse(at, f"lengths are {lengths}; they are whole numbers from 0.", value=str(lengths))
    elif None not in lengths and lengths[0] > lengths[1]:
        notes.refuse(at, f"minLength {lengths[0]} is above maxLength {lengths[1]}.", value=lengths[0])
    step = options.get("multipleOf")
    if step is not None and not (_number(step) and step > 0):
        notes.refuse(at, f"multipleOf is {step!r}; it is a number above 0.", value=step)
        step = None
    return Limits(
        minimum=low,
        maximum=high,
        exclusive_minimum=low_open,
        exclusive_maximum=high_open,
        min_length=lengths[0],
        max_length=lengths[1],
        multiple_of=step,
        pattern=_pattern(options.get("pattern"), at, notes),
        values=_values(kind, values, at, notes),
    )


def _end(
    kind: LogicalType, options: Mapping[str, Any], key: str, exclusive: str, at: str, notes: Notes
) -> tuple[Any, bool]:
    """One end of the range, and whether the end itself is outside."""
    if key in options and exclusive in options:
        notes.refuse(at, f"{key} and {exclusive} are both given; one is enough.", value=options[exclusive])
    name = exclusive if exclusive in options else key
    value = options.get(name)
    if value is None:
        return None, False
    if kind in _ISO:
        try:
            return _moment(value, kind), name == exclusive
        except (ValueError, TypeError):
            notes.refuse(at, f"{name} is {value!r}; it is a {kind} in ISO 8601.", value=value)
            return None, False
    elif not _number(value):
        notes.refuse(at, f"{name} is {value!r}; it is a number.", value=value)
        return None, False
    return value, name == exclusive


def _moment(value: str, kind: LogicalType) -> str:
    """The limit in one form, so that texts compare as times do: an instant in UTC, without its zone."""
    found = _ISO[kind].fromisoformat(value)
    if isinstance(found, datetime):
        aware = found if found.tzinfo else found.replace(tzinfo=UTC)
        return aware.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")
    return found.isoformat()


def _pattern(value: object, at: str, notes: Notes) -> str | None:
    if value is None:
        return None
    try:
        if not isinstance(value, str):
            raise TypeError("a pattern is text")
        re.compile(value)
    except (re.error, TypeError) as error:
        notes.refuse(at, f"pattern {value!r} is no regular expression: {error}.", value=value)
        return None
    if _UNPORTABLE.search(value):
        notes.refuse(at, f"pattern {value!r} looks around, refers back or names a class; databases do not agree on those.",
                     value=value, hint="Write it with characters, sets such as [A-Z], groups, | and counts.")  # fmt: skip
        return None
    return value


def _values(kind: LogicalType, values: Sequence[Any], at: str, notes: Notes) -> tuple[Scalar, ...]:
    right = {
        LogicalType.STRING: str,
        LogicalType.BOOLEAN: bool,
        LogicalType.INTEGER: int,
        LogicalType.NUMBER: (int, float),
    }
    for value in values:
        wrong = isinstance(value, bool) is not (kind is LogicalType.BOOLEAN)
        if kind not in right or wrong or not isinstance(value, right[kind]):
            notes.refuse(at, f"{value!r} is no {kind}, so it cannot be one of its values.", value=value)
    return tuple(values)


def rule(item: DataQuality, at: str, notes: Notes, *, column: tuple[str, LogicalType] | None) -> Rule | None:
    """A quality rule of a column, or of a table when `column` is None. None for text, which no machine checks."""
    at = f"{at}[{item.name or item.metric or item.type or ''}]"
    kind = item.type or ("sql" if item.query else "library" if item.metric else "text")
    if kind == "text":
        return None
    if kind not in ("library", "sql"):
        notes.refuse(at, f"type is {kind!r}.", value=kind, valid=["library", "sql", "text"])
        return None
    operators = {key: value for key in Operator if (value := getattr(item, key)) is not None}
    extras = notes.custom(at, item.customProperties, ("quarantine",))
    names = (column[0],) if column else ()
    shared = {
        "severity": severity(item.severity, at, notes),
        "name": item.name or "",
        "description": item.description or "",
        "quarantine": quarantine(extras, at, notes),
    }
    if kind == "sql":
        if not re.match(r"\s*(select|with)\b", item.query or "", re.IGNORECASE) or ";" in (
            item.query or ""
        ).rstrip("; \n\t"):
            notes.refuse(at, "query is not one SELECT.", value=item.query)
        limit = bound(operators, item.unit, at, notes)
        return Rule(
            metric=None, query=(item.query or "").strip().rstrip(";"), columns=names, bound=limit, **shared
        )
    metric = _metric(item, column is not None, at, notes)
    if metric is None:
        return None
    limit = bound(operators, item.unit, at, notes)
    if metric is Metric.ROW_COUNT and limit.unit is Unit.PERCENT:
        notes.refuse(at, "a row count is no share.", value="percent", valid=["rows"])
    return Rule(metric=metric, bound=limit, **_arguments(item, metric, column, at, notes), **shared)


def _metric(item: DataQuality, of_column: bool, at: str, notes: Notes) -> Metric | None:
    tables = (Metric.ROW_COUNT, Metric.DUPLICATE_VALUES)
    valid = [one for one in Metric if (one is not Metric.ROW_COUNT if of_column else one in tables)]
    name = item.metric or item.rule
    if name not in valid:
        notes.refuse(at, f"metric is {name!r}.", value=name, valid=valid)
        return None
    return Metric(str(name))


def _arguments(
    item: DataQuality, metric: Metric, column: tuple[str, LogicalType] | None, at: str, notes: Notes
) -> dict[str, Any]:
    given = item.arguments or {}
    valid = _ARGUMENTS.get(metric, () if column or metric is Metric.ROW_COUNT else ("properties",))
    for key in given:
        if key not in valid:
            notes.refuse(at, f"{metric} takes no argument {key!r}.", value=key, valid=valid)
    if column is None:
        names = tuple(str(one) for one in given.get("properties") or ())
        if metric is Metric.DUPLICATE_VALUES and not names:
            notes.refuse(at, "duplicateValues of a table needs the argument `properties`.", valid=valid)
        return {"columns": names}
    if metric is Metric.MISSING_VALUES:
        return {"columns": (column[0],), "missing": tuple(given.get("missingValues") or (None,))}
    if metric is Metric.INVALID_VALUES and given:
        options = {key: value for key, value in given.items() if key != "validValues"}
        return {
            "columns": (column[0],),
            "limits": _limits(column[1], options, given.get("validValues") or [], at, notes),
        }
    return {"columns": (column[0],)}


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
