"""The limits of a column's values, read from the standard's options, enumerations and rule arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from open_data_contract_standard.model import EnumValue

from towpath.core.odcs import Notes
from towpath.core.promises import Limits, LogicalType, Scalar

RANGE = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_OPTIONS: dict[LogicalType, tuple[str, ...]] = {
    LogicalType.STRING: ("minLength", "maxLength", "pattern", "format"),
    LogicalType.INTEGER: (*RANGE, "multipleOf", "format"),
    LogicalType.NUMBER: (*RANGE, "multipleOf", "format"),
    LogicalType.DATE: (*RANGE, "format"),
    LogicalType.TIME: (*RANGE, "format", "timezone", "defaultTimezone"),
    LogicalType.TIMESTAMP: (*RANGE, "format", "timezone", "defaultTimezone"),
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
_TIMES = (LogicalType.DATE, LogicalType.TIME, LogicalType.TIMESTAMP)


def limits(
    kind: LogicalType, options: Mapping[str, Any], enum: Sequence[EnumValue] | None, at: str, notes: Notes
) -> Limits:
    """The limits of a column: its `logicalTypeOptions` and `enum`."""
    at = f"{at}.logicalTypeOptions"
    for key in options:
        if key not in _OPTIONS[kind]:
            notes.refuse(at, f"{key!r} does not belong to {kind}.", value=key, valid=_OPTIONS[kind])
    if "timezone" in options and not isinstance(options["timezone"], bool):
        notes.refuse(at, f"timezone is {options['timezone']!r}.", value=options["timezone"], valid=["true", "false"])
    if (zone := options.get("defaultTimezone", "UTC")) not in ("UTC", "Etc/UTC"):
        notes.refuse(
            at,
            f"defaultTimezone is {zone!r}; times without a zone are read as UTC.",
            value=zone,
            valid=["Etc/UTC"],
        )
    values = [item.value for item in enum or []]
    return limits_of(kind, {**_from_format(kind, options, at, notes), **options}, values, at, notes)


def _from_format(kind: LogicalType, options: Mapping[str, Any], at: str, notes: Notes) -> dict[str, Any]:
    """Limits that a format implies. The format of a time says how its text was written, and columns here are typed."""
    name = options.get("format")
    if name is None or kind in _TIMES:
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
    valid = {LogicalType.STRING: tuple(_FORMATS), LogicalType.NUMBER: _FLOATS}.get(kind, ("i8 to i64", "u8 to u64"))
    notes.refuse(at, f"format {name!r} is not checked.", value=name, valid=valid, hint="Or write a `pattern`.")
    return {}


def limits_of(kind: LogicalType, options: Mapping[str, Any], values: Sequence[Any], at: str, notes: Notes) -> Limits:
    low, low_open = _end(kind, options, "minimum", "exclusiveMinimum", at, notes)
    high, high_open = _end(kind, options, "maximum", "exclusiveMaximum", at, notes)
    if low is not None and high is not None and (low > high or (low == high and (low_open or high_open))):
        notes.refuse(at, f"nothing lies between {low} and {high}.", value=f"{low}..{high}")
    lengths = [options.get("minLength"), options.get("maxLength")]
    if any(one is not None and (isinstance(one, bool) or not isinstance(one, int) or one < 0) for one in lengths):
        notes.refuse(at, f"lengths are {lengths}; they are whole numbers from 0.", value=str(lengths))
    elif lengths[0] is not None and lengths[1] is not None and lengths[0] > lengths[1]:
        notes.refuse(at, f"minLength {lengths[0]} is above maxLength {lengths[1]}.", value=lengths[0])
    step = options.get("multipleOf")
    if step is not None and not (number(step) and step > 0):
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
    if kind in _TIMES:
        try:
            return _moment(value, kind), name == exclusive
        except (ValueError, TypeError):
            notes.refuse(at, f"{name} is {value!r}; it is a {kind} in ISO 8601.", value=value)
            return None, False
    elif not number(value):
        notes.refuse(at, f"{name} is {value!r}; it is a number.", value=value)
        return None, False
    return value, name == exclusive


def _moment(value: str, kind: LogicalType) -> str:
    """The limit in one form, so that texts compare as times do: an instant in UTC, without its zone."""
    if kind is LogicalType.TIMESTAMP:
        found = datetime.fromisoformat(value)
        aware = found if found.tzinfo else found.replace(tzinfo=UTC)
        return aware.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")
    return (date if kind is LogicalType.DATE else time).fromisoformat(value).isoformat()


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
        notes.refuse(
            at,
            f"pattern {value!r} looks around, refers back or names a class; databases do not agree on those.",
            value=value,
            hint="Write it with characters, sets such as [A-Z], groups, | and counts.",
        )
        return None
    return value


def _values(kind: LogicalType, values: Sequence[Any], at: str, notes: Notes) -> tuple[Scalar, ...]:
    right: dict[LogicalType, type | tuple[type, ...]] = {
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


def number(value: object) -> bool:
    """Whether a value is a number; a truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
