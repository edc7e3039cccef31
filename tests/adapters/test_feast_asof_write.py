"""Rows written through Feast into the point-in-time store's files, and late rows pulled for the online store."""

# ruff: noqa: E402  Feast is silenced before it is imported
from __future__ import annotations

import os
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from towpath.telemetry import silence

silence()

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureService, FeatureStore, PushSource
from feast.data_source import PushMode
from feast.feature_logging import FeatureServiceLoggingSource, LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination
from feast.types import Int64

from adapters.feast_asof_repo import entity, frame, minute, open_store, source, view
from towpath.adapters import feast_asof_sql as sql
from towpath.adapters.feast_asof import AsofOfflineStore
from towpath.adapters.feast_asof_query import Limits, Query
from towpath.adapters.feast_asof_write import whole_folder
from towpath.core.errors import BadInput, DeclarationError, NotFound

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # Feast announces its experimental parts
]

COLUMNS = ["id", "event", "created", "value"]
FIRST = [{"id": key, "event": minute(0), "created": minute(0), "value": f"first {key}"} for key in (1, 2)]


def rows(*found: tuple[int, float, float, str | None]) -> pd.DataFrame:
    """Rows of id, event and created (minutes after noon) and value."""
    table = [
        {"id": key, "event": minute(event), "created": minute(created), "value": value}
        for key, event, created, value in found
    ]
    return frame(table, COLUMNS).astype({"id": "int64"})


def _store(folder: Path, *, single: bool, **options: Any) -> FeatureStore:
    first = frame(FIRST, COLUMNS).astype({"id": "int64"})
    path = folder / ("rows.parquet" if single else "rows")
    if single:
        first.to_parquet(path)
    else:
        path.mkdir()
        first.to_parquet(path / "z-last-of-all.parquet")
    key = entity("id")
    pushed = PushSource(name="push", batch_source=source(path, **options))
    return open_store(folder, [key, view("seen", [key], pushed)])


def _answers(store: FeatureStore, at: datetime, keys: Sequence[int] = (1, 2)) -> list[Any]:
    wanted = frame([{"id": key, "event_timestamp": at} for key in keys], ["id", "event_timestamp"])
    return list(store.get_historical_features(wanted, ["seen:value"]).to_df()["value"])


@pytest.mark.parametrize("single", [True, False], ids=["file", "folder"])
def test_a_push_reaches_both_stores(tmp_path: Path, single: bool) -> None:
    store = _store(tmp_path, single=single)
    store.push("push", rows((1, 10, 11, "pushed"), (2, 10, 11, None)), to=PushMode.ONLINE_AND_OFFLINE)
    assert store.get_online_features(["seen:value"], [{"id": 1}, {"id": 2}]).to_dict()["value"] == ["pushed", None]
    assert _answers(store, minute(10)) == ["first 1", "first 2"], "not known yet"
    assert _answers(store, minute(11)) == ["pushed", None]
    store.push("push", rows((1, 10, 11, "pushed again, at the same times")), to=PushMode.OFFLINE)
    assert _answers(store, minute(11))[0] == "pushed again, at the same times", "what was written last wins"
    files = sorted(path.name for path in (tmp_path if single else tmp_path / "rows").iterdir())
    shown = [name for name in files if name.endswith(".parquet") and name[0] != "."]
    assert len(shown) == (1 if single else 3)
    assert [name for name in files if name[0] == "."] == ([".rows.parquet.lock"] if single else [])
    assert pq.read_table(tmp_path / ("rows.parquet" if single else "rows")).num_rows == 5


@pytest.mark.parametrize("single", [True, False], ids=["file", "folder"])
def test_rows_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path: Path, single: bool) -> None:
    store = _store(tmp_path, single=single)
    seen = store.get_feature_view("seen")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    good = pa.Table.from_pandas(rows((1, 1, 1, "x")), preserve_index=False)
    bad = [
        (good.drop_columns(["value"]), r"missing \['value'\], unexpected \[\]"),
        (good.append_column("more", pa.array([1])), r"unexpected \['more'\]"),
        (good.set_column(2, "created", pa.nulls(1, pa.timestamp("us", "UTC"))), "1 of the rows .* have no created"),
        (good.set_column(0, "id", pa.array(["one"])), "do not have the types of its source"),
        (good.set_column(1, "event", pa.array(["soon"])), "do not have the types of its source"),
    ]
    for table, message in bad:
        with pytest.raises(BadInput, match=message):
            AsofOfflineStore.offline_write_batch(store.config, seen, table, None)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")} == before
    told: list[int] = []
    AsofOfflineStore.offline_write_batch(
        store.config, seen, good.select(["value", "id", "created", "event"]), told.append
    )
    assert told == [1]
    for path in before:
        path.unlink()
    for path in tmp_path.rglob("pushed-*"):
        path.unlink()
    with pytest.raises(NotFound, match="no Parquet file at"):
        AsofOfflineStore.offline_write_batch(store.config, seen, good, None)


