"""Checks compiled into expectations of Great Expectations, and what its results counted.

Where it has an expectation of its own for a question, that is used; for the rest (patterns, which it does not speak to
DuckDB, keys, whose own would sort the table, references, times, rules) a custom expectation of ours, with the same
predicate that sets rows aside. In a database all of them are aggregates, so that a table's suite is one query.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from towpath.adapters.great_expectations_engines import BARE_TYPE, ZONED, Engine
from towpath.core.checks import Check, Kind
from towpath.core.checks_schema import Found
from towpath.core.checks_sql import ROW, Dialect, Predicates, literal, quoted
from towpath.core.evidence import Severity
from towpath.core.promises import Bound, LogicalType, Operator, Table

NUMBER = "towpath"
_ITS_OWN = (Kind.FILLED, Kind.LENGTH, Kind.LISTED, Kind.RANGE, Kind.ROWS)
_BUNDLED = (Dialect.DUCKDB, Dialect.POSTGRESQL)


class Compiler:
    """Compiles checks for one engine."""

    def __init__(self, engine: Engine, predicates: Predicates, *, as_of: datetime) -> None:
        import great_expectations.expectations as gxe

        from towpath.adapters import great_expectations_counts

        self._gxe = gxe
        self._ours = great_expectations_counts
        self._engine = engine
        self._sql = predicates
        self._as_of = as_of
        self._own: Mapping[Kind, Callable[[Check], Any]] = {
            Kind.FILLED: self._filled,
            Kind.LENGTH: self._length,
            Kind.LISTED: self._listed,
            Kind.RANGE: self._range,
            Kind.ROWS: self._rows,
        }

    @staticmethod
    def has_its_own(check: Check) -> bool:
        """Whether Great Expectations has an expectation for it: not for a range of times."""
        return check.kind in _ITS_OWN and not (check.kind is Kind.RANGE and check.temporal)

    def expectations(self, number: int, check: Check, table: Table, found: Mapping[str, Found]) -> list[Any]:
        """The expectations of a check; their results come back under its number."""
        made = self._columns(table, found) if check.kind is Kind.COLUMNS else [self._expectation(check)]
        for one in made:
            one.meta = {
                NUMBER: number,
                "code": check.code,
                "subject": check.subject,
                "bound": check.bound.text(),
            }
            one.severity = "critical" if check.severity is Severity.ERROR else "warning"
        return made

    def _columns(self, table: Table, found: Mapping[str, Found]) -> list[Any]:
        """Of a table's columns: their names, and the types of those that are there."""
        wrong = [
            f"(column_name = {literal(name)} AND ({self._not_of(column.logical_type, column.timezone)}))"
            for name, column in table.columns.items()
            if name in found and not found[name].empty
        ]
        query = (
            f"SELECT 1 FROM information_schema.columns WHERE table_schema = {literal(self._engine.schema)} "
            f"AND table_name = {literal(table.name)} AND ({' OR '.join(wrong) or 'FALSE'})"
        )
        names = self._gxe.ExpectTableColumnsToMatchSet(column_set=list(table.columns), exact_match=True)
        return [names, self._none_to_fail(f"(SELECT count(*) FROM ({query}) AS wrong)", query)]

    def _expectation(self, check: Check) -> Any:
        if self.has_its_own(check):
            return self._own[check.kind](check)
        if check.kind in (Kind.FRESH, Kind.TABLE_RULE):
            query = self._stale(check) if check.kind is Kind.FRESH else self._broken(check)
            return self._none_to_fail(f"(SELECT count(*) FROM ({query}) AS broken)", query)
        rows = f"SELECT 1 FROM {self._sql.relation(check.table)} AS {ROW} WHERE {self._sql.fails(check)}"
        return self._none_to_fail(self._sql.failing(check), rows)

    def _listed(self, check: Check) -> Any:
        values = list(check.limits.values)
        return self._ours.ExpectListedCounted(column=check.columns[0], value_set=values)

    def _filled(self, check: Check) -> Any:
        return self._ours.ExpectFilledCounted(column=check.columns[0])

    def _range(self, check: Check) -> Any:
        limits = check.limits
        return self._ours.ExpectBetweenCounted(
            column=check.columns[0],
            min_value=limits.minimum,
            max_value=limits.maximum,
            strict_min=limits.exclusive_minimum,
            strict_max=limits.exclusive_maximum,
        )

    def _length(self, check: Check) -> Any:
        return self._ours.ExpectLengthsCounted(
            column=check.columns[0], min_value=check.limits.min_length, max_value=check.limits.max_length
        )

    def _rows(self, check: Check) -> Any:
        """The row count with the bound as far as Great Expectations can say it; the count itself decides."""
        low, high = _ends(check.bound)
        return self._gxe.ExpectTableRowCountToBeBetween(min_value=low, max_value=high)

    def _stale(self, check: Check) -> str:
        """One row when the newest time is too old."""
        oldest = self._as_of - timedelta(hours=check.bound.values[0])
        newest = (
            f"SELECT max(CAST({quoted(check.columns[0])} AS {ZONED})) AS newest FROM {self._sql.relation(check.table)}"
        )
        return f"SELECT 1 FROM ({newest}) AS newest_row WHERE newest < CAST({literal(oldest.isoformat())} AS {ZONED})"

    def _broken(self, check: Check) -> str:
        """One row when the number of a table's rule is not what it must be."""
        number = f"SELECT CAST(({self._sql.rule(check)}) AS DOUBLE PRECISION) AS measured"
        return f"SELECT 1 FROM ({number}) AS rule WHERE NOT ({_holds('measured', check.bound)})"

    def _not_of(self, kind: LogicalType, timezone: bool | None) -> str:
        """The condition on `information_schema.columns` of a type that the contract does not allow."""
        wider = {LogicalType.NUMBER: (LogicalType.INTEGER,), LogicalType.TIMESTAMP: (LogicalType.DATE,)}
        natives = frozenset().union(*(self._engine.types[one] for one in (kind, *wider.get(kind, ()))))
        if timezone is not None and kind is LogicalType.TIMESTAMP:
            stamps = self._engine.types[kind]
            natives -= stamps - {ZONED} if timezone else {ZONED}
        return f"{BARE_TYPE} NOT IN ({', '.join(literal(name) for name in sorted(natives))})"

    def _none_to_fail(self, count: str, query: str) -> Any:
        """By a count where databases bundle counts, else by a query of the failing rows."""
        if self._engine.dialect in _BUNDLED:
            return self._ours.ExpectNoneToFail(count_sql=count)
        return self._by_query(query)

    def _by_query(self, query: str) -> Any:
        # The relation is named in full, quoted; Great Expectations wants its placeholder somewhere in the text. A colon
        # before a word would be a bound parameter to SQLAlchemy, and a brace a placeholder.
        escaped = re.sub(r"(?<![:\w\\]):(?=\w)", r"\\:", query.replace("{", "{{").replace("}", "}}"))
        text = f"{escaped} /* {{batch}} */"
        return self._gxe.UnexpectedRowsExpectation(unexpected_rows_query=text)


