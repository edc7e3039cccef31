"""Tests of rates that stay valid however often one looks. Exact; pure Python; the state is small and goes through JSON.

An *e-process* is a wealth that, under the null hypothesis, no way of betting and stopping makes grow on average. Ville
(1939): the chance that it ever reaches 1 / alpha is at most alpha. So a look costs nothing, and one may stop at any.

**Error arm.** Given that a bad event happened, which arm it fell in is a coin. While both arms are equally bad it falls
in the challenger with the challenger's share of *assigned* units at that time. How many bad events there are, and how
that changes over the day, does not matter; nor do changes of weight, as long as each event is judged with the weight
under which its unit was assigned. A bet that the challenger's rate is `ratio` times the champion's multiplies its
stake, in every increment, by

    ratio ** challenger_bad / (share * ratio + 1 - share) ** all_bad

Two integers a step are all it needs. Stakes are spread over ratios (Robbins 1970, method of mixtures; likelihood ratios
as bets: Shafer, Testing by betting, 2021; Grunwald, de Heide and Koolen, Safe testing, 2024; counts of several arms:
Lindon and Malek, Anytime-valid inference for multinomial count data, 2022).

**Restarts.** A bet from the start pays for every good event before a late regression. Half the stake is bet at the
start, half is spread over restarts at later increments (a mixture over the time of change, as in e-detectors: Shin,
Ramdas and Rinaldo 2024). Every restart is a martingale that begins at its stake, so their sum is one.

Known limit: with sticky units a unit is bad once. Where most units of the champion are bad already, later first events
come from the better arm, and restarts take that for a regression; choose events that few units meet.

All e-values are natural logarithms: wealth overflows where evidence is strong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

HARM_RATIOS = ((1.25, 1 / 16), (1.5, 2 / 16), (2.0, 4 / 16), (3.0, 4 / 16), (5.0, 4 / 16), (10.0, 1 / 16))
"""Ratios that bets on harm are placed on, and their stakes: what is worth a rollback is mostly 2- to 5-fold."""

_LOG_HALF = math.log(0.5)
_NO_WORSE = ((0.5, 0.2), (0.0, 0.5), (-1.0, 0.2), (-2.0, 0.1))
_BELOW = (1 / 2, 1 / 4, 1 / 20)
_GRID = tuple((math.exp(step / 5), 1 / (1 + (step / 5) ** 2)) for step in range(-25, 26))
_GRID_TOTAL = sum(stake for _, stake in _GRID)
_SAMPLE_RATIO_PRIORS = (10.0, 1_000.0)
_WIDEST = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Count:
    """Bad units, of the challenger and of both arms, under one weight; fractions when they are expected, not counted.

    `share`: of units, assigned to the challenger.
    """

    share: float
    challenger: float
    total: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Bet:
    """The state of one error-arm test: log wealth by ratio of what was staked at the start and of what restarts staked.

    `rounds`: increments with bad events so far; they decide how much restarts have staked. `peak`: the greatest log
    e-value so far.
    """

    start: tuple[float, ...] = ()
    restarts: tuple[float, ...] = ()
    rounds: int = 0
    peak: float = 0.0


def log_ratio(counts: Iterable[Count], ratio: float) -> float:
    """Log likelihood ratio of counts: challenger's rate `ratio` times the champion's, against equal rates."""
    return sum(
        one.challenger * math.log(ratio) - one.total * math.log(one.share * ratio + 1 - one.share) for one in counts
    )


def unstaked(rounds: int) -> float:
    """The part of the restarts' half that is still unstaked after so many increments with bad events.

    Three quarters go geometrically, half of them in the first 34 rounds (a rollout has about a hundred); a quarter has
    a long tail, so that a regression after thousands still meets a stake.
    """
    return 0.75 * 0.98**rounds + 0.25 * 100 / (100 + rounds)


def wager(bet: Bet, increments: Sequence[Count]) -> Bet:
    """The bet after the bad units since the last look.

    The stake of a restart depends on the increments before, never on how many events this one holds: it is laid before
    the first of them.
    """
    if not any(one.total for one in increments):
        return bet
    stake = unstaked(bet.rounds) - unstaked(bet.rounds + 1)
    start, restarts = [], []
    for place, (ratio, share) in enumerate(HARM_RATIOS):
        gain = log_ratio(increments, ratio)
        start.append((bet.start[place] if bet.start else math.log(share)) + gain)
        laid = math.log(share * stake)
        restarts.append((log_sum((bet.restarts[place], laid)) if bet.restarts else laid) + gain)
    after = replace(bet, start=tuple(start), restarts=tuple(restarts), rounds=bet.rounds + 1)
    return replace(after, peak=max(bet.peak, log_e_harm(after)))


def log_e_harm(bet: Bet) -> float:
    """Log e-value against "the challenger's rate is at most the champion's"."""
    if not bet.rounds:
        return 0.0
    return _LOG_HALF + log_sum((*bet.start, *bet.restarts, math.log(unstaked(bet.rounds))))


def log_e_no_worse(counts: Sequence[Count], margin: float) -> float:
    """Log e-value against "the challenger's rate is at least `margin` times the champion's".

    Stakes lie on ratios of margin ** (1/2), 1, 1 / margin and 1 / margin ** 2: half of them on no difference. The null
    is composite; the chance of a bad event in the challenger rises with the ratio, so its edge is its hardest case.
    No restarts: a good end does not make up for a bad beginning.
    """
    at_margin = log_ratio(counts, margin)
    return log_sum([math.log(stake) + log_ratio(counts, margin**power) - at_margin for power, stake in _NO_WORSE])


def log_e_below(bad: float, units: float, floor: float) -> float:
    """Log e-value against "a unit of the challenger turns bad with a chance of at least `floor`".

    What an error-arm test cannot say: that hardly anything bad happened at all. Exact when units are independent and
    done when they are counted; units that may still turn bad make it hopeful, so that only a last step asks for it.
    """
    good = units - bad
    return log_sum(
        [
            bad * math.log(part) + good * (math.log1p(-part * floor) - math.log1p(-floor)) - math.log(len(_BELOW))
            for part in _BELOW
        ]
    )


def log_e_sample_ratio(challenger: int, units: int, share: float) -> float:
    """Log e-value against "each unit goes to the challenger with chance `share`"; 0 < share < 1.

    Beta mixtures around the share (Lindon and Malek 2022), one broad for gross faults, one narrow for slight ones.
    """
    champion = units - challenger
    null = challenger * math.log(share) + champion * math.log1p(-share)
    return log_sum(
        [
            _LOG_HALF
            - null
            + _log_beta(prior * share + challenger, prior * (1 - share) + champion)
            - _log_beta(prior * share, prior * (1 - share))
            for prior in _SAMPLE_RATIO_PRIORS
        ]
    )


def ratio_estimate(counts: Sequence[Count]) -> float | None:
    """The likeliest ratio of the challenger's rate to the champion's; None when the champion had no bad unit."""
    challenger, total = sum(one.challenger for one in counts), sum(one.total for one in counts)
    if challenger == total:
        return None
    if not challenger:
        return 0.0
    return math.exp(_crossing(lambda log: challenger - _expected(counts, log), -_WIDEST, _WIDEST))


def ratio_interval(counts: Sequence[Count], alpha: float) -> tuple[float, float | None] | None:
    """Confidence sequence of the ratio: the ratios that a mixture over all ratios does not refute at 1 / alpha.

    Covers the true ratio at all looks together with chance 1 - alpha (Howard, Ramdas, McAuliffe and Sekhon 2021). None
    without bad units; an upper end of None is no limit.
    """
    challenger, total = sum(one.challenger for one in counts), sum(one.total for one in counts)
    if not total:
        return None
    mixture = log_sum([math.log(stake / _GRID_TOTAL) + log_ratio(counts, ratio) for ratio, stake in _GRID])
    bar = mixture + math.log(alpha)

    def above(log: float) -> float:
        return log_ratio(counts, math.exp(log)) - bar

    likeliest = ratio_estimate(counts)
    if challenger == total:
        return math.exp(_crossing(above, _WIDEST, -_WIDEST)), None
    middle = math.log(likeliest) if likeliest else -_WIDEST
    upper = math.exp(_crossing(above, middle, _WIDEST))
    return (math.exp(_crossing(above, middle, -_WIDEST)) if challenger else 0.0), upper


def log_sum(logs: Sequence[float]) -> float:
    """The logarithm of a sum, from logarithms; not one of them is empty."""
    top = max(logs)
    return top + math.log(sum(math.exp(one - top) for one in logs))


def _crossing(function: Callable[[float], float], inside: float, outside: float) -> float:
    """Where a function that is positive at `inside` changes its sign on the way to `outside`; bisection."""
    for _ in range(32):
        middle = (inside + outside) / 2
        if function(middle) > 0:
            inside = middle
        else:
            outside = middle
    return (inside + outside) / 2


def _expected(counts: Sequence[Count], log: float) -> float:
    ratio = math.exp(log)
    return sum(one.total * one.share * ratio / (one.share * ratio + 1 - one.share) for one in counts)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
