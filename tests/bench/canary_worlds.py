"""What a rollout may meet: simulated evidence of both arms, look by look, in the form that the judge's tests take.

Rates: bad units are counted in the stratum of their assignment. Losses: one capped value a unit. 200 requests a look.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

REQUESTS = 200
RAMP = (0.05, 0.25, 0.5)
MARGIN = 1.5

Array = np.ndarray


@dataclass(frozen=True)
class Rates:
    """New units by look and stratum. Columns: champion, challenger, bad ones of the champion, of the challenger."""

    shares: tuple[float, ...]
    counts: Array


@dataclass(frozen=True)
class Losses:
    """Cumulative n, sum, sum of squares by look and stratum; the champion's three columns, then the challenger's."""

    shares: tuple[float, ...]
    moments: Array


def flat(rng: np.random.Generator, looks: int, ratio: float, *, onset: int = 0, rate: float = 0.01) -> Rates:
    """10 % challenger, a steady base rate; from request `onset` on the challenger's is `ratio` times it."""
    new = rng.binomial(REQUESTS, 0.1, looks)
    late = np.arange(looks) * REQUESTS >= onset
    bad_new = rng.binomial(new, np.where(late, rate * ratio, rate))
    bad_old = rng.binomial(REQUESTS - new, rate)
    return Rates((0.1,), np.stack([REQUESTS - new, new, bad_old, bad_new], axis=1)[:, None, :])


def ramp(rng: np.random.Generator, looks: int, ratio: float) -> Rates:
    """5, 25, 50 % while the base rate rises from 0.5 to 4 %: pooling would blame the challenger."""
    stage, rate = _stages(looks), np.linspace(0.005, 0.04, looks)
    new = rng.binomial(REQUESTS, np.array(RAMP)[stage])
    counts = np.zeros((looks, 3, 4), dtype=np.int64)
    for column, values in enumerate(
        [REQUESTS - new, new, rng.binomial(REQUESTS - new, rate), rng.binomial(new, (rate * ratio).clip(0, 1))]
    ):
        counts[np.arange(looks), stage, column] = values
    return Rates(RAMP, counts)


def delayed(rng: np.random.Generator, looks: int, ratio: float) -> Rates:
    """The ramp at a steady 2 %, and a bad event is only known about 20 looks later (exponential)."""
    stage = _stages(looks)
    new = rng.binomial(REQUESTS, np.array(RAMP)[stage])
    counts = np.zeros((looks, 3, 4), dtype=np.int64)
    counts[np.arange(looks), stage, 0], counts[np.arange(looks), stage, 1] = REQUESTS - new, new
    for column, bad in ((2, rng.binomial(REQUESTS - new, 0.02)), (3, rng.binomial(new, 0.02 * ratio))):
        assigned = np.repeat(np.arange(looks), bad)
        known = assigned + rng.exponential(20, len(assigned)).astype(np.int64)
        seen = known < looks
        np.add.at(counts, (known[seen], stage[assigned[seen]], column), 1)
    return Rates(RAMP, counts)


