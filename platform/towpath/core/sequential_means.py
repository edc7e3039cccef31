"""Tests of means that stay valid however often one looks: a normal mixture on the step-stratified Welch difference.

Asymptotic, not exact: values are capped by the caller, so that the central limit comes soon, and each test is held back
until enough units of the challenger have a value. Means are compared within a step and then put together, because the
base rate drifts while weights rise. The weights m = n1 n2 / (n1 + n2) depend on sizes alone: weights by measured
precision would favour steps that came out low, since low losses also vary little.

The e-value mixes over effects beyond the null with a half-normal density (Robbins 1970; one-sided normal mixture of
Howard, Ramdas, McAuliffe and Sekhon, Time-uniform, nonparametric, nonasymptotic confidence sequences, 2021; for
asymptotic use: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024). Natural logarithms throughout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

HARM_UNITS = 100
"""Challenger units with a value below which harm is not judged. Losses are skewed to the right, so that chance rarely
makes a small sample look worse than it is."""
NO_WORSE_UNITS = 300
"""Challenger units with a value below which nothing is called non-inferior. For the same reason chance often makes a
small sample look better than it is: an ungated test did in 29.5 % of runs without a difference (ROLLOUT.md)."""
EFFECT = 0.15
"""Scale of the effects that bets on harm are placed on, in standard deviations of the champion's values."""

_LEAST = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """Size, mean and variance (n - 1) of one arm's values in one stratum."""

    n: int
    mean: float
    variance: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Contrast:
    """Mean of the challenger less that of the champion over all strata, its variances, and the values' own spread.

    `wary`: the variance when the challenger's values are taken to vary no less than the champion's.
    """

    difference: float
    variance: float
    wary: float
    spread: float
    challenger: int


def sample(n: int, total: float, squares: float) -> Sample:
    """From count, sum and sum of squares. Without two values the variance is 0."""
    mean = total / n if n else 0.0
    variance = max(0.0, (squares - total * mean) / (n - 1)) if n > 1 else 0.0
    return Sample(n=n, mean=mean, variance=variance)


def contrast(strata: Sequence[tuple[Sample, Sample]]) -> Contrast | None:
    """From (champion, challenger) by stratum; None when no stratum holds ten values of each arm, or none varies.

    A small sample without its rare large values has both a low mean and a low variance, which would be taken for
    certainty. So non-inferiority always takes the challenger's variance as no less than the champion's, who has more
    units; harm does so in strata with fewer than 300 units, and is Welch's beyond.
    """
    used = [(old, new) for old, new in strata if min(old.n, new.n) >= _LEAST]
    weights = [old.n * new.n / (old.n + new.n) for old, new in used]
    total = sum(weights)
    shares = [weight / total for weight in weights]
    pairs = list(zip(shares, used, strict=True))
    spread = sum(m * old.variance for m, (old, _) in pairs)
    if spread <= 0:
        return None
    wary = [m * m * (old.variance / old.n + max(old.variance, new.variance) / new.n) for m, (old, new) in pairs]
    plain = [m * m * (old.variance / old.n + new.variance / new.n) for m, (old, new) in pairs]
    trusted = [new.n >= NO_WORSE_UNITS for _, new in used]
    return Contrast(
        difference=sum(m * (new.mean - old.mean) for m, (old, new) in pairs),
        variance=sum(p if trust else w for trust, p, w in zip(trusted, plain, wary, strict=True)),
        wary=sum(wary),
        spread=math.sqrt(spread),
        challenger=sum(new.n for _, new in used),
    )


def log_e_worse(seen: Contrast | None) -> float:
    """Log e-value against "the challenger's mean is at most the champion's"; 0 while it is held back."""
    if seen is None or seen.challenger < HARM_UNITS:
        return 0.0
    return _log_e(seen.difference, seen.variance, EFFECT * seen.spread)


def log_e_no_worse(seen: Contrast | None, margin: float) -> float:
    """Log e-value against "the challenger's mean lies at least `margin` above the champion's"; 0 while held back.

    The scale of the bet is the margin: no difference lies one scale beyond the null.
    """
    if seen is None or seen.challenger < NO_WORSE_UNITS:
        return 0.0
    return _log_e(margin - seen.difference, seen.wary, margin)


def difference_interval(seen: Contrast | None, alpha: float) -> tuple[float, float] | None:
    """Confidence sequence of the difference (two-sided normal mixture); None while it is held back."""
    if seen is None or seen.challenger < HARM_UNITS:
        return None
    gain = (EFFECT * seen.spread) ** 2 / seen.variance
    half = math.sqrt(seen.variance * (1 + gain) / gain * math.log((1 + gain) / alpha**2))
    return seen.difference - half, seen.difference + half


def _log_e(effect: float, variance: float, scale: float) -> float:
    gain = scale * scale / variance
    x = effect / math.sqrt(variance) * math.sqrt(gain / (1 + gain))
    return math.log(2) - math.log1p(gain) / 2 + _log_half_normal(x)


def _log_half_normal(x: float) -> float:
    """x**2 / 2 + log Phi(x), which stays finite on both sides."""
    if x < -30:
        return -math.log(-x * math.sqrt(2 * math.pi))
    return x * x / 2 + math.log(math.erfc(-x / math.sqrt(2)) / 2)
