"""A whole rollout through `judge`: steps of 5, 10, 25, 50 %, then the promotion test.

The stepping rule is the policy's: the weight rises when the step has its units and nothing harms or holds; a hold stops
steps, not judging; the last step ends with promotion; what is undecided at the end is held.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from canary_worlds import REQUESTS

from towpath.core import judge as judges
from towpath.core.judge import Arm, Look, Stratum
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


@dataclass(frozen=True)
class End:
    """How a rollout ended, after how many requests, and how many of them the challenger had."""

    verdict: str
    requests: int
    exposed: int


def roll_out(rng: np.random.Generator, ratio: float, *, rate: float = 0.01, policy: RolloutPolicy = POLICY) -> End:
    """One rollout; the challenger's error rate is `ratio` times the champion's."""
    state, step, exposed = judges.begin(policy), 0, 0
    tally = np.zeros((len(policy.steps), 2, 22), dtype=np.int64)
    for look in range(1, MOST_REQUESTS // REQUESTS + 1):
        share = policy.steps[step].basis_points / 10_000
        new = int(rng.binomial(REQUESTS, share))
        exposed += new
        for arm, (units, chance) in enumerate(((REQUESTS - new, rate), (new, rate * ratio))):
            tally[step, arm, 0] += units
            tally[step, arm, 1] += rng.binomial(units, chance)
            tally[step, arm, 2:] += rng.multinomial(units, SCORES)
        state, judgement = judges.judge(policy, {}, state, _look(policy, look, tally, step))
        if judgement.harm or judgement.hard_limit:
            return End("rolled back", look * REQUESTS, exposed)
        until = policy.steps[step].until
        if until.promotion and judgement.promotable:
            return End("promoted", look * REQUESTS, exposed)
        if until.min_units is not None and tally[step, 1, 0] >= until.min_units and not judgement.holds:
            step += 1
    return End("undecided", MOST_REQUESTS, exposed)


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
