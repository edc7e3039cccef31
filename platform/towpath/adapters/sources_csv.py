"""CSV files as typed rows.

Every value is read as text first. A column gets a type only when every value of every file reads as that type and
nothing is lost by it: what has leading zeros, a plus sign or blanks stays text, and so does an integer beyond 64 bits.
Dates and times are those of ISO 8601. Empty cells and `NA` are null.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from towpath.adapters.sources_csv_text import Header, check_text, malformed, read_header
from towpath.adapters.sources_files import DataFile
from towpath.adapters.sources_parquet import same_columns
from towpath.adapters.sources_writer import Rows
from towpath.core.errors import BadInput

_SAMPLE_ROWS = 4096
_BATCH_ROWS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """A type a column may get: DuckDB's name, the condition under which the text `$c` holds it, the Arrow type."""

    name: str
    holds: str
    arrow: pa.DataType


_TIME = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6}0*)?)?"
_DAY = r"\d{4}-\d{2}-\d{2}"
_ZONE = r"(Z|[+-]\d{2}(:?\d{2})?)"
_NUMBER = r"-?((0|[1-9]\d{0,17})(\.\d*)?|\.\d+)([eE][-+]?\d+)?"


def _iso(name: str, pattern: str, arrow: pa.DataType) -> _Kind:
    holds = f"regexp_full_match($c, '{pattern}') AND TRY_CAST($c AS {name}) IS NOT NULL"
    return _Kind(name=name, holds=holds, arrow=arrow)


_TEXT = _Kind(name="VARCHAR", holds="true", arrow=pa.string())
_KINDS = (
    _Kind(name="BOOLEAN", holds="lower($c) IN ('true', 'false')", arrow=pa.bool_()),
    # what prints as it was written lost nothing
    _Kind(name="BIGINT", holds="CAST(TRY_CAST($c AS BIGINT) AS VARCHAR) = $c", arrow=pa.int64()),
    _Kind(
        name="DOUBLE",
        holds="$c IN ('NaN', 'nan', 'Inf', 'inf', '-Inf', '-inf')"
        f" OR (regexp_full_match($c, '{_NUMBER}') AND isfinite(TRY_CAST($c AS DOUBLE)))",
        arrow=pa.float64(),
    ),
    _iso("DATE", _DAY, pa.date32()),
    _iso("TIME", _TIME, pa.time64("us")),
    _iso("TIMESTAMP", f"{_DAY}[T ]{_TIME}", pa.timestamp("us")),
    _iso("TIMESTAMPTZ", f"{_DAY}[T ]{_TIME}{_ZONE}", pa.timestamp("us", tz="UTC")),
)


def read_csv(files: Sequence[DataFile], *, name: str) -> Rows:
    """The files' rows, one file after the other; columns in the first file's order, of one type over all files."""
    for file in files:
        check_text(file)
    headers = [read_header(file) for file in files]
    for file, header in zip(files[1:], headers[1:], strict=True):
        same_columns(files[0], headers[0].columns, file, header.columns)
    tables = list(zip(files, headers, strict=True))
    kinds = _kinds(tables)
    schema = pa.schema([pa.field(column, kind.arrow) for column, kind in kinds.items()])
    return Rows(name=name, schema=schema, batches=_batches(tables, kinds))


def _kinds(tables: Sequence[tuple[DataFile, Header]]) -> dict[str, _Kind]:
    """The type of each column: the first that all values of all files hold; text for a column without any value."""
    columns = tables[0][1].columns
    possible = {column: list(_KINDS) for column in columns}
    values = dict.fromkeys(columns, 0)
    with _connect() as connection:
        # what the first rows rule out need not be looked for in all rows
        _narrow(connection, *tables[0], possible, limit=_SAMPLE_ROWS)
        for file, header in tables:
            found = _narrow(connection, file, header, possible)
            values = {column: values[column] + found[column] for column in columns}
    return {column: possible[column][0] if possible[column] and values[column] else _TEXT for column in columns}


def _narrow(
    connection: duckdb.DuckDBPyConnection,
    file: DataFile,
    header: Header,
    possible: dict[str, list[_Kind]],
    *,
    limit: int | None = None,
) -> dict[str, int]:
    """Take from `possible` what some value of the file does not hold; returns the number of values by column."""
    columns = list(possible)
    tests = [(column, kind) for column in columns for kind in possible[column]]
    asked = [
        "count(*)",
        *(f"count({_quoted(column)})" for column in columns),
        # count_if is null, not 0, where all values are null
        *(f"count(*) FILTER (WHERE {kind.holds.replace('$c', _quoted(column))})" for column, kind in tests),
    ]
    limited = "" if limit is None else f" LIMIT {limit}"
    query = f"SELECT {', '.join(asked)} FROM (SELECT * FROM {_scan(file, header)}{limited})"
    try:
        answer = connection.execute(query).fetchone()
    except duckdb.Error as error:
        raise malformed(file, header, error) from error
    assert answer is not None
    count, *counts = answer
    if count == 0:
        raise BadInput(
            f"{file.name} has a header and no rows.", value=file.name, hint="Export it again, or leave it out."
        )
    values = dict(zip(columns, counts[: len(columns)], strict=True))
    for (column, kind), holding in zip(tests, counts[len(columns) :], strict=True):
        if holding != values[column]:
            possible[column].remove(kind)
    return values


def _batches(
    tables: Sequence[tuple[DataFile, Header]], kinds: Mapping[str, _Kind]
) -> Generator[pa.RecordBatch, None, None]:
    chosen = ", ".join(f"CAST({_quoted(column)} AS {kind.name}) AS {_quoted(column)}" for column, kind in kinds.items())
    with _connect() as connection:
        for file, header in tables:
            try:
                rows = connection.sql(f"SELECT {chosen} FROM {_scan(file, header)}")
                yield from rows.to_arrow_reader(_BATCH_ROWS)
            except (duckdb.Error, pa.ArrowException) as error:
                raise malformed(file, header, error) from error


def _connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "preserve_insertion_order": "true"})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _scan(file: DataFile, header: Header) -> str:
    """The file as a table of text. Nothing is left to detection: a guess from some rows may not hold in others."""
    path = "".join(f"[{char}]" if char in "*?[" else char for char in str(file.path))
    columns = ", ".join(f"{_literal(column)}: 'VARCHAR'" for column in header.columns)
    return (
        f"read_csv({_literal(path)}, auto_detect=false, header=true, strict_mode=true, "
        f"delim={_literal(header.delimiter)}, quote='\"', escape='\"', nullstr=['', 'NA'], columns={{{columns}}})"
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
