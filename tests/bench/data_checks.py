"""Data checks on 0.34, 3.4 and 34 million flights: a whole run beside one hand-written query and GX on pandas.

Run it with `.venv/bin/python tests/bench/data_checks.py [--sizes 1 10 100]`; a size is how often the 336,776 real
flights of the example are repeated, a year apart each time, so that keys stay unique. Every cell is a process of its
own: seconds on the clock, seconds of the processor (which other programs on the machine change little), and the peak
of resident memory. Ratios are to the hand-written query, by the processor's seconds.

- `duckdb`: the counts of all checks by one query that a person would write, with DuckDB's own settings.
- `towpath`: `GreatExpectationsChecks.run`: the same counts by Great Expectations, the failing rows found, accepted and
  quarantined rows written, the page. Its counts are compared with those of the query.
- `gx on pandas`: the file read, and those checks of the contract that Great Expectations has expectations for.

`broken` data has one row in a thousand with a distance of 0, and a repeated flight in every ten thousand rows, so that
every row is written again; of `clean` data the file is copied. There `duckdb, split` is the query, and then both files
written by hand. Tables of up to a million rows are so soon checked that each cell is run three times in its process,
of which the median counts: what a process does once, when it first uses its libraries, is not in it.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import data_checks_sql
import peak

LIMIT = 60.0
BOTH = 10
"""Up to this size clean data is measured too; beyond it the harder case alone."""
CELLS = ("duckdb", "duckdb, split", "towpath", "gx on pandas")
REPEATS = 3
_PROJECT = Path(__file__).resolve().parents[2] / "platform" / "towpath" / "example" / "project"
_TABLES = {"flights": "flights", "planes": "planes.csv", "airports": "airports.csv", "airlines": "airlines.csv"}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Data checks at scale.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10, 100], help="times 336,776 rows")
    parser.add_argument("--cell", choices=CELLS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=1, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.cell:
        sys.stdout.write(json.dumps(measured(given.cell, given.folder, given.repeats)) + "\n")
        return
    versions = ", ".join(f"{name} {version(name)}" for name in ("duckdb", "great-expectations", "pandas"))
    sys.stdout.write(
        f"{os.cpu_count()} cores, {_memory():.0f} GB, {platform.system()}, Python {platform.python_version()}; "
        f"{versions}\n\n"
        "| rows | data | what | seconds | processor s | peak MB | ratio | checks |\n|---|---|---|---|---|---|---|---|\n"
    )
    with tempfile.TemporaryDirectory(prefix="bench-data-") as scratch:
        _ingest(Path(scratch))
        for size in given.sizes:
            for data in ("clean", "broken") if size <= BOTH else ("broken",):
                _rows(Path(scratch), size, data)


def _rows(root: Path, size: int, data: str) -> None:
    """The rows of the table for one set of data."""
    folder = root / f"{data}-{size}"
    rows = _multiply(root, folder, size, broken=data == "broken")
    found: dict[str, dict[str, Any] | str] = {}
    for cell in CELLS:
        if cell == "gx on pandas" and data == "broken" and size <= BOTH:
            continue  # it sets nothing aside: the same work again
        if cell == "duckdb, split" and data == "clean":
            continue
        repeats = REPEATS if size == 1 else 1
        found[cell] = _run(cell, folder, repeats, limit=LIMIT if cell == "gx on pandas" else None)
        sys.stdout.write(_line(rows, data, cell, found[cell], found["duckdb"]) + "\n")
        sys.stdout.flush()
        require_ended(cell, found[cell])
    plain, ours = found["duckdb"], found["towpath"]
    if isinstance(plain, dict) and isinstance(ours, dict) and plain["counts"] != ours["counts"]:
        differ = {
            key: (plain["counts"].get(key), ours["counts"].get(key))
            for key in {*plain["counts"], *ours["counts"]}
            if plain["counts"].get(key) != ours["counts"].get(key)
        }
        raise SystemExit(f"The query and the run count differently (query, run): {differ}")
    for file in folder.iterdir():
        file.unlink()


def require_ended(cell: str, found: dict[str, Any] | str) -> None:
    """End the bench where a cell did not: of all of them only GX on pandas may run out of time or memory."""
    if isinstance(found, str) and cell != "gx on pandas":
        raise SystemExit(f"{cell}: {found}")


def _line(rows: int, data: str, cell: str, found: dict[str, Any] | str, plain: dict[str, Any] | str) -> str:
    if isinstance(found, str):
        return f"| {rows:,} | {data} | {cell} | {found} | | | | |"
    ratio = f"{found['processor'] / plain['processor']:.2f}" if isinstance(plain, dict) else ""
    return (
        f"| {rows:,} | {data} | {cell} | {found['seconds']:.1f} | {found['processor']:.1f} | {found['peak']:,.0f} "
        f"| {ratio} | {found['checks']} |"
    )


def _run(cell: str, folder: Path, repeats: int, *, limit: float | None) -> dict[str, Any] | str:
    """What a process measured, or why it did not end."""
    command = [sys.executable, __file__, "--cell", cell, "--folder", str(folder), "--repeats", str(repeats)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        return f"not in {limit:.0f} s"
    if ended.returncode:
        return f"failed ({ended.returncode}): {(ended.stderr.strip().splitlines() or ['killed'])[-1][:120]}"
    return dict(json.loads(ended.stdout.strip().splitlines()[-1]))


def measured(cell: str, folder: Path, repeats: int) -> dict[str, Any]:
    """Run a cell in this process. Imports are not measured, nor the collection of what they left."""
    cells = {"duckdb": _duckdb, "duckdb, split": _split, "towpath": _towpath, "gx on pandas": _pandas}
    work = cells[cell](folder)
    gc.collect()
    gc.freeze()
    runs = []
    for _ in range(repeats):
        began, used = time.perf_counter(), _processor()
        counts = work()
        runs.append((_processor() - used, time.perf_counter() - began))
    processor, seconds = sorted(runs)[len(runs) // 2]
    return {
        "seconds": seconds,
        "processor": processor,
        "peak": peak.megabytes(),
        "counts": counts,
        "checks": len(counts),
    }


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _memory() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


# --- the cells --------------------------------------------------------------------------------------------------------


def _duckdb(folder: Path) -> Callable[[], dict[str, float]]:
    import duckdb

    def work() -> dict[str, float]:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            for table in _TABLES:
                connection.execute(f"CREATE VIEW {table} AS FROM '{folder / table}.parquet'")
            found = connection.execute(data_checks_sql.QUERY)
            names = [item[0] for item in found.description or []]
            (row,) = found.fetchall()
        return {name: value for name, value in zip(names, map(float, row), strict=True) if not name.startswith("_")}

    return work


def _split(folder: Path) -> Callable[[], dict[str, float]]:
    import duckdb

    counting = _duckdb(folder)

    def work() -> dict[str, float]:
        counts = counting()
        with duckdb.connect() as connection, tempfile.TemporaryDirectory(dir=folder.parent) as out:
            connection.execute("SET TimeZone = 'UTC'")
            for name, query in data_checks_sql.split(folder / "flights.parquet").items():
                connection.execute(f"COPY ({query}) TO '{out}/{name}.parquet' (FORMAT parquet, COMPRESSION zstd)")
        return counts

    return work


def _towpath(folder: Path) -> Callable[[], dict[str, float]]:
    import towpath.adapters.great_expectations_duckdb  # noqa: F401 (imports Great Expectations and duckdb-engine)
    from towpath.adapters.great_expectations_checks import GreatExpectationsChecks

    contracts, tables = _contracts(), {table: folder / f"{table}.parquet" for table in _TABLES}
    as_of = data_checks_sql.newest(tables["flights"])

    def work() -> dict[str, float]:
        with tempfile.TemporaryDirectory(dir=folder.parent) as out:
            report = GreatExpectationsChecks().run(tables, contracts, as_of=as_of, folder=Path(out))
        return counts_of(report.findings)

    return work


def counts_of(findings: Sequence[Any]) -> dict[str, float]:
    """The count of each check of the flights. A check that counted nothing ends the bench: it did not do the work."""
    from towpath.core.evidence import Outcome

    for one in findings:
        if one.outcome not in (Outcome.PASS, Outcome.FAIL):
            raise SystemExit(f"{one.code} of {one.subject} is {one.outcome}: {one.reason}")
    of_flights = [one for one in findings if one.subject.startswith("flights")]
    counted = [one for one in of_flights if one.code not in ("data.schema", "data.freshness")]
    return {data_checks_sql.name_of(one): float(one.measured) for one in counted}


def _pandas(folder: Path) -> Callable[[], dict[str, float]]:
    import great_expectations as gx
    import pandas as pd

    expectations = data_checks_sql.for_pandas(folder)

    def work() -> dict[str, float]:
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        source = context.data_sources.add_pandas(name="pandas").add_dataframe_asset(name="flights")
        batch = source.add_batch_definition_whole_dataframe("whole").get_batch(
            {"dataframe": pd.read_parquet(folder / "flights.parquet")}
        )
        result = batch.validate(gx.ExpectationSuite(name="flights", expectations=expectations), result_format="BASIC")
        return {str(number): float(one.success) for number, one in enumerate(result.results)}

    return work


# --- the data ---------------------------------------------------------------------------------------------------------


def _contracts() -> list[Any]:
    """The contract of the flights, and those of the tables they refer to without their checks."""
    import yaml

    from towpath.core.contract import parse

    found = []
    for table in _TABLES:
        file = _PROJECT / "feature_repo" / "contracts" / f"{table}.odcs.yaml"
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        if table != "flights":  # what the flights refer to is there, and not checked itself: the query does not either
            (schema,) = document["schema"]
            names = [{key: one[key] for key in ("name", "logicalType")} for one in schema["properties"]]
            document = {**document, "slaProperties": [], "schema": [{"name": table, "properties": names}]}
        found.append(parse(document, origin=file.name))
    return found


def _ingest(root: Path) -> None:
    """The example's tables, as the path's own ingestion writes them."""
    from towpath.adapters.sources import UriSources
    from towpath.example.landing import land

    land(root / "landing")
    for table, name in _TABLES.items():
        UriSources().snapshot(f"landing/{name}", base=root, target=root / f"{table}.parquet", until=None)


def _multiply(root: Path, folder: Path, size: int, *, broken: bool) -> int:
    """The flights `size` times, 365 days apart from 1987 on; the other tables as they are."""
    import duckdb

    folder.mkdir()
    for table in _TABLES:
        if table != "flights":
            (folder / f"{table}.parquet").hardlink_to(root / f"{table}.parquet")
    parts = [_copy(number, broken=broken) for number in range(size)]
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        source = f"read_parquet('{root / 'flights.parquet'}', file_row_number = true)"
        connection.execute(f"CREATE TABLE source AS FROM {source}")
        connection.execute(
            f"COPY ({' UNION ALL '.join(parts)}) TO '{folder / 'flights.parquet'}' (FORMAT parquet, COMPRESSION zstd)"
        )
        (rows,) = connection.execute(f"SELECT count(*) FROM '{folder / 'flights.parquet'}'").fetchall()
    return int(rows[0])


def _copy(number: int, *, broken: bool) -> str:
    """A query of all flights, moved to another year."""
    changes = f"{1987 + number} AS year, time_hour + to_days({365 * (number - 26)}) AS time_hour"
    if not broken:
        return f"SELECT * EXCLUDE file_row_number REPLACE ({changes}) FROM source"
    changes += ", CASE WHEN file_row_number % 1000 = 7 THEN 0 ELSE distance END AS distance"
    query = f"SELECT * EXCLUDE file_row_number REPLACE ({changes}) FROM source"
    return f"{query} UNION ALL {query} WHERE file_row_number % 10000 = 11"


if __name__ == "__main__":
    main()
