"""A feature repository's SQL transforms, run by DuckDB, and their replay from only what was known.

Under `transforms/`: `staging/<table>.sql` adds clock columns to a checked table (it reads schema `raw`, and its result
takes the table's name); `features/<source>.sql` gives one feature source each, with its two timestamps; `spine.sql`
gives the prediction rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from towpath.core import names
from towpath.core.errors import BadInput, DeclarationError, Unwritable
from towpath.ports import FeatureTables, Replay, Window

CREATED_TIME = "created_timestamp"
_SPINE = "spine"
_TOLERANCE = 1e-9  # of a number's size, or of 1 if it is smaller: sums in another order differ in their last digits


class DuckdbTransforms:
    """The port `Transforms`, in one process and out of core."""

    def build(self, repository: Path, tables: Mapping[str, Path], *, window: Window, target: Path) -> FeatureTables:
        """Every feature source and the spine as Parquet in `target`, byte by byte the same for the same inputs.

        Raises `DeclarationError` for SQL that does not run or gives too little, `BadInput` for a table that cannot be
        read, and `Unwritable`.
        """
        # several threads add floating numbers in whatever order they come
        with _database(repository, tables, threads=1) as database:
            _stage(database, repository, tables, known_at={}, instant=None)
            sources = {}
            for name, file in _features(repository).items():
                _create_feature(database, name, file)
                sources[name] = target / f"{name}.parquet"
                _write(database, f"SELECT * FROM {_feature(name)} ORDER BY ALL", sources[name])
            file = repository / "transforms" / f"{_SPINE}.sql"
            _create(database, _feature(_SPINE), _text(file), file)
            columns = _require(database, _SPINE, (names.EVENT_TIME, names.LABEL_TIME), file)
            spine = target / f"{_SPINE}.parquet"
            _write(database, _spine(columns, window), spine)
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
        """Rebuild each source with every value masked that was not known at the instant; compare the rows that were.

        `known_at` gives for a table's column the clock column that says when its value became known; a clock is itself
        known from its own time on. Numbers are the same within a billionth. Raises as `build` does.
        """
        results = []
        for instant in instants:
            with _database(repository, tables) as database:
                _stage(database, repository, tables, known_at=known_at, instant=instant)
                for name, file in _features(repository).items():
                    _create_feature(database, name, file)
                    results.append(_compare(database, name, built.sources[name], instant))
        return tuple(results)


@contextmanager
def _database(
    repository: Path, tables: Mapping[str, Path], *, threads: int | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database with the tables in schema `raw` and an empty schema `feature`."""
    if not (repository / "transforms" / f"{_SPINE}.sql").is_file():
        raise DeclarationError(
            f"{repository} has no transforms/{_SPINE}.sql.",
            value=str(repository),
            hint="It gives the prediction rows.",
        )
    config: dict[str, str | int] = {"TimeZone": "UTC", "autoinstall_known_extensions": "false"}
    config |= {"threads": threads} if threads else {}
    with tempfile.TemporaryDirectory(prefix="towpath-transforms-") as spill:
        database = duckdb.connect(":memory:", config=config | {"temp_directory": spill})
        try:
            database.execute("CREATE SCHEMA raw; CREATE SCHEMA feature")
            for table, file in tables.items():
                try:
                    database.execute(f"CREATE VIEW raw.{_name(table)} AS SELECT * FROM {_parquet(file)}")
                except duckdb.Error as error:
                    raise BadInput(
                        f"Table {table} cannot be read from {file}: {error}",
                        value=str(file),
                        hint="It must be Parquet.",
                    ) from error
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
    """Each table in schema `main`, after its staging; at an `instant`, without the values that were not known then."""
    for table in tables:
        file = repository / "transforms" / "staging" / f"{table}.sql"
        staged = f"raw.{_name(f'{table}__staged')}"
        _create(database, staged, _text(file) if file.is_file() else f"SELECT * FROM raw.{_name(table)}", file)
        columns = _columns(database, staged)
        clocks = known_at.get(table, {})
        for column, clock in clocks.items():
            if clock not in columns:
                raise DeclarationError(
                    f"The contract of {table} says that {column} is known at {clock!r}, "
                    "but staging gives no such column.",
                    value=clock,
                    valid=columns,
                )
        masks = {**{clock: clock for clock in clocks.values()}, **clocks} if instant else {}
        shown = ", ".join(_masked(column, masks.get(column), instant) for column in columns)
        try:
            database.execute(f"CREATE TABLE main.{_name(table)} AS SELECT {shown} FROM {staged}")
        except duckdb.Error as error:
            raise DeclarationError(
                f"The clocks of {table} cannot be compared with a time: {error}",
                value=", ".join(sorted(set(clocks.values()))),
                hint="Let staging give them as TIMESTAMPTZ.",
            ) from error


