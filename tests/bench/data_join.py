"""The point-in-time join at size: the store of ours, a DuckDB query written by hand, and Feast's DuckDB store.

    python tests/bench/data_join.py --sizes 340000,3400000 --views 3,10

Each runs in a process of its own and writes its result to a Parquet file; seconds are those of the join and of writing,
without imports, CPU those of the processor meanwhile, and memory is the most that the process ever held. Entity rows
have a time and a key a view, over a year; every view holds half as many rows as there are entity rows, 5 features, and
16, 100 or 4,000 keys, as the example's flights have carriers, airports and aircraft. A row is known five minutes after
its event and lives two days. Of up to a million rows ours and the query are run five times in turns, and the median
counts. All that finish must give the same features for every entity row: a hash over row number and values, whatever
order the rows stand in.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import peak

FEATURES = 5
KEYS = (16, 100, 4_000)
TTL_DAYS = 2
MEMORY = "1GB"  # of DuckDB, in the store and in the query by hand; the process holds more
THREADS = 2
OURS, PLAIN, FEAST = "towpath", "plain DuckDB", "Feast's DuckDB store"
REPEATS, SHORT = 5, 1_000_000
ASOF = "towpath.adapters.feast_asof.AsofOfflineStore"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run; `seconds` is None for one that did not finish."""

    seconds: float | None
    cpu: float = 0.0
    megabytes: float = 0.0
    digest: tuple[int, ...] = ()


def make(folder: Path, rows: int, views: int) -> None:
    """Entity rows and views, evenly spread over a year; every value follows from its row's number."""
    connection = duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": str(folder / "spill")})
    connection.sql("SET TimeZone = 'UTC'")
    year = 365 * 86_400
    # no two at one time, or the query by hand would take either
    time_of = f"TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_seconds((hash({{0}}) % {year})::BIGINT) + to_microseconds(i)"
    keys = ", ".join(f"(hash(i, {view}) % {KEYS[view % 3]})::BIGINT AS key_{view}" for view in range(views))
    connection.sql(
        f"COPY (SELECT i AS row, {time_of.format('i')} AS event_timestamp, {keys} FROM range({rows}) AS t(i)) "
        f"TO '{folder / 'entities.parquet'}' (COMPRESSION zstd)"
    )
    for view in range(views):
        values = ", ".join(f"(hash(i, {view}, {number}) % 1000) / 8 AS v{view}_f{number}" for number in range(FEATURES))
        event = time_of.format(f"i, {view}, 'event'")
        connection.sql(
            f"COPY (SELECT (hash(i, {view}, 'key') % {KEYS[view % 3]})::BIGINT AS key_{view}, {values}, "
            f"{event} AS event, {event} + INTERVAL 5 MINUTE AS created FROM range({max(rows // 2, 1)}) AS t(i)) "
            f"TO '{folder / f'view_{view}.parquet'}' (COMPRESSION zstd)"
        )
    connection.close()


def by_hand(folder: Path, views: int, target: Path) -> None:
    """What a person would write: an ASOF join a view on when its rows were known, and the TTL."""
    columns, joins = ["e.*"], []
    for view in range(views):
        young = f"epoch(e.event_timestamp) - epoch(v{view}.event) <= {TTL_DAYS * 86_400}"
        columns += [
            f"CASE WHEN {young} THEN v{view}.v{view}_f{number} END AS v{view}_f{number}" for number in range(FEATURES)
        ]
        known = f"SELECT *, greatest(event, created) AS known FROM '{folder}/view_{view}.parquet'"
        joins.append(
            f"ASOF LEFT JOIN ({known}) AS v{view} "
            f"ON e.key_{view} = v{view}.key_{view} AND e.event_timestamp >= v{view}.known"
        )
    with tempfile.TemporaryDirectory() as spill:
        config: dict[str, Any] = {"memory_limit": MEMORY, "threads": THREADS, "temp_directory": spill}
        connection = duckdb.connect(config=config)
        connection.sql("SET TimeZone = 'UTC'")
        connection.sql(
            f"COPY (SELECT {', '.join(columns)} FROM '{folder}/entities.parquet' AS e {' '.join(joins)}) "
            f"TO '{target}' (COMPRESSION zstd)"
        )


