"""Our own reading of the tables, in DuckDB: which rows fail which check, and the files of accepted and quarantined
rows."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb

from towpath.core.checks import OF_ROWS, Check, Kind
from towpath.core.checks_sql import Dialect, Predicates, column, literal, quoted
from towpath.core.checks_verdict import Observed, breach
from towpath.core.errors import BadInput
from towpath.core.promises import Table
from towpath.ports import TableChecked

REASONS = "_reasons"
_ROW = "file_row_number"
_SHOWN = 3
# One thread, fixed group size, no statistics of the run: the same rows give the same bytes.
_WRITE = "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)"


class Rows:
    """The rows of all tables, with their place in the file."""

    def __init__(self, tables: Mapping[str, Path], *, scratch: Path) -> None:
        self._tables = tables
        self.predicates = Predicates(dialect=Dialect.DUCKDB, relations={name: quoted(name) for name in tables})
        self._connection = duckdb.connect()
        self._connection.execute(f"SET temp_directory = {literal(str(scratch))}; SET TimeZone = 'UTC'")
        self._connection.execute("CREATE SCHEMA numbered")
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
        self._connection.execute('CREATE TABLE failing ("table" VARCHAR, "check" INTEGER, "row" BIGINT)')

    def close(self) -> None:
        self._connection.close()

    def observe(self, number: int, check: Check, table: Table) -> Observed:
        """What a check (other than of columns) sees; its failing rows are kept under its number.

        A check that cannot be carried out says so in `fault`.
        """
        try:
            if check.kind in OF_ROWS:
                return self._observe_rows(number, check, table)
            rows = self._count(f"SELECT count(*) FROM {quoted(check.table)}")
            seen = Observed(rows=rows, looked_at=rows)
            if check.kind is Kind.TABLE_RULE:
                return replace(seen, value=self._one_thread(f"SELECT CAST(({self.predicates.rule(check)}) AS DOUBLE)"))
            if check.kind is Kind.FRESH:
                newest = (
                    f"SELECT max(epoch_us(CAST({quoted(check.columns[0])} AS TIMESTAMPTZ))) FROM {quoted(check.table)}"
                )
                return replace(seen, value=self._number(newest))
            return seen
        except duckdb.Error as error:
            return Observed(fault=str(error).strip().splitlines()[0])

    def split(self, table: str, checks: Mapping[int, Check], *, folder: Path) -> TableChecked:
        """Write the table's accepted and quarantined rows, in the file's order. `checks`: the table's, by number."""
        reasons = self._reasons({number: check for number, check in checks.items() if check.quarantines})
        rows = self._count(f"SELECT count(*) FROM {quoted(table)}")
        aside = self._count(f"SELECT count(DISTINCT row) FROM ({reasons})")
        accepted, quarantine = (
            folder / "accepted" / f"{table}.parquet",
            folder / "quarantine" / f"{table}.parquet",
        )
        for file in (accepted, quarantine):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
        if not aside:
            shutil.copyfile(self._tables[table], accepted)
            return TableChecked(accepted=accepted, rows=rows, quarantine=None, quarantined=0)
        every, numbered = f"* EXCLUDE ({_ROW})", f"numbered.{quoted(table)}"
        self._write(
            f"SELECT {every} FROM {numbered} WHERE {_ROW} NOT IN (SELECT row FROM ({reasons})) ORDER BY {_ROW}",
            accepted,
        )
        self._write(
            f"SELECT kept.{every}, set_aside.reasons AS {REASONS} FROM {numbered} AS kept "
            f"JOIN ({reasons}) AS set_aside ON kept.{_ROW} = set_aside.row ORDER BY kept.{_ROW}",
            quarantine,
        )
        kept, set_aside = self._rows_of(accepted), self._rows_of(quarantine)
        assert (kept + set_aside, set_aside) == (rows, aside), f"{table}: {kept} + {set_aside} rows written of {rows}"
        return TableChecked(accepted=accepted, rows=kept, quarantine=quarantine, quarantined=set_aside)

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

    def _observe_rows(self, number: int, check: Check, table: Table) -> Observed:
        relation = f"numbered.{quoted(check.table)} AS checked"
        fails = self.predicates.fails(check)
        at_fault = fails
        if check.kind is Kind.UNIQUE:
            numbered = Predicates(dialect=Dialect.DUCKDB, relations={check.table: f"numbered.{quoted(check.table)}"})
            at_fault = numbered.later_copies(check, order=_ROW)
        found = f"SELECT {literal(check.table)}, {number}, checked.{_ROW} FROM {relation} WHERE {at_fault}"
        self._connection.execute(f"INSERT INTO failing {found}")
        failing = self._count(f'SELECT count(*) FROM failing WHERE "check" = {number}')
        valued = [f"{column(name)} IS NOT NULL" for name in check.columns]
        every = check.kind in (Kind.FILLED, Kind.PRESENT, Kind.ROW_RULE) or not valued
        looked = f"count(*) FILTER (WHERE {' AND '.join(valued)})" if not every else "count(*)"
        rows, looked_at = self._row(f"SELECT count(*), {looked} FROM {relation}")
        sharing = None
        if check.kind is Kind.UNIQUE:
            sharing = self._count(f"SELECT count(*) FROM {relation} WHERE {fails}") if failing else 0
        examples = self._examples(number, check, table) if failing else ()
        return Observed(rows=rows, looked_at=looked_at, failing=failing, sharing=sharing, examples=examples)

    def _examples(self, number: int, check: Check, table: Table) -> tuple[tuple[int, str], ...]:
        """The first failing rows and their values; the row alone where a null or a whole row is at fault."""
        names = [name for name in check.columns if table.columns[name].shown]
        if check.kind is Kind.FILLED or not names or len(names) < len(check.columns):
            value = "''"
        else:
            value = f"concat_ws(' ', {', '.join(f'CAST(rows.{quoted(name)} AS VARCHAR)' for name in names)})"
        query = (
            f"SELECT rows.{_ROW} + 1, {value} FROM numbered.{quoted(check.table)} AS rows JOIN "
            f'(SELECT "row" FROM failing WHERE "check" = {number} ORDER BY "row" LIMIT {_SHOWN}) AS first '
            f'ON rows.{_ROW} = first."row" ORDER BY 1'
        )
        return tuple((int(row), str(value)) for row, value in self._connection.execute(query).fetchall())

    def _reasons(self, checks: Mapping[int, Check]) -> str:
        """A query of the rows to set aside: `row`, `reasons`."""
        texts = {
            number: f"{check.code}: {', '.join(check.columns) or check.table} — {breach(check)}"
            for number, check in checks.items()
        }
        values = ", ".join(f"({number}, {literal(text)})" for number, text in texts.items()) or "(-1, '')"
        return (
            'SELECT failing."row" AS row, list(texts.reason ORDER BY texts."check") AS reasons FROM failing '
            f'JOIN (VALUES {values}) AS texts("check", reason) ON failing."check" = texts."check" '
            'GROUP BY failing."row"'
        )

    def _write(self, query: str, file: Path) -> None:
        self._connection.execute("SET threads = 1")
        self._connection.execute(f"COPY ({query}) TO {literal(str(file))} {_WRITE}")
        self._connection.execute("RESET threads")

    def _one_thread(self, query: str) -> float | None:
        """A number that may be a sum of decimals, which depends on the order of its terms."""
        self._connection.execute("SET threads = 1")
        try:
            return self._number(query)
        finally:
            self._connection.execute("RESET threads")

    def _names(self, table: str) -> set[str]:
        return {
            item[0] for item in self._connection.execute(f"SELECT * FROM {quoted(table)} LIMIT 0").description or []
        }

    def _rows_of(self, file: Path) -> int:
        return self._count(f"SELECT count(*) FROM read_parquet({literal(str(file))})")

    def _row(self, query: str) -> tuple[Any, ...]:
        found = self._connection.execute(query).fetchone()
        assert found is not None
        return tuple(found)

    def _count(self, query: str) -> int:
        return int(self._row(query)[0])

    def _number(self, query: str) -> float | None:
        value = self._row(query)[0]
        return None if value is None else float(value)
