"""The point-in-time store, held to the definition and to Feast's own stores, through a real FeatureStore."""

# ruff: noqa: E402  Feast is silenced before it is imported
from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from towpath.adapters import feast_loading
from towpath.telemetry import silence

silence()
feast_loading.load()

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureService, FeatureStore, Field, FileSource, RequestSource, ValueType
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.feast_asof_repo import definition, entity, frame, minute, open_store, source, view
from towpath.adapters.feast_asof import AsofOfflineStore, AsofOfflineStoreConfig
from towpath.core.errors import BadInput, DeclarationError, Misconfigured, NotFound

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # Feast announces its experimental parts
]

COLUMNS = ["id", "event", "created", "value"]
AN_HOUR = timedelta(hours=1)

# late arrivals, ties in event and in both times, a correction, a backfill of the past, null keys, times and values
AWKWARD: list[dict[str, Any]] = [
    {"id": 1, "event": minute(0), "created": minute(0), "value": "first"},
    {"id": 1, "event": minute(10), "created": minute(10), "value": "at ten"},
    {"id": 1, "event": minute(10), "created": minute(30), "value": "at ten, corrected"},
    {"id": 1, "event": minute(5), "created": minute(40), "value": "backfill of five"},
    {"id": 1, "event": minute(20), "created": minute(50), "value": "twenty, late"},
    {"id": 2, "event": minute(0), "created": minute(5), "value": "two"},
    {"id": 2, "event": minute(61), "created": minute(61), "value": None},
    {"id": 3, "event": minute(90), "created": minute(90), "value": "in the future"},
    {"id": 4, "event": minute(1), "created": None, "value": "nobody knows when"},
    {"id": None, "event": minute(0), "created": minute(0), "value": "of nobody"},
    {"id": 5, "event": None, "created": minute(0), "value": "at no time"},
]
WHOLE = [row for row in AWKWARD if None not in (row["id"], row["event"], row["created"])]


def asked(ids: Sequence[int | None], times: Sequence[datetime]) -> pd.DataFrame:
    """Every id at every time, shuffled, with a passthrough column that names the row."""
    rows = [{"id": key, "event_timestamp": time} for key in ids for time in times]
    random.Random(5).shuffle(rows)
    table = frame(rows, ["id", "event_timestamp"])
    table["id"] = table["id"].astype("Int64")
    table["row"] = range(len(table))
    return table


def edges() -> list[datetime]:
    """Each minute that matters, one microsecond before and after it, and the TTL's edge of each."""
    marks = [0, 5, 10, 20, 30, 40, 50, 60, 61, 65, 70, 80, 90, 110, 121, 150]
    return [minute(mark, microseconds=step) for mark in marks for step in (-1, 0, 1)]


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {name: None if pd.isna(cell) else cell for name, cell in row.items()} for row in table.to_dict(orient="records")
    ]


def values(series: pd.Series[Any]) -> list[Any]:
    return [None if pd.isna(cell) else cell for cell in series]


