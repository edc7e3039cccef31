"""Merging what was shipped: the prediction log's small files become few large ones, when nothing else is to be done."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from towpath.core.errors import TowpathError
from towpath.gateway.metrics import Metrics

_SECONDS = 60.0
_NICE = 15  # behind the answers and the shipping
_log = logging.getLogger(__name__)


class Merging(Protocol):
    """Merges the files of a project that these workers wrote, and those of days that are over."""

    def run(self, project: str, *, workers: set[str], stopped: Callable[[], bool]) -> int:
        """Returns how many files it took away."""
        ...


class Compactor(threading.Thread):
    """Merges once a minute until it is stopped. `workers` are those of this gateway that live."""

    def __init__(
        self,
        merging: Merging,
        projects: Sequence[str],
        *,
        workers: Callable[[], set[str]],
        metrics: Metrics,
        seconds: float = _SECONDS,
    ) -> None:
        super().__init__(name="towpath-compact", daemon=True)
        self._merging = merging
        self._projects = projects
        self._workers = workers
        self._metrics = metrics
        self._seconds = seconds
        self._stop_asked = threading.Event()

    def run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while not self._stop_asked.wait(self._seconds):
            self.look()

    def stop(self) -> None:
        """End the thread after the group of files that it is at."""
        self._stop_asked.set()
        if self.is_alive():
            self.join()

    def look(self) -> None:
        """Merge what can be merged now. What fails is tried again at the next look: the log is whole meanwhile."""
        for project in self._projects:
            try:
                merged = self._merging.run(project, workers=self._workers(), stopped=self._stop_asked.is_set)
            except TowpathError as error:
                self._metrics.compact_failures.inc()
                _log.warning("the prediction log of %s is not compacted: %s", project, error)
            else:
                self._metrics.log_merged.inc(merged)