def _masked(column: str, clock: str | None, instant: datetime | None) -> str:
    if clock is None or instant is None:
        return _name(column)
    return f"CASE WHEN {_name(clock)} <= {_time(instant)} THEN {_name(column)} END AS {_name(column)}"


def _compare(database: duckdb.DuckDBPyConnection, name: str, file: Path, instant: datetime) -> Replay:
    """The rows dated up to the instant, as they were built against as they are rebuilt.

    Rows are paired by all their columns but floating numbers, and those are compared within the tolerance.
    """
    columns = _columns(database, _feature(name))
    floating = [kind in ("DOUBLE", "FLOAT") for kind in columns.values()]
    known = f"greatest({names.EVENT_TIME}, {CREATED_TIME}) <= {_time(instant)}"
    sides = f"""
        WITH built AS ({_numbered(columns, floating, f"{_parquet(file)} WHERE {known}")}),
             again AS ({_numbered(columns, floating, f"{_feature(name)} WHERE {known}")})"""
    pairs = ["built.place = again.place", *_each("built.c{0} IS NOT DISTINCT FROM again.c{0}", floating, kind=False)]
    same = ["built.place IS NOT NULL", "again.place IS NOT NULL", *_each(_CLOSE, floating, kind=True)]
    apart = f"FROM built FULL JOIN again ON {' AND '.join(pairs)} WHERE NOT ({' AND '.join(same)})"
    rows = _row(database, f"{sides} SELECT count(*) FROM built")[0]
    differing = max(_row(database, f"{sides} SELECT count(built.place), count(again.place) {apart}"))
    example = ""
    if differing:
        shown = ", ".join(f"{side}.c{place}" for side in ("built", "again") for place in range(len(columns)))
        first = (
            f"{sides} SELECT built.place, again.place, {shown} {apart} ORDER BY built.place IS NULL, {shown} LIMIT 1"
        )
        example = _example(list(columns), _row(database, first))
    return Replay(source=name, instant=instant, rows=rows, differing=differing, example=example)


_CLOSE = (
    "coalesce(built.c{0} IS NOT DISTINCT FROM again.c{0} OR abs(built.c{0} - again.c{0}) <= "
    f"{_TOLERANCE} * greatest(abs(built.c{{0}}), abs(again.c{{0}}), 1), false)"
)


def _numbered(columns: Sequence[str] | Mapping[str, str], floating: Sequence[bool], source: str) -> str:
    """The rows of `source` with columns c0, c1, … and the `place` of each among those with the same exact columns."""
    renamed = ", ".join(f"{_name(column)} AS c{place}" for place, column in enumerate(columns))
    exact, numbers = (", ".join(_each("c{0}", floating, kind=kind)) for kind in (False, True))
    order = f" ORDER BY {numbers}" if numbers else ""
    return f"SELECT *, row_number() OVER (PARTITION BY {exact}{order}) AS place FROM (SELECT {renamed} FROM {source})"


def _each(template: str, floating: Sequence[bool], *, kind: bool) -> list[str]:
    return [template.format(place) for place, number in enumerate(floating) if number is kind]


