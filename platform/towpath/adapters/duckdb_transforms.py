"""A feature repository's SQL transforms, run by DuckDB, and their replay from only what was known.

Under `transforms/`: `staging/<table>.sql` adds clock columns to a checked table (it reads schema `raw`, and its result takes
the table's name); `features/<source>.sql` gives one feature source each; `spine.sql` gives the prediction rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import duckdb

from towpath.core import names
from towpath.core.errors import DeclarationError
from towpath.ports import FeatureTables, Replay, Window

_DIGITS = 9  # floating sums depend on the rows around them in the last digits only


class DuckdbTransforms:
    """The port `Transforms`, in one process and out of core."""

    def __init__(self, *, threads: int | None = None) -> None:
        self.threads = threads

    def build(self, repository: Path, tables: Mapping[str, Path], *, window: Window, target: Path) -> FeatureTables:
        with self._database(repository, tables) as database:
            _stage(database, repository, tables, known_at={}, instant=None)
            sources = {}
            for name, text in _features(repository).items():
                _create(database, f'feature."{name}"', text, repository / f"transforms/features/{name}.sql")
                sources[name] = target / f"{name}.parquet"
                _write(database, f'SELECT * FROM feature."{name}" ORDER BY ALL', sources[name])
            spine = target / "spine.parquet"
            _create(
                database,
                "feature.spine",
                _text(repository / "transforms/spine.sql"),
                repository / "transforms/spine.sql",
            )
            _write(database, _spine(database, window), spine)
        return FeatureTables(sources=sources, spine=spine)

    def replay(
        self,
        repository: Path,
        tables: Mapping[str, Path],
        built: FeatureTables,
        *,
        known_at: Mapping[str, Mapping[str, str]],
        instants: Sequence[datetime],
    ) -> tuple[Replay, ...]:
        """Rebuild each source with every value masked that was not known at the instant, and compare the rows that were.

        `known_at` gives for a table's column the clock column that says when its value became known; a clock is itself
        known from its own time on.
        """
        results = []
        for instant in instants:
            with self._database(repository, tables) as database:
                _stage(database, repository, tables, known_at=known_at, instant=instant)
                for name, text in _features(repository).items():
                    _create(database, f'feature."{name}"', text, repository / f"transforms/features/{name}.sql")
                    results.append(_compare(database, name, built.sources[name], instant))
        return tuple(results)

    @contextmanager
    def _database(self, repository: Path, tables: Mapping[str, Path]) -> Iterator[duckdb.DuckDBPyConnection]:
        if not (repository / "transforms" / "spine.sql").is_file():
            raise DeclarationError(
                f"{repository} has no transforms/spine.sql.",
                value=str(repository),
                hint="It gives the prediction rows.",
            )
        config: dict[str, str | int] = {"TimeZone": "UTC", "autoinstall_known_extensions": "false"}
        if self.threads:
            config["threads"] = self.threads
        database = duckdb.connect(":memory:", config=config)
        try:
            database.execute("CREATE SCHEMA raw; CREATE SCHEMA feature")
            for table, file in tables.items():
                database.execute(f"CREATE VIEW raw.\"{table}\" AS SELECT * FROM read_parquet('{_quoted(file)}')")
            yield database
        finally:
            database.close()


def _stage(
    database: duckdb.DuckDBPyConnection,
    repository: Path,
    tables: Mapping[str, Path],
    *,
    known_at: Mapping[str, Mapping[str, str]],
    instant: datetime | None,
) -> None:
    for table in tables:
        file = repository / "transforms" / "staging" / f"{table}.sql"
        text = _text(file) if file.is_file() else f'SELECT * FROM raw."{table}"'
        _create(database, f'raw."{table}__staged"', text, file)
        columns = [row[0] for row in database.execute(f'DESCRIBE raw."{table}__staged"').fetchall()]
        clocks = known_at.get(table, {})
        for column, clock in clocks.items():
            if clock not in columns:
                raise DeclarationError(
                    f"The contract of {table} says that {column} is known at {clock!r}, but staging gives no such column.",
                    value=clock,
                    valid=columns,
                )
        masks = {**{clock: clock for clock in clocks.values()}, **clocks} if instant else {}
        shown = ", ".join(_masked(column, masks.get(column), instant) for column in columns)
        database.execute(f'CREATE TABLE main."{table}" AS SELECT {shown} FROM raw."{table}__staged"')


def _masked(column: str, clock: str | None, instant: datetime | None) -> str:
    if clock is None or instant is None:
        return f'"{column}"'
    return f'CASE WHEN "{clock}" <= TIMESTAMPTZ \'{instant.isoformat()}\' THEN "{column}" END AS "{column}"'


def _compare(database: duckdb.DuckDBPyConnection, name: str, file: Path, instant: datetime) -> Replay:
    columns = [(row[0], row[1]) for row in database.execute(f'DESCRIBE feature."{name}"').fetchall()]
    shown = ", ".join(
        f'round("{column}", {_DIGITS}) AS "{column}"' if kind in ("DOUBLE", "FLOAT") else f'"{column}"'
        for column, kind in columns
    )
    known = f"greatest(event_timestamp, created_timestamp) <= TIMESTAMPTZ '{instant.isoformat()}'"
    full = f"SELECT {shown} FROM read_parquet('{_quoted(file)}') WHERE {known}"
    then = f'SELECT {shown} FROM feature."{name}" WHERE {known}'
    rows = _count(database, full)
    gone = f"({full}) EXCEPT ALL ({then})"
    come = f"({then}) EXCEPT ALL ({full})"
    differing = max(_count(database, gone), _count(database, come))
    example = ""
    if differing:
        row = (
            database.execute(f"{gone} ORDER BY ALL LIMIT 1").fetchone()
            or database.execute(f"{come} ORDER BY ALL LIMIT 1").fetchone()
        )
        example = ", ".join(f"{column}={value}" for (column, _), value in zip(columns, row or (), strict=False))
    return Replay(source=name, instant=instant, rows=rows, differing=differing, example=example)


def _count(database: duckdb.DuckDBPyConnection, query: str) -> int:
    row = database.execute(f"SELECT count(*) FROM ({query})").fetchone()
    return int(row[0]) if row else 0


def _spine(database: duckdb.DuckDBPyConnection, window: Window) -> str:
    columns = [row[0] for row in database.execute("DESCRIBE feature.spine").fetchall()]
    for column in (names.EVENT_TIME, names.LABEL_TIME):
        if column not in columns:
            raise DeclarationError(f"transforms/spine.sql gives no column {column}.", value=column, valid=columns)
    order = ", ".join([names.EVENT_TIME, *(f'"{column}"' for column in columns if column != names.EVENT_TIME)])
    return (
        f"SELECT * FROM feature.spine WHERE {names.EVENT_TIME} >= TIMESTAMPTZ '{window.start.isoformat()}' "
        f"AND {names.EVENT_TIME} < TIMESTAMPTZ '{window.end.isoformat()}' "
        f"AND {names.LABEL_TIME} < TIMESTAMPTZ '{window.end.isoformat()}' ORDER BY {order}"
    )


def _features(repository: Path) -> dict[str, str]:
    files = sorted((repository / "transforms" / "features").glob("*.sql"))
    if not files:
        raise DeclarationError(f"{repository} has no transforms/features/*.sql.", value=str(repository))
    return {file.stem: _text(file) for file in files}


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8").strip().rstrip(";")


def _create(database: duckdb.DuckDBPyConnection, name: str, text: str, file: Path) -> None:
    try:
        database.execute(f"CREATE TABLE {name} AS {text}")
    except duckdb.Error as error:
        raise DeclarationError(f"{file.name} does not run: {error}", value=str(file), hint=f"It is {file}.") from error


def _write(database: duckdb.DuckDBPyConnection, query: str, file: Path) -> None:
    database.execute(f"COPY ({query}) TO '{_quoted(file)}' (FORMAT parquet, COMPRESSION zstd)")


def _quoted(file: Path) -> str:
    return str(file).replace("'", "''")
