"""Asked of a feature repository and its store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class FeatureTables:
    """The output of a repository's transforms: one Parquet file a feature source, and the spine of prediction rows."""

    sources: Mapping[str, Path]
    spine: Path


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Rebuilding the feature sources from only what was known at `instant`: which source differed, in how many rows."""

    source: str
    instant: datetime
    rows: int
    differing: int
    example: str


@dataclass(frozen=True, kw_only=True)
class Window:
    """A half-open span of prediction times, UTC: `start <= event_timestamp < end`."""

    start: datetime
    end: datetime


class Transforms(Protocol):
    """Runs a feature repository's SQL transforms over the checked tables."""

    def build(self, repository: Path, tables: Mapping[str, Path], *, window: Window, target: Path) -> FeatureTables:
        """Build every feature source, and the spine: rows of `window` whose label was known before its end."""
        ...

    def replay(
        self,
        repository: Path,
        tables: Mapping[str, Path],
        built: FeatureTables,
        *,
        known_at: Mapping[str, Mapping[str, str]],
        instants: Sequence[datetime],
    ) -> tuple[Replay, ...]: ...


@dataclass(frozen=True, kw_only=True)
class FeatureView:
    """A declared feature view: its name, join keys, features (columns) and source file name."""

    name: str
    keys: tuple[str, ...]
    features: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Offline against online on sampled entities of one view."""

    view: str
    sampled: int
    differing: int
    example: str


class FeatureStore(Protocol):
    """The feature store: point-in-time training sets, and the online answers."""

    def views(self, repository: Path, service: str) -> tuple[FeatureView, ...]:
        """What the service serves; raises `DeclarationError` for a repository that does not load."""
        ...

    def training_set(self, repository: Path, service: str, *, sources: Path, spine: Path, target: Path) -> int:
        """Apply the repository, join the spine point-in-time as known, write Parquet; returns the rows.

        Beside the features, each view's joined row gives `<view>__event_timestamp` and `<view>__created_timestamp`.
        """
        ...

    def materialize(self, repository: Path, service: str, *, sources: Path, until: datetime) -> None: ...

    def parity(
        self, repository: Path, service: str, *, sources: Path, spine: Path, until: datetime, sample: int, folder: Path
    ) -> tuple[tuple[Parity, ...], Path, Path]:
        """Online answers against the offline join at `until`, on sampled rows of the spine.

        Also writes the sampled rows as both stores give them (offline, online), Parquet in `folder`.
        """
        ...
