"""What people order of a rollout, and how any decision is decided again from its record. Pure.

An order is a decision with an author and a reason. It resets no evidence: the judge goes on from the same counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from towpath.core.errors import Denied
from towpath.core.looks import Look
from towpath.core.rollout import Phase, Rollout, Telemetry, policy_digest
from towpath.core.rollout_decision import Command, Inputs, Order, Reason, RolloutDecision, Verdict, compose
from towpath.core.rollout_machine import TRANSITIONS, moved, tick
from towpath.core.rollout_rules import Move, Scene

_TO: Final[Mapping[Order, Phase]] = {
    Order.PAUSE: Phase.HELD,
    Order.RESUME: Phase.PROGRESSING,
    Order.PROMOTE: Phase.PROMOTING,
    Order.ROLLBACK: Phase.ROLLING_BACK,
    Order.ABORT: Phase.ABORTED,
    Order.SUPERSEDE: Phase.SUPERSEDED,
}
_ONLY_FROM: Final[Mapping[Order, frozenset[Phase]]] = {
    Order.RESUME: frozenset({Phase.HELD}),
    Order.PAUSE: frozenset({Phase.PROGRESSING}),
}
PAUSED: Final = "paused"


def possible(phase: Phase) -> tuple[Order, ...]:
    """The orders that a rollout in that phase takes."""
    return tuple(
        order
        for order, to in _TO.items()
        if to in TRANSITIONS[phase] and phase in _ONLY_FROM.get(order, frozenset({phase}))
    )


def begin(rollout: Rollout, command: Command, now: datetime) -> RolloutDecision:
    """The record of a rollout's start."""
    _require_words(command)
    inputs = Inputs(before=rollout, look=None, telemetry=Telemetry(), now=now, command=command)
    return compose(rollout, inputs, None, verdict=Verdict.CONTINUE, reason_code=Reason.STARTED, reason=command.reason)


def obey(
    rollout: Rollout, command: Command, now: datetime, *, look: Look | None = None
) -> tuple[Rollout, RolloutDecision]:
    """The rollout after an order, and the decision. `look` is only written down, for whoever reads it later.

    Raises `Denied` for an order that the phase does not take, naming those that it does, and for one without an author
    or a reason.
    """
    _require_words(command)
    valid = possible(rollout.phase)
    if command.order not in valid:
        raise Denied(
            f"Rollout {rollout.rollout_id} is {rollout.phase}; it takes no {command.order}.",
            value=command.order.value,
            valid=[order.value for order in valid if order is not Order.SUPERSEDE],
            hint="`towpath rollout explain` says why it is where it is.",
        )
    inputs = Inputs(before=rollout, look=look, telemetry=Telemetry(), now=now, command=command)
    scene = Scene(rollout=rollout, look=look, judgement=None, telemetry=Telemetry(), now=now)
    return moved(scene, _move(rollout, command, now), inputs)


def _move(rollout: Rollout, command: Command, now: datetime) -> Move:
    exposed = rollout.exposed
    verdict = {
        Order.PAUSE: Verdict.HOLD,
        Order.RESUME: Verdict.CONTINUE,
        Order.PROMOTE: Verdict.PROMOTE,
        Order.ROLLBACK: Verdict.ROLLBACK,
    }.get(command.order, Verdict.ENDED_WITHOUT_EVIDENCE if exposed else Verdict.ABORT)
    changes: dict[str, object] = {}
    if command.order is Order.PAUSE:
        changes["held"] = PAUSED
    if command.order is Order.RESUME:
        seen = (rollout.held or "").removeprefix("holds:").split(",") if _by_holds(rollout) else []
        changes["acknowledged"] = tuple(sorted({*rollout.acknowledged, *seen}))
        changes["step_since"] = now
    code = Reason.SUPERSEDED if command.order is Order.SUPERSEDE else Reason.MANUAL
    return Move(to=_TO[command.order], verdict=verdict, code=code, reason=command.reason, changes=changes)


def _by_holds(rollout: Rollout) -> bool:
    return (rollout.held or "").startswith("holds:")


def _require_words(command: Command) -> None:
    if not command.author.strip():
        raise Denied(
            "An order needs a person's name.", hint='Say who decides: --by "Ada Lovelace", or set TOWPATH_ACTOR.'
        )
    if len(command.reason.split()) < 2:
        raise Denied("An order needs a reason.", value=command.reason, hint='Say why, in a few words: --reason "…".')


# --- deciding again ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """A recorded decision, decided again: what differs, each in a sentence."""

    decision: RolloutDecision
    differences: tuple[str, ...]


def replay(decision: RolloutDecision, *, previous: RolloutDecision | None) -> Replayed:
    """Decide again from the record's own inputs, and compare everything that came of them.

    Also compares what the inputs say was frozen with the record of the decision before, and with their own digest.
    """
    again, recorded = _again(decision.inputs), decision.body
    found = (
        ["deciding again moves nothing"]
        if again is None
        else [
            f"{name} is recorded as {recorded[name]!r} and comes out as {value!r}"
            for name, value in again.body.items()
            if name not in ("inputs", "code_digest") and recorded[name] != value
        ]
    )
    before = decision.inputs.before
    if policy_digest(before.policy) != before.policy_digest:
        found.append("the policy is not the one whose digest was frozen")
    if previous is not None:
        found += _breaks(previous, decision)
    return Replayed(decision=decision, differences=tuple(found))


def _again(inputs: Inputs) -> RolloutDecision | None:
    if inputs.command is None:
        return tick(inputs.before, inputs.look, inputs.telemetry, inputs.now)[1]
    if inputs.command.order is Order.START:
        return begin(inputs.before, inputs.command, inputs.now)
    return obey(inputs.before, inputs.command, inputs.now, look=inputs.look)[1]


def _breaks(previous: RolloutDecision, decision: RolloutDecision) -> list[str]:
    before, then = decision.inputs.before, previous.inputs.before
    pairs = {
        "state": (previous.to_state, before.phase),
        "step": (previous.step, before.step),
        "weight": (previous.weight_after, before.weight),
        "champion": (then.champion, before.champion),
        "challenger": (then.challenger, before.challenger),
        "policy": (then.policy_digest, before.policy_digest),
        "thresholds": (dict(then.thresholds), dict(before.thresholds)),
        "salt": (then.salt, before.salt),
    }
    breaks = [f"its {what} is not that of the decision before" for what, (one, two) in pairs.items() if one != two]
    if before.generation < previous.generation:
        breaks.append("its generation is older than that of the decision before")
    return breaks
