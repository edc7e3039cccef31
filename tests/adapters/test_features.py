"""The feature store on a small repository: what it declares, training sets as known, and online against offline."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from towpath.adapters.feast_features import FeastFeatures
from towpath.core import names
from towpath.core.errors import DeclarationError, NotFound
from towpath.ports import FeatureStore, FeatureView, Parity

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # Feast announces its experimental parts
]

NOON = datetime(2024, 3, 10, 12, tzinfo=UTC)
TIME = pa.timestamp("us", tz="UTC")

SETTINGS = """\
project: shops
provider: local
registry: {registry_type: file, path: "${TOWPATH_FEAST_STATE}/registry.db"}
online_store: {type: sqlite, path: "${TOWPATH_FEAST_STATE}/online.db"}
offline_store: {type: towpath.adapters.feast_asof.AsofOfflineStore}
entity_key_serialization_version: 3
"""
DEFINITIONS = """\
from datetime import timedelta
from feast import FeatureService, FeatureView, Field
from feast.types import Array, Bool, Float32, Float64, Int64, String, UnixTimestamp
from shared import product, shop, source

takings = FeatureView(
    name="takings", entities=[shop], ttl=timedelta(days=2), source=source("takings"),
    schema=[Field(name="taken", dtype=Float64), Field(name="visits", dtype=Int64)],
)
stock = FeatureView(
    name="stock", entities=[shop, product], source=source("stock"),
    schema=[Field(name="supplier", dtype=String), Field(name="pieces", dtype=Int64)],
)
kinds = FeatureView(
    name="kinds", entities=[shop], source=source("kinds"),
    schema=[
        Field(name="small", dtype=Float32), Field(name="open", dtype=Bool), Field(name="since", dtype=UnixTimestamp),
        Field(name="sizes", dtype=Array(Float64)), Field(name="tags", dtype=Array(String)),
        Field(name="large", dtype=Int64), Field(name="ratio", dtype=Float64),
    ],
)
weather = FeatureView(name="weather", source=source("weather"), schema=[Field(name="warmth", dtype=Float64)])

visit = FeatureService(name="visit", features=[stock[["pieces"]], takings])
everything = [
    FeatureService(name="typed", features=[kinds]), FeatureService(name="outside", features=[weather, takings]),
]
"""
SHARED = """\
import os
from feast import Entity, FileSource, ValueType

shop = Entity(name="shop", join_keys=["shop"], value_type=ValueType.STRING)
product = Entity(name="product", join_keys=["product_id"], value_type=ValueType.INT64)

def source(name):
    return FileSource(
        name=name, path=os.environ["TOWPATH_FEATURES"] + f"/{name}.parquet",
        timestamp_field="event_timestamp", created_timestamp_column="created_timestamp",
    )
"""


def hours(count: float) -> datetime:
    """So many hours after noon."""
    return NOON + timedelta(hours=count)


def table(file: Path, rows: Sequence[Mapping[str, Any]], **types: pa.DataType) -> None:
    """Rows as Parquet, as DuckDB writes it: no word of pandas. A row's `at` are both its timestamps."""
    whole = [
        {"event_timestamp": row["at"], "created_timestamp": row["at"], **row} if "at" in row else dict(row)
        for row in rows
    ]
    columns = {name: [row.get(name) for row in whole] for name in dict.fromkeys(name for row in whole for name in row)}
    types |= {name: TIME for name in columns if name.endswith("_timestamp")}
    arrays = {name: pa.array(values, types.get(name)) for name, values in columns.items() if name != "at"}
    pq.write_table(pa.table(arrays), file)


