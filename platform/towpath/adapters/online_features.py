"""Opening a repository's online store: directly where its layout is known, through Feast everywhere else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from towpath.adapters.online_codec import KEY_TYPES, SCALARS, feast_decoder
from towpath.adapters.online_description import Description, described
from towpath.adapters.online_redis import RedisOnline, address_of
from towpath.adapters.online_sqlite import SqliteOnline
from towpath.core.errors import Unreachable
from towpath.ports import Lookup, OnlineAnswer, OnlineStore

_logger = logging.getLogger(__name__)
_KEY_VERSION = 3


def open_online(repository: Path, state: Path) -> OnlineStore:
    """The online store of a repository whose Feast state lies in `state`. Raises `DeclarationError` or `NotFound`.

    Takes seconds, in a process beside this one: do not call it in an event loop.
    """
    return open_as_described(repository, state, described(repository, state))


def open_as_described(repository: Path, state: Path, description: Description) -> OnlineStore:
    """The same for a repository that was asked about already."""
    why = _not_direct(description)
    if why:
        _logger.warning("online store %s is read through Feast, which is slow: %s", description.store, why)
        return FeastOnline(repository, state, description)
    for kind in {kind for view in description.views for kind in view.features.values()} - SCALARS:
        feast_decoder(kind)  # imports Feast now rather than in a request
    if description.store == "sqlite":
        return SqliteOnline(description)
    address = address_of(description.options)
    assert address is not None
    return RedisOnline(description, address)


def _not_direct(description: Description) -> str:
    """Why the store cannot be read directly; empty when it can."""
    if description.store not in ("sqlite", "redis"):
        return "its layout is not known"
    if description.key_version != _KEY_VERSION:
        return f"its keys have the encoding {description.key_version}, not {_KEY_VERSION}"
    if description.store == "redis" and address_of(description.options) is None:
        return "its connection_string is of a cluster, or has parameters that are not known"
    strange = sorted({kind for view in description.views for _, kind in view.keys} - KEY_TYPES)
    return f"join keys have the type {strange[0]}" if strange else ""


class FeastOnline:
    """The port `OnlineStore` over Feast's own `get_online_features`, in a thread: correct, and slower."""

    def __init__(self, repository: Path, state: Path, description: Description) -> None:
        self.views = {view.name: view for view in description.views}
        self._repository = repository
        self._state = state
        self._description = description
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="towpath-feast")
        self._store = self._thread.submit(self._opened).result()

    def at_hand(self, view: str, features: tuple[str, ...], keys: Sequence[tuple[object, ...]]) -> None:
        """Nothing: it is asked every time."""

    async def read(self, lookups: Sequence[Lookup]) -> list[list[OnlineAnswer | None]]:
        """Raises `Unreachable` for whatever Feast's store raises, and `NotFound`."""
        for lookup in lookups:
            self._description.view(lookup.view)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: [self._read(lookup) for lookup in lookups])

    async def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _opened(self) -> Any:
        from towpath.adapters.feast_features_repository import opened, settings

        with opened(self._repository, sources=Path("unset"), state=self._state):
            import feast

            return feast.FeatureStore(config=settings(self._repository))

    def _read(self, lookup: Lookup) -> list[OnlineAnswer | None]:
        view, keys, features = lookup.view, lookup.keys, lookup.features
        names = [name for name, _ in self._description.view(view).keys]
        whole = [number for number, key in enumerate(keys) if None not in key]
        answers: list[OnlineAnswer | None] = [None] * len(keys)
        if not whole:
            return answers
        rows = [dict(zip(names, keys[number], strict=True)) if names else {"__dummy_id": ""} for number in whole]
        try:
            response = self._store.get_online_features([f"{view}:{name}" for name in features], rows)
        except Exception as error:
            raise Unreachable(
                f"The online store {self._description.store} does not answer: {error}.", value=self._description.store
            ) from error
        values = response.to_dict()
        times = _times(response)
        for place, number in enumerate(whole):
            found = {name: values[name][place] for name in features}
            at = times[features[0]][place]
            if at is not None or any(value is not None for value in found.values()):
                answers[number] = OnlineAnswer(values=found, at=at or 0.0)
        return answers


def _times(response: Any) -> Mapping[str, list[float | None]]:
    """The event times by feature, in seconds since 1970; None where there is none."""
    found = {}
    for name, vector in zip(response.proto.metadata.feature_names.val, response.proto.results, strict=True):
        found[name] = [
            at.seconds + at.nanos / 1e9 if at.seconds or at.nanos else None for at in vector.event_timestamps
        ]
    return found