def sticky(rng: np.random.Generator, looks: int, ratio: float, *, shares: tuple[float, ...] = (0.1,)) -> Rates:
    """3,000 entities with many requests each, some many more than others. A bad one fails again and again, counts once.

    Each entity is bad under the champion with a chance of 10 %, under the challenger with `ratio` times that; then
    three of ten of its requests fail.
    """
    entities, stages = 3_000, len(shares)
    stage = np.minimum(np.arange(looks) * stages // looks, stages - 1)
    bucket, luck = rng.random(entities), rng.random(entities)
    weight = rng.pareto(1.5, entities) + 1
    who = rng.choice(entities, (looks, REQUESTS), p=weight / weight.sum())
    challenger = bucket[who] < np.array(shares)[stage][:, None]
    bad = (luck[who] < np.where(challenger, 0.1 * ratio, 0.1)) & (rng.random(who.shape) < 0.3)
    counts = np.zeros((looks, stages, 4), dtype=np.int64)
    for mask, column in ((np.ones_like(bad), 0), (bad, 2)):
        flat_who = (who + entities * (stage[:, None] if column == 0 else 0))[mask]
        look = np.broadcast_to(np.arange(looks)[:, None], who.shape)[mask]
        _, first = np.unique(flat_who, return_index=True)
        np.add.at(counts, (look[first], stage[look[first]], column + challenger[mask][first].astype(int)), 1)
    return Rates(shares, counts)


def sticky_ramp(rng: np.random.Generator, looks: int, ratio: float) -> Rates:
    """Entities change their arm while weights rise; what was bad before stays counted where it was."""
    return sticky(rng, looks, ratio, shares=RAMP)


def log_loss(rng: np.random.Generator, size: int | tuple[int, ...]) -> Array:
    """Log loss of a calibrated classifier, one in five positive, most predictions sure of themselves."""
    chance = rng.beta(0.4, 1.6, size)
    return -np.log(np.where(rng.random(size) < chance, chance, 1 - chance))


def heavy(rng: np.random.Generator, size: int | tuple[int, ...]) -> Array:
    """A business value with a heavy tail: log-normal."""
    return rng.lognormal(0, 1, size)


KINDS = {"log loss": log_loss, "log-normal value": heavy}


def scale(kind: str) -> tuple[float, float]:
    """Standard deviation and 99th percentile of the champion's values, as measured before a rollout."""
    values = KINDS[kind](np.random.default_rng(99), 400_000)
    return float(values.std()), float(np.quantile(values, 0.99))


def flat_loss(rng: np.random.Generator, looks: int, shift: float, *, kind: str, spread: float, cap: float) -> Losses:
    """10 % challenger; its values lie `shift` standard deviations higher before the cap."""
    size = (looks, REQUESTS)
    challenger = rng.random(size) < 0.1
    values = np.minimum(KINDS[kind](rng, size) + shift * spread * challenger, cap)
    return Losses((0.1,), _moments(values, challenger, np.zeros(looks, dtype=np.int64), 1))


def ramp_loss(rng: np.random.Generator, looks: int, shift: float, *, kind: str, spread: float, cap: float) -> Losses:
    """5, 25, 50 % while everybody's values rise by a standard deviation."""
    size, stage = (looks, REQUESTS), _stages(looks)
    challenger = rng.random(size) < np.array(RAMP)[stage][:, None]
    drift = np.linspace(0, spread, looks)[:, None]
    values = np.minimum(KINDS[kind](rng, size) + drift + shift * spread * challenger, cap + drift)
    return Losses(RAMP, _moments(values, challenger, stage, 3))


def sticky_loss(rng: np.random.Generator, looks: int, shift: float, *, kind: str, spread: float, cap: float) -> Losses:
    """The same 6,600 entities in every step, once a step, with a persistent part of a third of the variance."""
    stage, each = _stages(looks), REQUESTS
    size = max(int((stage == one).sum()) for one in range(3)) * each
    bucket, own = rng.random(size), KINDS[kind](rng, size)
    values, challenger = np.empty((looks, each)), np.empty((looks, each), dtype=bool)
    for one in range(3):
        rows = stage == one
        who = rng.permutation(size)[: rows.sum() * each].reshape(-1, each)
        challenger[rows] = bucket[who] < RAMP[one]
        mixed = np.sqrt(1 / 3) * own[who] + np.sqrt(2 / 3) * KINDS[kind](rng, who.shape)
        values[rows] = np.minimum(mixed + shift * spread * challenger[rows], cap)
    return Losses(RAMP, _moments(values, challenger, stage, 3))


def _stages(looks: int) -> Array:
    return np.arange(looks) * 3 // looks


def _moments(values: Array, challenger: Array, stage: Array, strata: int) -> Array:
    looks = len(values)
    moments = np.zeros((looks, strata, 6))
    for first, mask in ((0, ~challenger), (3, challenger)):
        for column, part in enumerate((mask.astype(float), values * mask, values**2 * mask)):
            moments[np.arange(looks), stage, first + column] = part.sum(axis=1)
    return moments.cumsum(axis=0)