def by_definition(
    entity_df: pd.DataFrame, rows: Sequence[dict[str, Any]], keys: Sequence[str], **options: Any
) -> list[Any]:
    return [row and row["value"] for row in definition(rows_of(entity_df), rows, keys, **options)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("awkward")


@pytest.fixture(scope="module")
def awkward_views(folder: Path) -> list[Any]:
    table = frame(AWKWARD, COLUMNS)
    table["id"] = table["id"].astype("Int64")
    table.to_parquet(folder / "awkward.parquet")
    key, reads = entity("id"), source(folder / "awkward.parquet")
    return [key, view("forever", [key], reads), view("an_hour", [key], reads, ttl=AN_HOUR)]


@pytest.mark.parametrize("as_known_at", [True, False])
def test_awkward_data_join_as_defined(folder: Path, awkward_views: list[Any], as_known_at: bool) -> None:
    store = open_store(folder, awkward_views, as_known_at=as_known_at)
    wanted = asked([1, 2, 3, 4, 5, 99, None], edges())
    got = store.get_historical_features(wanted, ["forever:value", "an_hour:value"], full_feature_names=True).to_df()
    assert list(got.columns) == ["id", "event_timestamp", "row", "forever__value", "an_hour__value"]
    assert list(got["row"]) == list(wanted["row"])
    pd.testing.assert_series_equal(got["event_timestamp"], wanted["event_timestamp"])
    for name, ttl in (("forever", None), ("an_hour", AN_HOUR)):
        assert values(got[f"{name}__value"]) == by_definition(wanted, AWKWARD, ["id"], ttl=ttl, as_known_at=as_known_at)


@pytest.mark.parametrize("as_known_at", [True, False])
def test_awkward_data_join_as_in_feasts_duckdb_store(folder: Path, awkward_views: list[Any], as_known_at: bool) -> None:
    wanted, refs = asked([1, 2, 3, 4, 5, 99, None], edges()), ["forever:value", "an_hour:value"]
    ours = open_store(folder, awkward_views, as_known_at=as_known_at)
    theirs = open_store(folder, awkward_views, offline="duckdb")
    got = ours.get_historical_features(wanted.copy(), refs, full_feature_names=True).to_df()
    feasts = theirs.get_historical_features(
        wanted.copy(), refs, full_feature_names=True, filter_by_created_timestamp=as_known_at
    ).to_df()
    feasts = feasts.set_index("row").loc[list(got["row"])].reset_index()
    assert len(got) == len(feasts) == len(wanted)
    for name in ("forever__value", "an_hour__value"):
        assert values(got[name]) == values(feasts[name])
        assert any(values(got[name])), "a comparison of nothing with nothing"


@pytest.mark.parametrize("as_known_at", [True, False])
def test_feasts_dask_store_agrees_on_the_rows_it_keeps(tmp_path: Path, as_known_at: bool) -> None:
    """Feast's Dask store departs from the definition, so only what it answers is compared, on data without ties.

    Of two rows of one event time it takes either, a row without event time counts at any time, and an entity row all of
    whose candidates are out of time is dropped from the result instead of joined with nulls.
    """
    untied = [row for row in WHOLE if row["value"] != "at ten, corrected"]
    wanted, refs = asked([1, 2, 3, 99], edges()), ["simple:value"]
    ours, theirs = _simple(tmp_path, untied, as_known_at=as_known_at), _simple(tmp_path, untied, offline="dask")
    got = ours.get_historical_features(wanted.copy(), refs).to_df().set_index("row")["value"]
    feasts = theirs.get_historical_features(wanted.copy(), refs, filter_by_created_timestamp=as_known_at).to_df()
    feasts = feasts.set_index("row")["value"]
    assert feasts.notna().sum() > 50
    assert values(got.loc[feasts.index]) == values(feasts)
    lost = got.drop(feasts.index)
    assert len(lost) > 0
    assert lost.isna().all(), "a row that Feast's store drops had nothing to join"


@pytest.mark.parametrize("past_the_edge", [0, 1])
def test_the_ttl_edge_of_a_lone_entity_row(folder: Path, awkward_views: list[Any], past_the_edge: int) -> None:
    """No other row widens the span of time that is read, so leaving rows out early must not move the edge."""
    wanted = frame([{"id": 2, "event_timestamp": minute(60, microseconds=past_the_edge)}], ["id", "event_timestamp"])
    got = open_store(folder, awkward_views).get_historical_features(wanted, ["an_hour:value"]).to_df()
    assert values(got["value"]) == [None if past_the_edge else "two"]


def test_what_was_learnt_later_is_left_out_by_default(folder: Path, awkward_views: list[Any]) -> None:
    wanted = frame([{"id": 1, "event_timestamp": minute(45)}], ["id", "event_timestamp"])
    careful = open_store(folder, awkward_views).get_historical_features(wanted, ["forever:value"]).to_df()
    careless = open_store(folder, awkward_views, as_known_at=False).get_historical_features(wanted, ["forever:value"])
    assert list(careful["value"]) == ["at ten, corrected"]
    assert list(careless.to_df()["value"]) == ["twenty, late"]


def test_feasts_argument_switches_the_filter_on(folder: Path, awkward_views: list[Any]) -> None:
    wanted = frame([{"id": 1, "event_timestamp": minute(45)}], ["id", "event_timestamp"])
    store = open_store(folder, awkward_views, as_known_at=False)
    got = store.get_historical_features(wanted, ["forever:value"], filter_by_created_timestamp=True).to_df()
    assert list(got["value"]) == ["at ten, corrected"]


def test_feature_timestamps_name_the_row_that_was_joined(folder: Path, awkward_views: list[Any]) -> None:
    store = open_store(folder, awkward_views, feature_timestamps=True)
    wanted = asked([1, 2, 4, 99], edges())
    got = store.get_historical_features(wanted, ["forever:value", "an_hour:value"], full_feature_names=True).to_df()
    for name, ttl in (("forever", None), ("an_hour", AN_HOUR)):
        joined = definition(rows_of(wanted), AWKWARD, ["id"], ttl=ttl)
        assert values(got[f"{name}__event_timestamp"]) == [row and row["event"] for row in joined]
        assert values(got[f"{name}__created_timestamp"]) == [row and row["created"] for row in joined]
        present = got.dropna(subset=[f"{name}__event_timestamp"])
        assert len(present) > 10
        assert (present[f"{name}__event_timestamp"] <= present["event_timestamp"]).all()
        assert (present[f"{name}__created_timestamp"] <= present["event_timestamp"]).all()


# -- the definition, on whatever hypothesis thinks of -------------------------------------------------------------

_TIME = st.one_of(st.integers(0, 4).map(minute), st.integers(0, 2).map(lambda us: minute(2, microseconds=us)))
_MAYBE_TIME = st.one_of(_TIME, _TIME, _TIME, st.none())
_KEY = {"id": st.sampled_from([1, 1, 1, 2, None]), "other": st.sampled_from(["a", "a", "a", "b", None])}
_FEATURE_ROW = st.fixed_dictionaries(_KEY | {"event": _MAYBE_TIME, "created": _MAYBE_TIME})
_ENTITY_ROW = st.fixed_dictionaries(_KEY | {"event_timestamp": _TIME})
_TTLS = {"forever": None, "two_minutes": timedelta(minutes=2), "a_microsecond": timedelta(microseconds=1)}
_PAIR_COLUMNS = ["id", "other", "event", "created", "value"]


def _write(rows: Sequence[dict[str, Any]], path: Path) -> None:
    times = pa.timestamp("us", tz="UTC")
    schema = pa.schema({"id": pa.int64(), "other": pa.string(), "event": times, "created": times, "value": pa.string()})
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)


