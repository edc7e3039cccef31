"""The feature store on Spark: training sets, materialization and parity equal to those of the store on DuckDB."""

# ruff: noqa: E402  Feast is silenced before it is imported
from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from towpath.telemetry import silence

silence()

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureStore, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.types import Int64, String

from adapters.feast_asof_repo import entity, frame, minute, open_store, source, view
from adapters.test_feast_asof import AN_HOUR, AWKWARD, COLUMNS, WHOLE, asked, edges
from adapters.test_features import SETTINGS, Shops, hours, lay
from example.tables import REPOSITORY, Example
from towpath.adapters.feast_features import FeastFeatures
from towpath.adapters.spark_session import SparkMaster, spark_session
from towpath.core.errors import BadInput, DeclarationError, NotFound
from towpath.example.landing import MONTHLY, land

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # Feast announces its experimental parts
    # py4j leaves its connections to Java to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]
slow = [pytest.mark.slow, pytest.mark.timeout(900)]
exhaustive = [*slow, pytest.mark.exhaustive]

ASOF, SPARK = "towpath.adapters.feast_asof.AsofOfflineStore", "towpath.adapters.feast_spark.SparkAsofOfflineStore"


def stores(folder: Path, objects: Sequence[Any], **options: Any) -> tuple[FeatureStore, FeatureStore]:
    """The same objects in the store on DuckDB and in the store on Spark."""
    return tuple(
        open_store(folder, objects, offline=kind, feature_timestamps=True, **options) for kind in (ASOF, SPARK)
    )  # type: ignore[return-value]


def alike(folder: Path, objects: Sequence[Any], wanted: pd.DataFrame, refs: list[str], **options: Any) -> pd.DataFrame:
    """What both stores answer: the same columns, rows, order, types and values."""
    here, there = (
        store.get_historical_features(wanted.copy(), refs, **options).to_df() for store in stores(folder, objects)
    )
    pd.testing.assert_frame_equal(there, here)
    return there


