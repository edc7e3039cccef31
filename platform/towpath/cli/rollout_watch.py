"""The controller of a rollout in the foreground."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from towpath.cli import opening, output
from towpath.cli.exits import Exit
from towpath.cli.rollout_opening import acting_in, opened
from towpath.cli.stopping import stopping
from towpath.core.errors import TowpathError
from towpath.verbs.rollouts import decided

if TYPE_CHECKING:
    from towpath.stages.canary import Ticked


def run(project: str | None, *, interval: float, until_end: bool, as_json: bool) -> int:
    """Tick until interrupted, or until the rollout has ended. Returns an exit code."""
    from towpath import wiring
    from towpath.cli.rollout_follower import Follower
    from towpath.core.access import Action
    from towpath.stages.canary_loop import control

    settings, stop, told = opening.settings(), threading.Event(), _Told(as_json=as_json)
    name, identity = acting_in(settings, project, None, Action.ROLLOUT_RUN)
    with opened(settings, identity=identity) as ports, stopping(stop):
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
            self.decisions.append(decided(one))
            line = f"{one.decided_at:%H:%M:%S} {one.rollout_id} {one.verdict}: {one.from_state} → {one.to_state}"
            self._console.print(f"{line}, weight {one.weight_after / 100:g} %. {one.reason}", soft_wrap=True)

    def _faults(self, faults: tuple[str, ...]) -> None:
        if faults != self._said:
            for fault in faults:
                output.messages().print(fault, style="yellow", soft_wrap=True)
        self._said = faults
