"""Bounds and quality rules of a contract, read from the standard's models into `towpath.core.promises`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from open_data_contract_standard.model import DataQuality

from towpath.core.contract_limits import RANGE, limits_of, number
from towpath.core.evidence import Severity
from towpath.core.odcs import Notes
from towpath.core.promises import Bound, LogicalType, Metric, Operator, Rule, Unit

_SEVERITIES = {"error": Severity.ERROR, "warning": Severity.WARNING, "info": Severity.WARNING}
_ARGUMENTS = {
    Metric.MISSING_VALUES: ("missingValues",),
    Metric.INVALID_VALUES: ("validValues", "pattern", *RANGE, "minLength", "maxLength", "multipleOf"),
}


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


def bound(given: Mapping[str, Any], unit: object, at: str, notes: Notes, *, default: Bound | None = None) -> Bound:
    """The one operator given, with its numbers and unit."""
    if len(given) != 1:
        if default is not None and not given:
            return default
        notes.refuse(at, f"{len(given)} operators; a rule has exactly one.", value=", ".join(given), valid=Operator)
        return Bound()
    (key, value), operator = next(iter(given.items())), Operator(next(iter(given)))
    pair = operator in (Operator.BETWEEN, Operator.NOT_BETWEEN)
    numbers = value if isinstance(value, list) else [value]
    if len(numbers) != (2 if pair else 1) or not all(number(one) for one in numbers):
        notes.refuse(at, f"{key} is {value!r}; it takes {'two numbers' if pair else 'a number'}.", value=value)
        return Bound()
    if pair and numbers[0] > numbers[1]:
        notes.refuse(at, f"{key} is {value!r}; the smaller number comes first.", value=value)
    if unit is not None and unit not in tuple(Unit):
        notes.refuse(at, f"unit is {unit!r}.", value=unit, valid=Unit)
        return Bound()
    return Bound(operator=operator, values=tuple(float(one) for one in numbers), unit=Unit(str(unit or "rows")))


def rule(item: DataQuality, at: str, notes: Notes, *, column: tuple[str, LogicalType] | None) -> Rule | None:
    """A quality rule of a column, or of a table when `column` is None. None for text, which no machine checks."""
    at = f"{at}[{item.name or item.metric or item.type or ''}]"
    kind = item.type or ("sql" if item.query else "library" if item.metric else "text")
    if kind == "text":
        return None
    if kind not in ("library", "sql"):
        notes.refuse(at, f"type is {kind!r}.", value=kind, valid=["library", "sql", "text"])
        return None
    extras = notes.custom(at, item.customProperties, ("quarantine",))
    read = Rule(
        metric=None,
        columns=(column[0],) if column else (),
        bound=bound(
            {key: value for key in Operator if (value := getattr(item, key)) is not None}, item.unit, at, notes
        ),
        severity=severity(item.severity, at, notes),
        name=item.name or "",
        description=item.description or "",
        quarantine=quarantine(extras, at, notes),
    )
    return _query(item, read, at, notes) if kind == "sql" else _library(item, read, column, at, notes)


def _query(item: DataQuality, read: Rule, at: str, notes: Notes) -> Rule:
    query = (item.query or "").strip().rstrip("; \n\t")
    if not re.match(r"(select|with)\b", query, re.IGNORECASE) or ";" in query:
        notes.refuse(at, "query is not one SELECT.", value=item.query)
    return replace(read, query=query)


def _library(
    item: DataQuality, read: Rule, column: tuple[str, LogicalType] | None, at: str, notes: Notes
) -> Rule | None:
    of_tables = (Metric.ROW_COUNT, Metric.DUPLICATE_VALUES)
    valid = [one for one in Metric if (one is not Metric.ROW_COUNT if column else one in of_tables)]
    name = item.metric or item.rule
    if name not in valid:
        notes.refuse(at, f"metric is {name!r}.", value=name, valid=valid)
        return None
    read = replace(read, metric=Metric(str(name)))
    if read.metric is Metric.ROW_COUNT and read.bound.unit is Unit.PERCENT:
        notes.refuse(at, "a row count is no share.", value="percent", valid=["rows"])
    return _with_arguments(item.arguments or {}, read, column, at, notes)


def _with_arguments(
    given: Mapping[str, Any], read: Rule, column: tuple[str, LogicalType] | None, at: str, notes: Notes
) -> Rule:
    metric = read.metric or Metric.ROW_COUNT
    valid = _ARGUMENTS.get(metric, () if column or metric is Metric.ROW_COUNT else ("properties",))
    for key in given:
        if key not in valid:
            notes.refuse(at, f"{metric} takes no argument {key!r}.", value=key, valid=valid)
    if column is None:
        names = tuple(str(one) for one in given.get("properties") or ())
        if metric is Metric.DUPLICATE_VALUES and not names:
            notes.refuse(at, "duplicateValues of a table needs the argument `properties`.", valid=valid)
        return replace(read, columns=names)
    if metric is Metric.MISSING_VALUES:
        return replace(read, missing=tuple(given.get("missingValues") or (None,)))
    if metric is Metric.INVALID_VALUES and given:
        options = {key: value for key, value in given.items() if key != "validValues"}
        return replace(read, limits=limits_of(column[1], options, given.get("validValues") or [], at, notes))
    return read
