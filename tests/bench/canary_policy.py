"""A whole rollout through the state machine that moves real ones: 5, 10, 25, 50 %, then the promotion test."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from canary_worlds import REQUESTS

from towpath.core import judge as judges
from towpath.core.judge import Arm, Look, Stratum
from towpath.core.rollout import Contender, Phase, Rollout, Telemetry, policy_digest
from towpath.core.rollout_machine import tick
from towpath.core.rollout_policy import RolloutPolicy

MOST_REQUESTS = 100_000
POLICY = RolloutPolicy.model_validate(
    {
        "steps": [
            {"weight": 5, "until": {"minUnits": 300}},
            {"weight": 10, "until": {"minUnits": 500}},
            {"weight": 25, "until": {"minUnits": 1_000}},
            {"weight": 50, "until": {"promotion": True}},
        ],
        "guardrails": [{"name": "errors", "type": "rate", "event": "error", "share": 1}],
        "promotion": [{"metric": "errors", "nonInferior": {"ratio": 1.5}}],
        "hardLimits": [{"metric": "errors", "max": 0.2, "minUnits": 20}],
    }
)
SCORES = np.diff(1 - (1 - np.linspace(0, 1, 21)) ** 4)


BEGUN = datetime(2013, 6, 1, tzinfo=UTC)
VERDICTS = {Phase.PROMOTING: "promoted", Phase.ROLLING_BACK: "rolled back"}


@dataclass(frozen=True)
class End:
    """How a rollout ended, after how many requests, and how many of them the challenger had."""

    verdict: str
    requests: int
    exposed: int


def roll_out(rng: np.random.Generator, ratio: float, *, rate: float = 0.01, policy: RolloutPolicy = POLICY) -> End:
    """One rollout; the challenger's errors are `ratio` times as frequent. A minute a look; nobody resumes holds."""
    rollout, exposed = _begun(policy), 0
    tally = np.zeros((len(policy.steps), 2, 22), dtype=np.int64)
    for look in range(1, MOST_REQUESTS // REQUESTS + 1):
        new = int(rng.binomial(REQUESTS, rollout.weight / 10_000))
        exposed += new
        for arm, (units, chance) in enumerate(((REQUESTS - new, rate), (new, rate * ratio))):
            tally[rollout.step, arm, 0] += units
            tally[rollout.step, arm, 1] += rng.binomial(units, chance)
            tally[rollout.step, arm, 2:] += rng.multinomial(units, SCORES)
        now = BEGUN + timedelta(minutes=look)
        rollout, _ = tick(rollout, _look(policy, look, tally, rollout.step), Telemetry(at=now, ready=True), now)
        if rollout.phase in VERDICTS:
            return End(VERDICTS[rollout.phase], look * REQUESTS, exposed)
    return End(rollout.phase.value, MOST_REQUESTS, exposed)


def _begun(policy: RolloutPolicy) -> Rollout:
    """At the first step, with a lease that does not end."""
    old, new = (Contender(candidate=name, digest=name, model=name, version=name) for name in ("champion", "challenger"))
    return Rollout(
        rollout_id="bench",
        project="bench",
        generation=0,
        phase=Phase.PROGRESSING,
        step=0,
        weight=policy.steps[0].basis_points,
        salt="00" * 16,
        unit=policy.unit,
        champion=old,
        challenger=new,
        policy=policy,
        policy_digest=policy_digest(policy),
        thresholds={},
        lease_until=BEGUN + timedelta(days=365),
        phase_since=BEGUN,
        step_since=BEGUN,
        judge=judges.begin(policy),
        started_by="bench",
        started_at=BEGUN,
    )


def _look(policy: RolloutPolicy, number: int, tally: np.ndarray, step: int) -> Look:
    strata = []
    for reached in range(step + 1):
        champion, challenger = (
            Arm(units=one[0], bad={"errors": one[1]}, scores=tuple(one[2:])) for one in tally[reached].tolist()
        )
        weight = policy.steps[reached].basis_points
        strata.append(Stratum(step=reached, weight=weight, champion=champion, challenger=challenger))
    bad, units = int(tally[:, 1, 1].sum()), int(tally[:, 1, 0].sum())
    return Look(
        watermark=f"{number:06}", requests=number * REQUESTS, strata=tuple(strata), hard={"errors": (bad, units)}
    )