def counts(results: Iterable[Any]) -> tuple[dict[int, int], dict[int, str]]:
    """By check: how many rows (or columns, or broken rules) were unexpected; and what was raised instead."""
    counted: dict[int, int] = {}
    faults: dict[int, str] = {}
    for result in results:
        number = result.expectation_config.meta[NUMBER]
        raised = _raised(result.exception_info or {})
        if raised:
            faults[number] = raised
        else:
            counted[number] = counted.get(number, 0) + _count(result.expectation_config.type, result.result)
    return counted, faults


def _count(expectation: str, result: Mapping[str, Any]) -> int:
    if expectation == "expect_table_columns_to_match_set":
        mismatched = (result.get("details") or {}).get("mismatched", {})
        return len(mismatched.get("unexpected", [])) + len(mismatched.get("missing", []))
    if "unexpected_count" in result:
        return int(result["unexpected_count"] or 0)  # None in an empty table
    return int(result["observed_value"])


def _raised(info: Mapping[str, Any]) -> str:
    """The first line of what an expectation raised; the information is one mapping, or one for each metric."""
    for part in [info, *(value for value in info.values() if isinstance(value, Mapping))]:
        if part.get("raised_exception") and part.get("exception_message"):
            return str(part["exception_message"]).strip().splitlines()[0]
    return ""


def _ends(bound: Bound) -> tuple[int | None, int | None]:
    low, high = int(bound.values[0]), int(bound.values[-1])
    return {
        Operator.MUST_BE: (low, high),
        Operator.BETWEEN: (low, high),
        Operator.GREATER: (low + 1, None),
        Operator.GREATER_OR_EQUAL: (low, None),
        Operator.LESS: (None, high - 1),
        Operator.LESS_OR_EQUAL: (None, high),
    }.get(bound.operator, (0, None))


def _holds(value: str, bound: Bound) -> str:
    low, high = (repr(bound.values[0]), repr(bound.values[-1]))
    sign = {
        Operator.MUST_BE: "=",
        Operator.MUST_NOT_BE: "<>",
        Operator.GREATER: ">",
        Operator.GREATER_OR_EQUAL: ">=",
        Operator.LESS: "<",
        Operator.LESS_OR_EQUAL: "<=",
    }
    if bound.operator in sign:
        return f"{value} {sign[bound.operator]} {low}"
    between = f"{value} BETWEEN {low} AND {high}"
    return between if bound.operator is Operator.BETWEEN else f"NOT ({between})"
