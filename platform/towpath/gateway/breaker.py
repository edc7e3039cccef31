"""The circuit breaker of the online store, a pure state machine: after five stalls it is left alone for a second.

Nygard, "Release It!" (2007): closed, open, half open. What is counted are stalls of the store, not the requests that
waited for it: a hundred requests in one stalled read are one stall.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

STALLS = 5
OPEN_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Breaker:
    """`opened` is when it opened (monotonic seconds), None while closed; `probing`: one read is out to see."""

    stalls: int = 0
    opened: float | None = None
    probing: bool = False

    @property
    def closed(self) -> bool:
        return self.opened is None


def admit(breaker: Breaker, now: float) -> tuple[Breaker, bool]:
    """Whether the store may be asked. After the pause one read may, and the next ones wait for how it ends."""
    if breaker.opened is None:
        return breaker, True
    if breaker.probing or now - breaker.opened < OPEN_SECONDS:
        return breaker, False
    return replace(breaker, probing=True), True


def ended(breaker: Breaker, now: float, *, well: bool) -> Breaker:
    """A read ended. A late answer of a read from before the pause neither closes nor prolongs it."""
    if breaker.opened is not None and not breaker.probing:
        return breaker
    if well:
        return Breaker()
    stalls = breaker.stalls + 1
    if breaker.probing or stalls >= STALLS:
        return Breaker(stalls=stalls, opened=now)
    return replace(breaker, stalls=stalls)