@pytest.fixture(scope="module")
def pair_stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[bool, FeatureStore]]]:
    folder = tmp_path_factory.mktemp("pairs")
    data = folder / "data"
    data.mkdir()
    _write([], data / "0.parquet")
    _write([], data / "1.parquet")
    first, second = entity("id"), entity("other", ValueType.STRING)
    views = [view(name, [first, second], source(data), ttl=ttl) for name, ttl in _TTLS.items()]
    known = open_store(folder, [first, second, *views], feature_timestamps=True)
    (folder / "all").mkdir()
    everything = open_store(folder / "all", [first, second, *views], as_known_at=False)
    return data, {True: known, False: everything}


def _check_against_definition(
    pair_stores: tuple[Path, dict[bool, FeatureStore]],
    feature_rows: Sequence[dict[str, Any]],
    entity_rows: Sequence[dict[str, Any]],
    cut: int,
) -> None:
    data, stores = pair_stores
    rows = [row | {"value": f"row {position}"} for position, row in enumerate(feature_rows)]
    _write(rows[:cut], data / "0.parquet")
    _write(rows[cut:], data / "1.parquet")
    wanted = frame(entity_rows, ["id", "other", "event_timestamp"])
    wanted["id"] = wanted["id"].astype("Int64")
    wanted["other"] = wanted["other"].astype("string")
    for as_known_at, store in stores.items():
        refs = [f"{name}:value" for name in _TTLS]
        got = store.get_historical_features(wanted, refs, full_feature_names=True).to_df()
        for name, ttl in _TTLS.items():
            joined = definition(entity_rows, rows, ["id", "other"], ttl=ttl, as_known_at=as_known_at)
            assert values(got[f"{name}__value"]) == [row and row["value"] for row in joined], (name, as_known_at)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    feature_rows=st.lists(_FEATURE_ROW, max_size=14),
    entity_rows=st.lists(_ENTITY_ROW, min_size=1, max_size=12),
    cut=st.integers(0, 14),
)
def test_any_small_data_join_as_defined(
    pair_stores: tuple[Path, dict[bool, FeatureStore]],
    feature_rows: list[dict[str, Any]],
    entity_rows: list[dict[str, Any]],
    cut: int,
) -> None:
    _check_against_definition(pair_stores, feature_rows, entity_rows, cut)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_many_rows_join_as_defined(pair_stores: tuple[Path, dict[bool, FeatureStore]], seed: int) -> None:
    """More rows than DuckDB joins by its loop for few, so that its sorting join is held to the definition too."""
    draw = random.Random(seed)

    def time() -> datetime:
        return minute(draw.randrange(200), microseconds=draw.choice([0, 0, 0, 1]))

    def pair() -> dict[str, Any]:
        return {"id": draw.choice([*range(12), None]), "other": draw.choice(["a", "b", None])}

    feature_rows = [{**pair(), "event": time(), "created": draw.choice([time(), time(), None])} for _ in range(900)]
    entity_rows = [{**pair(), "event_timestamp": time()} for _ in range(1200)]
    _check_against_definition(pair_stores, feature_rows, entity_rows, 400)


# -- names, keys, order --------------------------------------------------------------------------------------------


def _flights(folder: Path) -> tuple[list[Any], pd.DataFrame, list[dict[str, Any]]]:
    """Weather by (airport, runway), read under other column names, and flights that name both ends."""
    rows = [
        {
            "airport": airport,
            "runway": runway,
            "event": minute(at),
            "created": minute(at),
            "value": f"{airport}{runway}@{at}",
        }
        for airport in ("EWR", "JFK")
        for runway in (1, 2)
        for at in (0, 10, 20)
    ]
    stored = frame(rows, ["airport", "runway", "event", "created", "value"])
    stored.rename(columns={"airport": "iata", "value": "v", "event": "ts"}).to_parquet(folder / "weather.parquet")
    reads = source(folder / "weather.parquet", field_mapping={"iata": "airport", "v": "value", "ts": "event"})
    airport, runway = entity("airport", ValueType.STRING), entity("runway")
    weather = view("weather", [airport, runway], reads, ttl=AN_HOUR)
    wanted = pd.DataFrame(
        {
            "origin": ["JFK", "EWR", "JFK", "LGA", "JFK"],
            "dest": ["EWR", "JFK", "EWR", "EWR", "EWR"],
            "runway": [2, 1, 1, 2, 2],
            "note": ["a", None, "c", "d", "a"],
            "event_timestamp": [minute(15), minute(9), minute(99), minute(20), minute(15)],
        }
    )
    return [airport, runway, weather], wanted, rows


