"""A small feature repository with every kind of value, and what Feast itself answers of it."""

from __future__ import annotations

import logging
import uuid
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from towpath.adapters.feast_features import FeastFeatures
from towpath.adapters.feast_features_repository import opened, settings
from towpath.ports import OnlineAnswer

NOON = datetime(2024, 3, 10, 12, tzinfo=UTC)
TIME = pa.timestamp("us", tz="UTC")
SERVICE = "everything"

SETTINGS = """\
project: {project}
provider: local
registry: {{registry_type: file, path: "${{TOWPATH_FEAST_STATE}}/registry.db"}}
online_store: {store}
offline_store: {{type: towpath.adapters.feast_asof.AsofOfflineStore}}
entity_key_serialization_version: 3
"""
SQLITE = '{type: sqlite, path: "${TOWPATH_FEAST_STATE}/online.db"}'
DEFINITIONS = """\
import os
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp

shop = Entity(name="shop", join_keys=["shop"], value_type=ValueType.STRING)
product = Entity(name="product", join_keys=["product_id"], value_type=ValueType.INT64)
shelf = Entity(name="shelf", join_keys=["shelf"], value_type=ValueType.INT32)

def source(name):
    return FileSource(
        name=name, path=os.environ["TOWPATH_FEATURES"] + f"/{name}.parquet",
        timestamp_field="event_timestamp", created_timestamp_column="created_timestamp",
    )

views = [
    FeatureView(
        name="takings", entities=[shop], ttl=timedelta(days=2), source=source("takings"),
        schema=[Field(name="taken", dtype=Float64), Field(name="visits", dtype=Int64)],
    ),
    FeatureView(
        name="stock", entities=[shop, product], source=source("stock"),
        schema=[Field(name="supplier", dtype=String), Field(name="pieces", dtype=Int64)],
    ),
    FeatureView(name="shelves", entities=[shelf], source=source("shelves"), schema=[Field(name="level", dtype=Int32)]),
    FeatureView(name="weather", source=source("weather"), schema=[Field(name="warmth", dtype=Float64)]),
    FeatureView(
        name="kinds", entities=[shop], source=source("kinds"),
        schema=[
            Field(name="small", dtype=Float32), Field(name="open", dtype=Bool), Field(name="short", dtype=Int32),
            Field(name="since", dtype=UnixTimestamp), Field(name="raw", dtype=Bytes), Field(name="large", dtype=Int64),
            Field(name="ratio", dtype=Float64), Field(name="word", dtype=String),
            Field(name="sizes", dtype=Array(Float64)), Field(name="tags", dtype=Array(String)),
            Field(name="days", dtype=Array(UnixTimestamp)),
        ],
    ),
]
everything = FeatureService(name="everything", features=views)
"""
KINDS = {
    "small": pa.float32(),
    "open": pa.bool_(),
    "since": TIME,
    "short": pa.int32(),
    "raw": pa.binary(),
    "large": pa.int64(),
    "ratio": pa.float64(),
    "word": pa.string(),
    "sizes": pa.list_(pa.float64()),
    "tags": pa.list_(pa.string()),
    "days": pa.list_(TIME),
}
ASKED: Mapping[str, Sequence[tuple[Any, ...]]] = {
    "takings": [("north",), ("south",), ("east",), ("nowhere",), ("",)],
    "stock": [("north", 1), ("north", 2**60), ("south", -7), ("south", 8), ("nowhere", 1)],
    "shelves": [(1,), (-2,), (2**31 - 1,), (9,)],
    "weather": [()],
    "kinds": [("north",), ("south",), ("empty",), ("nowhere",)],
}


def hours(count: float) -> datetime:
    """So many hours after noon."""
    return NOON + timedelta(hours=count)


@dataclass(frozen=True, kw_only=True)
class Online:
    """A repository whose online store holds the shops."""

    repository: Path
    state: Path
    sources: Path
    project: str

    def feast(self, view: str, keys: Sequence[tuple[Any, ...]], features: Sequence[str]) -> list[dict[str, Any]]:
        """Feast's own answer: of each key the features, and their time as `at` (None when there is none)."""
        names = {"stock": ["shop", "product_id"], "shelves": ["shelf"], "weather": ["__dummy_id"]}.get(view, ["shop"])
        rows = [dict(zip(names, key or ("",), strict=True)) for key in keys]
        with opened(self.repository, sources=self.sources, state=self.state):
            import feast

            store = feast.FeatureStore(config=settings(self.repository))
            response = store.get_online_features([f"{view}:{name}" for name in features], rows)
        values = response.to_dict()
        order = list(response.proto.metadata.feature_names.val)
        stamps = response.proto.results[order.index(features[0])].event_timestamps
        at = [datetime.fromtimestamp(one.seconds, tz=UTC) if one.seconds else None for one in stamps]
        return [{name: values[name][row] for name in features} | {"at": at[row]} for row in range(len(keys))]


