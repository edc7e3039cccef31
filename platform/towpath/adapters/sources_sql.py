"""A table or view of SQLite or PostgreSQL as rows, through SQLAlchemy.

Types come from the table's declaration, never from its values. Rows are read by one statement, so they are of one
moment, in the order of the primary key, or of all columns when there is none.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine.interfaces import ReflectedColumn

from towpath.adapters.sources_files import near
from towpath.adapters.sources_sql_types import SqlColumn, sql_column
from towpath.adapters.sources_sql_url import SqlSource, database_error, parse
from towpath.adapters.sources_writer import Rows, to_utc
from towpath.core.errors import BadInput, TowpathError

_BATCH_ROWS = 10_000


@dataclass(frozen=True, kw_only=True)
class _Table:
    """A reflected table: its columns, and the names of those that order its rows."""

    columns: tuple[SqlColumn, ...]
    order: tuple[str, ...]


def read_table(uri: str, *, base: Path, until: tuple[str, datetime] | None) -> Rows:
    """The rows of `url#table` or `url#schema.table`.

    PostgreSQL filters by `until` itself where the column is a timestamp; the writer does so in any case.
    """
    source = parse(uri, base)
    with _errors(source), _connected(source) as connection:
        inspector = sa.inspect(connection)
        schema, name = _found(inspector, source)
        table = _reflect(inspector, schema, name, source)
    statement = _select(table, schema, name, source, until)
    return Rows(
        name=source.name,
        schema=pa.schema([pa.field(column.name, column.arrow) for column in table.columns]),
        batches=_batches(source, statement, table.columns),
    )


def _found(inspector: sa.Inspector, source: SqlSource) -> tuple[str | None, str]:
    """Schema and name of the table, as the database has them. Raises `BadInput` with the tables there are."""
    schema, _, name = source.table.rpartition(".")
    for candidate in [(None, source.table), *([(schema, name)] if schema else [])]:
        if candidate[1] and inspector.has_table(candidate[1], schema=candidate[0]):
            return candidate
    known = {None, schema or None} & {None, *inspector.get_schema_names()}
    tables = sorted(
        f"{place}.{table}" if place else table
        for place in known
        for table in (*inspector.get_table_names(schema=place), *inspector.get_view_names(schema=place))
    )
    alike = near(source.table, tables)
    meant = f" Did you mean {' or '.join(alike)}?" if alike else ""
    what = f"no table {source.table!r}" if source.table else "no table named in the URL"
    raise BadInput(
        f"{source.database}: {what}.{meant}",
        value=source.table,
        valid=tables,
        hint="Write the table after '#', as in sqlite:///data.db#flights or postgresql://…#schema.table.",
    )


def _reflect(inspector: sa.Inspector, schema: str | None, name: str, source: SqlSource) -> _Table:
    with warnings.catch_warnings():
        # a type that SQLAlchemy does not know is refused by name below
        warnings.filterwarnings("ignore", "Did not recognize type", sa.exc.SAWarning)
        reflected: Sequence[ReflectedColumn] = inspector.get_columns(name, schema=schema)
    columns = tuple(sql_column(column["name"], column["type"], source) for column in reflected)
    every = tuple(column.name for column in columns)
    key = tuple(inspector.get_pk_constraint(name, schema=schema)["constrained_columns"])
    # SQLite lets keys be null, and nulls repeat
    order = key if key and not source.is_sqlite else (*key, *(column for column in every if column not in key))
    return _Table(columns=columns, order=order)


def _select(
    table: _Table, schema: str | None, name: str, source: SqlSource, until: tuple[str, datetime] | None
) -> sa.Select[Any]:
    columns: list[sa.Column[Any]] = [sa.Column(column.name, column.declared) for column in table.columns]
    sql_table = sa.Table(name, sa.MetaData(), *columns, schema=schema)
    chosen = {column.name: column.expression(sql_table.c[column.name]) for column in table.columns}
    statement = sa.select(*(chosen[column.name].label(column.name) for column in table.columns))
    for column in table.columns:
        if (
            until is not None
            and column.name == until[0]
            and pa.types.is_timestamp(column.arrow)
            and not source.is_sqlite
        ):
            instant = to_utc(until[1])
            bound = instant if column.arrow.tz else instant.replace(tzinfo=None)
            statement = statement.where(sql_table.c[column.name] < bound)
    by_name = {column.name: column for column in table.columns}
    for place in table.order:
        key: sa.ColumnElement[Any] = by_name[place].sortable(sql_table.c[place])
        # the order of text must not depend on the server's language
        collated = by_name[place].is_text and not source.is_sqlite
        statement = statement.order_by(sa.collate(key, "C") if collated else key)
    return statement


def _batches(
    source: SqlSource, statement: sa.Select[Any], columns: Sequence[SqlColumn]
) -> Generator[pa.RecordBatch, None, None]:
    schema = pa.schema([pa.field(column.name, column.arrow) for column in columns])
    with _errors(source), _connected(source) as connection:
        streamed = connection.execution_options(stream_results=True, max_row_buffer=_BATCH_ROWS)
        for rows in streamed.execute(statement).partitions(_BATCH_ROWS):
            values = zip(*rows, strict=True)
            arrays = [column.array(cells, source) for column, cells in zip(columns, values, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


@contextmanager
def _connected(source: SqlSource) -> Iterator[sa.Connection]:
    engine = sa.create_engine(source.url, poolclass=sa.NullPool, connect_args=source.connect_args)
    try:
        with engine.connect() as connection:
            if not source.is_sqlite:
                connection = connection.execution_options(postgresql_readonly=True)
                connection.execute(sa.text("SET LOCAL TIME ZONE 'UTC'"))
            yield connection
    finally:
        engine.dispose()


@contextmanager
def _errors(source: SqlSource) -> Iterator[None]:
    try:
        yield
    except TowpathError:
        raise
    except (sa.exc.SQLAlchemyError, source.driver_errors) as error:
        raise database_error(source, error) from error
