"""What a data contract promises, as values: tables, columns, limits, rules, references, freshness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from functools import cached_property

from towpath.core.errors import DeclarationError, Problems, TowpathError
from towpath.core.evidence import Severity
from towpath.core.masking import Mask, Method

Scalar = str | int | float | bool


class LogicalType(StrEnum):
    """The standard's logical types that a column of a table can have."""

    STRING = "string"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TIME = "time"
    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    OBJECT = "object"
    ARRAY = "array"


class Metric(StrEnum):
    """The standard's library metrics."""

    NULL_VALUES = "nullValues"
    MISSING_VALUES = "missingValues"
    INVALID_VALUES = "invalidValues"
    DUPLICATE_VALUES = "duplicateValues"
    ROW_COUNT = "rowCount"


class Operator(StrEnum):
    """The standard's comparison operators."""

    MUST_BE = "mustBe"
    MUST_NOT_BE = "mustNotBe"
    GREATER = "mustBeGreaterThan"
    GREATER_OR_EQUAL = "mustBeGreaterOrEqualTo"
    LESS = "mustBeLessThan"
    LESS_OR_EQUAL = "mustBeLessOrEqualTo"
    BETWEEN = "mustBeBetween"
    NOT_BETWEEN = "mustNotBeBetween"


class Unit(StrEnum):
    """What a bound counts."""

    ROWS = "rows"
    PERCENT = "percent"


_WORDS = {
    Operator.MUST_BE: "exactly {}",
    Operator.MUST_NOT_BE: "anything but {}",
    Operator.GREATER: "more than {}",
    Operator.GREATER_OR_EQUAL: "at least {}",
    Operator.LESS: "less than {}",
    Operator.LESS_OR_EQUAL: "at most {}",
    Operator.BETWEEN: "{} to {}",
    Operator.NOT_BETWEEN: "outside {} to {}",
}


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What a measured number must be: an operator and one number, or two for an interval (its ends included)."""

    operator: Operator = Operator.MUST_BE
    values: tuple[float, ...] = (0.0,)
    unit: Unit = Unit.ROWS

    def holds(self, measured: float) -> bool:
        low, high = self.values[0], self.values[-1]
        return {
            Operator.MUST_BE: measured == low,
            Operator.MUST_NOT_BE: measured != low,
            Operator.GREATER: measured > low,
            Operator.GREATER_OR_EQUAL: measured >= low,
            Operator.LESS: measured < low,
            Operator.LESS_OR_EQUAL: measured <= low,
            Operator.BETWEEN: low <= measured <= high,
            Operator.NOT_BETWEEN: not low <= measured <= high,
        }[self.operator]

    @property
    def tolerates(self) -> bool:
        """Whether it lets some failing rows be."""
        return self != NONE and self != Bound(unit=Unit.PERCENT)

    def text(self, unit: str | None = None) -> str:
        """For people: `at most 5 %`, `0 rows`."""
        suffix = {"percent": " %", "": ""}.get(unit if unit is not None else self.unit, f" {unit or self.unit}")
        if unit is None and not self.tolerates:
            return "0 rows"
        return _WORDS[self.operator].format(*(f"{value:,.10g}" for value in self.values)) + suffix


NONE = Bound()


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What each value of a column must be.

    Times are ISO 8601 text, instants in UTC without their zone; the ends are part of the range unless `exclusive`.
    """

    minimum: float | int | str | None = None
    maximum: float | int | str | None = None
    exclusive_minimum: bool = False
    exclusive_maximum: bool = False
    min_length: int | None = None
    max_length: int | None = None
    multiple_of: float | int | None = None
    pattern: str | None = None
    values: tuple[Scalar, ...] = ()