@pytest.mark.parametrize("full_names", [True, False])
@pytest.mark.parametrize("offline", ["ours", "duckdb"])
def test_field_mapping_two_keys_and_prefixes(tmp_path: Path, full_names: bool, offline: str) -> None:
    objects, wanted, rows = _flights(tmp_path)
    wanted = wanted.rename(columns={"origin": "airport"})
    store = open_store(tmp_path, objects, **({} if offline == "ours" else {"offline": offline}))
    got = store.get_historical_features(wanted.copy(), ["weather:value"], full_feature_names=full_names).to_df()
    got = got.sort_values(["airport", "runway", "event_timestamp"], ignore_index=True)
    wanted = wanted.sort_values(["airport", "runway", "event_timestamp"], ignore_index=True)
    column = "weather__value" if full_names else "value"
    assert set(got.columns) == {*wanted.columns, column}
    assert values(got[column]) == by_definition(wanted, rows, ["airport", "runway"], ttl=AN_HOUR)
    assert values(got[column]) == ["EWR1@0", None, "JFK2@10", "JFK2@10", None]


def test_one_view_twice_under_other_keys(tmp_path: Path) -> None:
    """Only one of two keys is renamed. Feast's DuckDB store forgets the other one then; the definition does not."""
    objects, wanted, rows = _flights(tmp_path)
    store = open_store(tmp_path, objects, feature_timestamps=True)
    weather = store.get_feature_view("weather")
    both = [
        weather.with_name("at_origin").with_join_key_map({"airport": "origin"}),
        weather.with_name("at_dest").with_join_key_map({"airport": "dest"}),
    ]
    store.apply([FeatureService(name="both_ends", features=both)])
    got = store.get_historical_features(wanted, store.get_feature_service("both_ends"), full_feature_names=True).to_df()
    assert list(got.columns[:5]) == list(wanted.columns)
    assert values(got["note"]) == ["a", None, "c", "d", "a"]
    for end in ("origin", "dest"):
        renamed = wanted.rename(columns={end: "airport"})
        assert values(got[f"at_{end}__value"]) == by_definition(renamed, rows, ["airport", "runway"], ttl=AN_HOUR)
        assert f"at_{end}__created_timestamp" in got.columns


def _simple(folder: Path, rows: Sequence[dict[str, Any]] = AWKWARD, **options: Any) -> FeatureStore:
    table = frame(rows, COLUMNS)
    table["id"] = table["id"].astype("Int64")
    table.to_parquet(folder / "simple.parquet")
    key = entity("id")
    return open_store(folder, [key, view("simple", [key], source(folder / "simple.parquet"))], **options)


def test_order_duplicates_index_and_passthrough_columns_are_kept(tmp_path: Path) -> None:
    store = _simple(tmp_path)
    wanted = pd.DataFrame(
        {
            "weight": [0.5, float("nan"), 2.0, 0.5],
            "id": [2, 1, 99, 2],
            "event_timestamp": [minute(6), minute(11), minute(6), minute(6)],
            "kind": pd.Categorical(["x", "y", None, "x"]),
            "label": ["é", None, "", "é"],
        },
        index=[7, 7, 3, 1],
    )
    before = wanted.copy(deep=True)
    got = store.get_historical_features(wanted, ["simple:value"]).to_df()
    pd.testing.assert_frame_equal(wanted, before)
    assert values(got.pop("value")) == ["two", "at ten", None, "two"]
    pd.testing.assert_frame_equal(got, before.reset_index(drop=True), check_dtype=False)
    assert [str(kind) for kind in got.dtypes[["weight", "id", "kind"]]] == ["float64", "int64", "category"]


def test_empty_entity_rows_give_an_empty_result(tmp_path: Path) -> None:
    wanted = frame([], ["id", "event_timestamp"]).astype({"id": "int64"})
    job = _simple(tmp_path).get_historical_features(wanted, ["simple:value"])
    assert job.to_df().columns.tolist() == ["id", "event_timestamp", "value"]
    assert job.to_arrow().num_rows == 0


def test_an_entity_row_without_a_time_joins_nothing(tmp_path: Path) -> None:
    wanted = pd.DataFrame({"id": [2, 2], "event_timestamp": pd.to_datetime([None, minute(6)], utc=True)})
    got = _simple(tmp_path).get_historical_features(wanted, ["simple:value"]).to_df()
    assert values(got["value"]) == [None, "two"]


def test_the_same_question_has_the_same_answer_on_any_number_of_threads(tmp_path: Path) -> None:
    rows = [
        {"id": key, "event": minute(0), "created": minute(0), "value": f"{key}.{copy}"}
        for key in range(300)
        for copy in range(4)
    ]
    wanted = asked(range(300), [minute(0), minute(1)])
    answers = []
    for threads in (1, 2, 4):
        (tmp_path / str(threads)).mkdir()
        store = _simple(tmp_path / str(threads), rows, threads=threads, memory_limit="200MB")
        answers.append(store.get_historical_features(wanted, ["simple:value"]).to_arrow())
    assert answers[0].equals(answers[1])
    assert answers[0].equals(answers[2])
    assert set(answers[0]["value"].to_pylist()) == {f"{key}.3" for key in range(300)}, "the last of equal rows wins"


