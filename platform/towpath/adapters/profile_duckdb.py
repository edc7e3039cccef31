"""Profiles a Parquet file in DuckDB, out of core: memory is bounded, what does not fit spills to disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from towpath.core.draft_names import unused
from towpath.core.profile import LISTED, NUMBERS, ColumnProfile, TableProfile, Value
from towpath.core.promises import LogicalType

_MEMORY = "1GB"
_COLUMNS_AT_ONCE = 40  # each holds its own set of distinct values
_EXACT_ROWS = 1_000_000  # of more rows distinct values are estimated (HyperLogLog, within about 5 %)
_NEAR = 0.1  # of the rows: where an estimate is so near to them, each row may have a value of its own
_KINDS: Mapping[str, LogicalType] = {
    **dict.fromkeys(("VARCHAR", "ENUM"), LogicalType.STRING),
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"), LogicalType.INTEGER),
    **dict.fromkeys(("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"), LogicalType.INTEGER),
    **dict.fromkeys(("FLOAT", "DOUBLE", "DECIMAL"), LogicalType.NUMBER),
    "BOOLEAN": LogicalType.BOOLEAN,
    "DATE": LogicalType.DATE,
    **dict.fromkeys(("TIME", "TIME WITH TIME ZONE"), LogicalType.TIME),
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"), LogicalType.TIMESTAMP),
    "TIMESTAMP WITH TIME ZONE": LogicalType.TIMESTAMP,
    **dict.fromkeys(("STRUCT", "MAP", "JSON"), LogicalType.OBJECT),
}
_PLAIN = (bool, int, float, str)


class DuckdbProfiles:
    """The port `TableProfiles`."""

    def profile(self, file: Path) -> TableProfile:
        with _opened(file) as database:
            types = {row[0]: str(row[1]) for row in database.execute("DESCRIBE rows_").fetchall()}
            rows = int(_row(database, "SELECT count(*) FROM rows_")[0])
            columns: dict[str, ColumnProfile] = {}
            names = list(types)
            for first in range(0, len(names), _COLUMNS_AT_ONCE):
                some = names[first : first + _COLUMNS_AT_ONCE]
                columns |= _columns(database, {name: types[name] for name in some}, rows)
        return TableProfile(rows=rows, columns=columns)

    def distinct(self, file: Path, columns: Sequence[str]) -> int:
        with _opened(file) as database:
            return _distinct(database, columns)

    def quantile(self, file: Path, column: str, *, share: float) -> int:
        time = f"epoch_us(CAST({_name(column)} AS TIMESTAMP))"
        with _opened(file) as database:
            return int(_row(database, f"SELECT CAST(quantile_disc({time}, {share}) AS BIGINT) FROM rows_")[0])

    def sample(self, file: Path, *, rows: int, target: Path) -> None:
        with _opened(file) as database:
            # The same rows every time: one in so many, spread over the whole file.
            database.execute("SET threads = 1")
            total = int(_row(database, "SELECT count(*) FROM rows_")[0])
            every = max(1, -(-total // rows))
            columns = [str(row[0]) for row in database.execute("DESCRIBE rows_").fetchall()]
            place = _name(unused("place", columns))
            numbered = f"SELECT *, row_number() OVER () AS {place} FROM rows_"
            kept = f"SELECT * EXCLUDE ({place}) FROM ({numbered}) WHERE {place} % {every} = 0"
            database.execute(f"COPY ({kept}) TO {_text(str(target))} (FORMAT parquet, COMPRESSION zstd)")


@contextmanager
def _opened(file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with tempfile.TemporaryDirectory(prefix="towpath-profile-") as spill:
        config: dict[str, Any] = {
            "TimeZone": "UTC",
            "autoinstall_known_extensions": "false",
            "memory_limit": _MEMORY,
            "temp_directory": spill,
        }
        with duckdb.connect(":memory:", config=config) as database:
            path = "".join(f"[{char}]" if char in "*?[" else char for char in str(file))
            database.execute(f"CREATE VIEW rows_ AS SELECT * FROM read_parquet({_text(path)})")
            yield database


def _columns(database: duckdb.DuckDBPyConnection, types: Mapping[str, str], rows: int) -> dict[str, ColumnProfile]:
    asked = [ask for name, native in types.items() for ask in _asked(name, _kind(native), exact=rows <= _EXACT_ROWS)]
    answers = iter(_row(database, f"SELECT {', '.join(asked)} FROM rows_"))
    found = {}
    for name, native in types.items():
        filled, distinct, low, high, infinite, numeric = (next(answers) for _ in range(6))
        kind = _kind(native)
        estimated = rows > _EXACT_ROWS
        if estimated and kind is LogicalType.INTEGER and abs(distinct - rows) <= _NEAR * rows:
            distinct, estimated = _distinct(database, [name], filled=True), False
        listed = distinct <= LISTED and kind not in (None, LogicalType.OBJECT, LogicalType.ARRAY)
        values = _values(database, name) if listed else {}
        found[name] = ColumnProfile(
            name=name,
            kind=kind,
            native=native,
            zoned=native == "TIMESTAMP WITH TIME ZONE",
            rows=rows,
            nulls=rows - filled,
            distinct=len(values) or distinct,
            estimated=estimated and not values,
            values=values,
            low=low or "",
            high=high or "",
            numeric=numeric,
            infinite=infinite,
        )
    return found


def _distinct(database: duckdb.DuckDBPyConnection, columns: Sequence[str], *, filled: bool = False) -> int:
    """How many rows differ in these columns; `filled`: of rows that are empty in none of them."""
    names = [_name(column) for column in columns]
    where = f" WHERE {' AND '.join(f'{name} IS NOT NULL' for name in names)}" if filled else ""
    return int(_row(database, f"SELECT count(*) FROM (SELECT DISTINCT {', '.join(names)} FROM rows_{where})")[0])


def _asked(name: str, kind: LogicalType | None, *, exact: bool) -> list[str]:
    """The six questions of one column, in the order in which `_columns` reads them."""
    column = _name(name)
    ordered = kind not in (None, LogicalType.OBJECT, LogicalType.ARRAY)
    finite = f" FILTER (WHERE isfinite(CAST({column} AS DOUBLE)))" if kind in NUMBERS else ""
    count = f"count(DISTINCT {column})" if exact else f"approx_count_distinct({column})"
    return [
        f"count({column})",
        count if ordered else "0",
        f"left(CAST(min({column}){finite} AS VARCHAR), 80)" if ordered else "NULL",
        f"left(CAST(max({column}){finite} AS VARCHAR), 80)" if ordered else "NULL",
        f"count(*) FILTER (WHERE NOT isfinite(CAST({column} AS DOUBLE)))" if kind in NUMBERS else "0",
        f"count(TRY_CAST({column} AS DOUBLE))" if kind is LogicalType.STRING else "0",
    ]


def _kind(native: str) -> LogicalType | None:
    if native.endswith("]"):
        return LogicalType.ARRAY
    return _KINDS.get(native.split("(", maxsplit=1)[0].strip().upper())


def _values(database: duckdb.DuckDBPyConnection, name: str) -> dict[Value, int]:
    column = _name(name)
    query = f"SELECT {column}, count(*) FROM rows_ WHERE {column} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
    found = database.execute(query).fetchmany(LISTED + 1)
    # an estimate may have been too low
    return {} if len(found) > LISTED else {_plain(value): int(count) for value, count in found}


def _plain(value: Any) -> Value:
    if isinstance(value, _PLAIN):
        return value
    try:
        return float(value)  # decimals
    except (TypeError, ValueError):
        return str(value)


def _row(database: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] = database.execute(query).fetchone()
    return row


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
