"""Our own reading of the tables, in DuckDB: how many rows fail each check, and which are the first.

One pass over a table answers every check that a row's own values decide. Keys, references and rules with sub-queries
are answered each by a query of the columns they need. Memory is bounded: what does not fit goes to the scratch folder.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb

from towpath.adapters.great_expectations_engines import BOUNDED
from towpath.adapters.great_expectations_split import REASONS, Aside, write_split
from towpath.core.checks import OF_ROWS, Check, Kind
from towpath.core.checks_sql import COPIES, EARLIEST, Dialect, Predicates, column, literal, quoted
from towpath.core.checks_verdict import Observed, breach
from towpath.core.errors import BadInput
from towpath.core.promises import Table
from towpath.ports import TableChecked

_ROW = "file_row_number"
_SHOWN = 3


class Rows:
    """The rows of all tables, with their place in the file."""

    def __init__(self, tables: Mapping[str, Path], *, scratch: Path) -> None:
        self._tables = tables
        self.predicates = Predicates(dialect=Dialect.DUCKDB, relations={name: quoted(name) for name in tables})
        self._connection = duckdb.connect()
        self._connection.execute(f"SET temp_directory = {literal(str(scratch))}; SET TimeZone = 'UTC'; {BOUNDED}")
        # Tables of ours stand where no table of a contract can have their name.
        self._connection.execute("CREATE SCHEMA numbered; CREATE SCHEMA kept")
        for name, file in tables.items():
            path = literal(str(file))
            self._connection.execute(f"CREATE VIEW {quoted(name)} AS SELECT * FROM read_parquet({path})")
            if REASONS in self._names(name) or _ROW in self._names(name):
                raise BadInput(
                    f"Table {name!r} has a column {REASONS!r} or {_ROW!r}; both are kept for its own use.",
                    value=name,
                )
            numbered = f"SELECT * FROM read_parquet({path}, file_row_number = true)"
            self._connection.execute(f"CREATE VIEW numbered.{quoted(name)} AS {numbered}")
        self._connection.execute('CREATE TABLE kept.failing ("check" INTEGER, "row" BIGINT)')

    def close(self) -> None:
        self._connection.close()

    def observe(self, checks: Mapping[int, Check], table: Table, *, none: Collection[int] = ()) -> dict[int, Observed]:
        """What the checks of one table (others than of its columns) see, by number; of those in `none`, no row fails.

        One that cannot be carried out says so in `fault`; it is found by asking each on its own.
        """
        if not checks:
            return {}
        try:
            return self._observe(checks, table, none)
        except duckdb.Error as error:
            if len(checks) == 1:
                return dict.fromkeys(checks, Observed(fault=str(error).strip().splitlines()[0]))
            alone = [self.observe({number: check}, table, none=none) for number, check in checks.items()]
            return {number: seen for one in alone for number, seen in one.items()}

    def split(
        self, table: str, checks: Mapping[int, Check], seen: Mapping[int, Observed], *, folder: Path
    ) -> TableChecked:
        """Write the table's accepted and quarantined rows, in the file's order. `checks`: the table's, by number."""
        asides = [
            Aside(
                reason=f"{check.code}: {', '.join(check.columns) or check.table} — {breach(check)}",
                condition=self.predicates.fails(check) if self._of_itself(check) else self._kept(number),
                rows=seen[number].failing,
            )
            for number, check in checks.items()
            if check.quarantines and seen[number].failing
        ]
        return write_split(self._connection, table, self._tables[table], asides, folder=folder, order=_ROW)

    def sample(self, quarantine: Path, shown: Sequence[str], *, rows: int) -> tuple[list[str], list[list[str]]]:
        """The first quarantined rows as text, for people: names and values, the reasons first."""
        relation = f"read_parquet({literal(str(quarantine))})"
        described = self._connection.execute(f"SELECT * FROM {relation} LIMIT 0").description or []
        names = [item[0] for item in described if item[0] != REASONS]
        values = [f"CAST({quoted(name)} AS VARCHAR)" if name in shown else "'(withheld)'" for name in names]
        reasons = f"array_to_string({REASONS}, chr(10))"
        found = self._connection.execute(f"SELECT {', '.join([reasons, *values])} FROM {relation} LIMIT {rows}")
        texts = [["" if value is None else str(value) for value in row] for row in found.fetchall()]
        return [REASONS, *names], texts

    def _observe(self, checks: Mapping[int, Check], table: Table, none: Collection[int]) -> dict[int, Observed]:
        """All checks of a table; one that fails to run fails them all."""
        looked = {number: self._looked_at(check) for number, check in checks.items()}
        asked = {number: "" if number in none else self._aggregate(check) for number, check in checks.items()}
        needed = list(dict.fromkeys([*looked.values(), *(one for one in asked.values() if one)]))
        select = ", ".join(f"({one})" for one in ["count(*)", *needed])
        rows, *values = self._row(f"SELECT {select} FROM numbered.{quoted(table.name)} AS checked")
        answers = dict(zip(needed, values, strict=True))
        found = {}
        for number, check in checks.items():
            seen = Observed(rows=rows, looked_at=answers[looked[number]])
            answer = answers.get(asked[number])
            if number in none:
                found[number] = replace(seen, sharing=0 if check.kind is Kind.UNIQUE else None)
            elif check.kind is Kind.FRESH:
                found[number] = replace(seen, value=None if answer is None else float(answer))
            elif check.kind is Kind.TABLE_RULE:
                found[number] = replace(seen, value=self._one_thread(self.predicates.rule(check)))
            elif check.kind is Kind.UNIQUE:
                found[number] = self._unique(number, check, table, seen)
            elif check.kind in OF_ROWS and not self._of_itself(check) and answer != 0:
                fails = f"numbered.{quoted(check.table)} AS checked WHERE {self.predicates.fails(check)}"
                found[number] = self._joined(number, check, table, seen, fails)
            elif check.kind in OF_ROWS and answer:
                found[number] = replace(seen, failing=answer, examples=self._first(check, table))
            else:
                found[number] = seen
        return found

    def _of_itself(self, check: Check) -> bool:
        """Whether a row's own values decide. A look into another table may go to disk, and then no longer keeps the
        order of the file: rows that it finds are known by their place."""
        return check.kind is not Kind.REFERENCE and self.predicates.in_one_pass(check)

    def _looked_at(self, check: Check) -> str:
        """The aggregate of the rows that a check looks at: those with a value, where it needs one."""
        if check.kind not in OF_ROWS or check.kind in (Kind.FILLED, Kind.PRESENT, Kind.ROW_RULE) or not check.columns:
            return "count(*)"
        if len(check.columns) == 1:
            return f"count({column(check.columns[0])})"
        return f"count(*) FILTER (WHERE {self.predicates.given(check.columns)})"

    def _aggregate(self, check: Check) -> str:
        """What one pass over the rows finds out for a check; empty where it takes more."""
        if check.kind is Kind.FRESH:
            return f"max(epoch_us(CAST({column(check.columns[0])} AS TIMESTAMPTZ)))"
        return self.predicates.failing(check) if check.kind in OF_ROWS and self.predicates.in_one_pass(check) else ""

    def _unique(self, number: int, check: Check, table: Table, seen: Observed) -> Observed:
        relations = {check.table: f"numbered.{quoted(check.table)}"}
        numbered = Predicates(dialect=Dialect.DUCKDB, relations=relations)
        try:
            self._connection.execute(f"CREATE TABLE kept.copies AS {numbered.copies(check, order=_ROW)}")
            sharing, failing = self._row(
                f"SELECT coalesce(sum({COPIES}), 0), coalesce(sum({COPIES} - 1), 0) FROM kept.copies"
            )
            seen = replace(seen, failing=int(failing), sharing=int(sharing))
            if failing:
                same = " AND ".join(f"copies.{quoted(name)} = {column(name)}" for name in check.columns)
                rows = f"numbered.{quoted(check.table)} AS checked JOIN kept.copies AS copies ON {same}"
                seen = self._joined(number, check, table, seen, f"{rows} WHERE {column(_ROW)} > copies.{EARLIEST}")
            return seen
        finally:
            self._connection.execute("DROP TABLE IF EXISTS kept.copies")

    def _joined(self, number: int, check: Check, table: Table, seen: Observed, rows: str) -> Observed:
        """Of a check that other rows decide: its failing `rows`, which are kept when they are to be set aside."""
        value = _value(check, table)
        failing, first, values = self._row(
            f"SELECT count(*), min({column(_ROW)}, {_SHOWN}), arg_min({value}, {column(_ROW)}, {_SHOWN}) FROM {rows}"
        )
        if failing and check.quarantines:
            self._connection.execute(f"INSERT INTO kept.failing SELECT {number}, {column(_ROW)} FROM {rows}")
        examples = tuple((row + 1, str(value)) for row, value in zip(first or (), values or (), strict=True))
        return replace(seen, failing=failing, examples=examples)

    def _kept(self, number: int) -> str:
        return f'{column(_ROW)} IN (SELECT "row" FROM kept.failing WHERE "check" = {number})'

    def _first(self, check: Check, table: Table) -> tuple[tuple[int, str], ...]:
        """The first failing rows and their values; looking ends with them, as DuckDB keeps the order of the file."""
        found = self._connection.execute(
            f"SELECT {column(_ROW)} + 1, {_value(check, table)} FROM numbered.{quoted(check.table)} AS checked "
            f"WHERE {self.predicates.fails(check)} LIMIT {_SHOWN}"
        )
        return tuple((int(row), str(value)) for row, value in found.fetchall())

    def _one_thread(self, rule: str) -> float | None:
        """A number that may be a sum of decimals, which depends on the order of its terms."""
        self._connection.execute("SET threads = 1")
        try:
            (value,) = self._row(f"SELECT CAST(({rule}) AS DOUBLE)")
            return None if value is None else float(value)
        finally:
            self._connection.execute("RESET threads")

    def _names(self, table: str) -> set[str]:
        return {
            item[0].lower()  # DuckDB takes no difference in case for another name
            for item in self._connection.execute(f"SELECT * FROM {quoted(table)} LIMIT 0").description or []
        }

    def _row(self, query: str) -> tuple[Any, ...]:
        found = self._connection.execute(query).fetchone()
        assert found is not None
        return tuple(found)


def _value(check: Check, table: Table) -> str:
    """The value at fault as text; nothing where a null or a whole row is at fault, or the value is not for everyone."""
    names = [name for name in check.columns if table.columns[name].shown]
    if check.kind is Kind.FILLED or not names or len(names) < len(check.columns):
        return "''"
    return f"concat_ws(' ', {', '.join(f'CAST({column(name)} AS VARCHAR)' for name in names)})"
