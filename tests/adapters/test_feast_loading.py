"""Feast as it is loaded here checks what Feast checks; asked in a process that has not loaded it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from towpath.adapters import feast_loading

_WRONG = """
import json, warnings
warnings.simplefilter("ignore")
{load}
import feast, inspect, typeguard
from feast import Entity, FeatureService, FeatureView, Field, FileSource
from feast.types import Int64
entity = Entity(name="shop", join_keys=["shop"], value_type=feast.ValueType.STRING)
source = FileSource(path="sales.parquet", timestamp_field="at")
view = FeatureView(name="sales", entities=[entity], schema=[Field(name="sold", dtype=Int64)], source=source)
wrong = [
    lambda: Entity(name=5),
    lambda: Entity(name="shop", join_keys="shop"),
    lambda: Field(name=5, dtype=Int64),
    lambda: FeatureView(name="sales", source=3),
    lambda: FeatureView(name="sales", source=source, entities=["shop"]),
    lambda: FeatureService(name=None, features=[view]),
    lambda: setattr(view, "projection", 3),
]
said = []
for make in [*wrong, *wrong]:
    try:
        said.append(repr(make()))
    except Exception as error:
        said.append(f"{{type(error).__name__}}: {{error}}")
kinds = (Entity, FeatureService, FeatureView, Field, FileSource)
signatures = [str(inspect.signature(kind)) for kind in kinds]
copies = [Entity.from_proto(entity.to_proto()) == entity, FeatureView.from_proto(view.to_proto()) == view]
print(json.dumps([said, signatures, copies, str(entity), str(view.features)]))
"""

_AT_ONCE = """
import json, threading, warnings
warnings.simplefilter("ignore")
from towpath.adapters import feast_loading
start, found = threading.Barrier(8), []
def first():
    start.wait()
    feast_loading.load()
    from feast import Entity
    found.append(Entity.__name__)
threads = [threading.Thread(target=first) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
import typeguard
from typeguard import _decorators
print(json.dumps([found, typeguard.typechecked is _decorators.typechecked]))
"""


def _heard(load: str) -> Any:
    return _said(_WRONG.format(load=load))


def _said(program: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join(sys.path), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_wrong_definition_is_refused_as_feast_refuses_it() -> None:
    said, *_ = ours = _heard("from towpath.adapters import feast_loading; feast_loading.load()")
    assert sum(one.startswith("TypeCheckError") for one in said) > len(said) / 2, said
    assert ours == _heard("")


@pytest.mark.filterwarnings("ignore:There are some mismatches:UserWarning")  # it was never applied
def test_what_feast_does_to_a_view_stays_with_who_asked_for_it() -> None:
    feast_loading.load()
    from feast import FeatureView, FileSource
    from feast.infra.registry import proto_registry_utils as reading
    from feast.protos.feast.core.Registry_pb2 import Registry

    source = FileSource(path="weather.parquet", timestamp_field="at")
    view = FeatureView(name="weather", entities=[], source=source)
    proto = view.to_proto()
    proto.spec.project = "shop"
    registry = Registry(feature_views=[proto], version_id="1")
    for _ in range(2):
        (one,) = reading.list_feature_views(registry, "shop", None)
        assert one.entities, "its placeholder"
        one.entities = []  # as `FeatureStore.list_feature_views` does
        assert reading.get_any_feature_view(registry, "weather", "shop").entities


def test_views_are_made_anew_where_feast_was_imported_before(monkeypatch: pytest.MonkeyPatch) -> None:
    feast_loading.load()
    from feast.infra.registry import proto_registry_utils as reading

    keeping = reading.registry_proto_cache_with_tags(reading.list_feature_views)
    monkeypatch.setattr(reading, "list_feature_views", keeping)
    feast_loading.load()
    assert reading.list_feature_views is keeping.__wrapped__


@pytest.mark.slow
def test_threads_that_load_it_at_once_leave_typeguard_as_it_was() -> None:
    assert _said(_AT_ONCE) == [["Entity"] * 8, True]