def test_columns_go_back_to_their_stored_names_and_times_up(tmp_path: Path) -> None:
    table = pa.table(
        {
            "key": pa.array([1], pa.int32()),
            "ts": pa.array([minute(0)], pa.timestamp("ms", "UTC")),
            "created": pa.array([minute(0).replace(tzinfo=None)], pa.timestamp("us")),
            "v": ["first"],
        }
    )
    pq.write_table(table, tmp_path / "mapped.parquet")
    key = entity("id")
    reads = source(tmp_path / "mapped.parquet", field_mapping={"key": "id", "ts": "event", "v": "value"})
    store = open_store(tmp_path, [key, view("mapped", [key], reads)])
    fine = pd.Timestamp("2013-07-01T12:05:00.000000001Z")
    store.write_to_offline_store(
        "mapped", pd.DataFrame({"key": [1], "ts": [fine], "created": [fine], "v": ["finer than stored"]})
    )
    stored = pq.read_table(tmp_path / "mapped.parquet")
    assert stored.schema.equals(table.schema)
    assert stored.slice(1).to_pylist() == [
        {
            "key": 1,
            "ts": minute(5) + timedelta(milliseconds=1),
            "created": (minute(5) + timedelta(microseconds=1)).replace(tzinfo=None),
            "v": "finer than stored",
        }
    ]


def test_writers_of_one_file_wait_for_each_other(tmp_path: Path) -> None:
    store = _store(tmp_path, single=True)
    seen = store.get_feature_view("seen")

    def write(number: int) -> None:
        table = pa.Table.from_pandas(rows((1, number, number, str(number))), preserve_index=False)
        AsofOfflineStore.offline_write_batch(store.config, seen, table, None)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    values = pq.read_table(tmp_path / "rows.parquet")["value"].to_pylist()
    assert sorted(values) == sorted(["first 1", "first 2", *map(str, range(40))])


def test_a_column_that_was_added_to_the_files_is_taken_from_then_on(tmp_path: Path) -> None:
    store = _store(tmp_path, single=False)
    seen = store.get_feature_view("seen")
    old = pa.Table.from_pandas(rows((1, 1, 1, "x")), preserve_index=False)
    AsofOfflineStore.offline_write_batch(store.config, seen, old, None)
    file = tmp_path / "rows" / "z-last-of-all.parquet"
    stored = pq.read_table(file)
    pq.write_table(stored.append_column("more", pa.array([1, 2])), file)
    AsofOfflineStore.offline_write_batch(store.config, seen, old.append_column("more", pa.array([3])), None)
    assert _answers(store, minute(2)) == ["x", "first 2"]
    with pytest.raises(BadInput, match=r"missing \['more'\]"):
        AsofOfflineStore.offline_write_batch(store.config, seen, old, None)


