"""The databases that Great Expectations runs checks in: where the rows lie, and what its types are called."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import sqlalchemy as sa

from towpath.core.checks_schema import Found
from towpath.core.checks_sql import Dialect, literal, quoted
from towpath.core.errors import BadInput, Misconfigured, TowpathError, Unreachable
from towpath.core.promises import LogicalType

# A type without its parameters; DuckDB writes a list as `VARCHAR[]`.
BARE_TYPE = "CASE WHEN data_type LIKE '%]' THEN 'ARRAY' ELSE upper(trim(split_part(data_type, '(', 1))) END"
_COLUMNS = (
    "SELECT table_name, column_name, {bare} FROM information_schema.columns WHERE table_schema = {schema} ORDER BY 1, 2"
)
ZONED = "TIMESTAMP WITH TIME ZONE"
# Of DuckDB's buffers; a process with its libraries stays under 2 GB. What is bigger goes to disk.
BOUNDED = "SET memory_limit = '900MB'"
_WHOLE = "whole"
_GLANCE = 1_000  # rows in which nearly every column has a value; the others are looked for one by one


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A database ready for checks: its data source for Great Expectations, and the columns of each table."""

    source: Any
    columns: Mapping[str, Mapping[str, Found]]

    def batch(self, table: str) -> Any:
        """The whole of a table, for Great Expectations to validate."""
        return self.source.get_asset(table).get_batch_definition(_WHOLE).get_batch()


class Engine(Protocol):
    """A database that holds the tables."""

    @property
    def dialect(self) -> Dialect: ...

    @property
    def schema(self) -> str:
        """The schema that holds the tables."""
        ...

    @property
    def types(self) -> Mapping[LogicalType, frozenset[str]]:
        """By logical type, the names that the database's catalogue gives its types."""
        ...

    def opened(self, context: Any, tables: Mapping[str, Path], *, scratch: Path) -> AbstractContextManager[Opened]:
        """A context manager that yields `Opened`; `scratch` is a folder for what does not fit into memory.

        Raises `Unreachable` when the database does not answer.
        """
        ...


@dataclass(frozen=True)
class DuckDB:
    """The Parquet files themselves, as views."""

    dialect: ClassVar[Dialect] = Dialect.DUCKDB
    schema: ClassVar[str] = "main"
    types: ClassVar[Mapping[LogicalType, frozenset[str]]] = {
        LogicalType.STRING: frozenset({"VARCHAR", "ENUM"}),
        LogicalType.INTEGER: frozenset(
            {
                "TINYINT",
                "SMALLINT",
                "INTEGER",
                "BIGINT",
                "HUGEINT",
                "UTINYINT",
                "USMALLINT",
                "UINTEGER",
                "UBIGINT",
                "UHUGEINT",
            }
        ),
        LogicalType.NUMBER: frozenset({"FLOAT", "DOUBLE", "DECIMAL"}),
        LogicalType.BOOLEAN: frozenset({"BOOLEAN"}),
        LogicalType.DATE: frozenset({"DATE"}),
        LogicalType.TIME: frozenset({"TIME", "TIME WITH TIME ZONE"}),
        LogicalType.TIMESTAMP: frozenset({"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", ZONED}),
        LogicalType.OBJECT: frozenset({"STRUCT", "MAP", "JSON"}),
        LogicalType.ARRAY: frozenset({"ARRAY"}),
    }

    @contextmanager
    def opened(self, context: Any, tables: Mapping[str, Path], *, scratch: Path) -> Iterator[Opened]:
        # Named, so that every connection of this process to this name sees the same views, and no other run does.
        url = f"duckdb:///:memory:{uuid.uuid4().hex}"
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            connection.exec_driver_sql(f"SET GLOBAL TimeZone = 'UTC'; {BOUNDED}; SET preserve_insertion_order = false")
            connection.exec_driver_sql(f"SET temp_directory = {literal(str(scratch))}")
            places = _places(tables)
            for name, file in tables.items():
                view = f"AS SELECT * FROM read_parquet({literal(str(file))})"
                connection.exec_driver_sql(f"CREATE VIEW {quoted(name)} {view}")
                connection.exec_driver_sql(f"CREATE VIEW {quoted(places[name])} {view}")
            connection.commit()
            source = context.data_sources.add_duckdb(name="duckdb", connection_string=url, assets=_assets(places))
            try:
                yield Opened(source=source, columns=_columns(self, connection, tables))
            finally:
                _closed(source)
        _disposed(engine)


