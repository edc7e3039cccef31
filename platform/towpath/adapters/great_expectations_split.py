"""A table's rows, streamed by predicate into a file of accepted and a file of quarantined rows."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from towpath.core.checks_sql import ROW, column, literal, quoted
from towpath.core.errors import BadInput, Unwritable
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
    source file is copied. Raises `Unwritable` where memory or disk do not suffice, and `BadInput` where the rows are
    not those that were counted before.
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
    counted = (_rows_of(connection, source), sum(one.rows for one in asides))
    written = (checked.rows + checked.quarantined, _sum(connection, f"len({REASONS})", quarantine))
    if written != counted:
        raise BadInput(
            f"Table {table!r} was split into {written[0]:,} rows with {written[1]:,} reasons to set them aside, of "
            f"{counted[0]:,} rows with {counted[1]:,}.",
            value=str(source),
            hint="See whether a rule of its contract answers differently each time it is asked (random, the time of "
            "day), and whether the file was changed meanwhile.",
        )
    return checked


def _write(connection: duckdb.DuckDBPyConnection, query: str, file: Path) -> None:
    connection.execute("SET threads = 1")
    try:
        connection.execute(f"COPY ({query}) TO {literal(str(file))} {_WRITE}")
    except duckdb.Error as error:
        raise Unwritable(
            f"{file} cannot be written: {str(error).strip().splitlines()[0]}",
            value=str(file),
            hint="Make room in memory and on the disk of that folder, then run it again.",
        ) from error
    connection.execute("RESET threads")


def _rows_of(connection: duckdb.DuckDBPyConnection, file: Path) -> int:
    return _sum(connection, "1", file)


def _sum(connection: duckdb.DuckDBPyConnection, value: str, file: Path) -> int:
    found = connection.execute(f"SELECT coalesce(sum({value}), 0) FROM read_parquet({literal(str(file))})").fetchone()
    assert found is not None
    return int(found[0])
