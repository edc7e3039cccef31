"""Holds: whether the arms got the units they should have, and whether their predictions are alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

from towpath.core.guardrails import PredictionDrift, SampleRatio
from towpath.core.looks import Hold, Stratum
from towpath.core.rollout_policy import RolloutPolicy
from towpath.core.sequential import log_e_sample_ratio

LEAST_SCORES = 100
"""Predictions of each arm below which their distributions are not compared."""


def sample_ratio(policy: RolloutPolicy, strata: Sequence[Stratum]) -> float:
    """Log e-value against "in every step, units went to the challenger with the chance of its weight".

    Each step is tested alone and pays for the number of steps (one more for baking): a unit seen in two steps has the
    same bucket in both, so that their evidence must not be multiplied.
    """
    tested = [stratum for stratum in strata if 0 < stratum.weight < 10_000]
    if not tested:
        return 0.0
    greatest = max(
        log_e_sample_ratio(one.challenger.units, one.champion.units + one.challenger.units, one.weight / 10_000)
        for one in tested
    )
    return greatest - math.log(max(len(tested), len(policy.steps) + 1))


def prediction_distance(strata: Sequence[Stratum]) -> float | None:
    """Jensen-Shannon distance (base 2) of the arms' predictions beyond what chance makes; None with too few.

    Champion and challenger are compared under the same mix of steps, since predictions drift while weights rise. Two
    samples of one distribution have a divergence of about a chi-square with a degree of freedom a bin, over
    8 ln 2 / (1 / n1 + 1 / n2): its mean and five standard deviations are taken off, since many looks are taken.
    """
    both = [
        (one.champion.scores, one.challenger.scores)
        for one in strata
        if sum(one.champion.scores) and sum(one.challenger.scores)
    ]
    total = sum(sum(new) for _, new in both)
    if total < LEAST_SCORES or sum(sum(old) for old, _ in both) < LEAST_SCORES:
        return None
    shares = [sum(new) / total for _, new in both]
    parts = [[share * one / sum(old) for one in old] for share, (old, _) in zip(shares, both, strict=True)]
    expected = [sum(column) for column in zip(*parts, strict=True)]
    observed = [sum(column) / total for column in zip(*(new for _, new in both), strict=True)]
    sampled = 1 / total + sum(share**2 / sum(old) for share, (old, _) in zip(shares, both, strict=True))
    free = max(1, sum(1 for p, q in zip(expected, observed, strict=True) if p + q > 0) - 1)
    chance = (free + 5 * math.sqrt(2 * free)) / (8 * math.log(2)) * sampled
    return math.sqrt(max(0.0, _divergence(expected, observed) - chance))


def standing(
    policy: RolloutPolicy, strata: Sequence[Stratum], log_e: float, distance: float | None
) -> tuple[tuple[Hold, ...], list[str]]:
    """The holds in force, and what could not be measured."""
    holds, unmeasured = [], []
    units = sum(one.champion.units + one.challenger.units for one in strata)
    for rule in policy.holds:
        match rule:
            case SampleRatio():
                bound = -math.log(rule.alpha)
                if not units:
                    unmeasured.append(f"{rule.name}: no unit was assigned yet")
                elif log_e >= bound:
                    why = f"units are not in the ratio of the weights: log e-value {log_e:.2f} reached {bound:.2f}"
                    holds.append(Hold(name=rule.name, type=rule.type, measured=log_e, bound=bound, reason=why))
            case PredictionDrift():
                if distance is None:
                    unmeasured.append(f"{rule.name}: fewer than {LEAST_SCORES} predictions of an arm")
                elif distance > rule.max:
                    why = f"predictions of the arms lie {distance:.3f} apart, more than {rule.max:g}"
                    holds.append(Hold(name=rule.name, type=rule.type, measured=distance, bound=rule.max, reason=why))
    return tuple(holds), unmeasured


def _divergence(p: Sequence[float], q: Sequence[float]) -> float:
    """Jensen-Shannon divergence in bits."""
    total = 0.0
    for one, other in zip(p, q, strict=True):
        middle = (one + other) / 2
        total += sum(part * math.log2(part / middle) for part in (one, other) if part) / 2
    return total