NO_LIMITS = Limits()


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A quality rule: a library metric, or an SQL query that yields one number, and what the number must be."""

    metric: Metric | None
    query: str = ""
    columns: tuple[str, ...] = ()
    limits: Limits | None = None
    missing: tuple[Scalar | None, ...] = ()
    bound: Bound
    severity: Severity = Severity.ERROR
    name: str = ""
    description: str = ""
    quarantine: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A foreign key: columns of this table that name a row of another."""

    columns: tuple[str, ...]
    table: str
    to: tuple[str, ...]
    bound: Bound = NONE
    severity: Severity = Severity.ERROR
    quarantine: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column's promises. `timezone` is None when the contract does not say whether a timestamp carries one.

    `removal_date`: the day from which a deprecated column may be gone.
    """

    name: str
    logical_type: LogicalType
    required: bool = False
    unique: bool = False
    primary_key: int | None = None
    timezone: bool | None = None
    limits: Limits = NO_LIMITS
    rules: tuple[Rule, ...] = ()
    known_at: str | None = None
    classification: str | None = None
    description: str = ""
    deprecated: bool = False
    removal_date: date | None = None

    @property
    def shown(self) -> bool:
        """Whether its values may stand in reports: they are not classified as more than internal."""
        return (self.classification or "public").lower() in ("public", "internal")


@dataclass(frozen=True, kw_only=True)
class Objective:
    """How often a promise is to hold: percent of what is measured, over a window that ends now."""

    percent: float = 95.0
    window: timedelta = timedelta(days=28)


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """The newest value of `column` may be at most `bound` old."""

    column: str
    bound: timedelta
    severity: Severity = Severity.ERROR
    objective: Objective = Objective()


@dataclass(frozen=True, kw_only=True)
class Latency:
    """From `column`, when something happened, to `known_at`, when it became known, at most `bound` may pass.

    `why`: the reason for which it cannot be measured; then there is no bound.
    """

    column: str
    known_at: str = ""
    bound: timedelta | None = None
    objective: Objective = Objective()
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table's promises, of the columns as they are stored: after masking, without those that are dropped."""

    name: str
    columns: Mapping[str, Column]
    rules: tuple[Rule, ...] = ()
    references: tuple[Reference, ...] = ()
    freshness: Freshness | None = None
    latencies: tuple[Latency, ...] = ()
    description: str = ""
    masks: Mapping[str, Mask] = field(default_factory=dict)

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The columns of the primary key, in their order."""
        keys = [column for column in self.columns.values() if column.primary_key is not None]
        return tuple(column.name for column in sorted(keys, key=lambda column: column.primary_key or 0))

    def key(self, columns: tuple[str, ...]) -> bool:
        """Whether those columns are promised to name one row."""
        return set(columns) == set(self.primary_key) or (len(columns) == 1 and self.columns[columns[0]].unique)


@dataclass(frozen=True, kw_only=True)
class Contract:
    """A data contract. `digest` is of the document in canonical form."""

    id: str
    version: str
    status: str
    owner: str
    tables: Mapping[str, Table]
    digest: str
    name: str = ""
    description: str = ""
    origin: str = field(default="", compare=False)

    @cached_property
    def known_at(self) -> Mapping[str, Mapping[str, str]]:
        """By table and column, the column that says when the value became known; columns always known are left out."""
        return {
            table.name: {column.name: column.known_at for column in table.columns.values() if column.known_at}
            for table in self.tables.values()
        }

    def event_time(self, table: str) -> str | None:
        """The column that says when a row happened: the element of the table's freshness promise."""
        found = self.table(table).freshness
        return found.column if found else None

    def freshness(self, table: str) -> timedelta | None:
        """How old the newest row may be."""
        found = self.table(table).freshness
        return found.bound if found else None

    def table(self, name: str) -> Table:
        try:
            return self.tables[name]
        except KeyError as error:
            raise DeclarationError(
                f"Contract {self.id} has no table {name!r}.", value=name, valid=self.tables
            ) from error


def check_references(contracts: Sequence[Contract]) -> None:
    """Raises `Problems` when tables are declared twice, or foreign keys name what no contract declares."""
    problems: list[TowpathError] = []
    tables: dict[str, Table] = {}
    for contract in contracts:
        for table in contract.tables.values():
            if table.name in tables:
                problems.append(
                    DeclarationError(
                        f"Table {table.name!r} is declared by two contracts ({contract.id}).",
                        value=table.name,
                    )
                )
            tables.setdefault(table.name, table)
    for table in tables.values():
        for reference in table.references:
            problems += _reference_problems(table, reference, tables)
    if problems:
        raise Problems(problems)


def _reference_problems(table: Table, reference: Reference, tables: Mapping[str, Table]) -> list[TowpathError]:
    where = f"{table.name}.{', '.join(reference.columns)} refers to {reference.table}.{', '.join(reference.to)}"
    target = tables.get(reference.table)
    if target is None:
        return [DeclarationError(f"{where}, a table that no contract declares.", value=reference.table, valid=tables)]
    unknown = [name for name in reference.to if name not in target.columns]
    if unknown:
        return [
            DeclarationError(f"{where}: there is no column {unknown[0]!r}.", value=unknown[0], valid=target.columns)
        ]
    problems: list[TowpathError] = []
    for ours, theirs in zip(reference.columns, reference.to, strict=True):
        kinds = (table.columns[ours].logical_type, target.columns[theirs].logical_type)
        if kinds[0] is not kinds[1] and set(kinds) != {LogicalType.NUMBER, LogicalType.INTEGER}:
            problems.append(DeclarationError(f"{where}: {kinds[0]} cannot refer to {kinds[1]}.", value=str(kinds[0])))
        masks = (table.masks.get(ours), target.masks.get(theirs))
        if masks[0] != masks[1] or (masks[0] is not None and masks[0].method is not Method.PSEUDONYM):
            told = " and ".join(one.text if one else "no mask" for one in masks)
            problems.append(
                DeclarationError(
                    f"{where}, with {told}: no reference would be found.",
                    value=ours,
                    hint="Give both columns a pseudonym by the same key.",
                )
            )
    if not target.key(reference.to):
        problems.append(
            DeclarationError(
                f"{where}, which is no key.",
                value=reference.table,
                hint="Refer to its primary key or to a unique column.",
            )
        )
    return problems
