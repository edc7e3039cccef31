"""The online store that belongs to a candidate's features: opened once, closed a while after it was replaced."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from towpath.core.errors import TowpathError
from towpath.core.serving import OnlineFeatures
from towpath.gateway.online import OnlineReader
from towpath.gateway.schema import View
from towpath.ports import OnlineStore
from towpath.stages.serving import Approved

_LINGER_SECONDS = 30.0
_log = logging.getLogger(__name__)


class Readers:
    """Readers by the features' key. `open_store` takes the folder of Feast's state and may take seconds."""

    def __init__(
        self,
        open_store: Callable[[Path], OnlineStore],
        *,
        state: Path,
        rules: OnlineFeatures,
        loop: asyncio.AbstractEventLoop,
        opened: Callable[[bool], None],
    ) -> None:
        self._open = open_store
        self._state = state
        self._rules = rules
        self._loop = loop
        self._opened = opened
        self._readers: dict[str, tuple[OnlineReader | None, tuple[View, ...]]] = {}

    def get(self, approved: Approved) -> tuple[OnlineReader | None, tuple[View, ...]]:
        """The reader and its views; none when the model reads no view, or its store is not here."""
        if not approved.views:
            return None, ()
        found = self._readers.get(approved.features)
        if found is None:
            found = self._readers[approved.features] = self._opened_for(approved)
        return found

    def retire(self, keep: OnlineReader | None) -> None:
        """Close what is not `keep`, once its last request has been answered for certain."""
        for key, (reader, _) in list(self._readers.items()):
            if reader is not None and reader is not keep:
                del self._readers[key]
                self._loop.call_soon_threadsafe(self._loop.call_later, _LINGER_SECONDS, self._close, reader)

    async def close(self) -> None:
        for reader, _ in self._readers.values():
            if reader is not None:
                await reader.close()

    def _opened_for(self, approved: Approved) -> tuple[OnlineReader | None, tuple[View, ...]]:
        folder = self._state / "features" / approved.features.removeprefix("sha256:")[:16] / "feast"
        try:
            store = self._open(folder)
        except TowpathError as error:
            _log.warning("requests must bring every feature: %s", error)
            return None, ()
        views = tuple(
            View(
                name=name,
                keys=tuple(key for key, _ in view.keys),
                features=tuple(view.features),
                ttl_seconds=view.ttl_seconds or None,
            )
            for name, view in store.views.items()
        )
        return OnlineReader(store, self._rules, self._loop, opened=self._opened), views

    def _close(self, reader: OnlineReader) -> None:
        task = self._loop.create_task(reader.close())
        task.add_done_callback(lambda done: done.exception())
