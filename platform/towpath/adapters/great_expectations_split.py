"""A table's rows, streamed by predicate into a file of accepted and a file of quarantined rows."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from towpath.core.checks_sql import ROW, column, literal, quoted
from towpath.ports import TableChecked

REASONS = "_reasons"
# One thread, fixed group size, no statistics of the run: the same rows give the same bytes.
_WRITE = "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)"
# A look-up among more rows than this may go to disk, and then no longer keeps the order of the file.
_STREAMED = 2_000_000


@dataclass(frozen=True, kw_only=True)
class Aside:
    """Why rows are set aside: a condition on the row `checked`, true of `rows` of them."""

    reason: str
    condition: str
    rows: int


def write_split(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    source: Path,
    asides: Sequence[Aside],
    *,
    folder: Path,
    order: str,
) -> TableChecked:
    """Write `accepted/TABLE.parquet` and, when rows are set aside, `quarantine/TABLE.parquet` under `folder`.

    Rows keep their order by the column `order` of `numbered.TABLE`, which is not written. Where no row is set aside the
    source file is copied.
    """
    accepted, quarantine = (folder / kind / f"{table}.parquet" for kind in ("accepted", "quarantine"))
    for file in (accepted, quarantine):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
    if not asides:
        shutil.copyfile(source, accepted)
        return TableChecked(accepted=accepted, rows=_rows_of(connection, accepted), quarantine=None, quarantined=0)
    fails = f"({' OR '.join(f'({one.condition})' for one in asides)}) IS TRUE"
    rows = f"FROM numbered.{quoted(table)} AS {ROW}"
    every = f"{ROW}.* EXCLUDE ({order})"
    reasons = ", ".join(f"CASE WHEN {one.condition} THEN {literal(one.reason)} END" for one in asides)
    listed = f"list_filter([{reasons}], lambda reason: reason IS NOT NULL) AS {REASONS}"
    last = f" ORDER BY {column(order)}" if sum(one.rows for one in asides) > _STREAMED else ""
    _write(connection, f"SELECT {every} {rows} WHERE NOT ({fails}){last}", accepted)
    _write(connection, f"SELECT {every}, {listed} {rows} WHERE {fails}{last}", quarantine)
    checked = TableChecked(
        accepted=accepted,
        rows=_rows_of(connection, accepted),
        quarantine=quarantine,
        quarantined=_rows_of(connection, quarantine),
    )
    before, given = _rows_of(connection, source), _sum(connection, f"len({REASONS})", quarantine)
    assert checked.rows + checked.quarantined == before, f"{table}: {checked} written of {before} rows"
    assert given == sum(one.rows for one in asides), f"{table}: {given} reasons written"
    return checked


def _write(connection: duckdb.DuckDBPyConnection, query: str, file: Path) -> None:
    connection.execute("SET threads = 1")
    connection.execute(f"COPY ({query}) TO {literal(str(file))} {_WRITE}")
    connection.execute("RESET threads")


def _rows_of(connection: duckdb.DuckDBPyConnection, file: Path) -> int:
    return _sum(connection, "1", file)


def _sum(connection: duckdb.DuckDBPyConnection, value: str, file: Path) -> int:
    found = connection.execute(f"SELECT coalesce(sum({value}), 0) FROM read_parquet({literal(str(file))})").fetchone()
    assert found is not None
    return int(found[0])
