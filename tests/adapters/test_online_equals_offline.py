"""The online store answers what the offline store says, whatever order rows come in: late, corrected, pushed, again.

A simulated day: rows are made, reach the files some time after they were created, and go online by Feast's own
incremental materialization and by pushes. After each step every view is compared for every entity.
"""

# ruff: noqa: E402  Feast is silenced before it is imported
from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from towpath.telemetry import silence

silence()

from feast.data_source import PushMode

from servers.redis import RedisServer
from towpath.adapters.feast_features import FeastFeatures, quiet
from towpath.adapters.feast_features_parity import answers, difference
from towpath.adapters.feast_features_repository import definitions, opened, served, settings
from towpath.ports import FeatureView

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # Feast announces its experimental parts
]

EXAMPLE = Path(__file__).parents[2] / "feature_repo"
MIDNIGHT = datetime(2024, 3, 10, tzinfo=UTC)
TIME = pa.timestamp("us", tz="UTC")
ARROW = {"STRING": pa.string(), "INT64": pa.int64(), "DOUBLE": pa.float64()}
TIMES = ("event_timestamp", "created_timestamp")

AWKWARD = """\
import os
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, ValueType
from feast.types import Float64, Int64, String

shop = Entity(name="shop", join_keys=["shop"], value_type=ValueType.STRING)
product = Entity(name="product", join_keys=["product_id"], value_type=ValueType.INT64)

def source(name, suffix="", **options):
    return FileSource(
        name=name, path=os.environ["TOWPATH_FEATURES"] + f"/{name}{suffix}",
        timestamp_field="event_timestamp", created_timestamp_column="created_timestamp", **options,
    )

views = [
    FeatureView(
        name="takings", entities=[shop], ttl=timedelta(hours=5),
        source=PushSource(name="takings_push", batch_source=source("takings", ".parquet")),
        schema=[Field(name="taken", dtype=Float64), Field(name="visits", dtype=Int64)],
    ),
    FeatureView(
        name="stock", entities=[shop, product],
        source=PushSource(name="stock_push", batch_source=source("stock")),
        schema=[Field(name="supplier", dtype=String)],
    ),
    FeatureView(
        name="prices", entities=[product], ttl=timedelta(days=3),
        source=source("prices", field_mapping={"p": "price"}),  # which Feast does not materialize from a push source
        schema=[Field(name="price", dtype=Float64)],
    ),
    FeatureView(
        name="weather", source=PushSource(name="weather_push", batch_source=source("weather", ".parquet")),
        schema=[Field(name="warmth", dtype=Float64)],
    ),
]
everything = FeatureService(name="everything", features=views)
"""
SETTINGS = """\
project: {project}
provider: local
registry: {{registry_type: file, path: "${{TOWPATH_FEAST_STATE}}/registry.db"}}
online_store: {store}
offline_store: {{type: towpath.adapters.feast_asof.AsofOfflineStore}}
entity_key_serialization_version: 3
"""
SQLITE = '{type: sqlite, path: "${TOWPATH_FEAST_STATE}/online.db"}'


def at(hours: float) -> datetime:
    """So many hours after midnight."""
    return MIDNIGHT + timedelta(hours=hours)


