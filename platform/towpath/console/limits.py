"""How often somebody may ask: a bucket of tokens each, filled at a rate. In the memory of one process."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_MOST: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class Rate:
    """`burst` requests at once, and then `per_second`."""

    per_second: float
    burst: int


class Buckets:
    """A bucket for each who asks. Those that are full again are forgotten first; safe for threads."""

    def __init__(self, rate: Rate, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens left, as of when

    def take(self, who: str) -> float:
        """Take a token; 0 when there was one, else the seconds until there is."""
        with self._lock:
            left, now = self._left(who)
            if left >= 1:
                self._keep(who, left - 1, now)
                return 0.0
            return (1 - left) / self._rate.per_second

    def empty(self, who: str) -> float:
        """The seconds until somebody has a token again; takes none."""
        with self._lock:
            left, _ = self._left(who)
            return 0.0 if left >= 1 else (1 - left) / self._rate.per_second

    def _left(self, who: str) -> tuple[float, float]:
        now = self._clock()
        left, since = self._held.get(who, (float(self._rate.burst), now))
        return min(float(self._rate.burst), left + (now - since) * self._rate.per_second), now

    def _keep(self, who: str, left: float, now: float) -> None:
        self._held[who] = (left, now)
        self._held.move_to_end(who)
        while len(self._held) > _MOST:
            self._held.popitem(last=False)


def seconds(wait: float) -> str:
    """What `Retry-After` says."""
    return str(max(1, math.ceil(wait)))
