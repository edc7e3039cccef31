"""The columns of a table against its contract: missing, extra, of the wrong type, and likely renamed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from towpath.core.checks import Check, Kind
from towpath.core.evidence import Finding, Outcome
from towpath.core.promises import Column, LogicalType, Table

_LIKELY = 0.6
# A reader that finds only whole numbers types a column of numbers as integer; nothing is lost.
_WIDENED = {(LogicalType.INTEGER, LogicalType.NUMBER), (LogicalType.DATE, LogicalType.TIMESTAMP)}


@dataclass(frozen=True, kw_only=True)
class Found:
    """A column as it is. `kind` is None for a type that no contract can ask for; an `empty` column holds only nulls."""

    name: str
    kind: LogicalType | None
    native: str
    zoned: bool | None = None
    empty: bool = False


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """A column that is not as the contract says. `problem` is `missing`, `extra` or `type`."""

    column: str
    problem: str
    measured: str
    bound: str
    reason: str

    @property
    def which(self) -> str:
        """What is wrong, behind the column's name."""
        return "which is missing" if self.problem == "missing" else f"which is {self.measured} and not {self.bound}"


def compare(table: Table, found: Mapping[str, Found]) -> tuple[Mismatch, ...]:
    """Every column that is missing, extra or of another type, by name."""
    missing = [name for name in table.columns if name not in found]
    extra = [name for name in found if name not in table.columns]
    renamed = _renamed(table, missing, {name: found[name] for name in extra})
    mismatches = [_missing(table, name, renamed.get(name)) for name in missing]
    mismatches += [_extra(name, {now: then for then, now in renamed.items()}.get(name)) for name in extra]
    for name, column in table.columns.items():
        if name in found and not fits(column, found[name]):
            mismatches.append(_mistyped(column, found[name]))
    return tuple(sorted(mismatches, key=lambda one: (one.column, one.problem)))


def fits(column: Column, found: Found) -> bool:
    """Whether the type is the contract's. A column of nothing but nulls has no type that could be wrong."""
    if found.empty:
        return True
    if found.kind is not column.logical_type and (found.kind, column.logical_type) not in _WIDENED:
        return False
    return column.timezone is None or found.zoned is None or column.timezone is found.zoned


def judge_columns(
    check: Check, table: Table, found: Mapping[str, Found] | None, *, counted: int | None
) -> list[Finding]:
    """A finding for each column that is not as promised; one that all is well when there is none.

    `found` is None for a table that was not delivered. `counted`: how many mismatches the engine counted.
    """
    if found is None:
        reason = f"Table {table.name} was not delivered."
        return [_finding(check, Outcome.FAIL, table.name, reason, measured="not delivered", bound="delivered")]
    mismatches = compare(table, found)
    if counted != len(mismatches):
        reason = (
            f"Great Expectations found {counted} columns that are not as the contract says, and our own comparison "
            f"{len(mismatches)}. They read the same table, so one of them is wrong."
        )
        return [_finding(check, Outcome.ERROR, table.name, reason, measured=None, bound="")]
    if not mismatches:
        reason = f"All {len(table.columns)} columns are there, with the contract's types, and no others."
        bound = f"the contract's {len(table.columns)} columns"
        return [_finding(check, Outcome.PASS, table.name, reason, measured=len(found), bound=bound)]
    return [
        _finding(
            check,
            Outcome.FAIL,
            f"{table.name}.{one.column}",
            one.reason,
            measured=one.measured,
            bound=one.bound,
        )
        for one in mismatches
    ]


_VALUES = {
    Kind.RANGE,
    Kind.LENGTH,
    Kind.STEP,
    Kind.LISTED,
    Kind.PATTERN,
    Kind.PRESENT,
    Kind.REFERENCE,
    Kind.FRESH,
}


def unasked(check: Check, tables: Mapping[str, Table], found: Mapping[str, Mapping[str, Found]]) -> str:
    """Why a check cannot be asked of the columns as they are; empty when it can."""
    if check.kind is Kind.COLUMNS:
        return ""
    used = [(check.table, check.columns)]
    if check.reference:
        used.append((check.reference.table, check.reference.to))
    for table, columns in used:
        if table not in found or table not in tables:
            return f"table {table} is not among those that are checked."
        for one in compare(tables[table], found[table]):
            if one.problem != "extra" and (one.column in columns or _mentions(check, table, one.column)):
                return f"it needs {table}.{one.column}, {one.which}."
    for name, column in tables[check.table].columns.items():
        there = found[check.table].get(name)
        if there is None or not there.empty:
            continue
        # A reader gives a column of nothing but nulls any type; a rule that counts with it could not be carried out.
        strange = there.kind is not column.logical_type and _mentions(check, check.table, name)
        if strange or (name in check.columns and check.kind in _VALUES):
            return f"no row has a value of {check.table}.{name}."
    return ""


def _mentions(check: Check, table: str, column: str) -> bool:
    return table == check.table and re.search(rf"\b{re.escape(column)}\b", check.query) is not None


def _renamed(table: Table, missing: list[str], extra: Mapping[str, Found]) -> dict[str, str]:
    """For missing columns, the extra column that looks like each: a like name, rather of the right type."""
    scored = sorted(
        (
            (-_likeness(then, now) - (0.2 if fits(table.columns[then], extra[now]) else 0.0), then, now)
            for then in missing
            for now in extra
        ),
    )
    pairs: dict[str, str] = {}
    for score, then, now in scored:
        if -score >= _LIKELY and then not in pairs and now not in pairs.values():
            pairs[then] = now
    return pairs


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one.lower(), other.lower()).ratio()


def _missing(table: Table, name: str, renamed: str | None) -> Mismatch:
    like = f"; `{renamed}`, not in the contract, looks like it" if renamed else ""
    return Mismatch(
        column=name,
        problem="missing",
        measured="missing",
        bound=str(table.columns[name].logical_type),
        reason=f"`{name}` is missing{like}.",
    )


def _extra(name: str, then: str | None) -> Mismatch:
    like = f"; it may be `{then}` under a new name" if then else ""
    return Mismatch(
        column=name,
        problem="extra",
        measured="extra",
        bound="not in the contract",
        reason=f"`{name}` is not in the contract{like}.",
    )


def _mistyped(column: Column, found: Found) -> Mismatch:
    measured = str(found.kind or found.native)
    bound = str(column.logical_type)
    if found.kind is LogicalType.TIMESTAMP and column.timezone is not None and found.zoned is not None:
        measured += " with a time zone" if found.zoned else " without a time zone"
        bound += " with a time zone" if column.timezone else " without a time zone"
    return Mismatch(
        column=column.name,
        problem="type",
        measured=measured,
        bound=bound,
        reason=f"`{column.name}` is {measured}; the contract says {bound}.",
    )


def _finding(
    check: Check, outcome: Outcome, subject: str, reason: str, *, measured: str | int | None, bound: str
) -> Finding:
    return Finding(
        code=check.code,
        outcome=outcome,
        severity=check.severity,
        subject=subject,
        measured=measured,
        bound=bound,
        source=f"contract {check.contract}",
        reason=reason,
    )