@dataclass(kw_only=True)
class Day:
    """A repository of features whose rows arrive over a day. `now` is the time that the day has come to."""

    folder: Path
    service: str
    keys: Mapping[str, Sequence[tuple[Any, ...]]]
    now: datetime = MIDNIGHT
    waiting: list[tuple[datetime, str, dict[str, Any]]] = field(default_factory=list)
    store: Any = None
    views: tuple[FeatureView, ...] = ()
    pushed: set[str] = field(default_factory=set)
    kinds: Mapping[str, Mapping[str, pa.DataType]] = field(default_factory=dict)

    @contextmanager
    def running(self, draw: random.Random) -> Iterator[None]:
        """The store with every source begun by one row of each entity."""
        repository, sources = self.folder / "repository", self.folder / "sources"
        state = self.folder / "feast"
        sources.mkdir()
        state.mkdir()
        with opened(repository, sources=sources, state=state):
            import feast

            defined = definitions(repository)
            self.store = feast.FeatureStore(config=settings(repository))
            self.views = served(defined, self.service)
            self.kinds = {
                one.name: {item.name: ARROW[item.dtype.to_value_type().name] for item in one.features}
                for one in defined
                if isinstance(one, feast.FeatureView)
            }
            for view in self.views:
                first = [self.row(view, key, at(-1), at(-1), draw) for key in self.keys[view.name]]
                self._begin(view, next(one for one in defined if one.name == view.name), first)
            with quiet():
                self.store.apply(defined, partial=False)
                self.store.materialize(at(-48), self.now)
            self.pushed = {source.name for source in self.store.list_data_sources()}
            yield

    def _begin(self, view: FeatureView, defined: Any, rows: Sequence[dict[str, Any]]) -> None:
        path = Path(defined.batch_source.path)
        stored = {name: column for column, name in defined.batch_source.field_mapping.items()}
        table = self.table(view, rows).rename_columns([stored.get(n, n) for n in self.columns(view)])
        if path.suffix:
            pq.write_table(table, path)
        else:
            path.mkdir()
            pq.write_table(table, path / "first.parquet")

    def columns(self, view: FeatureView) -> list[str]:
        return [*view.keys, *view.features, *TIMES]

    def table(self, view: FeatureView, rows: Sequence[dict[str, Any]]) -> pa.Table:
        keys = self.keys[view.name][0]
        kinds = dict.fromkeys(TIMES, TIME) | self.kinds[view.name]
        kinds |= {
            name: pa.string() if isinstance(key, str) else pa.int64() for name, key in zip(view.keys, keys, strict=True)
        }
        return pa.Table.from_pylist(list(rows), schema=pa.schema([(name, kinds[name]) for name in self.columns(view)]))

    def row(
        self, view: FeatureView, key: tuple[Any, ...], event: datetime, created: datetime, draw: random.Random
    ) -> dict[str, Any]:
        made = {pa.string(): str, pa.int64(): int, pa.float64(): lambda number: number / 7}
        values = {
            name: None if draw.random() < 0.1 else made[self.kinds[view.name][name]](draw.randrange(10**6))
            for name in view.features
        }
        return {**dict(zip(view.keys, key, strict=True)), **values, **dict(zip(TIMES, (event, created), strict=True))}

    # -- what happens ----------------------------------------------------------------------------------------------

    def make(self, view: FeatureView, draw: random.Random) -> None:
        """A row of now or of the past, or the correction of a row, which reaches the files at once or later."""
        key = draw.choice(self.keys[view.name])
        age = draw.choice([0, 0.2, 1, 4, 9])
        event = at(round((self.now - MIDNIGHT) / timedelta(hours=1) - age)) if draw.random() < 0.5 else self.now
        event -= timedelta(microseconds=draw.choice([0, 1, 400_000]))
        landing = self.now + timedelta(hours=draw.choice([0, 0, 0.5, 3]))
        self.waiting.append((landing, view.name, self.row(view, key, event, self.now, draw)))

    def land(self) -> None:
        """What is due reaches the files."""
        for view in self.views:
            due = [row for time, name, row in self.waiting if name == view.name and time <= self.now]
            if due:
                self.store.write_to_offline_store(view.name, self.as_stored(view, due))
        self.waiting = [one for one in self.waiting if one[0] > self.now]

    def as_stored(self, view: FeatureView, rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
        mapping = self.store.get_feature_view(view.name).batch_source.field_mapping
        stored = {name: column for column, name in mapping.items()}
        frame: pd.DataFrame = self.table(view, rows).to_pandas(integer_object_nulls=True)
        return frame.rename(columns=stored)

    def push(self, view: FeatureView, draw: random.Random) -> None:
        """A row to both stores. Its event may lie before what is there."""
        key = draw.choice(self.keys[view.name])
        event = self.now - timedelta(hours=draw.choice([0, 0.1, 2, 6]))
        row = self.row(view, key, event, self.now, draw)
        with quiet():
            if f"{view.name}_push" in self.pushed:
                rows = self.table(view, [row]).to_pandas(integer_object_nulls=True)
                self.store.push(f"{view.name}_push", rows, to=PushMode.ONLINE_AND_OFFLINE)
                return
            # the same for a view without a push source
            self.store.write_to_online_store(view.name, self.table(view, [row]).to_pandas(integer_object_nulls=True))
        self.store.write_to_offline_store(view.name, self.as_stored(view, [row]))

    def materialize(self) -> None:
        with quiet():
            self.store.materialize_incremental(self.now)

    def differing(self) -> dict[str, str]:
        """Each view whose online answers are not the offline ones at `now`, with an example."""
        found = {}
        for view in self.views:
            rows = pd.DataFrame([dict(zip(view.keys, key, strict=True)) for key in self.keys[view.name]])
            rows = rows.assign(event_timestamp=pd.Timestamp(self.now)) if len(rows.columns) else _one_row(self.now)
            online = answers(self.store, view, rows, at=self.now)
            refs = [f"{view.name}:{name}" for name in view.features]
            offline = self.store.get_historical_features(entity_df=rows, features=refs).to_df()
            parity = difference(view, offline, pd.concat([rows, online], axis=1))
            assert parity.sampled == len(rows)
            if parity.differing:
                found[view.name] = parity.example
        return found


def _one_row(now: datetime) -> pd.DataFrame:
    return pd.DataFrame({"event_timestamp": [pd.Timestamp(now)]})


def _awkward(folder: Path, store: str) -> Day:
    repository = folder / "repository"
    repository.mkdir(parents=True)
    project = f"day_{uuid.uuid4().hex[:8]}"
    (repository / "feature_store.yaml").write_text(SETTINGS.format(project=project, store=store))
    (repository / "definitions.py").write_text(AWKWARD)
    shops, products = ["north", "south", "ünï çødé", ""], [1, 2**60 + 1, -7]
    keys = {
        "takings": [(shop,) for shop in shops],
        "stock": [(shop, product) for shop in shops[:2] for product in products],
        "prices": [(product,) for product in products],
        "weather": [()],
    }
    return Day(folder=folder, service="everything", keys=keys)


def _example(folder: Path, store: str) -> Day:
    repository = folder / "repository"
    repository.mkdir(parents=True)
    (repository / "definitions.py").write_text((EXAMPLE / "definitions.py").read_text())
    project = f"day_{uuid.uuid4().hex[:8]}"
    (repository / "feature_store.yaml").write_text(SETTINGS.format(project=project, store=store))
    names = {"carrier": ["UA", "AA"], "origin": ["EWR", "JFK"], "dest": ["LAX", "SFO"], "tailnum": ["N1", "N2"]}
    views = FeastFeatures().views(repository, "flight_delay")
    keys = {view.name: [(value,) for value in names[view.keys[0]]] for view in views}
    return Day(folder=folder, service="flight_delay", keys=keys)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "lay"),
    [
        ("sqlite", _awkward),
        ("redis", _awkward),
        ("sqlite", _example),
        pytest.param("redis", _example, marks=pytest.mark.exhaustive),
    ],
)
def test_online_equals_offline_after_whatever_happened(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str, lay: Any
) -> None:
    """Each step brings late rows, corrections, rows out of order and within a second, and rows that outlive a TTL."""
    draw = random.Random(7)
    day = lay(tmp_path, _online_store(kind, request))
    with day.running(draw):
        assert day.differing() == {}, "at the beginning"
        for hour in range(1, 5):
            day.now = at(hour + draw.choice([0, 0.25]))
            for view in day.views:
                for _ in range(6):
                    day.make(view, draw)
            day.land()
            day.materialize()
            assert day.differing() == {}, f"after materialization at {day.now}"
            for view in day.views:
                day.push(view, draw)
            assert day.differing() == {}, f"after the pushes at {day.now}"


def _online_store(kind: str, request: pytest.FixtureRequest) -> str:
    if kind == "sqlite":
        return SQLITE
    server: RedisServer = request.getfixturevalue("redis_server")
    return f'{{type: redis, connection_string: "{server.connection_string}"}}'
