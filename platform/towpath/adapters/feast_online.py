"""Feast's SQLite and Redis online stores, in which a row never gives way to an older one.

Feast's SQLite store keeps what was written last, so that a late push puts the past in the place of the present. Its
Redis store keeps the newest event, but of two rows of one event the first, so that a correction never arrives. Here the
newest event wins, then the newest created, then what was written last: the order of the offline store, whatever order
the rows come in. The layout is Feast's; SQLite gets a table more and Redis a field, for how old a row is to the
microsecond.

Towpath opens repositories of `type: sqlite` and `type: redis` with these. For Feast's own commands, name them::

    online_store:
      type: towpath.adapters.feast_online.SqliteOnlineStore # or RedisOnlineStore
      path: data/online.db
"""

from __future__ import annotations

import sqlite3
import struct
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pandas as pd
from feast import FeatureView
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores import redis, sqlite
from feast.infra.online_stores.helpers import _mmh3, _redis_key, compute_versioned_name
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig
from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped]
from pydantic import Field
from starlette.concurrency import run_in_threadpool

_AT_ONCE = 500  # keys of one statement
_NO_ENTITY = EntityKey(join_keys=[DUMMY_ENTITY_ID], entity_values=[Value(string_val=DUMMY_ENTITY_VAL)])
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BEGINNING = -(2**63)
_AGE = struct.Struct("<qq")
# Feast's own columns hold whole seconds
_AGES = (
    "CREATE TABLE IF NOT EXISTS towpath_ages "
    "(view TEXT, entity_key BLOB, event INTEGER, created INTEGER, PRIMARY KEY (view, entity_key)) WITHOUT ROWID"
)

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
Age = tuple[int, int]  # event and created, in microseconds since 1970
Progress = Callable[[int], Any] | None


class SqliteOnlineStoreConfig(sqlite.SqliteOnlineStoreConfig):  # type: ignore[misc]
    """As of Feast's store."""

    type: Literal["sqlite", "towpath.adapters.feast_online.SqliteOnlineStore"] = (
        "towpath.adapters.feast_online.SqliteOnlineStore"
    )


class RedisOnlineStoreConfig(redis.RedisOnlineStoreConfig):  # type: ignore[misc]
    """As of Feast's store, without the option that writes unseen."""

    type: Literal["redis", "towpath.adapters.feast_online.RedisOnlineStore"] = (
        "towpath.adapters.feast_online.RedisOnlineStore"
    )
    skip_dedup: Literal[False] = Field(default=False)


def guarded(options: Any) -> Any:
    """Options of Feast's SQLite or Redis store as those of ours, under the store's short name; others as they are.

    Those of a store that somebody derived from Feast's are others: it may lay rows out in its own way.
    """
    if type(options) is sqlite.SqliteOnlineStoreConfig:
        return SqliteOnlineStoreConfig(**options.model_dump() | {"type": "sqlite"})
    if type(options) is redis.RedisOnlineStoreConfig and not options.skip_dedup:
        return RedisOnlineStoreConfig(**options.model_dump() | {"type": "redis"})
    return options


class SqliteOnlineStore(sqlite.SqliteOnlineStore):  # type: ignore[misc]
    """Feast's store; rows that are older than what is there are left out."""

    def __init__(self) -> None:
        self._writing = threading.Lock()  # Feast's server pushes from many threads over one connection

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: Sequence[Row], progress: Progress
    ) -> None:
        """Write what is newer. What is there is read and written in one transaction."""
        with self._writing:
            self._write(config, table, data)
        if progress:
            progress(len(data))

    def _write(self, config: RepoConfig, table: FeatureView, data: Sequence[Row]) -> None:
        name = sqlite._table_id(config.project, table, config.registry.enable_online_feature_view_versioning)
        version = config.entity_key_serialization_version
        keyed = [
            (serialize_entity_key(row[0], entity_key_serialization_version=version), row) for row in map(_placed, data)
        ]
        connection = self._get_conn(config)
        connection.execute(_AGES)
        connection.execute("BEGIN IMMEDIATE")  # or another writer comes between the look and the write
        try:
            rows = _newest(keyed, _ages_in(connection, name, [key for key, _ in keyed]))
            ages = [(name, key, _micros(event), _micros(created)) for key, (_, _, event, created) in rows.items()]
            connection.executemany("INSERT OR REPLACE INTO towpath_ages VALUES (?, ?, ?, ?)", ages)
            super().online_write_batch(config, table, list(rows.values()), None)  # which commits
        except BaseException:
            connection.rollback()
            raise