def test_a_view_of_no_entity_joins_every_row(tmp_path: Path) -> None:
    rows = [{"event": minute(at), "created": minute(at), "value": f"@{at}"} for at in (0, 10)]
    frame(rows, ["event", "created", "value"]).to_parquet(tmp_path / "global.parquet")
    store = open_store(tmp_path, [view("everywhere", [], source(tmp_path / "global.parquet"))])
    wanted = pd.DataFrame({"event_timestamp": [minute(10), minute(-1), minute(9)], "note": [1, 2, 3]})
    got = store.get_historical_features(wanted, ["everywhere:value"]).to_df()
    assert values(got["value"]) == ["@10", None, "@0"]
    store.materialize(minute(-60), minute(60))
    assert store.get_online_features(["everywhere:value"], [{DUMMY_ENTITY_ID: DUMMY_ENTITY_VAL}]).to_dict()[
        "value"
    ] == ["@10"]


def test_column_names_that_the_query_uses_itself(tmp_path: Path) -> None:
    names = [
        "k0",
        "f0",
        "f1",
        "c0",
        "event_at",
        "created_at",
        "known_from",
        "file",
        "line",
        "at",
        "row_number",
        "e",
        "v0",
        'a"b',
        "it's",
    ]
    rows = [{"id": 1, "event": minute(0), "created": minute(0)} | {name: f"{name}!" for name in names}]
    frame(rows, ["id", "event", "created", *names]).to_parquet(tmp_path / "names.parquet")
    key = entity("id")
    store = open_store(tmp_path, [key, view("names", [key], source(tmp_path / "names.parquet"), names)])
    wanted = frame([{"id": 1, "event_timestamp": minute(1)}], ["id", "event_timestamp"])
    got = store.get_historical_features(wanted, [f"names:{name}" for name in names]).to_df()
    assert list(got.columns) == ["id", "event_timestamp", *names]
    assert got.loc[0, names].tolist() == [f"{name}!" for name in names]
    store.materialize(minute(-60), minute(60))
    online = store.get_online_features([f"names:{name}" for name in names], [{"id": 1}]).to_dict()
    assert [online[name] for name in names] == [[f"{name}!"] for name in names]


# -- times ---------------------------------------------------------------------------------------------------------


def _zoned(folder: Path, kind: str) -> None:
    times = pd.Series(pd.to_datetime([minute(0), minute(10)], utc=True))
    stored = {
        "utc": times.astype("datetime64[us, UTC]"),
        "naive": times.dt.tz_localize(None).astype("datetime64[us]"),
        "new_york": times.dt.tz_convert("America/New_York").astype("datetime64[ms, America/New_York]"),
        "nanoseconds": times.astype("datetime64[ns, UTC]"),
        "naive_nanoseconds": times.dt.tz_localize(None).astype("datetime64[ns]"),
    }[kind]
    table = pd.DataFrame({"id": [1, 1], "event": stored, "created": stored, "value": ["noon", "ten past"]})
    table.to_parquet(folder / "zoned.parquet")


@pytest.mark.parametrize("stored", ["utc", "naive", "new_york", "nanoseconds", "naive_nanoseconds"])
@pytest.mark.parametrize("given_as", ["utc", "naive", "tokyo", "text"])
@pytest.mark.parametrize("coerce", [True, False])
def test_time_zones(tmp_path: Path, stored: str, given_as: str, coerce: bool) -> None:
    _zoned(tmp_path, stored)
    key = entity("id")
    store = open_store(
        tmp_path, [key, view("zoned", [key], source(tmp_path / "zoned.parquet"), ttl=AN_HOUR)], coerce_tz_aware=coerce
    )
    times = pd.Series([minute(at) for at in (-0.1, 0, 9.9, 10, 70, 70.1)]).astype("datetime64[ns, UTC]")
    given_times = {
        "utc": times,
        "naive": times.dt.tz_localize(None),
        "tokyo": times.dt.tz_convert("Asia/Tokyo"),
        "text": times.dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }[given_as]
    wanted = pd.DataFrame({"id": 1, "event_timestamp": given_times})
    got = store.get_historical_features(wanted, ["zoned:value"]).to_df()
    assert values(got["value"]) == [None, "noon", "noon", "ten past", "ten past", None]
    if given_as == "tokyo" and not coerce:
        assert str(got["event_timestamp"].dt.tz) == "Asia/Tokyo"
    assert list(pd.to_datetime(got["event_timestamp"], utc=True)) == list(times)


def test_below_a_microsecond_a_row_is_missed_rather_than_leaked(tmp_path: Path) -> None:
    """Times finer than the query's resolution, before and after 1970: never a row from after the entity row's time."""
    offsets = np.array([-2_000_000_000_000_000_000, 1_372_680_000_000_000_000])[:, None] + np.array(
        [0, 1, 499, 501, 999]
    )
    instants = pd.Series(pd.to_datetime(np.sort(offsets.ravel()), utc=True))
    stored = pd.DataFrame({"id": range(10), "event": instants, "created": instants, "value": "seen"})
    stored.to_parquet(tmp_path / "fine.parquet")
    key = entity("id")
    store = open_store(tmp_path, [key, view("fine", [key], source(tmp_path / "fine.parquet"))])
    pairs = [(key, wanted) for key in range(10) for wanted in [*instants, *(instants + pd.Timedelta(microseconds=1))]]
    wanted = pd.DataFrame({"id": [key for key, _ in pairs], "event_timestamp": [at for _, at in pairs]})
    got = store.get_historical_features(wanted, ["fine:value"]).to_df()
    age = got["event_timestamp"] - got["id"].map(instants)
    seen = got["value"].notna()
    assert seen.any()
    assert (age[seen] >= pd.Timedelta(0)).all()
    assert seen[age >= pd.Timedelta(microseconds=2)].all()


