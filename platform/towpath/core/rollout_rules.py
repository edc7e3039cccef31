"""The rules by which a rollout moves: each looks at one scene for one reason, and says where to and why. Pure.

Raising exposure needs gateways that are ready, a live lease and fresh telemetry; lowering it needs nothing. Guardrails
are judged in every exposed phase, held and baking ones included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from towpath.core.looks import Judgement, Look
from towpath.core.rollout import WHOLE, Phase, Rollout, Telemetry
from towpath.core.rollout_decision import Reason, Verdict
from towpath.core.rollout_policy import OnInconclusive, Step, TelemetryAction

HELD_BY_TELEMETRY: Final = Reason.TELEMETRY_LOST.value


@dataclass(frozen=True, kw_only=True)
class Move:
    """A transition to be made: where to, why, and what else changes."""

    to: Phase
    verdict: Verdict
    code: Reason
    reason: str
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a rule looks at: the rollout with this look judged, and the world around it."""

    rollout: Rollout
    look: Look | None
    judgement: Judgement | None
    telemetry: Telemetry
    now: datetime

    @property
    def step(self) -> Step:
        return self.rollout.policy.steps[self.rollout.step]

    @property
    def last(self) -> bool:
        return self.rollout.step == len(self.rollout.policy.steps) - 1

    @property
    def units(self) -> int:
        """The challenger's units in this step."""
        strata = self.look.strata if self.look else ()
        return sum(one.challenger.units for one in strata if one.step == self.rollout.step)

    @property
    def silence(self) -> timedelta:
        """How long no gateway was heard."""
        heard = [at for at in (self.rollout.last_evidence_at, self.telemetry.at) if at is not None]
        return self.now - max(heard, default=self.rollout.phase_since)

    @property
    def overdue(self) -> bool:
        longest = self.step.until.max_duration
        return longest is not None and self.now - self.rollout.step_since > longest


def obstacles(scene: Scene) -> list[str]:
    """Why exposure may not rise now, each in a sentence; nothing when it may."""
    rollout, found = scene.rollout, []
    if not scene.telemetry.ready:
        found.append("No gateway says that it holds both models.")
    if scene.silence > rollout.policy.on_telemetry_lost.after or scene.telemetry.at is None:
        found.append("No fresh telemetry: no gateway was heard lately.")
    if rollout.lease_until is None or scene.now >= rollout.lease_until:
        found.append("The exposure lease has run out.")
    return found


def promotable(scene: Scene) -> bool:
    """Whether the judge lets it pass, but for holds that a person has seen and resumed from."""
    judgement = scene.judgement
    if judgement is None or open_holds(scene):
        return False
    passed = {metric.name for metric in judgement.metrics if metric.promotion == "pass"}
    asked = {promotion.metric for promotion in scene.rollout.policy.promotion}
    clean = judgement.harm is None and judgement.hard_limit is None and not judgement.unmeasured
    return judgement.promotable or (bool(judgement.holds) and clean and asked <= passed)


def open_holds(scene: Scene) -> list[str]:
    """Holds in force that no person has resumed from."""
    holds = scene.judgement.holds if scene.judgement else ()
    return [hold.name for hold in holds if hold.name not in scene.rollout.acknowledged]


# --- each rule looks for one reason to move ---------------------------------------------------------------------------


def _prepare(_: Scene) -> Move:
    return Move(
        to=Phase.PREPARING,
        verdict=Verdict.CONTINUE,
        code=Reason.PREPARING,
        reason="The controller has it; gateways load the challenger.",
    )


def _enter(scene: Scene) -> Move | None:
    """Out of preparing: to the shadow when there is one, else to the first step."""
    shadow = scene.rollout.policy.shadow
    if shadow is None:
        return _expose(scene, Reason.READY, "Gateways hold both models.")
    if obstacles(scene):
        return None
    return Move(
        to=Phase.SHADOWING,
        verdict=Verdict.CONTINUE,
        code=Reason.READY,
        reason=f"Gateways hold both models; {shadow.percent:g} % of units are mirrored.",
        changes={"shadow": shadow.basis_points},
    )


