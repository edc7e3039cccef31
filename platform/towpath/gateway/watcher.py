"""The thread that looks: it never waits for a model to be loaded, so that exposure falls while one is."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from towpath.core.errors import TowpathError
from towpath.gateway.metrics import Metrics
from towpath.gateway.watch import Watch

SECONDS = 0.5
"""Between two looks."""
_log = logging.getLogger(__name__)


class Watcher(threading.Thread):
    """Looks at every project twice a second, until it is stopped. `looked` is told when a look went well."""

    def __init__(self, watches: Sequence[tuple[Watch, Callable[[float], None]]], metrics: Metrics) -> None:
        super().__init__(name="towpath-watch", daemon=True)
        self._watches = watches
        self._metrics = metrics
        self._stop_asked = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="towpath-load")
        self._resolving: dict[Watch, Future[bool]] = {}
        self._told = ""

    def first(self) -> bool:
        """Look at every project and load what it needs, in this thread.

        Whether that has come to an end, be it a refusal: what is only unreachable may answer at the next attempt.
        """
        went = [self._look(watch, looked, wait=True) for watch, looked in self._watches]
        return all(went)

    def run(self) -> None:
        while not self._stop_asked.wait(SECONDS):
            for watch, looked in self._watches:
                self._look(watch, looked, wait=False)

    def stop(self) -> None:
        self._stop_asked.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _look(self, watch: Watch, looked: Callable[[float], None], *, wait: bool) -> bool:
        running = self._resolving.get(watch)
        try:
            needed = watch.look(resolving=running is not None and not running.done())
        except Exception as error:  # noqa: BLE001 - the last plan goes on serving, whatever happened
            return self._failed(error)
        looked(time.time())
        if not needed and (running is None or running.done()):
            self._told = ""
        self._metrics.polls["changed" if needed else "same"].inc()
        if needed and wait:
            return self._resolve(watch)
        if needed:
            self._resolving[watch] = self._pool.submit(self._resolve, watch)
        return True

    def _resolve(self, watch: Watch) -> bool:
        try:
            watch.resolve()
        except Exception as error:  # noqa: BLE001
            return self._failed(error)
        return True

    def _failed(self, error: Exception) -> bool:
        if self._stop_asked.is_set():
            return False
        if str(error) != self._told:
            self._told = str(error)
            _log.warning("the record cannot be followed: %s", error)
        self._metrics.polls["failed"].inc()
        return isinstance(error, TowpathError) and not error.temporary
