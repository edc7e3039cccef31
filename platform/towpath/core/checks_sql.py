"""Which rows fail a check, in SQL: one place for the count of the engine and for the rows that are set aside.

A predicate is a condition on the row `checked`, true where it fails; where it is unknown (a null) the row does not
fail. Sessions that run it keep UTC, so that a time without a zone and one with a zone compare.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from towpath.core.checks import Check, Kind
from towpath.core.promises import Scalar

ROW = "checked"
COPIES, EARLIEST = "_copies_of_key", "_earliest_of_key"


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

    def given(self, names: Iterable[str]) -> str:
        """The condition that is true of a row with a value in every one of these columns."""
        return " AND ".join(f"{column(name)} IS NOT NULL" for name in names)

    def copies(self, check: Check, *, order: str | None = None) -> str:
        """A query of the keys that several rows share: their columns, `COPIES`, and the `EARLIEST` row by `order`.

        DuckDB first groups by a hash of the key, which is small whatever the key is, and groups by the key itself only
        those rows whose hash came twice: the same keys in a fraction of the memory.
        """
        names = ", ".join(column(name) for name in check.columns)
        rows = f"{self.relation(check.table)} AS {ROW} WHERE {self.given(check.columns)}"
        earliest = f", min({column(order)}) AS {EARLIEST}" if order else ""
        suspected = ""
        if self.dialect is Dialect.DUCKDB:
            suspected = (
                f" AND hash({names}) IN (SELECT hash({names}) FROM {rows} GROUP BY hash({names}) HAVING count(*) > 1)"
            )
        several = f"GROUP BY {names} HAVING count(*) > 1"
        return f"SELECT {names}, count(*) AS {COPIES}{earliest} FROM {rows}{suspected} {several}"

    def failing(self, check: Check) -> str:
        """A scalar query, or an aggregate over the rows `checked`, of how many rows fail."""
        if check.kind is Kind.UNIQUE:
            return f"(SELECT CAST(coalesce(sum({COPIES}), 0) AS BIGINT) FROM ({self.copies(check)}) AS shared)"
        if self.in_one_pass(check):
            return f"count(CASE WHEN {self.fails(check)} THEN 1 END)"  # in DuckDB half the time of a FILTER
        return f"(SELECT count(*) FROM {self.relation(check.table)} AS {ROW} WHERE {self.fails(check)})"

    def in_one_pass(self, check: Check) -> bool:
        """Whether the check can be answered beside others in one pass over the rows: by a row's own values, or by a
        look into a table that does not depend on the row."""
        if check.kind is Kind.REFERENCE:
            return self._looked_up(check)
        return check.kind is not Kind.UNIQUE and not re.search(r"\bselect\b", check.query, re.IGNORECASE)

    def _looked_up(self, check: Check) -> bool:
        """Whether a reference is asked by NOT IN, which PostgreSQL would carry out row by row in a large table."""
        return self.dialect is Dialect.DUCKDB and len(check.columns) == 1


def filled(query: str, *, relation: str, column: str | None) -> str:
    """The standard's placeholders replaced: `{object}` the table, `{property}` the column, with `$` or without.

    A line ends behind it, for what follows is not to be part of a comment.
    """
    found = re.sub(r"\$?\{(?:object|table)\}", lambda _: relation, query) + ("\n" if "--" in query else "")
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
    if sql._looked_up(check):
        ((ours, theirs),) = pairs
        keys = f"SELECT {quoted(theirs)} FROM {sql.relation(check.reference.table)} WHERE {quoted(theirs)} IS NOT NULL"
        return f"{given} AND {column(ours)} NOT IN ({keys})"
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