def _example(columns: Sequence[str], found: Sequence[Any]) -> str:
    """A row that differs, as it was built; where it was not built, as it is rebuilt."""
    was_built, is_rebuilt = found[0] is not None, found[1] is not None
    built, again = found[2 : 2 + len(columns)], found[2 + len(columns) :]
    if not (was_built and is_rebuilt):
        values = built if was_built else again
        return ", ".join(f"{column}={value}" for column, value in zip(columns, values, strict=True))
    return ", ".join(
        f"{column}={value}" if value == then else f"{column}={value} (then {then})"
        for column, value, then in zip(columns, built, again, strict=True)
    )


def _spine(columns: Sequence[str] | Mapping[str, str], window: Window) -> str:
    order = [names.EVENT_TIME, *(column for column in columns if column != names.EVENT_TIME)]
    return (
        f"SELECT * FROM {_feature(_SPINE)} WHERE {names.EVENT_TIME} >= {_time(window.start)} "
        f"AND {names.EVENT_TIME} < {_time(window.end)} AND {names.LABEL_TIME} < {_time(window.end)} "
        f"ORDER BY {', '.join(map(_name, order))}"
    )


def _features(repository: Path) -> dict[str, Path]:
    files = sorted((repository / "transforms" / "features").glob("*.sql"))
    if not files:
        raise DeclarationError(
            f"{repository} has no transforms/features/*.sql.",
            value=str(repository),
            hint="Each gives one feature source, with event_timestamp and created_timestamp.",
        )
    for file in files:
        if file.stem == _SPINE:
            raise DeclarationError(
                f"No feature source may be called {_SPINE}: the prediction rows are.",
                value=str(file),
                hint=f"Rename {file}.",
            )
    return {file.stem: file for file in files}


def _create_feature(database: duckdb.DuckDBPyConnection, name: str, file: Path) -> None:
    _create(database, _feature(name), _text(file), file)
    _require(database, name, (names.EVENT_TIME, CREATED_TIME), file)


def _require(database: duckdb.DuckDBPyConnection, name: str, wanted: Sequence[str], file: Path) -> Mapping[str, str]:
    columns = _columns(database, _feature(name))
    for column in wanted:
        if column not in columns:
            raise DeclarationError(f"{file.name} gives no column {column}.", value=str(file), valid=columns)
    return columns


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip().rstrip(";")
    except UnicodeDecodeError as error:
        raise DeclarationError(f"{file.name} is not UTF-8: {error}", value=str(file), hint=f"It is {file}.") from error


def _create(database: duckdb.DuckDBPyConnection, name: str, text: str, file: Path) -> None:
    try:
        database.execute(f"CREATE TABLE {name} AS {text}")
    except duckdb.Error as error:
        raise DeclarationError(f"{file.name} does not run: {error}", value=str(file), hint=f"It is {file}.") from error


def _write(database: duckdb.DuckDBPyConnection, query: str, file: Path) -> None:
    try:
        database.execute(f"COPY ({query}) TO {_string(str(file))} (FORMAT parquet, COMPRESSION zstd)")
    except duckdb.IOException as error:
        raise Unwritable(
            f"{file} cannot be written: {error}", value=str(file), hint="Check the disk, and who may write there."
        ) from error


def _columns(database: duckdb.DuckDBPyConnection, table: str) -> Mapping[str, str]:
    """The columns of a table and their types."""
    return {row[0]: row[1] for row in database.execute(f"DESCRIBE {table}").fetchall()}


def _row(database: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] = database.execute(query).fetchone()
    return row


def _feature(name: str) -> str:
    return f"feature.{_name(name)}"


def _parquet(file: Path) -> str:
    """A Parquet file as a relation; of its path, nothing is a pattern."""
    path = "".join(f"[{char}]" if char in "*?[" else char for char in str(file))
    return f"read_parquet({_string(path)})"


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _string(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _time(instant: datetime) -> str:
    return f"TIMESTAMPTZ {_string(instant.isoformat())}"
