"""The controller in the foreground: a tick every few seconds, whatever a tick meets."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from towpath.core.errors import TowpathError
from towpath.stages.canary import CanaryPorts, Ticked, tick_once

INTERVAL: Final = 15.0
"""Seconds between ticks; well below a lease."""

_logger = logging.getLogger(__name__)


def control(
    ports: CanaryPorts,
    project: str,
    *,
    clock: Callable[[], datetime],
    stop: threading.Event,
    told: Callable[[Ticked | TowpathError], None],
    beside: Callable[[], None] = lambda: None,
    interval: float = INTERVAL,
    until_end: bool = False,
) -> None:
    """Tick until `stop` is set, or, with `until_end`, until no rollout is open.

    `told` hears of each tick, and of each error: a controller goes on, since the next tick may succeed; while none
    does, the lease runs out, and the champion serves alone. A lease outlasts four ticks. `beside` is called after each
    tick and must return at once.
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
            beside()
        except TowpathError as error:
            _logger.warning("project=%s tick failed: %s", project, error)
            told(error)
        if not moved:  # after a transition the next may be due at once
            stop.wait(interval)