class RedisOnlineStore(redis.RedisOnlineStore):  # type: ignore[misc]
    """Feast's store; rows that are older than what is there are left out, and a correction is not."""

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: Sequence[Row], progress: Progress
    ) -> None:
        """Write what is newer. Between the look and the write another writer may come, as in Feast's own store."""
        options = config.online_store
        client = self._get_client(options)
        view = compute_versioned_name(table, config.registry.enable_online_feature_view_versioning)
        event_field, age_field = f"_ts:{view}", f"_age:{view}"
        version = config.entity_key_serialization_version
        keyed = [
            (_redis_key(config.project, row[0], entity_key_serialization_version=version), row)
            for row in map(_placed, data)
        ]
        with client.pipeline(transaction=False) as pipe:
            for key, _ in keyed:
                pipe.hmget(key, [event_field, age_field])
            ages = pipe.execute()
        there = {
            key: _age_of(event, age) for (key, _), (event, age) in zip(keyed, ages, strict=True) if event is not None
        }
        with client.pipeline(transaction=False) as pipe:
            for key, (_, values, event, created) in _newest(keyed, there).items():
                age = _AGE.pack(_micros(event), _micros(created))
                fields: dict[Any, bytes] = {event_field: _stamp(event), age_field: age}
                fields |= {_mmh3(f"{view}:{name}"): value.SerializeToString() for name, value in values.items()}
                pipe.hset(key, mapping=fields)
                if options.key_ttl_seconds:
                    pipe.expire(key, options.key_ttl_seconds)
            pipe.execute()
        if progress:
            progress(len(data))

    async def online_write_batch_async(
        self, config: RepoConfig, table: FeatureView, data: Sequence[Row], progress: Progress
    ) -> None:
        """The same, in a thread: pushes are few."""
        await run_in_threadpool(self.online_write_batch, config, table, data, progress)


def _placed(row: Row) -> Row:
    """A pushed row of a view without an entity has no key at all, where Feast materializes and reads one of its own."""
    return row if row[0].join_keys else (_NO_ENTITY, *row[1:])


def _newest(keyed: Iterable[tuple[bytes, Row]], there: Mapping[bytes, Age]) -> dict[bytes, Row]:
    """Of each key the newest row, if it is no older than what is there."""
    best = dict(there)
    rows: dict[bytes, Row] = {}
    for key, (entity, values, event, created) in keyed:
        known = None if pd.isna(created) else created  # Feast hands on a null as NaT, which SQLite does not take
        age = _micros(event), _micros(known)
        if key not in best or age >= best[key]:
            best[key], rows[key] = age, (entity, values, event, known)
    return rows


def _ages_in(connection: sqlite3.Connection, table: str, keys: Sequence[bytes]) -> dict[bytes, Age]:
    """How old the rows of a view are. Of a row that Feast's own store wrote after ours, to the second."""
    found: dict[bytes, Age] = {}
    for start in range(0, len(keys), _AT_ONCE):
        part = list(dict.fromkeys(keys[start : start + _AT_ONCE]))
        query = (
            "SELECT there.entity_key, max(there.event_ts), max(there.created_ts), ages.event, ages.created "
            f"FROM {sqlite._quote_id(table)} AS there "
            "LEFT JOIN towpath_ages AS ages ON ages.view = ? AND ages.entity_key = there.entity_key "
            f"WHERE there.entity_key IN ({', '.join('?' * len(part))}) GROUP BY there.entity_key"
        )
        for key, event_ts, created_ts, event, created in connection.execute(query, [table, *part]):
            ours = event is not None and _as_feast(event) == event_ts
            found[key] = (event, created) if ours else (_of_feast(event_ts), _of_feast(created_ts))
    return found


def _as_feast(event: int) -> int:
    """What Feast's column holds of an event: in a local hour that the clock leaves out, another than it reads back."""
    return int((_EPOCH + timedelta(microseconds=event)).replace(tzinfo=None).timestamp())


def _of_feast(stored: int | None) -> int:
    """Feast stores a naive UTC time in whole seconds as if it were the machine's local time."""
    return _BEGINNING if stored is None else _micros(datetime.fromtimestamp(stored).replace(tzinfo=UTC))  # noqa: DTZ006


def _micros(time: datetime | None) -> int:
    """Microseconds since 1970; a time without zone is UTC, none at all lies before every other."""
    if time is None:
        return _BEGINNING
    aware = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    return (aware - _EPOCH) // timedelta(microseconds=1)


def _stamp(event: datetime) -> bytes:
    stamp = Timestamp()
    stamp.FromMicroseconds(_micros(event))
    return bytes(stamp.SerializeToString())


def _age_of(event: bytes, age: bytes | None) -> Age:
    """How old a hash's row is. Of a row that Feast's own store wrote after ours, only the event is known."""
    at = int(Timestamp.FromString(event).ToMicroseconds())
    if age is not None and len(age) == _AGE.size:
        ours = _AGE.unpack(age)
        if ours[0] == at:
            return at, ours[1]
    return at, _BEGINNING