def _shadow_failed(scene: Scene) -> Move | None:
    """A challenger that fails its mirrored requests beyond a hard limit on errors never answers anybody."""
    seen = scene.telemetry
    errors = {one.name for one in scene.rollout.policy.guardrails if one.type == "rate" and one.event == "error"}
    for limit in scene.rollout.policy.hard_limits:
        beyond = seen.shadowed >= limit.min_units and seen.shadow_failed > limit.max * seen.shadowed
        if limit.metric in errors and beyond:
            rate = f"{seen.shadow_failed:,} of {seen.shadowed:,} mirrored units failed"
            reason = f"{rate}, beyond the hard limit of {limit.max:g}."
            return Move(to=Phase.ROLLING_BACK, verdict=Verdict.ROLLBACK, code=Reason.SHADOW_FAILED, reason=reason)
    return None


def _shadowed(scene: Scene) -> Move | None:
    shadow = scene.rollout.policy.shadow
    if shadow is None or scene.telemetry.shadowed < shadow.min_units:
        return None
    return _expose(scene, Reason.SHADOWED, f"{scene.telemetry.shadowed:,} units were mirrored.")


def _expose(scene: Scene, code: Reason, why: str) -> Move | None:
    """The first step."""
    if obstacles(scene):
        return None
    first = scene.rollout.policy.steps[0]
    return Move(
        to=Phase.PROGRESSING,
        verdict=Verdict.STEP_UP,
        code=code,
        reason=f"{why} The challenger answers {first.weight:g} % of units.",
        changes={"step": 0, "weight": first.basis_points, "step_since": scene.now},
    )


def _limited(scene: Scene) -> Move | None:
    name = scene.judgement.hard_limit if scene.judgement else None
    if name is None:
        return None
    bad, units = scene.look.hard.get(name, (0, 0)) if scene.look else (0, 0)
    return _rollback(Reason.HARD_LIMIT, f"{name} is beyond its hard limit: {bad:,} of {units:,} units were bad.")


def _harmed(scene: Scene) -> Move | None:
    name = scene.judgement.harm if scene.judgement else None
    if name is None or scene.judgement is None:
        return None
    metric = next(one for one in scene.judgement.metrics if one.name == name)
    evidence = f"log e-value {metric.harm_log_e:.2f} at or above {metric.harm_bound:.2f}, at this look or before"
    return _rollback(Reason.HARM, f"The challenger harms {name}: {evidence}.")


def _silent(scene: Scene) -> Move | None:
    lost, phase = scene.rollout.policy.on_telemetry_lost, scene.rollout.phase
    silence = f"No gateway was heard for {_minutes(scene.silence)}"
    if lost.then is not None and scene.silence > lost.then.after:
        return _rollback(Reason.TELEMETRY_LOST, f"{silence}; after {_minutes(lost.then.after)} it is rolled back.")
    if scene.silence <= lost.after:
        return None
    if lost.action is TelemetryAction.ROLLBACK:
        return _rollback(Reason.TELEMETRY_LOST, f"{silence}; it is rolled back.")
    if phase is not Phase.PROGRESSING:
        return None  # held, promoting and baking rollouts take no step without telemetry anyway
    return _hold(Reason.TELEMETRY_LOST, HELD_BY_TELEMETRY, f"{silence}; no step is taken.")


def _held_back(scene: Scene) -> Move | None:
    names = open_holds(scene)
    if not names or scene.judgement is None:
        return None
    reasons = "; ".join(hold.reason for hold in scene.judgement.holds if hold.name in names)
    return _hold(Reason.HOLD, f"holds:{','.join(names)}", f"{', '.join(names)} holds it: {reasons}.")


def _stepped(scene: Scene) -> Move | None:
    wanted = scene.step.until.min_units
    if scene.last or scene.judgement is None or wanted is None or scene.units < wanted or obstacles(scene):
        return None
    following = scene.rollout.policy.steps[scene.rollout.step + 1]
    return Move(
        to=Phase.PROGRESSING,
        verdict=Verdict.STEP_UP,
        code=Reason.UNITS,
        reason=f"{scene.units:,} units without harm; the challenger answers {following.weight:g} % of units.",
        changes={"step": scene.rollout.step + 1, "weight": following.basis_points, "step_since": scene.now},
    )