@dataclass(frozen=True, kw_only=True)
class PostgreSQL:
    """Tables of that name in a schema of a PostgreSQL database, with the rows of the files: a difference is a finding.

    `url`: a SQLAlchemy address, for example `postgresql+psycopg://user@host/database`.
    """

    url: str
    schema: str = "public"
    dialect: ClassVar[Dialect] = Dialect.POSTGRESQL
    types: ClassVar[Mapping[LogicalType, frozenset[str]]] = {
        LogicalType.STRING: frozenset({"CHARACTER VARYING", "TEXT", "CHARACTER"}),
        LogicalType.INTEGER: frozenset({"SMALLINT", "INTEGER", "BIGINT"}),
        LogicalType.NUMBER: frozenset({"REAL", "DOUBLE PRECISION", "NUMERIC"}),
        LogicalType.BOOLEAN: frozenset({"BOOLEAN"}),
        LogicalType.DATE: frozenset({"DATE"}),
        LogicalType.TIME: frozenset({"TIME WITHOUT TIME ZONE", "TIME WITH TIME ZONE"}),
        LogicalType.TIMESTAMP: frozenset({"TIMESTAMP WITHOUT TIME ZONE", ZONED}),
        LogicalType.OBJECT: frozenset({"JSON", "JSONB"}),
        LogicalType.ARRAY: frozenset({"ARRAY"}),
    }

    @contextmanager
    def opened(self, context: Any, tables: Mapping[str, Path], *, scratch: Path) -> Iterator[Opened]:
        del scratch  # a server has its own
        path = re.sub(r"([\\ ])", r"\\\1", quoted(self.schema))
        # Behind those of the address, which may name a role or a time limit: the last word counts.
        url = sa.make_url(self.url)
        options = (*url.normalized_query.get("options", ()), f"-csearch_path={path} -ctimezone=UTC")
        url = url.update_query_dict({"options": " ".join(options)})
        address = url.render_as_string(hide_password=False)
        engine = sa.create_engine(url)
        try:
            with engine.connect() as connection:
                columns = _columns(self, connection, tables)
        except sa.exc.DBAPIError as error:
            raise _unavailable(url, error) from error
        finally:
            engine.dispose()
        if missing := sorted(set(tables) - set(columns)):
            raise Misconfigured(
                f"Schema {self.schema!r} has no table {missing[0]!r}.", value=missing[0], valid=sorted(columns),
                hint="Load the tables into that schema, or run the checks on the files (DuckDB).",
            )  # fmt: skip
        assets = _assets({name: quoted(name) for name in columns})
        source = context.data_sources.add_checked_postgres(name="postgresql", connection_string=address, assets=assets)
        try:
            yield Opened(source=source, columns=columns)
        finally:
            _closed(source)


def _places(tables: Collection[str]) -> dict[str, str]:
    """By table, a second name that is neither a word of SQL nor a table's: Great Expectations writes names without
    quotes for DuckDB, which takes no difference in case for another name."""
    taken = {name.lower() for name in tables}
    suffix = "_rows_"
    while any(name + suffix in taken for name in taken):
        suffix += "_"
    return {name: name + suffix for name in tables}


def _assets(places: Mapping[str, str]) -> list[dict[str, Any]]:
    """Tables whole, as a data source declares them, by the name under which each lies there.

    Declared with their source: each that is added to one writes down the whole context once more.
    """
    return [
        {"name": name, "type": "table", "table_name": place, "batch_definitions": [{"name": _WHOLE}]}
        for name, place in places.items()
    ]


