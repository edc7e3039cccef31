"""What a contract says, as checks: each is one question with one answer, a `Finding`.

Which rows fail a check is said once, in `towpath.core.checks_sql`; how an answer reads, in
`towpath.core.checks_verdict`.

A check sets failing rows aside (quarantine) unless it is a warning, asks about the table as a whole, or is a share
that the contract tolerates of nulls or of references without a row: those rows are as promised. `quarantine` in the
contract decides otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from towpath.core.evidence import Severity
from towpath.core.promises import (
    NO_LIMITS,
    NONE,
    Bound,
    Column,
    Contract,
    Limits,
    LogicalType,
    Metric,
    Operator,
    Reference,
    Rule,
    Scalar,
    Table,
)


class Kind(StrEnum):
    """What a check asks."""

    COLUMNS = "columns"  # of the table: its columns and their types
    FILLED = "filled"  # of each row from here on
    PRESENT = "present"
    RANGE = "range"
    LENGTH = "length"
    STEP = "step"
    LISTED = "listed"
    PATTERN = "pattern"
    UNIQUE = "unique"
    REFERENCE = "reference"
    ROW_RULE = "row rule"
    FRESH = "fresh"  # of the table from here on
    ROWS = "rows"
    TABLE_RULE = "table rule"


OF_ROWS = frozenset(Kind) - {Kind.COLUMNS, Kind.FRESH, Kind.ROWS, Kind.TABLE_RULE}

_CODES = {
    Kind.COLUMNS: "data.schema",
    Kind.FILLED: "data.null",
    Kind.PRESENT: "data.null",
    Kind.RANGE: "data.range",
    Kind.LENGTH: "data.range",
    Kind.STEP: "data.range",
    Kind.LISTED: "data.enumeration",
    Kind.PATTERN: "data.pattern",
    Kind.UNIQUE: "data.unique",
    Kind.REFERENCE: "data.foreign_key",
    Kind.ROW_RULE: "data.rule",
    Kind.FRESH: "data.freshness",
    Kind.ROWS: "data.volume",
    Kind.TABLE_RULE: "data.rule",
}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question about a table.

    `bound` is what the number of failing rows (or their share, in percent of the rows looked at) must be; of a table's
    row count, newest time or rule, what that number itself must be.
    """

    table: str
    kind: Kind
    columns: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    missing: tuple[Scalar | None, ...] = ()
    reference: Reference | None = None
    query: str = ""
    temporal: bool = False
    bound: Bound = NONE
    severity: Severity = Severity.ERROR
    quarantines: bool = False
    name: str = ""
    description: str = ""
    contract: str = ""

    @property
    def code(self) -> str:
        """The gate it answers for."""
        return _CODES[self.kind]

    @property
    def subject(self) -> str:
        return f"{self.table}.{', '.join(self.columns)}" if self.columns else self.table

    @property
    def limit(self) -> str:
        """What each row must be, for people: `1 to 2400`."""
        return _limit(self)


# A query that counts failing rows one by one, so that the rows themselves can be found.
_COUNTS_ROWS = re.compile(
    r"^select\s+count\s*\(\s*\*\s*\)\s+from\s+\$?\{(?:object|table)\}\s+where\s+(?P<fails>.+)$",
    re.IGNORECASE | re.DOTALL,
)
_UPPER = (Operator.LESS, Operator.LESS_OR_EQUAL)
_TEMPORAL = (LogicalType.DATE, LogicalType.TIME, LogicalType.TIMESTAMP)


def checks_of(contract: Contract) -> tuple[Check, ...]:
    """Every check the contract asks for, each once, in the order of the contract."""
    found: dict[Check, Check] = {}
    for table in contract.tables.values():
        for check in _of_table(table):
            check = replace(check, contract=f"{contract.id} {contract.version}")
            same = replace(check, columns=tuple(sorted(check.columns)), name="", description="", quarantines=False)
            found[same] = _together(found[same], check) if same in found else check
    return tuple(found.values())


def _together(one: Check, other: Check) -> Check:
    """A key that is also a quality rule is asked once, with the words of the rule."""
    return replace(
        one,
        name=one.name or other.name,
        description=one.description or other.description,
        quarantines=one.quarantines or other.quarantines,
    )


def _of_table(table: Table) -> Iterator[Check]:
    yield Check(table=table.name, kind=Kind.COLUMNS)
    for column in table.columns.values():
        yield from _of_column(table.name, column)
    if table.primary_key:
        yield Check(table=table.name, kind=Kind.UNIQUE, columns=table.primary_key, quarantines=True)
    for reference in table.references:
        yield Check(
            table=table.name,
            kind=Kind.REFERENCE,
            columns=reference.columns,
            reference=reference,
            bound=reference.bound,
            severity=reference.severity,
            quarantines=_quarantines(reference, share=True),
        )
    for rule in table.rules:
        yield _of_rule(table.name, rule)
    if table.freshness:
        hours = table.freshness.bound.total_seconds() / 3600
        yield Check(
            table=table.name,
            kind=Kind.FRESH,
            columns=(table.freshness.column,),
            bound=Bound(operator=Operator.LESS_OR_EQUAL, values=(hours,)),
            severity=table.freshness.severity,
        )