def flat(answer: OnlineAnswer | None, features: Sequence[str]) -> dict[str, Any]:
    """An answer of ours in the form of `Online.feast`."""
    if answer is None:
        return dict.fromkeys(features) | {"at": None}
    return {name: answer.values[name] for name in features} | {"at": datetime.fromtimestamp(int(answer.at), UTC)}


def lay(folder: Path, store: str) -> Online:
    """The repository, applied and materialized."""
    online = Online(
        repository=folder / "repository",
        state=folder / "feast",
        sources=folder / "sources",
        project=f"shops_{uuid.uuid4().hex[:8]}",
    )
    online.repository.mkdir(parents=True)
    online.sources.mkdir()
    (online.repository / "feature_store.yaml").write_text(SETTINGS.format(project=online.project, store=store))
    (online.repository / "definitions.py").write_text(DEFINITIONS)
    _fill(online.sources)
    spine = folder / "spine.parquet"
    row = {"shop": "north", "product_id": 1, "shelf": 1, "event_timestamp": NOON, "label_timestamp": NOON}
    pq.write_table(pa.Table.from_pylist([row]), spine)
    port = FeastFeatures()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        port.training_set(
            online.repository, SERVICE, sources=online.sources, spine=spine, target=folder / "out.parquet"
        )
        port.materialize(online.repository, SERVICE, sources=online.sources, until=NOON)
    logging.getLogger("feast").setLevel(logging.ERROR)
    return online


def _fill(sources: Path) -> None:
    _write(
        sources / "takings.parquet",
        [
            {"shop": "north", "at": hours(-30), "taken": 1 / 3, "visits": 1},
            {"shop": "north", "at": hours(-5.25), "taken": 2 / 3, "visits": -2},
            {"shop": "south", "at": hours(-3), "taken": None, "visits": 0},
            {"shop": "east", "at": hours(-49), "taken": 4.0, "visits": 4},
        ],
        taken=pa.float64(),
    )
    _write(
        sources / "stock.parquet",
        [
            {"shop": "north", "product_id": 1, "at": datetime(1950, 1, 1, tzinfo=UTC), "supplier": "old", "pieces": 7},
            {"shop": "north", "product_id": 2**60, "at": hours(-9), "supplier": "", "pieces": 2**62},
            {"shop": "south", "product_id": -7, "at": hours(-9), "supplier": "Ünï çødé", "pieces": -1},
        ],
    )
    _write(
        sources / "shelves.parquet",
        [
            {"shelf": 1, "at": hours(-1), "level": 3},
            {"shelf": -2, "at": hours(-1), "level": -3},
            {"shelf": 2**31 - 1, "at": hours(-1), "level": 2**31 - 1},
        ],
        shelf=pa.int32(),
        level=pa.int32(),
    )
    _write(sources / "weather.parquet", [{"at": hours(-1), "warmth": 12.5}])
    whole = {
        "small": 0.1,
        "open": False,
        "since": datetime(1969, 5, 4, 3, 2, 1, tzinfo=UTC),
        "short": -5,
        "raw": b"\x00\xff",
        "large": -(2**62),
        "ratio": -0.0,
        "word": "x" * 300,
        "sizes": [1.5, -2.5],
        "tags": ["a", "ü"],
        "days": [NOON],
    }
    other = {**whole, "open": True, "raw": b"", "word": "", "ratio": 1e300, "large": 0, "short": 0, "since": NOON}
    _write(
        sources / "kinds.parquet",
        [
            {"shop": "north", "at": hours(-2), **whole},
            {"shop": "south", "at": hours(-2), **other},
            {"shop": "empty", "at": hours(-2), **dict.fromkeys(whole)},
        ],
        **KINDS,
    )


def _write(file: Path, rows: Sequence[Mapping[str, Any]], **types: pa.DataType) -> None:
    whole = [{"event_timestamp": row["at"], "created_timestamp": row["at"], **row} for row in rows]
    types |= {"event_timestamp": TIME, "created_timestamp": TIME}
    names = [name for name in whole[0] if name != "at"]
    pq.write_table(pa.table({name: pa.array([row[name] for row in whole], types.get(name)) for name in names}), file)
