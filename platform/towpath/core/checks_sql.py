"""Which rows fail a check, in SQL: one place for the count of the engine and for the rows that are set aside.

A predicate is a condition on the row `checked`, true where it fails; where it is unknown (a null) the row does not
fail. Sessions that run it keep UTC, so that a time without a zone and one with a zone compare.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from towpath.core.checks import Check, Kind
from towpath.core.promises import Scalar

ROW = "checked"


class Dialect(StrEnum):
    """The databases that checks run in."""

    DUCKDB = "duckdb"
    POSTGRESQL = "postgresql"
    SPARK = "spark"  # DuckDB's words, which the adapter has translated; the regular expressions are Java's


def quoted(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: Scalar) -> str:
    """A constant."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return repr(value)
    return "'" + value.replace("'", "''") + "'"


def column(name: str) -> str:
    """A column of the row being checked."""
    return f"{ROW}.{quoted(name)}"


@dataclass(frozen=True, kw_only=True)
class Predicates:
    """The predicates of one dialect. `relations`: by table, the relation that holds its rows."""

    dialect: Dialect
    relations: Mapping[str, str]

    def fails(self, check: Check) -> str:
        """The condition that is true of a row that fails. Of a key: of every row that shares its key with another."""
        return _FAILS[check.kind](self, check)

    def relation(self, table: str) -> str:
        return self.relations[table]

    def rule(self, check: Check) -> str:
        """The query of a table's rule, its placeholders filled."""
        return filled(
            check.query,
            relation=self.relation(check.table),
            column=check.columns[0] if check.columns else None,
        )

    def matches(self, value: str, pattern: str) -> str:
        if self.dialect is Dialect.DUCKDB:
            return f"regexp_matches({value}, {literal(pattern)})"
        if self.dialect is Dialect.SPARK:
            return f"regexp_matches({value}, {literal(java_pattern(pattern))})"
        return f"{value} ~ {literal(pattern)}"

    def later_copies(self, check: Check, *, order: str) -> str:
        """The condition that is true of a row whose key an earlier row has, by the row number `order`."""
        relation = self.relation(check.table)
        names = ", ".join(quoted(name) for name in check.columns)
        same = " AND ".join(f"copies.{quoted(name)} = {column(name)}" for name in check.columns)
        return (
            f"EXISTS (SELECT 1 FROM (SELECT {names}, min({quoted(order)}) AS earliest FROM {relation} "
            f"GROUP BY {names} HAVING count(*) > 1) AS copies WHERE {same} AND copies.earliest < {column(order)})"
        )


def filled(query: str, *, relation: str, column: str | None) -> str:
    """The standard's placeholders replaced: `{object}` the table, `{property}` the column, with `$` or without."""
    found = re.sub(r"\$?\{(?:object|table)\}", lambda _: relation, query)
    return re.sub(r"\$?\{(?:property|column)\}", lambda _: quoted(column), found) if column else found


# An escaped sign, a class of characters, or the sign for the end.
_PATTERN_PARTS = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]])*\]|\$", re.DOTALL)


def java_pattern(pattern: str) -> str:
    """A pattern in Java's writing with the meaning that DuckDB and PostgreSQL give it.

    In Java `$` also stands before a last line end, and `.` for no line end of Unicode's.
    """
    return "(?d)" + _PATTERN_PARTS.sub(lambda part: r"\z" if part[0] == "$" else part[0], pattern)


def _filled(_: Predicates, check: Check) -> str:
    return f"{column(check.columns[0])} IS NULL"


def _present(_: Predicates, check: Check) -> str:
    value = column(check.columns[0])
    listed = ", ".join(literal(item) for item in check.missing if item is not None)
    parts = [f"{value} IN ({listed})"] if listed else []
    return " OR ".join([*parts, f"{value} IS NULL"] if None in check.missing else parts)


def _range(_: Predicates, check: Check) -> str:
    limits, value = check.limits, column(check.columns[0])
    ends = []
    if limits.minimum is not None:
        ends.append(f"{value} {'>' if limits.exclusive_minimum else '>='} {literal(limits.minimum)}")
    if limits.maximum is not None:
        ends.append(f"{value} {'<' if limits.exclusive_maximum else '<='} {literal(limits.maximum)}")
    return f"NOT ({' AND '.join(ends)})"


def _length(_: Predicates, check: Check) -> str:
    limits, value = check.limits, f"length({column(check.columns[0])})"
    ends = [f"{value} >= {limits.min_length}"] if limits.min_length is not None else []
    ends += [f"{value} <= {limits.max_length}"] if limits.max_length is not None else []
    return f"NOT ({' AND '.join(ends)})"


def _step(_: Predicates, check: Check) -> str:
    # By quotient and its rounding: the remainder of two doubles (0.3 by 0.1) is seldom 0.
    ratio = f"CAST({column(check.columns[0])} AS DOUBLE PRECISION) / {literal(check.limits.multiple_of or 1)}"
    return f"abs({ratio} - round({ratio})) > 1e-9"


def _listed(_: Predicates, check: Check) -> str:
    return f"{column(check.columns[0])} NOT IN ({', '.join(literal(item) for item in check.limits.values)})"


def _pattern(sql: Predicates, check: Check) -> str:
    return f"NOT {sql.matches(column(check.columns[0]), check.limits.pattern or '')}"


def _unique(sql: Predicates, check: Check) -> str:
    names = ", ".join(quoted(name) for name in check.columns)
    same = " AND ".join(f"copies.{quoted(name)} = {column(name)}" for name in check.columns)
    return (
        f"EXISTS (SELECT 1 FROM (SELECT {names} FROM {sql.relation(check.table)} GROUP BY {names} HAVING count(*) > 1) "
        f"AS copies WHERE {same})"
    )


def _reference(sql: Predicates, check: Check) -> str:
    assert check.reference is not None
    pairs = list(zip(check.columns, check.reference.to, strict=True))
    given = " AND ".join(f"{column(ours)} IS NOT NULL" for ours, _ in pairs)
    same = " AND ".join(f"referenced.{quoted(theirs)} = {column(ours)}" for ours, theirs in pairs)
    return f"{given} AND NOT EXISTS (SELECT 1 FROM {sql.relation(check.reference.table)} AS referenced WHERE {same})"


def _row_rule(sql: Predicates, check: Check) -> str:
    named = check.columns[0] if check.columns else None
    return filled(check.query, relation=sql.relation(check.table), column=named)


_FAILS: dict[Kind, Callable[[Predicates, Check], str]] = {
    Kind.FILLED: _filled,
    Kind.PRESENT: _present,
    Kind.RANGE: _range,
    Kind.LENGTH: _length,
    Kind.STEP: _step,
    Kind.LISTED: _listed,
    Kind.PATTERN: _pattern,
    Kind.UNIQUE: _unique,
    Kind.REFERENCE: _reference,
    Kind.ROW_RULE: _row_rule,
}
