"""What a rollout policy can find out, and how soon: expected units, and the refusal of a policy that cannot decide.

The tests themselves are asked, with the counts that are expected; so the figures are those of a typical rollout, and
about half of all rollouts need more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from towpath.core import sequential as rates
from towpath.core import sequential_means as means
from towpath.core.errors import BadInput, DeclarationError, Problems
from towpath.core.guardrails import Guardrail, Mean
from towpath.core.rollout_policy import RolloutPolicy, Step

DEFAULT_RATIO = 2.0
"""The regression of a rate that is planned for when promotion states no ratio."""
DEFAULT_EFFECT = 0.2
"""The regression of a mean that is planned for when promotion states no margin, in standard deviations."""

_MOST_UNITS = 1e12


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What one test needs in one step.

    `effect`: the ratio or difference that is found (harm) or excluded while there is no difference (promotion).
    `units`: expected units of the challenger, `days`: until it has them; None when the test can never tell, or when
    nothing is known of the metric (`known`).
    """

    step: int
    weight: float
    metric: str
    test: Literal["harm", "promotion"]
    effect: float | None
    units: int | None
    days: float | None
    known: bool


def power(policy: RolloutPolicy, base_rates: Mapping[str, float], units_per_day: float) -> tuple[Planned, ...]:
    """The plan: every guardrail's test for harm in each step, and the tests of promotion in the last.

    `base_rates`: of a rate or exceedance the champion's share of bad units, of a mean the standard deviation of its
    capped values; by guardrail. `units_per_day`: new units of both arms. Raises `BadInput` for figures that cannot be.
    """
    if not units_per_day > 0:
        raise BadInput(f"{units_per_day} units a day.", value=units_per_day, valid=["a number above 0"])
    for name, rate in base_rates.items():
        names = [guardrail.name for guardrail in policy.guardrails]
        if name not in names:
            raise BadInput(f"A base rate is given for {name!r}.", value=name, valid=names)
        if not (rate >= 0 and math.isfinite(rate)):
            raise BadInput(f"The base rate of {name} is {rate}.", value=rate, valid=["a finite number, 0 or more"])
    plan = []
    for number, step in enumerate(policy.steps):
        for guardrail in policy.guardrails:
            plan.append(_planned(policy, number, guardrail, "harm", base_rates, units_per_day))
            if step.until.promotion and policy.margin(guardrail.name) is not None:
                plan.append(_planned(policy, number, guardrail, "promotion", base_rates, units_per_day))
    return tuple(plan)


def admit(policy: RolloutPolicy, base_rates: Mapping[str, float], units_per_day: float) -> tuple[Planned, ...]:
    """The plan of a policy that can decide. Raises `Problems` when a step cannot end within its `maxDuration`."""
    plan = power(policy, base_rates, units_per_day)
    problems: list[DeclarationError] = []
    for number, step in enumerate(policy.steps):
        problems += _too_slow(number, step, units_per_day)
        problems += [
            _undecidable(number, step, one)
            for one in plan
            if one.step == number and _never(one, step.until.max_duration)
        ]
    if problems:
        raise Problems(problems)
    return plan


def _planned(
    policy: RolloutPolicy,
    number: int,
    guardrail: Guardrail,
    test: Literal["harm", "promotion"],
    base_rates: Mapping[str, float],
    units_per_day: float,
) -> Planned:
    share = policy.steps[number].basis_points / 10_000
    base = base_rates.get(guardrail.name)
    effect, log_e = _test(policy, guardrail, test, share, base or 0.0)
    bound = -math.log(policy.alpha * (guardrail.share if test == "harm" else 1.0))
    total = None if base is None else _least(log_e, bound)
    return Planned(
        step=number,
        weight=policy.steps[number].weight,
        metric=guardrail.name,
        test=test,
        effect=effect,
        units=None if total is None else math.ceil(total * share),
        days=None if total is None else total / units_per_day,
        known=base is not None,
    )


