"""A Feast repository in a temporary folder, and the definition of a point-in-time join written as two loops."""

# ruff: noqa: E402  Feast is silenced before it is imported
from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from towpath.telemetry import silence

silence()

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Int64, PrimitiveFeastType, String

ASOF = "towpath.adapters.feast_asof.AsofOfflineStore"
NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)

Row = Mapping[str, Any]


def minute(count: float, *, microseconds: int = 0) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=count, microseconds=microseconds)


def frame(rows: Sequence[Row], columns: Sequence[str]) -> pd.DataFrame:
    """The rows as a DataFrame; times (any column named event, created, event_timestamp) as UTC at microseconds."""
    table = pd.DataFrame([dict(row) for row in rows], columns=list(columns))
    for name in {"event", "created", "event_timestamp"} & set(columns):
        table[name] = pd.to_datetime(table[name], utc=True).astype("datetime64[us, UTC]")
    return table


def entity(name: str, kind: ValueType = ValueType.INT64) -> Entity:
    return Entity(name=name, join_keys=[name], value_type=kind)


def source(path: Path | str, *, created: bool = True, **options: Any) -> FileSource:
    return FileSource(
        path=str(path), timestamp_field="event", created_timestamp_column="created" if created else "", **options
    )


def view(
    name: str,
    entities: Sequence[Entity],
    reads: FileSource,
    features: Sequence[str] = ("value",),
    *,
    ttl: timedelta | None = None,
    kind: PrimitiveFeastType = String,
) -> FeatureView:
    keys = {ValueType.INT64: Int64, ValueType.STRING: String}
    schema = [Field(name=key.join_key, dtype=keys[key.value_type]) for key in entities]
    schema += [Field(name=feature, dtype=kind) for feature in features]
    return FeatureView(name=name, entities=list(entities), schema=schema, source=reads, ttl=ttl or timedelta(0))


def open_store(
    folder: Path, objects: Sequence[Any], *, offline: str = ASOF, coerce_tz_aware: bool = True, **options: Any
) -> FeatureStore:
    """A store over `folder`, with the objects applied; each kind of offline store has a registry of its own."""
    name = offline.rsplit(".", 1)[-1].lower()
    config = RepoConfig(
        project="awkward",
        provider="local",
        registry=str(folder / f"{name}.registry.db"),
        online_store={"type": "sqlite", "path": str(folder / f"{name}.online.db")},
        offline_store={"type": offline, **options},
        entity_key_serialization_version=3,
        repo_path=folder,
        coerce_tz_aware=coerce_tz_aware,
    )
    store = FeatureStore(config=config)
    store.apply(list(objects))
    return store


def definition(
    entity_rows: Sequence[Row],
    feature_rows: Sequence[Row],
    keys: Sequence[str],
    *,
    ttl: timedelta | None = None,
    as_known_at: bool = True,
) -> list[Row | None]:
    """For each entity row the feature row that holds, by the definition: every pair is looked at."""
    answers: list[Row | None] = []
    for wanted in entity_rows:
        at, best, rank = wanted["event_timestamp"], None, None
        for position, row in enumerate(feature_rows):
            if any(row[key] is None or row[key] != wanted[key] for key in keys) or row["event"] is None:
                continue
            if row["event"] > at or (ttl and at - row["event"] > ttl):
                continue
            if as_known_at and (row["created"] is None or row["created"] > at):
                continue
            created = row["created"] or datetime.min.replace(tzinfo=UTC)
            if rank is None or (row["event"], created, position) > rank:
                best, rank = row, (row["event"], created, position)
        answers.append(best)
    return answers
