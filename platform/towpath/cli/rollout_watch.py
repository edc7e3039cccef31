"""Looking at a rollout again and again: the live picture, and the controller in the foreground."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from towpath.cli import opening, output, rollout_shown
from towpath.cli.exits import Exit
from towpath.cli.rollout_opening import acting_in, latest, opened, project_of
from towpath.core.errors import TowpathError

if TYPE_CHECKING:
    from towpath.core.rollout_decision import RolloutDecision
    from towpath.core.rollout_rules import Scene
    from towpath.stages.canary import CanaryPorts, Ticked

Seen = tuple["Scene", Sequence["RolloutDecision"], Sequence[str]]


def look(ports: CanaryPorts, project: str | None, rollout_id: str | None) -> Seen:
    """The rollout as the next tick would see it, what was decided on it, and what cannot be read."""
    from towpath import wiring
    from towpath.stages.canary import decisions, observe

    row = latest(ports, project_of(project, ports.ledger), rollout_id)
    scene, faults = observe(ports, row, wiring.now())
    return scene, [decision for _, decision in decisions(ports.ledger, row)], faults


def watch(ports: CanaryPorts, project: str | None, rollout_id: str | None, *, interval: float) -> None:
    """Draw it anew until it has ended."""
    from rich.live import Live

    seen = look(ports, project, rollout_id)
    with Live(rollout_shown.drawn(*seen), console=output.results(), auto_refresh=False) as live:
        while seen[0].rollout.open:
            time.sleep(interval)
            seen = look(ports, project, seen[0].rollout.rollout_id)
            live.update(rollout_shown.drawn(*seen), refresh=True)


def run(project: str | None, *, interval: float, until_end: bool, as_json: bool) -> int:
    """Tick until interrupted, or until the rollout has ended. Returns an exit code."""
    from towpath import wiring
    from towpath.cli.rollout_follower import Follower
    from towpath.core.access import Action
    from towpath.stages.canary_loop import control

    settings, stop, told = opening.settings(), threading.Event(), _Told(as_json=as_json)
    name, identity = acting_in(settings, project, None, Action.ROLLOUT_RUN)
    with opened(settings, identity=identity) as ports, _stopping(stop):
        follower = Follower(ports.ledger, name)
        control(
            ports,
            name,
            clock=wiring.now,
            stop=stop,
            told=told,
            beside=follower.ask,
            interval=interval,
            until_end=until_end,
        )
        follower.finish()
    if as_json:
        output.emit({"project": name, "decisions": told.decisions, "rollout": told.rollout})
    return Exit.GOOD


class _Told:
    """Says each decision and each fault once."""

    def __init__(self, *, as_json: bool) -> None:
        self.decisions: list[dict[str, Any]] = []
        self.rollout: dict[str, Any] | None = None
        self._console = output.messages() if as_json else output.results()
        self._said: tuple[str, ...] = ()

    def __call__(self, what: Ticked | TowpathError) -> None:
        if isinstance(what, TowpathError):
            self._faults((str(what),))
            return
        self._faults(what.faults)
        if what.rollout is not None:
            self.rollout = what.rollout.model_dump(mode="json", exclude={"judge", "salt"})
        if what.decision is not None:
            one = what.decision
            self.decisions.append(rollout_shown.decided(one))
            line = f"{one.decided_at:%H:%M:%S} {one.rollout_id} {one.verdict}: {one.from_state} → {one.to_state}"
            self._console.print(f"{line}, weight {one.weight_after / 100:g} %. {one.reason}", soft_wrap=True)

    def _faults(self, faults: tuple[str, ...]) -> None:
        if faults != self._said:
            for fault in faults:
                output.messages().print(fault, style="yellow", soft_wrap=True)
        self._said = faults


@contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM end the loop after the tick that is under way."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