# -- on-demand views, materialization, saved data sets -------------------------------------------------------------


def _with_on_demand(folder: Path) -> FeatureStore:
    rows = [{"id": 1, "event": minute(at), "created": minute(at), "a": at * 1.0, "b": at + 1.0} for at in (0, 10)]
    frame(rows, ["id", "event", "created", "a", "b"]).to_parquet(folder / "numbers.parquet")
    key = entity("id")
    numbers = view("numbers", [key], source(folder / "numbers.parquet"), ["a", "b"], kind=Float64)
    extra = RequestSource(name="extra", schema=[Field(name="plus", dtype=Int64)])

    @on_demand_feature_view(sources=[numbers, extra], schema=[Field(name="sum", dtype=Float64)], mode="pandas")
    def added(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"sum": inputs["a"] + inputs["b"] + inputs["plus"]})

    return open_store(folder, [key, numbers, added])


@pytest.mark.parametrize("full_names", [True, False])
def test_on_demand_views(tmp_path: Path, full_names: bool) -> None:
    store = _with_on_demand(tmp_path)
    wanted = frame([{"id": 1, "event_timestamp": minute(at)} for at in (10, 9)], ["id", "event_timestamp"])
    wanted["plus"] = [100, 200]
    job = store.get_historical_features(wanted, ["numbers:b", "added:sum"], full_feature_names=full_names)
    got, prefix = job.to_df(), (lambda view: f"{view}__") if full_names else (lambda view: "")
    assert list(got[f"{prefix('added')}sum"]) == [10 + 11 + 100, 0 + 1 + 200]
    assert list(got[f"{prefix('numbers')}b"]) == [11.0, 1.0]


@pytest.mark.slow
def test_columns_stand_in_the_same_order_whatever_the_hash_seed(tmp_path: Path) -> None:
    _with_on_demand(tmp_path)
    script = f"""
import sys; sys.path[:0] = {sys.path!r}
from pathlib import Path
from towpath.telemetry import silence
silence()
from test_feast_asof import _with_on_demand, frame, minute
store = _with_on_demand(Path({str(tmp_path)!r}))
wanted = frame([{{"id": 1, "event_timestamp": minute(10), "plus": 1}}], ["id", "event_timestamp", "plus"])
print(*store.get_historical_features(wanted, ["added:sum"]).to_df().columns)
"""
    seen = set()
    for seed in ("1", "4"):
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        seen.add(run.stdout.strip().splitlines()[-1])
    assert seen == {"id event_timestamp plus a b sum"}


def test_online_equals_offline_after_materialization(tmp_path: Path) -> None:
    store = _simple(tmp_path, WHOLE)
    end = minute(75)
    store.materialize(minute(-60), end)
    wanted = frame([{"id": key, "event_timestamp": end} for key in (1, 2, 3, 99)], ["id", "event_timestamp"])
    offline = store.get_historical_features(wanted, ["simple:value"]).to_df()
    online = store.get_online_features(["simple:value"], [{"id": key} for key in (1, 2, 3, 99)]).to_dict()
    assert online["value"] == values(offline["value"]) == ["twenty, late", None, None, None]


def test_a_replay_of_the_past_materializes_what_was_known_then(tmp_path: Path) -> None:
    for known, answer in ((True, "at ten, corrected"), (False, "twenty, late")):
        (tmp_path / str(known)).mkdir()
        store = _simple(tmp_path / str(known), WHOLE, materialize_as_known_at=known)
        store.materialize(minute(-60), minute(45))
        assert store.get_online_features(["simple:value"], [{"id": 1}]).to_dict()["value"] == [answer]


@pytest.mark.parametrize("latest", [True, False])
def test_pulled_rows_are_those_of_feasts_duckdb_store(tmp_path: Path, latest: bool) -> None:
    ours, theirs = _simple(tmp_path, AWKWARD), _simple(tmp_path, AWKWARD, offline="duckdb")
    reads = ours.get_feature_view("simple").batch_source
    pulled = []
    for store in (ours, theirs):
        offline = store._get_provider().offline_store
        pull = offline.pull_latest_from_table_or_query if latest else offline.pull_all_from_table_or_query
        job = pull(store.config, reads, ["id"], ["value"], "event", "created", minute(0), minute(61))
        pulled.append(sorted(map(str, job.to_arrow().to_pylist())))
    assert pulled[0] == pulled[1]
    assert len(pulled[0]) == (4 if latest else 9)


