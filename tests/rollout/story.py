"""A rollout as tests tell it: a small policy, evidence by the numbers, and gateways that are heard or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from towpath.core import judge
from towpath.core.looks import Arm, Look, Stratum
from towpath.core.rollout import Contender, Phase, Rollout, Telemetry, policy_digest
from towpath.core.rollout_decision import Command, Order
from towpath.core.rollout_policy import RolloutPolicy

START = datetime(2013, 6, 1, 6, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LEASE = timedelta(seconds=90)
DECLARED: Mapping[str, Any] = {
    "unit": "tailnum",
    "steps": [
        {"weight": 5, "until": {"minUnits": 100}},
        {"weight": 25, "until": {"minUnits": 300}},
        {"weight": 50, "until": {"promotion": True, "maxDuration": "2d"}},
    ],
    "guardrails": [{"name": "errors", "type": "rate", "event": "error", "share": 1.0}],
    "promotion": [{"metric": "errors", "nonInferior": {"ratio": 1.5}}],
    "holds": [{"name": "srm", "type": "sampleRatio", "alpha": 0.001}],
    "hardLimits": [{"metric": "errors", "max": 0.5, "minUnits": 20}],
    "onTelemetryLost": {"after": "5m", "action": "freeze", "then": {"after": "30m", "action": "rollback"}},
    "bake": {"duration": "24h", "holdback": 5},
}
SHADOW = {"percent": 10, "minUnits": 50}
CHAMPION = Contender(candidate="flights-aaaaaaaaaaaa", digest="sha256:a", model="sha256:ma", version="1")
CHALLENGER = Contender(candidate="flights-bbbbbbbbbbbb", digest="sha256:b", model="sha256:mb", version="2")


def policy(**changes: Any) -> RolloutPolicy:
    return RolloutPolicy.model_validate({**DECLARED, **changes})


def rollout(
    *,
    name: str = "flights-r1",
    project: str = "flights",
    champion: Contender = CHAMPION,
    challenger: Contender = CHALLENGER,
    declared: RolloutPolicy | None = None,
    **changes: Any,
) -> Rollout:
    """A rollout that was just started."""
    declared = declared or policy()
    made = Rollout(
        rollout_id=name,
        project=project,
        generation=0,
        phase=Phase.PENDING,
        step=0,
        weight=0,
        salt="00" * 16,
        unit=declared.unit,
        champion=champion,
        challenger=challenger,
        policy=declared,
        policy_digest=policy_digest(declared),
        thresholds={},
        phase_since=START,
        step_since=START,
        judge=judge.begin(declared),
        started_by="ada",
        started_at=START,
    )
    return made.model_copy(update=changes)


def at(phase: Phase, *, step: int = 0, generation: int = 5, **changes: Any) -> Rollout:
    """A rollout in that phase, with the weight that belongs to it, and a live lease."""
    made = rollout()
    weights = {
        Phase.PROGRESSING: made.policy.steps[step].basis_points,
        Phase.HELD: made.policy.steps[step].basis_points,
        Phase.PROMOTING: made.policy.steps[-1].basis_points,
        Phase.BAKING: 9_500,
        Phase.SUCCEEDED: 10_000,
    }
    fields = {"phase": phase, "step": step, "weight": weights.get(phase, 0), "generation": generation}
    held = {"held": "paused"} if phase is Phase.HELD else {}
    return made.model_copy(update={**fields, **held, "lease_until": START + timedelta(days=99), **changes})


def heard(now: datetime, *, ready: bool = True, shadowed: int = 0, failed: int = 0) -> Telemetry:
    return Telemetry(at=now, ready=ready, shadowed=shadowed, shadow_failed=failed)


def look(*strata: Sequence[int], mark: str | None = None) -> Look:
    """Evidence: a stratum is (step, weight, champion's units, its bad ones, challenger's units, its bad ones)."""
    made = [
        Stratum(
            step=step,
            weight=weight,
            champion=Arm(units=units, bad={"errors": bad}),
            challenger=Arm(units=others, bad={"errors": worse}),
        )
        for step, weight, units, bad, others, worse in strata
    ]
    units = sum(one.challenger.units for one in made)
    bad = sum(one.challenger.bad["errors"] for one in made)
    requests = sum(one.champion.units + one.challenger.units for one in made)
    return Look(
        watermark=mark if mark is not None else f"after {requests:09d} requests",
        requests=requests,
        strata=tuple(made),
        hard={"errors": (bad, units)},
    )


# Evidence of a challenger that is as good, up to each step; and of one that fails.
GOOD = (
    (0, 500, 1_900, 19, 100, 1),
    (1, 2_500, 900, 9, 300, 3),
    (2, 5_000, 20_000, 400, 20_000, 400),
)
BAKED = (*GOOD, (2, 9_500, 100, 1, 1_900, 19))
BAD = ((0, 500, 1_900, 19, 100, 30),)
CRASHING = ((0, 500, 1_900, 0, 100, 90),)


def order(what: Order, reason: str = "because I say so") -> Command:
    return Command(order=what, author="ada", reason=reason)
