"""One guardrail at one look: its evidence of harm and of non-inferiority, and what is missing for a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from towpath.core import sequential as rates
from towpath.core import sequential_means as means
from towpath.core.guardrails import CHAMPION_P99, Exceedance, Guardrail, Mean, Promotion, Rate, bound_of
from towpath.core.looks import Arm, MetricStatus, Moments, Seen, Stratum
from towpath.core.rollout_policy import RolloutPolicy
from towpath.core.sequential import Bet, Count


def not_measured(guardrail: Guardrail, thresholds: Mapping[str, float], strata: Sequence[Stratum]) -> str:
    """Why the guardrail says nothing; empty when it was measured wherever units were served."""
    name = guardrail.name
    if bound_of(guardrail) == CHAMPION_P99 and name not in thresholds:
        return f"{name} has no threshold: the champion's was not measured before the rollout"
    arms = [arm for stratum in strata for arm in (stratum.champion, stratum.challenger) if arm.units]
    measured = [arm.means if isinstance(guardrail, Mean) else arm.bad for arm in arms]
    if not arms or any(name not in names for names in measured):
        return f"{name} was not measured"
    return ""


def increments(name: str, seen: Sequence[Seen], strata: Sequence[Stratum]) -> list[Count]:
    """Bad units since the last look."""
    before = {(old.step, old.weight): old.bad.get(name, (0, 0)) for old in seen}
    fresh = []
    for stratum, now in _counts(name, strata):
        champion, challenger = before.get((stratum.step, stratum.weight), (0, 0))
        fresh.append(
            Count(share=now.share, challenger=now.challenger - challenger, total=now.total - champion - challenger)
        )
    return fresh


def of_rate(
    policy: RolloutPolicy, guardrail: Rate | Exceedance, bet: Bet, strata: Sequence[Stratum], missing: str
) -> MetricStatus:
    """A rate or exceedance: the error-arm test."""
    promotion = policy.margin(guardrail.name)
    counts = [count for _, count in _counts(guardrail.name, strata)]
    status = _status(policy, guardrail, rates.log_e_harm(bet), bet.peak, strata).model_copy(
        update={
            "estimate": rates.ratio_estimate(counts),
            "interval": rates.ratio_interval(counts, policy.alpha),
            "events": tuple(sum(arm.bad.get(guardrail.name, 0) for arm in arms) for arms in _arms(strata)),
        }
    )
    log_e = _log_e_no_worse(policy, promotion, counts, strata) if promotion else None
    return _settled(policy, status, promotion, log_e, missing)


def of_mean(
    policy: RolloutPolicy, guardrail: Mean, peak: float, strata: Sequence[Stratum], missing: str
) -> tuple[float, MetricStatus]:
    """A mean: the normal mixture on the stratified difference, and its greatest evidence of harm so far."""
    name, promotion = guardrail.name, policy.margin(guardrail.name)
    seen = means.contrast([(_sample(one.champion, name), _sample(one.challenger, name)) for one in strata])
    log_e_harm = means.log_e_worse(seen)
    peak = max(peak, log_e_harm)
    labelled = _labelled(name, strata)
    status = _status(policy, guardrail, log_e_harm, peak, strata).model_copy(
        update={
            "estimate": seen.difference if seen else None,
            "interval": means.difference_interval(seen, policy.alpha),
            "events": labelled,
            "coverage": _coverage(labelled, strata) if guardrail.delayed else None,
        }
    )
    margin = promotion.non_inferior.absolute if promotion else None
    log_e = means.log_e_no_worse(seen, margin) if margin is not None else None
    return peak, _settled(policy, status, promotion, log_e, missing)


def _counts(name: str, strata: Sequence[Stratum]) -> list[tuple[Stratum, Count]]:
    return [
        (one, Count(share=one.weight / 10_000, challenger=bad, total=bad + one.champion.bad.get(name, 0)))
        for one in strata
        if 0 < one.weight < 10_000
        for bad in [one.challenger.bad.get(name, 0)]
    ]


def _log_e_no_worse(
    policy: RolloutPolicy, promotion: Promotion, counts: Sequence[Count], strata: Sequence[Stratum]
) -> float:
    """With a floor the null is "too high a ratio, and not below the floor": half the stake is bet against each.

    The floor is asked of the last step's units alone, since a unit may be seen in several steps, but of all bad ones.
    """
    ratio, floor = promotion.non_inferior.ratio, promotion.non_inferior.floor
    log_e = rates.log_e_no_worse(counts, ratio) if ratio is not None else 0.0
    if floor is None:
        return log_e
    last = policy.steps[-1].basis_points
    units = sum(one.challenger.units for one in strata if one.weight == last)
    bad = sum(count.challenger for count in counts)
    return rates.log_sum((log_e, rates.log_e_below(bad, max(bad, units), floor))) - math.log(2)


def _status(
    policy: RolloutPolicy, guardrail: Guardrail, log_e: float, peak: float, strata: Sequence[Stratum]
) -> MetricStatus:
    bound = -math.log(policy.alpha * guardrail.share)
    harmed = peak >= bound
    return MetricStatus(
        name=guardrail.name,
        type=guardrail.type,
        share=guardrail.share,
        harm_log_e=log_e,
        harm_bound=bound,
        harmed=harmed,
        promotion="none",
        units=(sum(one.champion.units for one in strata), sum(one.challenger.units for one in strata)),
        reason=f"the challenger is worse: log e-value {peak:.2f} reached {bound:.2f}" if harmed else "no harm found",
    )


def _settled(
    policy: RolloutPolicy, status: MetricStatus, promotion: Promotion | None, log_e: float | None, missing: str
) -> MetricStatus:
    """The status with what promotion asks of the metric. No harm found is no pass."""
    if promotion is None:
        return status.model_copy(update={"reason": missing}) if missing and not status.harmed else status
    bound = -math.log(policy.alpha)
    told = _wanting(status, promotion, log_e or 0.0, bound, missing)
    return status.model_copy(
        update={
            "promotion": "inconclusive" if told else "pass",
            "noninferiority_log_e": log_e,
            "noninferiority_bound": bound,
            "reason": status.reason if status.harmed else told or "non-inferior to the champion",
        }
    )


def _wanting(status: MetricStatus, promotion: Promotion, log_e: float, bound: float, missing: str) -> str:
    """What the metric still wants for its pass; empty when nothing."""
    if missing:
        return missing
    if status.harmed:
        return status.reason
    least = promotion.min_label_coverage
    if status.coverage is not None and min(status.coverage) < least:
        champion, challenger = status.coverage
        return (
            f"labels of {champion:.0%} (champion) and {challenger:.0%} (challenger) have come, {least:.0%} are needed"
        )
    if log_e < bound:
        return f"not shown to be non-inferior: log e-value {log_e:.2f} of {bound:.2f}"
    return ""


def _sample(arm: Arm, name: str) -> means.Sample:
    moments = arm.means.get(name, Moments())
    return means.sample(moments.n, moments.total, moments.squares)


def _labelled(name: str, strata: Sequence[Stratum]) -> tuple[int, int]:
    none = Moments()
    return (
        sum(one.champion.means.get(name, none).n for one in strata),
        sum(one.challenger.means.get(name, none).n for one in strata),
    )


def _coverage(labelled: tuple[int, int], strata: Sequence[Stratum]) -> tuple[float, float]:
    champion, challenger = (sum(arm.units for arm in arms) for arms in _arms(strata))
    return labelled[0] / champion if champion else 0.0, labelled[1] / challenger if challenger else 0.0


def _arms(strata: Sequence[Stratum]) -> tuple[list[Arm], list[Arm]]:
    return [one.champion for one in strata], [one.challenger for one in strata]