def test_saved_data_set_round_trip(tmp_path: Path) -> None:
    store = _simple(tmp_path)
    wanted = asked([1, 2], [minute(6), minute(45)])
    job = store.get_historical_features(wanted, ["simple:value"])
    storage = SavedDatasetFileStorage(path="sets/one.parquet")
    saved = store.create_saved_dataset(job, "one", storage)
    assert pq.read_table(tmp_path / "sets" / "one.parquet").equals(job.to_arrow())
    read = saved.to_df().sort_values(["id", "event_timestamp"], ignore_index=True)
    expected = job.to_df().sort_values(["id", "event_timestamp"], ignore_index=True)
    assert list(read["value"]) == list(expected["value"])
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(storage)
    job.persist(storage, allow_overwrite=True)
    assert sorted(path.name for path in (tmp_path / "sets").iterdir()) == ["one.parquet"]
    folder = SavedDatasetFileStorage(path="sets/folder")
    job.persist(folder)
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(folder)
    job.persist(folder, allow_overwrite=True)
    assert pq.read_table(tmp_path / "sets" / "folder").equals(job.to_arrow())
    assert sorted(path.name for path in (tmp_path / "sets").iterdir()) == ["folder", "one.parquet"]


def test_entity_rows_may_be_sql_that_duckdb_runs(tmp_path: Path) -> None:
    store = _simple(tmp_path)
    wanted = asked([1, 2, 99, None], edges())
    wanted.to_parquet(tmp_path / "rows.parquet")
    refs = ["simple:value"]
    of_frame = store.get_historical_features(wanted, refs).to_arrow()
    of_sql = store.get_historical_features(f"SELECT * FROM read_parquet('{tmp_path}/rows.parquet')", refs).to_arrow()
    assert of_sql.column_names == of_frame.column_names
    assert of_sql.to_pylist() == of_frame.to_pylist()
    text = "SELECT 1 AS id, '2013-07-01T12:45:00Z' AS event_timestamp"
    assert store.get_historical_features(text, refs).to_arrow()["value"].to_pylist() == ["at ten, corrected"]


def test_a_result_of_many_batches_is_written_as_it_is_read(tmp_path: Path) -> None:
    store = _simple(tmp_path)
    times = [minute(0.001 * number) for number in range(50_000)]
    wanted = pd.DataFrame({"id": [1, 2, None] * 50_000, "event_timestamp": np.repeat(times, 3)}).astype({"id": "Int64"})
    wanted["row"] = range(len(wanted))
    job = store.get_historical_features(wanted, ["simple:value"])
    assert job.write(tmp_path / "result.parquet") == len(wanted)
    assert pq.ParquetFile(tmp_path / "result.parquet").num_row_groups > 1
    written, read = pq.read_table(tmp_path / "result.parquet"), job.to_arrow()
    assert written.schema.equals(read.schema, check_metadata=True)
    assert written.equals(read)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_job_tells_its_statement_and_its_metadata(tmp_path: Path) -> None:
    wanted = asked([1, 2], [minute(6), minute(45)])
    job = _simple(tmp_path).get_historical_features(wanted, ["simple:value"])
    assert "ASOF LEFT JOIN" in job.to_sql()
    assert "simple.parquet" in job.to_sql()
    assert job.metadata.features == ["simple:value"]
    assert job.metadata.keys == ["id", "row"]
    assert (job.metadata.min_event_timestamp, job.metadata.max_event_timestamp) == (minute(6), minute(45))


# -- refusals ------------------------------------------------------------------------------------------------------


def test_a_source_without_created_column_is_refused_while_the_filter_is_on(tmp_path: Path) -> None:
    frame(AWKWARD[:2], COLUMNS).astype({"id": "int64"}).to_parquet(tmp_path / "bare.parquet")
    key = entity("id")
    objects = [key, view("bare", [key], source(tmp_path / "bare.parquet", created=False))]
    wanted = frame([{"id": 1, "event_timestamp": minute(10)}], ["id", "event_timestamp"])
    with pytest.raises(DeclarationError, match=r"'bare'.*no created_timestamp_column.*as_known_at: false"):
        open_store(tmp_path, objects).get_historical_features(wanted, ["bare:value"])
    store = open_store(tmp_path, objects, as_known_at=False, feature_timestamps=True)
    got = store.get_historical_features(wanted, ["bare:value"]).to_df()
    assert values(got["value"]) == ["at ten"]
    assert got["bare__created_timestamp"].isna().all()
    assert got["bare__event_timestamp"].notna().all()
    with pytest.raises(DeclarationError, match="no created_timestamp_column"):
        store.get_historical_features(wanted, ["bare:value"], filter_by_created_timestamp=True)