def _test(
    policy: RolloutPolicy, guardrail: Guardrail, test: str, share: float, base: float
) -> tuple[float, Callable[[float], float]]:
    """The effect, and the expected log e-value after so many units of both arms."""
    promotion = policy.margin(guardrail.name)
    if isinstance(guardrail, Mean):
        margin = (promotion.non_inferior.absolute if promotion else None) or DEFAULT_EFFECT * base
        return margin, lambda units: _of_mean(test, units, share, base, margin)
    ratio = (promotion.non_inferior.ratio if promotion else None) or DEFAULT_RATIO
    if test == "harm":
        return ratio, lambda units: _of_harm(units, share, base, ratio)
    floor = promotion.non_inferior.floor if promotion else None
    return ratio, lambda units: _of_no_worse(units, share, base, ratio, floor)


def _of_mean(test: str, units: float, share: float, deviation: float, margin: float) -> float:
    if not deviation:
        return 0.0
    variance = deviation**2 / (units * share * (1 - share))
    seen = means.Contrast(
        difference=margin if test == "harm" else 0.0,
        variance=variance,
        wary=variance,
        spread=deviation,
        challenger=int(units * share),
    )
    return means.log_e_worse(seen) if test == "harm" else means.log_e_no_worse(seen, margin)


def _of_harm(units: float, share: float, base: float, ratio: float) -> float:
    bad = units * share * base * ratio
    counts = [rates.Count(share=share, challenger=bad, total=bad + units * (1 - share) * base)]
    return rates.log_sum(
        [math.log(stake / 2) + rates.log_ratio(counts, bet) for bet, stake in rates.HARM_RATIOS] + [math.log(0.5)]
    )


def _of_no_worse(units: float, share: float, base: float, ratio: float, floor: float | None) -> float:
    counts = [rates.Count(share=share, challenger=units * share * base, total=units * base)]
    log_e = rates.log_e_no_worse(counts, ratio)
    if floor is None:
        return log_e
    below = rates.log_e_below(units * share * base, units * share, floor)
    return rates.log_sum((log_e, below)) - math.log(2)


def _least(log_e: Callable[[float], float], bound: float) -> float | None:
    """The least units at which the bound is reached; None when it never is. Log e-values rise once they have risen."""
    top = 1.0
    while log_e(top) < bound:
        top *= 2
        if top > _MOST_UNITS:
            return None
    low = top / 2
    for _ in range(40):
        middle = (low + top) / 2
        low, top = (low, middle) if log_e(middle) >= bound else (middle, top)
    return top


def _too_slow(number: int, step: Step, units_per_day: float) -> list[DeclarationError]:
    until = step.until
    if until.min_units is None or until.max_duration is None:
        return []
    days = until.min_units / (units_per_day * step.weight / 100)
    if days <= until.max_duration / timedelta(days=1):
        return []
    return [
        DeclarationError(
            f"rollout.steps[{number}]: {until.min_units} units at weight {step.weight:g} take {days:.1f} days at"
            f" {units_per_day:g} units a day; maxDuration is {until.max_duration / timedelta(days=1):g} days.",
            value=until.min_units,
            hint="Ask for fewer units, raise the weight, or give the step more time.",
        )
    ]


def _never(planned: Planned, most: timedelta | None) -> bool:
    if planned.test != "promotion" or not planned.known:
        return False
    return planned.days is None or (most is not None and planned.days > most / timedelta(days=1))


def _undecidable(number: int, step: Step, planned: Planned) -> DeclarationError:
    where = f"rollout.steps[{number}]: promotion of {planned.metric}"
    if planned.days is None:
        return DeclarationError(
            f"{where} can never be shown: the champion has no bad unit and its values do not vary.",
            value=planned.effect,
            hint="For a rate, set nonInferior.floor: a share of units so low that the ratio does not matter.",
        )
    most = (step.until.max_duration or timedelta()) / timedelta(days=1)
    return DeclarationError(
        f"{where} takes about {planned.units} units of the challenger, {planned.days:.1f} days at the observed traffic;"
        f" maxDuration is {most:g} days.",
        value=planned.effect,
        hint="Widen the margin, raise the weight, or give the step more time.",
    )