def _columns(engine: Engine, connection: sa.Connection, tables: Mapping[str, Path]) -> dict[str, dict[str, Found]]:
    """By table, its columns; a column is looked at once to see whether it has any value."""
    query = _COLUMNS.format(bare=BARE_TYPE, schema=literal(engine.schema))
    found: dict[str, dict[str, str]] = {}
    for table, column, native in connection.exec_driver_sql(query.replace("%", "%%")):
        if table in tables:
            found.setdefault(table, {})[column] = native
    return {
        table: {name: _found(engine, name, native, name in empty) for name, native in natives.items()}
        for table, natives in found.items()
        for empty in [_empty(connection, table, natives)]
    }


def _empty(connection: sa.Connection, table: str, columns: Mapping[str, str]) -> set[str]:
    """The columns of a table with rows that hold nothing but nulls; looking ends at the first value."""
    every: sa.Select[Any] = sa.select(sa.literal_column("*")).select_from(sa.table(sa.quoted_name(table, quote=True)))
    glance = every.limit(_GLANCE).subquery()
    rows, *filled = _one(connection, ["count(*)", *(f"count({quoted(name)})" for name in columns)], glance)
    unseen = [name for name, values in zip(columns, filled, strict=True) if rows and not values]
    looks = [f"EXISTS (SELECT 1 FROM {quoted(table)} WHERE {quoted(name)} IS NOT NULL)" for name in unseen]
    found = _one(connection, looks) if looks else ()
    return {name for name, has_values in zip(unseen, found, strict=True) if not has_values}


def _one(connection: sa.Connection, values: Sequence[str], *source: sa.FromClause) -> tuple[Any, ...]:
    """The one row of a query of SQL texts."""
    asked: list[sa.ColumnElement[Any]] = [sa.literal_column(value) for value in values]
    return tuple(connection.execute(sa.select(*asked).select_from(*source)).one())


def _found(engine: Engine, name: str, native: str, empty: bool) -> Found:
    kind = next((kind for kind, natives in engine.types.items() if native in natives), None)
    zoned = native == ZONED if kind is LogicalType.TIMESTAMP else None
    return Found(name=name, kind=kind, native=native.lower(), zoned=zoned, empty=empty)


def _unavailable(url: sa.URL, error: sa.exc.DBAPIError) -> TowpathError:
    """The error of a database that cannot be read: it refuses what was configured, or it does not answer."""
    said = str(error.orig).strip().splitlines()[0]
    shown = url.difference_update_query(["options"]).render_as_string(hide_password=True)
    where = f"PostgreSQL at {url.host or 'this machine'}"
    refused = re.search(r"authentication failed|no password supplied|does not exist|not permitted|pg_hba", said)
    if refused or not isinstance(error, sa.exc.OperationalError):
        return Misconfigured(f"{where} refuses: {said}", value=shown, hint="Mend the address or the role's rights.")
    return Unreachable(
        f"{where} does not answer: {said}",
        value=shown,
        hint="Check that it runs and that the address is right.",
    )


def _closed(source: Any) -> None:
    """Close what Great Expectations opened, and let go of what its context would keep of it."""
    executing = source.get_execution_engine()
    executing.close()
    for engine in (executing.engine, source.get_engine()):
        _disposed(engine)


def _disposed(engine: sa.Engine) -> None:
    """Close the engine's connections. Types that it remembers would outlive DuckDB, which complains of that at exit."""
    engine.dispose()
    engine.clear_compiled_cache()
    engine.dialect._type_memos.clear()


def table_files(tables: Mapping[str, Path]) -> Mapping[str, Path]:
    """The files, all of them there. Raises `BadInput` that names the first one missing."""
    for name, file in tables.items():
        if not file.is_file():
            raise BadInput(
                f"Table {name!r}: there is no file {file}.",
                value=str(file),
                hint="Run the ingest stage first.",
            )
    return tables