def rows_of(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return found


@dataclass(frozen=True, kw_only=True)
class Shops:
    """A feature repository of shops, its sources, and the port under test."""

    folder: Path
    port: FeatureStore

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    @property
    def sources(self) -> Path:
        return self.folder / "sources"

    def write(self, name: str, text: str) -> Path:
        file = self.repository / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def source(self, name: str, rows: Sequence[Mapping[str, Any]], **types: pa.DataType) -> None:
        table(self.sources / f"{name}.parquet", rows, **types)

    def spine(self, rows: Sequence[Mapping[str, Any]], **types: pa.DataType) -> None:
        table(self.folder / "spine.parquet", rows, **types)

    def views(self, service: str = "visit") -> tuple[FeatureView, ...]:
        return self.port.views(self.repository, service)

    def training_set(self, service: str = "visit") -> list[dict[str, Any]]:
        target = self.folder / "training.parquet"
        spine = self.folder / "spine.parquet"
        count = self.port.training_set(self.repository, service, sources=self.sources, spine=spine, target=target)
        rows = rows_of(target)
        assert len(rows) == count
        return rows

    def materialize(self, service: str = "visit", *, until: datetime = NOON) -> None:
        self.port.materialize(self.repository, service, sources=self.sources, until=until)

    def parity(
        self, service: str = "visit", *, sample: int = 100, until: datetime = NOON
    ) -> tuple[dict[str, Parity], list[dict[str, Any]], list[dict[str, Any]]]:
        """Each view's parity, and the sampled rows as the offline and the online store give them."""
        spine = self.folder / "spine.parquet"
        found, offline, online = self.port.parity(
            self.repository, service, sources=self.sources, spine=spine, until=until, sample=sample, folder=self.folder
        )
        assert pq.read_schema(offline).names == pq.read_schema(online).names
        return {item.view: item for item in found}, rows_of(offline), rows_of(online)


def lay(folder: Path) -> Shops:
    """The repository of shops in a folder, with sources and a spine."""
    shops = Shops(folder=folder, port=FeastFeatures())
    shops.sources.mkdir(parents=True)
    shops.write("feature_store.yaml", SETTINGS)
    shops.write("definitions.py", DEFINITIONS)
    shops.write("shared.py", SHARED)
    takings = [
        {"shop": "north", "at": hours(-60), "taken": 1 / 3, "visits": 1},
        {"shop": "north", "at": hours(-5), "taken": 2 / 3, "visits": 2},
        {"shop": "south", "at": hours(-3), "taken": 0.5, "visits": 3},
        {"shop": "south", "event_timestamp": hours(-2), "created_timestamp": hours(6), "taken": 9.0, "visits": 9},
        {"shop": "east", "at": hours(-49), "taken": 4.0, "visits": 4},
    ]
    shops.source("takings", takings)
    stock = [
        {"shop": "north", "product_id": 1, "at": datetime(1950, 1, 1, tzinfo=UTC), "supplier": "old", "pieces": 7},
        {"shop": "south", "product_id": 2**60 + 1, "at": hours(-9), "supplier": "new", "pieces": 8},
        {"shop": "south", "product_id": 2**60, "at": hours(-9), "supplier": "other", "pieces": 9},
    ]
    shops.source("stock", stock)
    asked = [("north", 1), ("south", 2**60 + 1), ("south", None), (None, 1), ("east", 3), ("north", 1), ("west", 2**60)]
    shops.spine(
        [
            {"visit": number, "event_timestamp": hours(-1), "label_timestamp": NOON, "shop": shop, "product_id": key}
            for number, (shop, key) in enumerate(asked)
        ]
    )
    return shops


@pytest.fixture
def shops(tmp_path: Path) -> Shops:
    return lay(tmp_path)


# -- what a repository declares ------------------------------------------------------------------------------------


def test_a_services_views_in_its_order_with_keys_and_features(shops: Shops) -> None:
    assert shops.views() == (
        FeatureView(name="stock", keys=("shop", "product_id"), features=("pieces",)),
        FeatureView(name="takings", keys=("shop",), features=("taken", "visits")),
    )
    assert shops.views("outside")[0] == FeatureView(name="weather", keys=(), features=("warmth",))
    assert not (shops.folder / "feast").exists(), "looking changes nothing"


def test_an_unknown_service_lists_those_there_are(shops: Shops) -> None:
    with pytest.raises(DeclarationError, match=r"no feature service 'visits'. Valid: visit, typed, outside"):
        shops.views("visits")
    with pytest.raises(DeclarationError, match="no feature service 'visits'"):
        shops.materialize("visits")


def test_a_folder_that_is_no_repository(shops: Shops) -> None:
    (shops.repository / "feature_store.yaml").unlink()
    with pytest.raises(NotFound, match=r"no feature_store\.yaml in .*repository.*features\.repository"):
        shops.views()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("def broken(:\n", "SyntaxError"),
        ("import nothing_of_this_name\n", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("raise SystemExit(0)\n", "SystemExit: 0"),
    ],
)
def test_a_definitions_file_that_fails_is_named(shops: Shops, text: str, says: str) -> None:
    file = shops.write("more.py", text)
    with pytest.raises(DeclarationError, match=rf"^more\.py of the feature repository fails: {says}") as caught:
        shops.views()
    assert caught.value.value == str(file)
    with pytest.raises(DeclarationError, match=r"^more\.py"):
        shops.training_set()


