"""Feast's online stores held back from writing over a newer row: threads, clocks, Feast's own writer between."""

# ruff: noqa: E402  Feast is silenced before it is imported
from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from towpath.telemetry import silence

silence()

from feast import FeatureView, RepoConfig
from feast.infra.online_stores import redis
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from adapters.feast_asof_repo import entity, minute, open_store, source, view
from servers.redis import RedisServer
from towpath.adapters.feast_online import RedisOnlineStore, Row, SqliteOnlineStore

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # Feast announces its experimental parts
]


def row(value: str, event: datetime, created: datetime | None, key: int = 1) -> Row:
    return _key(key), {"value": Value(string_val=value)}, event, created


def _key(key: int) -> EntityKey:
    return EntityKey(join_keys=["id"], entity_values=[Value(int64_val=key)])


def _read(store: Any, config: RepoConfig, seen: FeatureView, *keys: int) -> list[str]:
    found = store.online_read(config, seen, [_key(key) for key in keys or (1,)], ["value"])
    return [values["value"].string_val for _, values in found]


@pytest.fixture
def sqlite(tmp_path: Path) -> tuple[RepoConfig, FeatureView]:
    """A repository whose online store is SQLite, and its view."""
    key = entity("id")
    store = open_store(tmp_path, [key, view("seen", [key], source(tmp_path / "rows.parquet"))])
    return store.config, store.get_feature_view("seen")


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's clock there, which left out the hour from two on 10 March 2024."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_many_threads_write_through_one_sqlite_store(sqlite: tuple[RepoConfig, FeatureView]) -> None:
    """Feast's server pushes so."""
    config, seen = sqlite
    store = SqliteOnlineStore()

    def write(number: int) -> None:
        key = number % 4
        store.online_write_batch(config, seen, [row(str(number), minute(number), minute(number), key)], None)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(80)))
    assert _read(store, config, seen, 0, 1, 2, 3) == ["76", "77", "78", "79"]


def test_a_newer_row_wins_in_an_hour_that_the_local_clock_leaves_out(
    sqlite: tuple[RepoConfig, FeatureView], new_york: None
) -> None:
    config, seen = sqlite
    store = SqliteOnlineStore()
    for minutes, expected in ((30, "at 30"), (45, "at 45"), (40, "at 45")):
        event = datetime(2024, 3, 10, 2, minutes, tzinfo=UTC)
        store.online_write_batch(config, seen, [row(f"at {minutes}", event, event)], None)
        assert _read(store, config, seen) == [expected]


def test_a_correction_of_a_row_that_feasts_own_redis_store_wrote(tmp_path: Path, redis_server: RedisServer) -> None:
    """What is known of our row before must not count for Feast's, which says nothing of when it was created."""
    config, seen = _redis(tmp_path, redis_server)
    store = RedisOnlineStore()
    store.online_write_batch(config, seen, [row("late", minute(0), minute(100))], None)
    redis.RedisOnlineStore().online_write_batch(config, seen, [row("Feast's", minute(50), minute(51))], None)
    assert _read(store, config, seen) == ["Feast's"]
    store.online_write_batch(config, seen, [row("corrected", minute(50), minute(60))], None)
    assert _read(store, config, seen) == ["corrected"]


def test_rows_of_the_epoch_have_an_order_too(tmp_path: Path, redis_server: RedisServer) -> None:
    """Tables that never change often bear it, and its protobuf is empty."""
    config, seen = _redis(tmp_path, redis_server)
    store, epoch = RedisOnlineStore(), datetime(1970, 1, 1, tzinfo=UTC)
    for value, created, expected in (
        ("first", minute(0), "first"),
        ("corrected", minute(2), "corrected"),
        ("of before", minute(1), "corrected"),
        ("of nobody knows when", None, "corrected"),
    ):
        store.online_write_batch(config, seen, [row(value, epoch, created)], None)
        assert _read(store, config, seen) == [expected]


def _redis(folder: Path, server: RedisServer) -> tuple[RepoConfig, FeatureView]:
    config = RepoConfig(
        project=f"online_{uuid.uuid4().hex[:8]}",
        provider="local",
        registry=str(folder / "registry.db"),
        online_store={"type": "redis", "connection_string": server.connection_string},
        offline_store={"type": "towpath.adapters.feast_asof.AsofOfflineStore"},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    return config, view("seen", [entity("id")], source(folder / "rows.parquet"))
