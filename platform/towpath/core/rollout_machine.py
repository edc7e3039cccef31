"""How a rollout moves by itself: `tick(rollout, look, telemetry, now)`. Pure; at most one transition a tick.

`TRANSITIONS` is the whole state machine; `rollout_rules` are the reasons to move along it, `rollout_orders` what people
order.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from towpath.core import judge as judges
from towpath.core.looks import Look
from towpath.core.rollout import EXPOSED, WHOLE, Phase, Rollout, Telemetry
from towpath.core.rollout_decision import Inputs, RolloutDecision, compose
from towpath.core.rollout_rules import RULES, Move, Scene

_ENDED: Final = frozenset({Phase.ROLLING_BACK, Phase.ABORTED, Phase.SUPERSEDED})

TRANSITIONS: Final[Mapping[Phase, frozenset[Phase]]] = {
    Phase.PENDING: _ENDED | {Phase.PREPARING},
    Phase.PREPARING: _ENDED | {Phase.SHADOWING, Phase.PROGRESSING},
    Phase.SHADOWING: _ENDED | {Phase.PROGRESSING},
    Phase.PROGRESSING: _ENDED | {Phase.PROGRESSING, Phase.HELD, Phase.PROMOTING},
    Phase.HELD: _ENDED | {Phase.PROGRESSING, Phase.PROMOTING},
    Phase.PROMOTING: _ENDED | {Phase.BAKING},
    # What was promoted is not aborted but rolled back: the ledger must get its old champion again.
    Phase.BAKING: frozenset({Phase.SUCCEEDED, Phase.ROLLING_BACK, Phase.SUPERSEDED}),
    Phase.ROLLING_BACK: frozenset({Phase.ROLLED_BACK, Phase.SUPERSEDED}),
    Phase.SUCCEEDED: frozenset(),
    Phase.ROLLED_BACK: frozenset(),
    Phase.ABORTED: frozenset(),
    Phase.SUPERSEDED: frozenset(),
}


def tick(
    rollout: Rollout, look: Look | None, telemetry: Telemetry, now: datetime
) -> tuple[Rollout, RolloutDecision | None]:
    """The rollout after one look at the world, and the decision if it moved.

    Without a decision the rollout is the same, or has only taken in new evidence. A final rollout never changes. The
    same arguments give the same result: repeating a tick is safe, and a recorded one can be decided again.
    """
    scene = seen(rollout, look, telemetry, now)
    move = next((found for rule in RULES[rollout.phase] if (found := rule(scene)) is not None), None)
    if move is not None:
        inputs = Inputs(before=rollout, look=look, telemetry=telemetry, now=now)
        return moved(scene, move, inputs)
    if scene.rollout.watermark == rollout.watermark:
        return rollout, None
    return scene.rollout.model_copy(update={"generation": rollout.generation + 1}), None


def moved(scene: Scene, move: Move, inputs: Inputs) -> tuple[Rollout, RolloutDecision]:
    """Make a move, which the table must allow, and write down why."""
    before = inputs.before
    if move.to not in TRANSITIONS[before.phase]:
        raise AssertionError(f"no rule may lead from {before.phase} to {move.to}")
    changes = {"held": None, "shadow": 0, **move.changes, "phase": move.to, "generation": before.generation + 1}
    if move.to is not before.phase:
        changes["phase_since"] = inputs.now
    if move.to not in EXPOSED:
        changes["weight"] = WHOLE if move.to is Phase.SUCCEEDED else 0
    after = scene.rollout.model_copy(update=changes)
    decision = compose(after, inputs, scene.judgement, verdict=move.verdict, reason_code=move.code, reason=move.reason)
    return after, decision


def seen(rollout: Rollout, look: Look | None, telemetry: Telemetry, now: datetime) -> Scene:
    """What rules look at; the look of an exposed rollout is judged.

    One that was judged before is judged again, from the same counts, and changes no state.
    """
    judgement = None
    heard = [at for at in (rollout.last_evidence_at, telemetry.at) if at is not None]
    changes: dict[str, object] = {"last_evidence_at": max(heard, default=None)}
    if rollout.exposed and look is not None:
        state, judgement = judges.judge(rollout.policy, rollout.thresholds, rollout.judge, look)
        if look.watermark != rollout.watermark:
            changes |= {"judge": state, "watermark": look.watermark}
    rollout = rollout.model_copy(update=changes)
    return Scene(rollout=rollout, look=look, judgement=judgement, telemetry=telemetry, now=now)