def _of_column(table: str, column: Column) -> Iterator[Check]:
    if column.required:
        yield Check(table=table, kind=Kind.FILLED, columns=(column.name,), quarantines=True)
    # A rule `invalidValues` without arguments says how many values may lie outside the column's own limits.
    own = [rule for rule in column.rules if rule.metric is Metric.INVALID_VALUES and rule.limits is None]
    plain = Rule(metric=Metric.INVALID_VALUES, columns=(column.name,), bound=NONE)
    for rule in own or [plain]:
        yield from _of_limits(table, replace(rule, limits=column.limits), temporal=column.logical_type in _TEMPORAL)
    if column.unique:
        yield Check(table=table, kind=Kind.UNIQUE, columns=(column.name,), quarantines=True)
    for rule in column.rules:
        if rule in own:
            continue
        if rule.metric is Metric.INVALID_VALUES:
            yield from _of_limits(table, rule, temporal=column.logical_type in _TEMPORAL)
        else:
            yield _of_rule(table, rule)


def _of_limits(table: str, rule: Rule, *, temporal: bool) -> Iterator[Check]:
    """A check for each kind of limit that is set."""
    limits = rule.limits or NO_LIMITS
    parts = {
        Kind.RANGE: Limits(
            minimum=limits.minimum,
            maximum=limits.maximum,
            exclusive_minimum=limits.exclusive_minimum,
            exclusive_maximum=limits.exclusive_maximum,
        ),
        Kind.LENGTH: Limits(min_length=limits.min_length, max_length=limits.max_length),
        Kind.STEP: Limits(multiple_of=limits.multiple_of),
        Kind.LISTED: Limits(values=limits.values),
        Kind.PATTERN: Limits(pattern=limits.pattern),
    }
    for kind, part in parts.items():
        if part != NO_LIMITS:
            check = _row_check(table, rule, kind)
            yield replace(check, limits=part, temporal=temporal, quarantines=_quarantines(rule, share=False))


def _of_rule(table: str, rule: Rule) -> Check:
    if rule.metric is Metric.ROW_COUNT:
        return replace(_row_check(table, rule, Kind.ROWS), columns=())
    if rule.metric is Metric.DUPLICATE_VALUES:
        return replace(_row_check(table, rule, Kind.UNIQUE), quarantines=_quarantines(rule, share=False))
    if rule.metric in (Metric.NULL_VALUES, Metric.MISSING_VALUES):
        kind = Kind.FILLED if rule.metric is Metric.NULL_VALUES or rule.missing == (None,) else Kind.PRESENT
        missing = rule.missing if kind is Kind.PRESENT else ()
        return replace(_row_check(table, rule, kind), missing=missing, quarantines=_quarantines(rule, share=True))
    return _of_query(table, rule)


def _of_query(table: str, rule: Rule) -> Check:
    counts = _COUNTS_ROWS.match(rule.query)
    if counts and not _grouped(counts["fails"]) and (rule.bound.operator in _UPPER or not rule.bound.tolerates):
        check = _row_check(table, rule, Kind.ROW_RULE)
        return replace(check, query=counts["fails"].strip(), quarantines=_quarantines(rule, share=False))
    return replace(_row_check(table, rule, Kind.TABLE_RULE), query=rule.query)


def _grouped(condition: str) -> bool:
    """Whether the rest of the query is more than a condition on rows."""
    return re.search(r"\b(group\s+by|having|union|intersect|except|limit)\b", condition, re.IGNORECASE) is not None


def _row_check(table: str, rule: Rule, kind: Kind) -> Check:
    return Check(
        table=table,
        kind=kind,
        columns=rule.columns,
        bound=rule.bound,
        severity=rule.severity,
        name=rule.name,
        description=rule.description,
    )


def _quarantines(promise: Rule | Reference, *, share: bool) -> bool:
    if promise.severity is not Severity.ERROR:
        return False
    if promise.quarantine is not None:
        return promise.quarantine
    return not (share and promise.bound.tolerates)


def _limit(check: Check) -> str:
    limits = check.limits
    if check.kind is Kind.RANGE:
        return _between(limits.minimum, limits.maximum, limits.exclusive_minimum, limits.exclusive_maximum)
    if check.kind is Kind.LENGTH:
        same = limits.min_length == limits.max_length
        ends = _between(limits.min_length, limits.max_length, False, False)
        return f"{limits.min_length if same else ends} characters"
    if check.kind is Kind.STEP:
        return f"a multiple of {limits.multiple_of}"
    if check.kind is Kind.LISTED:
        return _listed(limits.values)
    if check.kind is Kind.PATTERN:
        return f"{limits.pattern}"
    if check.kind is Kind.PRESENT:
        return _listed(tuple("null" if value is None else value for value in check.missing))
    if check.reference:
        return f"{check.reference.table}.{', '.join(check.reference.to)}"
    return check.query


def _listed(values: tuple[Scalar, ...]) -> str:
    shown = ", ".join(repr(value) if value == "" else str(value) for value in values[:8])
    return f"{shown} and {len(values) - 8} more" if len(values) > 8 else shown


def _between(low: object, high: object, low_open: bool, high_open: bool) -> str:
    if high is None:
        return f"{'above' if low_open else 'at least'} {low}"
    if low is None:
        return f"{'below' if high_open else 'at most'} {high}"
    ends = [f"{low} excluded"] * low_open + [f"{high} excluded"] * high_open
    return f"{low} to {high}" + (f" ({', '.join(ends)})" if ends else "")