@pytest.mark.parametrize("store", ["file", "dask", "duckdb"])
def test_an_offline_store_that_cannot_say_when_rows_were_known(shops: Shops, store: str) -> None:
    ours = "towpath.adapters.feast_asof.AsofOfflineStore"
    shops.write("feature_store.yaml", SETTINGS.replace(ours, store))
    for use in (shops.views, shops.training_set, shops.materialize, shops.parity):
        with pytest.raises(DeclarationError, match=rf"offline store '{store}', which cannot say .* Valid: {ours}"):
            use()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("type: towpath", "as_know_at: true, type: towpath"),
        ("AsofOfflineStore}", "AsofOffline}"),
        ("AsofOfflineStore}", "NoOfflineStore}"),
        ("feast_asof.", "no_module."),
        ("provider: local", "provider: [local"),
        (SETTINGS, "just words"),
        (SETTINGS, ""),
    ],
)
def test_settings_that_feast_does_not_take(shops: Shops, old: str, new: str) -> None:
    assert old in SETTINGS
    file = shops.write("feature_store.yaml", SETTINGS.replace(old, new))
    with pytest.raises(DeclarationError, match=r"^feature_store\.yaml is not valid") as caught:
        shops.views()
    assert caught.value.value == str(file)


@pytest.mark.parametrize(
    ("more", "refused"),
    [
        ('FeatureService(name="odd", features=[takings.with_name("other")])', "other"),
        ('FeatureService(name="odd", features=[takings.with_join_key_map({"shop": "place"})])', "takings"),
        ('FeatureService(name="odd", features=[doubled])', "doubled"),
    ],
)
def test_a_service_of_more_than_plain_views_is_refused(shops: Shops, more: str, refused: str) -> None:
    on_demand = """
from feast.on_demand_feature_view import on_demand_feature_view
@on_demand_feature_view(sources=[takings], schema=[Field(name="twice", dtype=Float64)], mode="pandas")
def doubled(inputs):
    return inputs[["taken"]].rename(columns={"taken": "twice"}) * 2
"""
    shops.write("definitions.py", f"{DEFINITIONS}{on_demand}odd = {more}\n")
    assert shops.views()
    with pytest.raises(DeclarationError, match=rf"'odd' serves '{refused}', which is no plain feature view") as caught:
        shops.views("odd")
    assert "takings" in caught.value.valid


def test_a_view_of_an_entity_that_no_file_defines(shops: Shops) -> None:
    shops.write("shared.py", SHARED.replace("product = Entity(", "def product():\n    return Entity("))
    shops.write("definitions.py", DEFINITIONS.replace("[shop, product]", "[shop, product()]"))
    with pytest.raises(
        DeclarationError, match=r"'stock' names the entity 'product', which no file defines. Valid: shop"
    ):
        shops.views()


def test_a_name_defined_twice_and_differently(shops: Shops) -> None:
    shops.write("zzz.py", "from definitions import *\n")
    assert shops.views(), "the same thing seen from two files is one thing"
    shops.write("zzz.py", DEFINITIONS.replace("timedelta(days=2)", "timedelta(days=3)"))
    with pytest.raises(DeclarationError, match=r"zzz\.py defines the FeatureView 'takings' a second time"):
        shops.views()


def test_definitions_in_subfolders_are_read_and_ignored_ones_are_not(shops: Shops) -> None:
    shops.write(
        "teams/night.py",
        "from definitions import takings\nfrom feast import FeatureService\n"
        "night = FeatureService(name='night', features=[takings])\n",
    )
    shops.write("scratch/broken.py", "1 / 0\n")
    shops.write(".feastignore", "scratch\n")
    assert [view.name for view in shops.views("night")] == ["takings"]


def test_repositories_with_files_of_the_same_names_are_kept_apart(tmp_path: Path) -> None:
    first, second = lay(tmp_path / "first"), lay(tmp_path / "second")
    second.write("shared.py", SHARED.replace('join_keys=["shop"]', 'join_keys=["store"]'))
    assert [view.keys for view in first.views()] == [("shop", "product_id"), ("shop",)]
    assert [view.keys for view in second.views()] == [("store", "product_id"), ("store",)]
    assert [view.keys for view in first.views()] == [("shop", "product_id"), ("shop",)]


# -- training sets -------------------------------------------------------------------------------------------------