# --- awkward rows -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_awkward_data_join_as_in_duckdb(spark: SparkMaster, tmp_path: Path) -> None:
    """Late rows, ties in event and in both times, a backfill, the TTL's edges, null keys, times and values."""
    tied = [{"id": 1, "event": minute(10), "created": minute(30), "value": f"tied {number}"} for number in range(3)]
    table = frame([*AWKWARD, *tied], COLUMNS)
    table["id"] = table["id"].astype("Int64")
    table.to_parquet(tmp_path / "awkward.parquet")
    key, reads = entity("id"), source(tmp_path / "awkward.parquet")
    objects = [key, view("forever", [key], reads), view("an_hour", [key], reads, ttl=AN_HOUR)]
    wanted = asked([1, 2, 3, 4, 5, 99, None], edges())
    found = alike(tmp_path, objects, wanted, ["forever:value", "an_hour:value"], full_feature_names=True)
    assert {"tied 2", "first", "two"} <= set(found["forever__value"].dropna())
    assert "backfill of five" not in set(found["forever__value"].dropna())


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_keys_of_two_parts_names_of_sql_and_times_of_any_kind(spark: SparkMaster, tmp_path: Path) -> None:
    """Keys that read alike when put together, mapped and quoted names, no zone, nanoseconds, a view of no entity."""
    rows = [
        {"k 1": one, "order": other, "t": minute(at), "c": minute(at), "select": f"{one}|{other}@{at}"}
        for one, other in (("1", "23"), ("12", "3"), ("", "123"), ("é", "1:2"), ("1:", "x"))
        for at in (0, 10)
    ]
    stored = pd.DataFrame(rows)
    stored["t"] = pd.to_datetime(stored["t"]).dt.tz_localize(None).astype("datetime64[us]")
    stored["c"] = pd.to_datetime(stored["c"]).astype("datetime64[ns, UTC]") + pd.Timedelta(nanoseconds=1)
    stored.to_parquet(tmp_path / "pairs.parquet")
    frame([{"event": minute(3), "created": minute(4), "value": "all"}], ["event", "created", "value"]).to_parquet(
        tmp_path / "all.parquet"
    )
    one, other = entity("one", ValueType.STRING), entity("order", ValueType.STRING)
    reads = source(
        tmp_path / "pairs.parquet", field_mapping={"k 1": "one", "t": "event", "c": "created", "select": "value"}
    )
    objects = [
        one,
        other,
        view("group", [one, other], reads, ttl=timedelta(minutes=20)),
        view("everyone", [], source(tmp_path / "all.parquet")),
    ]
    keys = [("1", "23"), ("12", "3"), ("", "123"), ("é", "1:2"), ("1:", "x"), ("123", ""), (None, "3"), ("12", None)]
    times = [minute(at, microseconds=step) for at in (0, 4, 10, 20, 30) for step in (-1, 0, 1)]
    wanted = pd.DataFrame([{"one": a, "order": b, "event_timestamp": at} for at in times for a, b in keys])
    wanted["event_timestamp"] = pd.to_datetime(wanted["event_timestamp"], utc=True).astype("datetime64[us, UTC]")
    wanted["row_number"] = "a column of the caller's"
    found = alike(tmp_path, objects, wanted, ["group:value", "everyone:value"], full_feature_names=True)
    assert found["group__value"].notna().sum() > 40
    assert set(found["everyone__value"].dropna()) == {"all"}


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_it_is_feasts_own_spark_store_where_that_is_right(spark: SparkMaster, tmp_path: Path) -> None:
    """Feast's store itself over the same rows, asked for what was known: no ties, keys of one part, plain names."""
    table = frame(WHOLE, COLUMNS)
    table["id"] = table["id"].astype("Int64")
    table.to_parquet(tmp_path / "whole.parquet")
    key = entity("id")
    schema = [Field(name="id", dtype=Int64), Field(name="value", dtype=String)]
    wanted = asked([1, 2, 3, 99], edges())
    with spark_session(spark) as session:
        session.createDataFrame([(1,)], ["x"])  # makes it the session that Feast takes
        theirs = FeatureView(
            name="whole", entities=[key], schema=schema, ttl=AN_HOUR,
            source=SparkSource(
                name="whole", path=str(tmp_path / "whole.parquet"), file_format="parquet", timestamp_field="event",
                created_timestamp_column="created",
            ),
        )  # fmt: skip
        feast = open_store(tmp_path, [key, theirs], offline="spark")
        got = feast.get_historical_features(wanted.copy(), ["whole:value"], filter_by_created_timestamp=True).to_df()
    reads = source(tmp_path / "whole.parquet")
    ours = alike(tmp_path, [key, view("whole", [key], reads, ttl=AN_HOUR)], wanted, ["whole:value"])
    got = got.sort_values("row", ignore_index=True)
    assert list(got["row"]) == list(range(len(wanted)))
    assert list(got["value"].fillna("")) == list(ours.sort_values("row", ignore_index=True)["value"].fillna(""))


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@pytest.mark.parametrize("latest", [True, False])
def test_pulled_rows_are_those_of_duckdb(spark: SparkMaster, tmp_path: Path, latest: bool) -> None:
    """Ties, rows that became known after the end, null keys and times, and a source without created timestamp."""
    table = frame([*AWKWARD, *AWKWARD[:3]], COLUMNS)
    table["id"] = table["id"].astype("Int64")
    table.to_parquet(tmp_path / "awkward.parquet")
    reads = source(tmp_path / "awkward.parquet")
    for created, known in (("created", False), ("created", True), (None, False)):
        found = []
        for store in stores(tmp_path, [entity("id")], materialize_as_known_at=known):
            offline = store._provider.offline_store
            pull = offline.pull_latest_from_table_or_query if latest else offline.pull_all_from_table_or_query
            job = pull(store.config, reads, ["id"], ["value"], "event", created, minute(0), minute(45))
            found.append(job.to_arrow().to_pylist())
        assert found[0] == found[1]
        assert found[0]


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_keys_out_of_range_and_a_folder_that_evolved(spark: SparkMaster, tmp_path: Path) -> None:
    """A key that the stored type cannot hold has no row; a file of before a column was added reads as null there."""
    folder = tmp_path / "rows"
    folder.mkdir()
    times = pa.array([minute(0)], pa.timestamp("ns", "UTC"))
    before = pa.table({"id": pa.array([1], pa.int32()), "event": times, "created": times})
    pq.write_table(before, folder / "a.parquet")
    after = before.set_column(0, "id", pa.array([2], pa.int32())).append_column("value", pa.array(["new"]))
    pq.write_table(after, folder / "b.parquet")
    key = entity("id")
    wanted = asked([1, 2, 2**40, -(2**62)], [minute(5)])
    found = alike(tmp_path, [key, view("evolved", [key], source(folder))], wanted, ["evolved:value"])
    assert set(found["value"].dropna()) == {"new"}


# --- the port ---------------------------------------------------------------------------------------------------------


