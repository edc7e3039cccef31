"""`judge(policy, thresholds, state, look)`: what the evidence of a rollout says. Pure and deterministic.

Looks are cumulative; the state holds what was counted at the last one, so that the same looks in the same order give
the same judgements on every machine. Harm splits alpha over the guardrails; each test of promotion has it whole, since
all of them must pass. What was not measured never passes. ROLLOUT.md is the specification.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from towpath.core.errors import BadInput
from towpath.core.guardrails import Mean
from towpath.core.judge_holds import prediction_distance, sample_ratio, standing
from towpath.core.judge_metrics import increments, not_measured, of_mean, of_rate
from towpath.core.looks import Arm, Hold, Judgement, JudgeState, Look, MetricStatus, Moments, Seen, Stratum
from towpath.core.rollout_policy import RolloutPolicy
from towpath.core.sequential import Bet, wager

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
        bets={one.name: Bet() for one in policy.guardrails if not isinstance(one, Mean)},
        peaks={one.name: 0.0 for one in policy.guardrails if isinstance(one, Mean)},
    )


def judge(
    policy: RolloutPolicy, thresholds: Mapping[str, float], state: JudgeState, look: Look
) -> tuple[JudgeState, Judgement]:
    """What one look says, and the state for the next.

    `look` is cumulative and no older than the state; `thresholds` are those frozen at the start, by guardrail. Raises
    `BadInput` when the evidence cannot be: counts that fell, units in an arm of weight 0, an unknown metric.
    """
    strata = _checked(policy, state, look)
    bets, peaks, metrics, unmeasured = dict(state.bets), dict(state.peaks), [], []
    for guardrail in policy.guardrails:
        name = guardrail.name
        missing = not_measured(guardrail, thresholds, strata)
        unmeasured += [missing] if missing else []
        if isinstance(guardrail, Mean):
            peaks[name], status = of_mean(policy, guardrail, state.peaks[name], strata, missing)
        else:
            bets[name] = wager(state.bets[name], increments(name, state.seen, strata))
            status = of_rate(policy, guardrail, bets[name], strata, missing)
        metrics.append(status)
    after = JudgeState(
        looks=state.looks + 1, watermark=look.watermark, bets=bets, peaks=peaks, seen=_seen(policy, strata)
    )
    return after, _judgement(policy, look, strata, tuple(metrics), unmeasured)


def _judgement(
    policy: RolloutPolicy,
    look: Look,
    strata: list[Stratum],
    metrics: tuple[MetricStatus, ...],
    unmeasured: list[str],
) -> Judgement:
    log_e, distance = sample_ratio(policy, strata), prediction_distance(strata)
    holds, unknown = standing(policy, strata, log_e, distance)
    limits = [(limit, *look.hard.get(limit.metric, (0, 0))) for limit in policy.hard_limits]
    beyond = next((limit for limit, bad, units in limits if units >= limit.min_units and bad > limit.max * units), None)
    unmeasured = [
        *unmeasured,
        *unknown,
        *(f"hard limit of {limit.metric} was not measured" for limit, _, units in limits if not units),
    ]
    harmed = next((status.name for status in metrics if status.harmed), None)
    asked = [status for status in metrics if status.promotion != "none"]
    reasons = [
        *([f"{beyond.metric} of the challenger is beyond its hard limit of {beyond.max:g}"] if beyond else []),
        *(f"{status.name}: {status.reason}" for status in metrics if status.harmed),
        *(f"{hold.name}: {hold.reason}" for hold in holds),
        *unmeasured,
        *(f"{status.name}: {status.reason}" for status in asked if not status.harmed),
    ]
    return Judgement(
        metrics=metrics,
        harm=harmed,
        hard_limit=beyond.metric if beyond else None,
        holds=holds,
        promotable=not (beyond or harmed or holds or unmeasured) and all(one.promotion == "pass" for one in asked),
        unmeasured=tuple(unmeasured),
        sample_ratio_log_e=log_e,
        prediction_distance=distance,
        reasons=tuple(dict.fromkeys(reasons)),
    )


def _checked(policy: RolloutPolicy, state: JudgeState, look: Look) -> list[Stratum]:
    """The strata in order. Raises `BadInput` on evidence that cannot be."""
    strata = sorted(look.strata, key=lambda stratum: (stratum.step, stratum.weight))
    by_key = {(stratum.step, stratum.weight): stratum for stratum in strata}
    if len(by_key) < len(strata):
        raise BadInput("A look holds a step and weight twice.", value=sorted(by_key))
    known = [guardrail.name for guardrail in policy.guardrails]
    for stratum in strata:
        where = f"Step {stratum.step} at weight {stratum.weight}"
        for name in {*_named(stratum.champion), *_named(stratum.challenger)} - set(known):
            raise BadInput(f"{where} counts the metric {name!r}.", value=name, valid=known)
        if (stratum.weight == 0 and stratum.challenger.units) or (stratum.weight == 10_000 and stratum.champion.units):
            raise BadInput(f"{where} has units in the arm that gets none.", value=stratum.weight)
    for seen in state.seen:
        now = by_key.get((seen.step, seen.weight), Stratum(step=seen.step, weight=seen.weight))
        for name, counted in seen.bad.items():
            if any(new < old for new, old in zip(_bad(now, name), counted, strict=True)):
                raise BadInput(
                    f"Bad units of {name} fell from {counted} to {_bad(now, name)} in step {seen.step}.",
                    value=_bad(now, name),
                    hint="Evidence only grows: read the prediction log from the rollout's start.",
                )
    return strata


def _seen(policy: RolloutPolicy, strata: list[Stratum]) -> tuple[Seen, ...]:
    names = [guardrail.name for guardrail in policy.guardrails if not isinstance(guardrail, Mean)]
    return tuple(
        Seen(step=one.step, weight=one.weight, bad={name: _bad(one, name) for name in names}) for one in strata
    )


def _bad(stratum: Stratum, name: str) -> tuple[int, int]:
    return stratum.champion.bad.get(name, 0), stratum.challenger.bad.get(name, 0)


def _named(arm: Arm) -> Iterator[str]:
    yield from arm.bad
    yield from arm.means