def test_entity_rows_that_cannot_be_joined(tmp_path: Path) -> None:
    store = _simple(tmp_path)
    good = frame([{"id": 1, "event_timestamp": minute(10)}], ["id", "event_timestamp"])
    refused: list[tuple[Any, str]] = [
        ("SELECT 1 AS id", "need one time column"),
        ("SELECT now() AS event_timestamp", r"lack the join keys \['id'\]"),
        ("rows.parquet", "(?s)SQL of the entity rows cannot be run.*SELECT"),
        ("", "SQL of the entity rows cannot be run: it is nothing"),
        ("SET threads = 1", "cannot be run: it is SET, not one SELECT"),
        (f"COPY (SELECT 1) TO '{tmp_path}/written.csv'", "cannot be run: it is COPY"),
        ("SELECT 1 AS id, now() AS event_timestamp; SELECT 2", "cannot be run: it is SELECT, SELECT"),
        ("SELECT 1 AS id, 2 AS id, now() AS event_timestamp", r"cannot be run: it gives the columns \['id'\] more"),
        ("SELECT * FROM 'nowhere.parquet'", "SQL of the entity rows cannot be run.*No files found"),
        (None, "type NoneType.*Valid: pandas.DataFrame, str"),
        (good.drop(columns="id"), r"lack the join keys \['id'\]"),
        (good.drop(columns="event_timestamp"), "need one time column"),
        (good.assign(id="one"), "'id' is stored as BIGINT"),
        (good.assign(event_timestamp="yesterday"), "cannot be read"),
        (pd.concat([good, good["id"]], axis=1), "cannot be read"),
        (good.assign(value=1), r"columns \['value'\] more than once"),
        (pd.concat([good, good.assign(mixed="a")]).assign(mixed=[1, "a"]), "cannot be read"),
    ]
    for entity_df, message in refused:
        with pytest.raises(BadInput, match=message):
            store.get_historical_features(entity_df, ["simple:value"]).to_arrow()
    assert not (tmp_path / "written.csv").exists()


def test_sources_that_cannot_be_read(tmp_path: Path) -> None:
    store, wanted = _simple(tmp_path), frame([{"id": 1, "event_timestamp": minute(10)}], ["id", "event_timestamp"])
    path = tmp_path / "simple.parquet"
    frame(AWKWARD[:2], COLUMNS).astype({"id": "int64"}).drop(columns="created").to_parquet(path)
    with pytest.raises(DeclarationError, match=r"no columns \['created'\]. Valid: id, event, value"):
        store.get_historical_features(wanted, ["simple:value"])
    path.write_bytes(b"not parquet at all")
    with pytest.raises(BadInput, match="cannot be read as declared"):
        store.get_historical_features(wanted, ["simple:value"])
    path.unlink()
    with pytest.raises(NotFound, match="no Parquet file at"):
        store.get_historical_features(wanted, ["simple:value"])
    remote = FileSource(path="s3://bucket/data.parquet", timestamp_field="event")
    with pytest.raises(DeclarationError, match="not a local path"):
        AsofOfflineStore.pull_all_from_table_or_query(store.config, remote, ["id"], ["value"], "event")


def test_a_folder_is_read_whole_and_without_hidden_files(tmp_path: Path) -> None:
    table = frame(AWKWARD[:2], COLUMNS).astype({"id": "int64"})
    data = tmp_path / "da[t]a's"
    (data / "_staging").mkdir(parents=True)
    (data / "day=1").mkdir()
    table.iloc[:1].to_parquet(data / "day=1" / "a.parquet")
    table.iloc[1:].assign(new="n").to_parquet(data / "b.parquet")
    table.iloc[1:].assign(value="unfinished").to_parquet(data / "_staging" / "c.parquet")
    (data / ".d.parquet").write_bytes(b"half")
    key = entity("id")
    store = open_store(tmp_path, [key, view("folder", [key], source("da[t]a's"), ["value", "new"])])
    wanted = frame([{"id": 1, "event_timestamp": minute(at)} for at in (5, 15)], ["id", "event_timestamp"])
    got = store.get_historical_features(wanted, ["folder:value", "folder:new"]).to_df()
    assert values(got["value"]) == ["first", "at ten"]
    assert values(got["new"]) == [None, "n"]


@pytest.mark.parametrize(
    "options", [{"as_know_at": True}, {"memory_limit": "lots"}, {"threads": 0}, {"landing_delay": -1}]
)
def test_a_wrong_option_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(options))):
        AsofOfflineStoreConfig(**options)


def test_a_join_that_does_not_fit_says_what_to_raise(tmp_path: Path) -> None:
    store = _simple(tmp_path, memory_limit="1MB", threads=1)
    wanted = asked(range(3000), [minute(6), minute(45), minute(46)])
    job = store.get_historical_features(wanted, ["simple:value"])
    with pytest.raises(Misconfigured, match=r"(?s)memory_limit: 1MB.*Raise memory_limit"):
        job.to_arrow()
    with pytest.raises(Misconfigured, match=r"(?s)memory_limit: 1MB.*Raise memory_limit"):
        job.write(tmp_path / "result.parquet")
    assert not [path for path in tmp_path.iterdir() if "result" in path.name]


def test_a_join_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    key = pa.array(np.arange(1_500_000) % 1000)
    at = pa.array(np.arange(1_500_000), pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({"id": key, "event": at, "created": at, "value": key}), tmp_path / "long.parquet")
    owner = entity("id")
    store = open_store(
        tmp_path, [owner, view("long", [owner], source(tmp_path / "long.parquet"), kind=Int64)], threads=1
    )
    wanted = pd.DataFrame({"id": np.arange(500_000) % 1000, "event_timestamp": datetime(2013, 1, 1, tzinfo=UTC)})
    job = store.get_historical_features(wanted, ["long:value"])
    with pytest.raises(TimeoutError, match=r"within 0\.02 seconds"):
        job.to_arrow(timeout=0.02)
    with pytest.raises(TimeoutError, match=r"within 0\.02 seconds"):
        job.write(tmp_path / "result.parquet", timeout=0.02)
    assert not [path for path in tmp_path.iterdir() if "result" in path.name]
