"""The controller in the foreground: a tick every few seconds, whatever a tick meets, and MLflow's alias beside it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from towpath.core.errors import TowpathError
from towpath.ports import Ledger, Models
from towpath.stages.canary import CanaryPorts, Ticked, tick_once
from towpath.stages.succession import mirror
from towpath.stages.work import champion

INTERVAL: Final = 15.0
"""Seconds between ticks; well below a lease."""

_logger = logging.getLogger(__name__)


class Follower:
    """Shows the ledger's champion in MLflow, in a thread of its own.

    MLflow that hangs must not keep traffic on a challenger: the controller asks and goes on. What could not be shown is
    tried again when it is asked the next time.
    """

    def __init__(self, ledger: Ledger, models: Callable[[], Models], project: str) -> None:
        self._ledger = ledger
        self._models = models
        self._project = project
        self._shown: str | None = None
        self._thread: threading.Thread | None = None

    def ask(self) -> None:
        """See to it that MLflow shows the champion, soon."""
        current = champion(self._ledger, self._project)
        busy = self._thread is not None and self._thread.is_alive()
        if current is None or busy or current.decision.hash == self._shown:
            return
        self._thread = threading.Thread(target=self._show, name="mlflow-alias", daemon=True)
        self._thread.start()

    def finish(self, seconds: float) -> None:
        """Wait for a showing that is under way, no longer than that."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _show(self) -> None:
        try:
            decision = mirror(self._ledger, self._models, self._project)
            self._shown = decision.hash if decision is not None else None
        except TowpathError as error:
            _logger.warning("project=%s MLflow does not show the champion yet: %s", self._project, error)


def control(
    ports: CanaryPorts,
    project: str,
    *,
    clock: Callable[[], datetime],
    stop: threading.Event,
    told: Callable[[Ticked | TowpathError], None],
    follower: Follower | None = None,
    interval: float = INTERVAL,
    until_end: bool = False,
) -> None:
    """Tick until `stop` is set, or, with `until_end`, until no rollout is open.

    `told` hears of each tick, and of each error: a controller goes on, since the next tick may succeed; while none
    does, the lease runs out, and the champion serves alone. A lease outlasts four ticks.
    """
    lease = timedelta(seconds=max(90.0, 4 * interval))
    while not stop.is_set():
        moved = False
        try:
            ticked = tick_once(ports, project, clock(), lease=lease)
            told(ticked)
            moved = ticked.decision is not None
            if until_end and (ticked.rollout is None or not ticked.rollout.open):
                stop.set()
            if follower is not None:
                follower.ask()
        except TowpathError as error:
            _logger.warning("project=%s tick failed: %s", project, error)
            told(error)
        if not moved:  # after a transition the next may be due at once
            stop.wait(interval)
