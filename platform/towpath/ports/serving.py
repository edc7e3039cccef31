"""Asked of what answers requests: compiled models, and the online feature store read directly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Runtime(Protocol):
    """A model ready to score rows, without pandas. `inline`: it may be called in an event loop (microseconds)."""

    kind: str
    columns: tuple[str, ...]
    inline: bool

    def predict(self, rows: Sequence[Sequence[object]]) -> list[float]:
        """The probability of class 1 of each row, or a regression's number.

        Of a multiclass model the probability of each class, in the order of its classes, one row's behind the other's.
        A row holds text, numbers or None in the order of `columns`.
        """
        ...

    async def predict_apart(self, rows: Sequence[Sequence[object]]) -> list[float]:
        """The same without blocking the caller's event loop, in a process of the runtime's own where it is slow."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """A model converted for serving: the kind of runtime that opens it, and one file, the same bytes every time."""

    kind: str
    file: Path


class Runtimes(Protocol):
    """Converts models for serving, and opens what was converted."""

    def compile(
        self, model: object, *, columns: Sequence[str], types: Mapping[str, str], folder: Path
    ) -> tuple[Compiled, ...]:
        """Every conversion of the fitted model that this knows and that succeeds, the fastest first."""
        ...

    def open(self, kind: str, file: Path, *, columns: Sequence[str], types: Mapping[str, str]) -> Runtime:
        """A runtime over a compiled file, or (`sklearn`) over a saved model's folder."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """What is wanted of one feature view: some features of entities, by their join key values in the view's order."""

    view: str
    keys: Sequence[tuple[object, ...]]
    features: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineAnswer:
    """One entity's newest row in one feature view."""

    values: Mapping[str, object]
    at: float
    """The time of its event, in seconds since 1970."""


class OnlineView(Protocol):
    """A view as a store describes it: join keys and features with their types; how long a row holds, 0 for ever."""

    @property
    def keys(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def features(self) -> Mapping[str, str]: ...
    @property
    def ttl_seconds(self) -> float: ...


class OnlineStore(Protocol):
    """Feast's online store, read directly."""

    @property
    def views(self) -> Mapping[str, OnlineView]:
        """What it holds, by name."""
        ...

    def at_hand(
        self, view: str, features: tuple[str, ...], keys: Sequence[tuple[object, ...]]
    ) -> Sequence[OnlineAnswer | None] | None:
        """What `read` would answer to that lookup, without waiting for the store; None when it must be asked."""
        ...

    async def read(self, lookups: Sequence[Lookup]) -> list[list[OnlineAnswer | None]]:
        """For each lookup the newest row of each of its entities; None for one that is not there."""
        ...

    async def close(self) -> None: ...