def of_store(folder: Path, views: int, target: Path, *, store: str) -> Callable[[], None]:
    """The same through Feast, ready to run: with our store from SQL to a file, with Feast's from and to a DataFrame."""
    from towpath.telemetry import silence

    silence()
    import pandas as pd
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
    from feast.types import Float64

    state = tempfile.mkdtemp(dir=folder)
    options = {"memory_limit": MEMORY, "threads": THREADS} if store == ASOF else {}
    config = RepoConfig(
        project="bench",
        provider="local",
        registry=f"{state}/registry.db",
        online_store={"type": "sqlite", "path": f"{state}/online.db"},
        offline_store={"type": store, **options},
        entity_key_serialization_version=3,
        repo_path=Path(state),
    )
    features = FeatureStore(config=config)
    entities = [
        Entity(name=f"key_{view}", join_keys=[f"key_{view}"], value_type=ValueType.INT64) for view in range(views)
    ]
    made = [
        FeatureView(
            name=f"view_{view}",
            entities=[entities[view]],
            ttl=timedelta(days=TTL_DAYS),
            schema=[Field(name=f"v{view}_f{number}", dtype=Float64) for number in range(FEATURES)],
            source=FileSource(
                path=str(folder / f"view_{view}.parquet"), timestamp_field="event", created_timestamp_column="created"
            ),
        )
        for view in range(views)
    ]
    features.apply([*entities, *made])
    refs = [f"view_{view}:v{view}_f{number}" for view in range(views) for number in range(FEATURES)]
    rows = folder / "entities.parquet"

    def ours() -> None:
        job = features.get_historical_features(f"SELECT * FROM read_parquet('{rows}')", refs)
        job.persist(SavedDatasetFileStorage(path=str(target)))

    def feasts() -> None:
        frame = pd.read_parquet(rows)
        job = features.get_historical_features(frame, refs, filter_by_created_timestamp=True)
        job.to_df().to_parquet(target, compression="zstd")

    return ours if store == ASOF else feasts


def work(kind: str, folder: Path, views: int, target: Path, limit: int) -> None:
    """In a process of its own: run, and print what it took. The process ends by SIGALRM when it takes too long."""
    warnings.simplefilter("ignore")
    if kind == PLAIN:

        def run() -> None:
            by_hand(folder, views, target)
    else:
        run = of_store(folder, views, target, store=ASOF if kind == OURS else "duckdb")
    before, spent = time.perf_counter(), time.process_time()
    signal.alarm(limit)
    run()
    took, cpu = time.perf_counter() - before, time.process_time() - spent
    megabytes = peak.megabytes()
    sys.stdout.write("\n" + json.dumps({"seconds": took, "cpu": cpu, "megabytes": megabytes}) + "\n")