def test_a_training_set_holds_what_was_known(shops: Shops) -> None:
    shops.views()  # reads the definitions without the sources' folder; that must not stick
    rows = shops.training_set()
    assert [row["visit"] for row in rows] == list(range(7))
    assert [row["taken"] for row in rows] == [2 / 3, 0.5, 0.5, None, 4.0, 2 / 3, None]
    assert [row["visits"] for row in rows] == [2, 3, 3, None, 4, 2, None]
    assert [row["pieces"] for row in rows] == [7, 8, None, None, None, 7, None]
    assert [row["product_id"] for row in rows] == [1, 2**60 + 1, None, 1, 3, 1, 2**60]
    assert [row["takings__event_timestamp"] for row in rows[:4]] == [hours(-5), hours(-3), hours(-3), None]
    assert [row["takings__created_timestamp"] for row in rows[:4]] == [hours(-5), hours(-3), hours(-3), None]
    assert rows[0]["stock__event_timestamp"] == datetime(1950, 1, 1, tzinfo=UTC)
    assert set(rows[0]) >= {"shop", "event_timestamp", "label_timestamp"}
    assert "supplier" not in rows[0], "the service leaves it out"


def test_a_training_set_twice_has_the_same_bytes(shops: Shops) -> None:
    shops.training_set()
    first = (shops.folder / "training.parquet").read_bytes()
    shops.training_set()
    assert (shops.folder / "training.parquet").read_bytes() == first


def test_an_empty_spine_gives_an_empty_training_set(shops: Shops) -> None:
    shops.training_set()
    spine = pq.read_table(shops.folder / "spine.parquet")
    pq.write_table(spine.slice(0, 0), shops.folder / "spine.parquet")
    assert shops.training_set() == []
    assert {"taken", "pieces"} <= set(pq.read_schema(shops.folder / "training.parquet").names)
    shops.materialize()
    found, offline, online = shops.parity()
    assert offline == online == []
    assert {item.sampled for item in found.values()} == {0}


def test_definitions_that_feast_refuses(shops: Shops) -> None:
    again = 'again = FeatureView(name="Takings", entities=[shop], source=source("takings"))\n'
    shops.write("definitions.py", DEFINITIONS + again)
    with pytest.raises(DeclarationError, match=r"Feast does not take .* definitions: .*[Tt]akings"):
        shops.training_set()


# -- online against offline ----------------------------------------------------------------------------------------


def test_online_equals_offline(shops: Shops) -> None:
    """Two keys, whole-number keys that are null in places and beyond floats, TTLs, and events before 1970."""
    shops.training_set()
    shops.materialize()
    found, offline, online = shops.parity()
    assert {name: (item.sampled, item.differing, item.example) for name, item in found.items()} == {
        "stock": (7, 0, ""),
        "takings": (7, 0, ""),
    }
    assert offline == online
    assert [row["pieces"] for row in online] == [7, 8, None, None, None, 7, None]
    assert [row["taken"] for row in online] == [2 / 3, 0.5, 0.5, None, None, 2 / 3, None]
    assert {row["event_timestamp"] for row in online} == {NOON}, "asked as at the end"


def test_the_sample_is_spread_over_the_spine(shops: Shops) -> None:
    shops.training_set()
    shops.materialize()
    found, offline, online = shops.parity(sample=3)
    assert [row["visit"] for row in offline] == [row["visit"] for row in online] == [0, 2, 4]
    assert found["takings"].sampled == 3


def test_a_view_of_no_entity_is_answered_too(shops: Shops) -> None:
    shops.source("weather", [{"at": hours(-9), "warmth": 21.5}])
    shops.training_set("outside")
    shops.materialize("outside")
    found, _, online = shops.parity("outside")
    assert {name: item.differing for name, item in found.items()} == {"weather": 0, "takings": 0}
    assert {row["warmth"] for row in online} == {21.5}
    shops.source("weather", [{"at": hours(-9), "warmth": 3.0}])
    found, _, _ = shops.parity("outside")
    assert found["weather"].differing == 7
    assert found["weather"].example == "warmth of every row is 3.0 offline and 21.5 online"


def test_values_of_every_kind_are_compared(shops: Shops) -> None:
    kinds = [
        {"shop": "north", "small": 0.1, "open": True, "since": hours(-99), "sizes": [1.0, 2.5], "tags": ["a"]},
        {"shop": "south", "small": None, "open": False, "since": None, "sizes": None, "tags": ["b", "c"]},
    ]
    numbers = [{"large": 2**62 + 1, "ratio": float("inf")}, {"large": None, "ratio": float("nan")}]
    small = {"small": pa.float32()}
    shops.source("kinds", [{**one, **two, "at": hours(-9)} for one, two in zip(kinds, numbers, strict=True)], **small)
    shops.training_set("typed")
    shops.materialize("typed")
    found, offline, online = shops.parity("typed")
    assert (found["kinds"].differing, found["kinds"].example) == (0, "")
    assert online[0]["sizes"] == offline[0]["sizes"] == [1.0, 2.5]
    assert online[0]["large"] == offline[0]["large"]
    assert online[0]["since"] == offline[0]["since"] == hours(-99)

    changed: list[tuple[str, Any]] = [
        ("small", 0.2),
        ("open", False),
        ("since", hours(-98)),
        ("sizes", [1.0, 2.5, 3.0]),
        ("tags", ["b"]),
        ("tags", None),
        ("large", 5),
        ("ratio", 1e300),
    ]
    for name, value in changed:
        rows = [{**one, **two, "at": hours(-9)} for one, two in zip(kinds, numbers, strict=True)]
        rows[0][name] = value
        shops.source("kinds", rows, **small)
        found, _, _ = shops.parity("typed")
        assert found["kinds"].differing == 2, name  # two visits to the north
        assert found["kinds"].example.startswith(f"{name} of shop=north is "), name