def _passed(scene: Scene) -> Move | None:
    if not scene.last or scene.units < (scene.step.until.min_units or 0) or not promotable(scene):
        return None
    names = ", ".join(promotion.metric for promotion in scene.rollout.policy.promotion)
    reason = f"Shown to be non-inferior: {names}."
    return Move(to=Phase.PROMOTING, verdict=Verdict.PROMOTE, code=Reason.NON_INFERIOR, reason=reason)


def _undecided(scene: Scene) -> Move | None:
    if not scene.overdue:
        return None
    reason = f"Step {scene.rollout.step + 1} is over its time, and the evidence is inconclusive"
    if scene.rollout.policy.on_inconclusive is OnInconclusive.HOLD:
        return _hold(Reason.INCONCLUSIVE, Reason.INCONCLUSIVE.value, f"{reason}; a person decides.")
    return Move(
        to=Phase.ROLLING_BACK,
        verdict=Verdict.ENDED_WITHOUT_EVIDENCE,
        code=Reason.INCONCLUSIVE,
        reason=f"{reason}; that is no pass.",
    )


def _thawed(scene: Scene) -> Move | None:
    """A freeze for want of telemetry ends by itself; every other hold waits for a person."""
    if scene.rollout.held != HELD_BY_TELEMETRY or scene.silence > scene.rollout.policy.on_telemetry_lost.after:
        return None
    return Move(
        to=Phase.PROGRESSING, verdict=Verdict.CONTINUE, code=Reason.TELEMETRY_BACK, reason="Gateways are heard again."
    )


def _crowned(scene: Scene) -> Move | None:
    if obstacles(scene):
        return None
    bake = scene.rollout.policy.bake
    return Move(
        to=Phase.BAKING,
        verdict=Verdict.CONTINUE,
        code=Reason.PROMOTED,
        reason=f"The challenger is the champion; the old one keeps {bake.holdback:g} % of units.",
        changes={"weight": WHOLE - bake.basis_points},
    )


def _baked(scene: Scene) -> Move | None:
    bake = scene.rollout.policy.bake
    if scene.now - scene.rollout.phase_since < bake.duration or scene.judgement is None or obstacles(scene):
        return None
    reason = "No harm was found while it baked; it answers every unit."
    return Move(to=Phase.SUCCEEDED, verdict=Verdict.CONTINUE, code=Reason.BAKED, reason=reason)


def _withdrawn(_: Scene) -> Move:
    return Move(
        to=Phase.ROLLED_BACK,
        verdict=Verdict.ROLLBACK,
        code=Reason.WITHDRAWN,
        reason="The challenger answers nobody; the champion has all units.",
    )


def _rollback(code: Reason, reason: str) -> Move:
    return Move(to=Phase.ROLLING_BACK, verdict=Verdict.ROLLBACK, code=code, reason=reason)


def _hold(code: Reason, held: str, reason: str) -> Move:
    return Move(to=Phase.HELD, verdict=Verdict.HOLD, code=code, reason=reason, changes={"held": held})


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.0f} min"


Rule = Callable[[Scene], Move | None]
_GUARD: Final[tuple[Rule, ...]] = (_limited, _harmed, _silent)
RULES: Final[Mapping[Phase, tuple[Rule, ...]]] = {
    Phase.PENDING: (_prepare,),
    Phase.PREPARING: (_enter,),
    Phase.SHADOWING: (_shadow_failed, _shadowed),
    Phase.PROGRESSING: (*_GUARD, _held_back, _passed, _stepped, _undecided),
    Phase.HELD: (*_GUARD, _thawed),
    Phase.PROMOTING: (*_GUARD, _crowned),
    Phase.BAKING: (*_GUARD, _baked),
    Phase.ROLLING_BACK: (_withdrawn,),
    Phase.SUCCEEDED: (),
    Phase.ROLLED_BACK: (),
    Phase.ABORTED: (),
    Phase.SUPERSEDED: (),
}
"""By phase, the rules in order; the first that finds a reason moves."""