def measure(kind: str, folder: Path, views: int, limit: int) -> Measured:
    """Run a process, the join at most `limit` seconds. Raises `RuntimeError` with its words when it fails."""
    target = folder / "result.parquet"
    asked = {"work": kind, "folder": folder, "views": views, "to": target, "limit": limit}
    command = [sys.executable, __file__, *(part for name, value in asked.items() for part in (f"--{name}", str(value)))]
    paths = os.pathsep.join([str(Path(__file__).parents[2] / "platform"), *filter(None, sys.path)])
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
    if done.returncode == -signal.SIGALRM:
        target.unlink(missing_ok=True)
        return Measured(seconds=None)
    if done.returncode:
        raise RuntimeError(f"{kind} ended with {done.returncode}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    names = [f"v{view}_f{number}" for view in range(views) for number in range(FEATURES)]
    hashes = ", ".join(f"bit_xor(hash(e.row::BIGINT, {name}::DOUBLE))" for name in names)
    counts = ", ".join(f"count({name})" for name in names)
    (digest,) = duckdb.sql(f"SELECT count(*), {counts}, {hashes} FROM '{target}' AS e").fetchall()
    target.unlink()
    return Measured(**found, digest=digest)


def both(folder: Path, rows: int, views: int, limit: int) -> tuple[Measured, Measured]:
    """Plain DuckDB and ours, in turns. What takes a second or two is run five times, and the median counts."""
    turns = [
        (measure(PLAIN, folder, views, limit), measure(OURS, folder, views, limit))
        for _ in range(REPEATS if rows <= SHORT else 1)
    ]
    for runs in zip(*turns, strict=True):
        if len({one.digest for one in runs}) > 1:
            raise RuntimeError("The same join gives another result in another run.")
    plain, ours = (sorted(runs, key=_seconds)[len(runs) // 2] for runs in zip(*turns, strict=True))
    return plain, ours


def _seconds(found: Measured) -> float:
    return float("inf") if found.seconds is None else found.seconds


def line(rows: int, views: int, kind: str, found: Measured, plain: Measured, limit: int) -> str:
    """A line of the table."""
    size = f"{rows:,} | {views} | {kind}"
    if found.seconds is None or plain.seconds is None:
        return f"| {size} | did not finish in {limit} s | | | | |"
    ratios = f"{found.seconds / plain.seconds:.1f} | {found.cpu / plain.cpu:.1f}"
    return f"| {size} | {found.seconds:.1f} | {found.cpu:.1f} | {found.megabytes:,.0f} | {ratios} |"


def say(text: str) -> None:
    """A line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def bench(sizes: Sequence[int], views: Sequence[int], limit: int) -> None:
    """Print the table. Raises `RuntimeError` when two that finish do not give the same."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("duckdb", "feast", "pandas", "pyarrow"))
    load = os.getloadavg()[0]
    say(f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}, {libraries}.")
    say(f"{FEATURES} features a view, DuckDB with {THREADS} threads and {MEMORY}. Load before: {load:.1f}.\n")
    say("| entity rows | views | by | seconds | CPU seconds | peak MB | times plain DuckDB | in CPU |")
    say("|---:|---:|---|---:|---:|---:|---:|---:|")
    slow = ""
    for rows in sizes:
        for number in views:
            with tempfile.TemporaryDirectory(prefix="towpath-bench-") as name:
                folder = Path(name)
                make(folder, rows, number)
                plain, ours = both(folder, rows, number, 10 * limit)
                for kind in (PLAIN, OURS, FEAST):
                    if kind == FEAST and slow:
                        say(f"| {rows:,} | {number} | {kind} | not tried: {slow} did not finish | | | | |")
                        continue
                    longest = limit if kind == FEAST else 10 * limit
                    found = {PLAIN: plain, OURS: ours}.get(kind) or measure(kind, folder, number, longest)
                    say(line(rows, number, kind, found, plain, longest))
                    if kind == FEAST and found.seconds is None:
                        slow = f"{rows:,} rows and {number} views"
                    if found.seconds is not None and found.digest != plain.digest:
                        raise RuntimeError(f"{kind} gives another result than {PLAIN}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="340000,3400000", help="entity rows, with commas")
    parser.add_argument("--views", default="3,10", help="feature views, with commas")
    parser.add_argument(
        "--limit", type=int, default=75, help="seconds that Feast's store gets; the others get ten times"
    )
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--to", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    numbers = [int(count) for count in asked.views.split(",")]
    if asked.work:
        work(asked.work, asked.folder, numbers[0], asked.to, asked.limit)
    else:
        bench([int(count) for count in asked.sizes.split(",")], numbers, asked.limit)


if __name__ == "__main__":
    main()
