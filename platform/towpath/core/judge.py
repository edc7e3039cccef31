"""`judge(policy, thresholds, state, look)`: what the evidence of a rollout says. Pure and deterministic.

Looks are cumulative; the state holds what was counted at the last one, so that the same looks in the same order give
the same judgements on every machine. ROLLOUT.md is the specification; `sequential` holds the statistics.
"""

from __future__ import annotations

from collections.abc import Mapping

from towpath.core.looks import Arm, Hold, Judgement, JudgeState, Look, MetricStatus, Moments, Seen, Stratum
from towpath.core.rollout_policy import RolloutPolicy
from towpath.core.sequential import Bet

__all__ = [
    "Arm",
    "Hold",
    "JudgeState",
    "Judgement",
    "Look",
    "MetricStatus",
    "Moments",
    "Seen",
    "Stratum",
    "begin",
    "judge",
]


def begin(policy: RolloutPolicy) -> JudgeState:
    """The state before the first look."""
    return JudgeState(
        bets={one.name: Bet() for one in policy.guardrails if one.type != "mean"},
        peaks={one.name: 0.0 for one in policy.guardrails if one.type == "mean"},
    )


def judge(
    policy: RolloutPolicy, thresholds: Mapping[str, float], state: JudgeState, look: Look
) -> tuple[JudgeState, Judgement]:
    """What one look says, and the state for the next. `look` is cumulative and no older than the state's."""
    raise NotImplementedError