def test_a_planted_difference_is_reported(shops: Shops) -> None:
    """The sources are rewritten behind the online store's back: a value changes, a row goes, and a row comes."""
    shops.training_set()
    shops.materialize()
    takings = [
        {"shop": "north", "at": hours(-5), "taken": 0.75, "visits": 2},
        {"shop": "west", "at": hours(-5), "taken": 0.25, "visits": 5},
    ]
    shops.source("takings", takings)
    found, offline, online = shops.parity()
    assert found["stock"].differing == 0
    assert (found["takings"].sampled, found["takings"].differing) == (7, 5)
    assert found["takings"].example == f"taken of shop=north is 0.75 offline and {2 / 3} online"
    assert [row["taken"] for row in offline] == [0.75, None, None, None, None, 0.75, 0.25]
    assert [row["taken"] for row in online] == [2 / 3, 0.5, 0.5, None, None, 2 / 3, None]
    assert [row["visits"] for row in online] == [2, 3, 3, None, None, 2, None]


def test_integers_that_are_missing_online_are_a_difference(shops: Shops) -> None:
    """Offline there is none missing, so the column is of whole numbers there and cannot be so online."""
    shops.spine([{"event_timestamp": hours(-1), "label_timestamp": NOON, "shop": "north", "product_id": 1}])
    shops.training_set()
    shops.materialize(until=hours(-6))  # before the only row that is young enough
    found, offline, online = shops.parity()
    assert found["takings"].differing == 1
    assert (offline[0]["visits"], online[0]["visits"]) == (2, None)


def test_integers_beyond_floats_stay_whole_beside_a_missing_one(shops: Shops) -> None:
    asked = {"event_timestamp": hours(-1), "label_timestamp": NOON, "shop": "north"}
    shops.spine([{**asked, "product_id": 5}, {**asked, "product_id": 6}])
    stock = [
        {"shop": "north", "product_id": key, "at": hours(-9), "supplier": "s", "pieces": 2**53 + key} for key in (5, 6)
    ]
    shops.source("stock", stock[:1])
    shops.training_set()
    shops.materialize()
    shops.source("stock", stock)
    found, offline, online = shops.parity()
    assert [row["pieces"] for row in offline] == [2**53 + 5, 2**53 + 6]
    assert [row["pieces"] for row in online] == [2**53 + 5, None]
    assert found["stock"].example == f"pieces of shop=north, product_id=6 is {2**53 + 6} offline and None online"


def test_what_was_learnt_after_the_end_stays_out_of_the_online_store(shops: Shops) -> None:
    shops.training_set()
    shops.materialize(until=NOON)
    _, _, online = shops.parity()
    assert online[1]["taken"] == 0.5, "the correction was created six hours after noon"
    shops.materialize(until=hours(7))
    found, _, online = shops.parity(until=hours(7))
    assert online[1]["taken"] == 9.0
    assert {item.differing for item in found.values()} == {0}


# -- nothing is left behind ----------------------------------------------------------------------------------------


def test_the_environment_is_as_before(
    shops: Shops, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(names.ENV_FEATURES, "as it was")
    monkeypatch.delenv(names.ENV_FEAST_STATE, raising=False)
    shops.views()  # imports Feast and switches the phone-homes off, once
    environment, path, modules = dict(os.environ), list(sys.path), set(sys.modules)
    capfd.readouterr()
    shops.training_set()
    shops.materialize()
    shops.parity()
    shops.write("more.py", "1 / 0\n")
    for use in (shops.views, shops.training_set, shops.materialize, shops.parity):
        with pytest.raises(DeclarationError):
            use()
    assert dict(os.environ) == environment
    assert os.environ[names.ENV_FEATURES] == "as it was"
    assert names.ENV_FEAST_STATE not in os.environ
    assert sys.path == path
    assert not {"shared", "definitions", "more"} & (set(sys.modules) - modules)
    assert "shared" not in sys.modules
    assert capfd.readouterr().out == ""