def test_a_file_is_on_disk_before_it_takes_the_old_ones_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a machine that stops in between has lost the rows of before too."""
    store = _store(tmp_path, single=True)
    happened: list[str] = []
    flush, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: (happened.append("flushed"), flush(file)))
    monkeypatch.setattr(Path, "replace", lambda file, to: (happened.append("replaced"), replace(file, to)))
    table = pa.Table.from_pandas(rows((1, 1, 1, "x")), preserve_index=False)
    AsofOfflineStore.offline_write_batch(store.config, store.get_feature_view("seen"), table, None)
    assert happened == ["flushed", "replaced"]


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "set"
    target.mkdir()
    (target / "old.parquet").write_text("old")
    rename = Path.rename

    def fails(file: Path, to: Path) -> Path:
        if to == target and (file / "new.parquet").exists():
            raise OSError("no")
        return rename(file, to)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="no"), whole_folder(target) as folder:
        (folder / "new.parquet").write_text("new")
    assert [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*")] == ["set", "set/old.parquet"]


@pytest.mark.parametrize("as_path", [True, False])
def test_the_log_of_served_features_is_written_and_read_back(tmp_path: Path, as_path: bool) -> None:
    store = _store(tmp_path, single=True)
    destination = FileLoggingDestination(path=str(tmp_path / "log"))
    service = FeatureService(
        name="logged", features=[store.get_feature_view("seen")], logging_config=LoggingConfig(destination=destination)
    )
    store.apply([service])
    schema = FeatureServiceLoggingSource(service, store.project).get_schema(store.registry)
    times = [name for name in schema.names if pa.types.is_timestamp(schema.field(name).type)]
    served = [
        dict.fromkeys(schema.names) | {"id": key, "seen__value": f"v{key}"} | dict.fromkeys(times, minute(key))
        for key in range(6)
    ]
    for part in (served[:3], served[3:]):
        table = pa.Table.from_pylist(part, schema=schema)
        if as_path:
            folder = tmp_path / "spool"
            folder.mkdir(exist_ok=True)
            pq.write_table(table, folder / "0.parquet")
        store.write_logged_features(tmp_path / "spool" if as_path else table, service)
    assert len(list((tmp_path / "log").iterdir())) == 2
    job = store._get_provider().retrieve_feature_service_logs(
        feature_service=service, start_date=minute(1), end_date=minute(4), config=store.config, registry=store.registry
    )
    assert sorted(job.to_df()["seen__value"]) == ["v1", "v2", "v3", "v4"]
    parted = FileLoggingDestination(path=str(tmp_path / "other"), partition_by=["id"])
    service.logging_config = LoggingConfig(destination=parted)
    store.apply([service])
    with pytest.raises(DeclarationError, match=r"partitioned by \['id'\].*Leave partition_by off"):
        store.write_logged_features(table, store.get_feature_service("logged"))
    assert not (tmp_path / "other").exists()


# -- late rows -----------------------------------------------------------------------------------------------------


def _pulled(store: FeatureStore, start: float, end: float) -> dict[int, str]:
    reads = store.get_feature_view("seen").batch_source
    span = minute(start), minute(end)
    job = AsofOfflineStore.pull_latest_from_table_or_query(
        store.config, reads, ["id"], ["value"], "event", "created", *span
    )
    return {row["id"]: row["value"] for row in job.to_arrow().to_pylist()}


def test_late_rows_are_pulled_and_do_not_bring_back_the_past(tmp_path: Path) -> None:
    day = 24 * 60
    late = rows(
        (1, 5, 3 * day, "late, and the newest of its key"),
        (2, -5, 3 * day, "late, and older than what is known"),
        (3, 5, 5 * day, "created after the end"),
        (4, 5, 2 * day + 1, "created before the last end, landed after it"),
        (5, 5, 1, "long known"),
    )
    late.to_parquet(tmp_path / "late.parquet")
    key = entity("id")
    first = frame(FIRST, COLUMNS).astype({"id": "int64"})
    pd.concat([first, late]).to_parquet(tmp_path / "rows.parquet")
    for known, delay in ((False, None), (True, None), (True, 0)):
        folder = tmp_path / f"{known}{delay}"
        folder.mkdir()
        options = {"materialize_as_known_at": known} | ({} if delay is None else {"landing_delay": delay})
        store = open_store(folder, [key, view("seen", [key], source(tmp_path / "rows.parquet"))], **options)
        late_ones = {1: "late, and the newest of its key", 4: "created before the last end, landed after it"}
        if delay == 0:
            del late_ones[4]
        assert _pulled(store, 3 * day - 1, 4 * day) == late_ones
        everything = {**late_ones, 2: "first 2", 5: "long known", 4: "created before the last end, landed after it"}
        assert _pulled(store, -10, 4 * day) == everything | ({} if known else {3: "created after the end"})


def _by_definition(found: list[dict[str, Any]], span: sql.Span) -> set[int]:
    """The positions of the rows that are brought, every pair looked at."""
    by_key: dict[Any, list[int]] = {}
    for place, row in enumerate(found):
        if row["event"] <= span.end and (span.known_by is None or row["created"] <= span.known_by):
            by_key.setdefault(row["id"], []).append(place)
    brought = set()
    for places in by_key.values():
        best = max(places, key=lambda place: (found[place]["event"], found[place]["created"], place))
        row = found[best]
        if row["event"] >= span.start or span.created_since <= row["created"] <= span.end:
            brought.add(best)
    return brought


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (0, 2))])
def test_what_is_pulled_is_the_newest_of_each_key_if_it_is_new(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    found = [
        {"id": draw.choice([1, 2, 3, None]), "event": draw.randrange(8), "created": draw.randrange(8), "value": place}
        for place in range(draw.choice([0, 4, 30]))
    ]
    times = pa.timestamp("us", "UTC")
    schema = pa.schema({"id": pa.int64(), "event": times, "created": times, "value": pa.int64()})
    zero = datetime(1970, 1, 1, tzinfo=UTC)
    stored = [row | {name: zero + timedelta(microseconds=row[name]) for name in ("event", "created")} for row in found]
    pq.write_table(pa.Table.from_pylist(stored, schema=schema), tmp_path / "rows.parquet")
    scan = sql.Scan(
        files=(str(tmp_path / "rows.parquet"),),
        event=sql.TimeColumn(name="event"),
        created=sql.TimeColumn(name="created"),
    )
    for start in (0, 3, 6):
        for end in (start, start + 2):
            for known_by in (end, None):
                span = sql.Span(start=start, end=end, created_since=start - 1, known_by=known_by)
                text = sql.newest_of(scan, ["id", "value"], ["id"], span)
                got = Query(text=text, limits=Limits(threads=1)).run()["value"].to_pylist()
                assert got == sorted(got)
                assert set(got) == _by_definition(found, span), (start, end)


def test_a_whole_number_feature_of_a_push_stays_whole(tmp_path: Path) -> None:
    table = pa.table({"id": [1], "event": [minute(0)], "created": [minute(0)], "value": pa.array([2**60 + 1])})
    pq.write_table(table, tmp_path / "whole.parquet")
    key = entity("id")
    store = open_store(tmp_path, [key, view("whole", [key], source(tmp_path / "whole.parquet"), kind=Int64)])
    pushed = pa.table({"id": [1], "event": [minute(1)], "created": [minute(1)], "value": pa.array([2**60 + 3])})
    store.write_to_offline_store("whole", pushed.to_pandas())
    assert pq.read_table(tmp_path / "whole.parquet")["value"].to_pylist() == [2**60 + 1, 2**60 + 3]