def shops(folder: Path) -> tuple[Shops, Shops]:
    """The repository of shops twice; the second one's settings name Spark."""
    one, other = lay(folder / "duckdb"), lay(folder / "spark")
    other.write("feature_store.yaml", SETTINGS.replace(ASOF, SPARK))
    return one, other


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@pytest.mark.parametrize("service", ["visit", "outside", "typed"])
def test_the_port_answers_the_same(spark: SparkMaster, tmp_path: Path, service: str) -> None:
    """Training set, online values after materialization, and parity of both, with late rows and views of no entity."""
    answers = []
    for at in shops(tmp_path):
        at.source("weather", [{"at": hours(-9), "warmth": 21.5}, {"at": hours(3), "warmth": 1.0}])
        kinds = [
            {"shop": "north", "small": 0.1, "open": True, "since": hours(-99), "sizes": [1.0, 2.5], "tags": ["a"]},
            {"shop": "south", "small": None, "open": False, "since": None, "sizes": None, "tags": ["b", "c"]},
        ]
        numbers = [{"large": 2**62 + 1, "ratio": float("inf")}, {"large": None, "ratio": None}]
        both = [{**one, **two, "at": hours(-9)} for one, two in zip(kinds, numbers, strict=True)]
        at.source("kinds", both, small=pa.float32())
        rows = at.training_set(service)
        at.materialize(service)
        parity, offline, online = at.parity(service)
        assert {one.differing for one in parity.values()} == {0}, parity
        answers.append((rows, parity, offline, online))
    assert answers[0] == answers[1]
    assert answers[1][0], "there are rows"


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_an_empty_spine_and_a_past_that_is_replayed(spark: SparkMaster, tmp_path: Path) -> None:
    found = []
    for at in shops(tmp_path):
        at.training_set()
        at.materialize(until=hours(-1))  # the south's second row becomes known at 6 in the evening
        _, _, online = at.parity(until=hours(-1))
        spine = pq.read_table(at.folder / "spine.parquet")
        pq.write_table(spine.slice(0, 0), at.folder / "spine.parquet")
        assert at.training_set() == []
        found.append((online, pq.read_schema(at.folder / "training.parquet").names))
    assert found[0] == found[1]
    assert [row["taken"] for row in found[1][0][:2]] == [2 / 3, 0.5]


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_the_examples_flights_get_the_same_training_set(spark: SparkMaster, tmp_path: Path) -> None:
    """Real flights of a month, the repository of the example, and only its settings changed."""
    land(tmp_path / "landed")
    for table in MONTHLY:
        for file in sorted((tmp_path / "landed" / table).glob("*.csv"))[1:]:
            file.unlink()
    sources = tmp_path / "run" / "sources"
    sources.mkdir(parents=True)
    built = Example(tmp_path / "landed").database
    for file in (REPOSITORY / "transforms" / "features").glob("*.sql"):
        built.execute(f"COPY ({file.read_text()}) TO '{sources / file.stem}.parquet' (FORMAT parquet)")
    spine = f"SELECT * FROM ({(REPOSITORY / 'transforms' / 'spine.sql').read_text()}) WHERE hash(flight_id) % 20 = 7"
    built.execute(f"COPY ({spine}) TO '{tmp_path / 'spine.parquet'}' (FORMAT parquet)")
    built.close()
    repositories = {kind: tmp_path / kind.rsplit(".", 1)[-1] for kind in (ASOF, SPARK)}
    tables = []
    for kind, repository in repositories.items():
        shutil.copytree(REPOSITORY, repository)
        settings = repository / "feature_store.yaml"
        settings.write_text(settings.read_text().replace(ASOF, kind).replace("  as_known_at: true\n", ""))
        target, until = tmp_path / f"{repository.name}.parquet", datetime(2013, 1, 20, tzinfo=UTC)
        FeastFeatures().training_set(
            repository, "flight_delay", sources=sources, spine=tmp_path / "spine.parquet", target=target
        )
        FeastFeatures().materialize(repository, "flight_delay", sources=sources, until=until)
        parity, *_ = FeastFeatures().parity(
            repository, "flight_delay", sources=sources, spine=tmp_path / "spine.parquet", until=until, sample=100,
            folder=tmp_path,
        )  # fmt: skip
        assert {one.differing for one in parity} == {0}, parity
        tables.append(pd.read_parquet(target))
    pd.testing.assert_frame_equal(tables[1], tables[0])
    assert len(tables[1]) > 1000
    assert tables[1]["carrier_lost_24h"].notna().any()


# --- misuse -----------------------------------------------------------------------------------------------------------


def test_what_it_cannot_do_is_said_before_spark_starts(tmp_path: Path) -> None:
    frame(WHOLE, COLUMNS).to_parquet(tmp_path / "rows.parquet")
    key, reads = entity("id"), source(tmp_path / "rows.parquet")
    unknown = source(tmp_path / "rows.parquet", created=False)
    objects = [
        key,
        view("quick", [key], reads, ttl=timedelta(milliseconds=1500)),
        view("plain", [key], reads),
        view("careless", [key], unknown),
        view("gone", [key], source(tmp_path / "gone.parquet")),
    ]
    store = open_store(tmp_path, objects, offline=SPARK)
    wanted = frame([{"id": 1, "event_timestamp": minute(5)}], ["id", "event_timestamp"])
    with pytest.raises(DeclarationError, match=r"TTL of 0:00:01\.500000, which Spark would cut"):
        store.get_historical_features(wanted, ["quick:value"])
    with pytest.raises(DeclarationError, match="nobody can tell"):
        store.get_historical_features(wanted, ["careless:value"])
    with pytest.raises(NotFound, match="no Parquet file"):
        store.get_historical_features(wanted, ["gone:value"])
    with pytest.raises(BadInput, match="keeps no timeout"):
        store.get_historical_features(wanted, ["plain:value"]).to_df(timeout=1)


def test_feasts_own_spark_store_is_refused(tmp_path: Path) -> None:
    """It cannot say which row was joined, and joins what was not known yet."""
    _, at = shops(tmp_path)
    at.write("feature_store.yaml", SETTINGS.replace(ASOF, "spark"))
    with pytest.raises(DeclarationError, match=rf"'spark', which cannot say .* Valid: {ASOF}, {SPARK}"):
        at.views()
