"""Error-arm, sample-ratio and floor tests: fair bets, shown by summing over every outcome of small cases."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towpath.core import sequential as rates
from towpath.core.sequential import Bet, Count

SHARES = st.sampled_from([0.01, 0.05, 0.1, 0.25, 0.5, 0.95])
LOOKS = st.lists(st.tuples(SHARES, st.integers(0, 4)), min_size=1, max_size=3)
COUNTS = st.lists(
    st.tuples(SHARES, st.integers(0, 300), st.integers(0, 300)).map(
        lambda drawn: Count(share=drawn[0], challenger=drawn[1], total=drawn[1] + drawn[2])
    ),
    min_size=1,
    max_size=4,
)


def outcomes(looks: Sequence[tuple[float, int]], ratio: float) -> Iterator[tuple[float, list[Count]]]:
    """Every way the events may fall into the arms, with its chance when the challenger's rate is `ratio` times."""
    for fallen in itertools.product(*(range(total + 1) for _, total in looks)):
        chance, counts = 1.0, []
        for (share, total), bad in zip(looks, fallen, strict=True):
            arm = share * ratio / (share * ratio + 1 - share)
            chance *= math.comb(total, bad) * arm**bad * (1 - arm) ** (total - bad)
            counts.append(Count(share=share, challenger=bad, total=total))
        yield chance, counts


def expected(looks: Sequence[tuple[float, int]], ratio: float, log_e: Callable[[list[Count]], float]) -> float:
    return sum(chance * math.exp(log_e(counts)) for chance, counts in outcomes(looks, ratio))


def harm(counts: Sequence[Count]) -> float:
    bet = Bet()
    for count in counts:
        bet = rates.wager(bet, [count])
    return rates.log_e_harm(bet)


@settings(deadline=None)
@given(LOOKS)
def test_the_bet_on_harm_is_fair_while_both_arms_are_equally_bad(looks: list[tuple[float, int]]) -> None:
    assert expected(looks, 1.0, harm) == pytest.approx(1.0, abs=1e-9)


@settings(deadline=None)
@given(LOOKS, st.floats(0.05, 0.95))
def test_the_bet_on_harm_loses_while_the_challenger_is_better(looks: list[tuple[float, int]], ratio: float) -> None:
    assert expected(looks, ratio, harm) <= 1 + 1e-9


@settings(deadline=None)
@given(LOOKS, SHARES)
def test_it_stays_fair_when_the_next_look_depends_on_what_was_seen(
    looks: list[tuple[float, int]], share: float
) -> None:
    """Looking sooner, or at another weight, after a bad beginning: optional continuation."""
    total = 0.0
    for chance, counts in outcomes(looks, 1.0):
        unlucky = sum(count.challenger for count in counts)
        follow = [(share if unlucky else 0.5, 1 + unlucky % 3)]
        total += chance * sum(more * math.exp(harm([*counts, *then])) for more, then in outcomes(follow, 1.0))
    assert total == pytest.approx(1.0, abs=1e-9)


@settings(deadline=None)
@given(LOOKS, st.floats(1.01, 4.0), st.floats(1.0, 5.0))
def test_the_bet_on_non_inferiority_is_fair_at_the_margin_and_loses_beyond(
    looks: list[tuple[float, int]], margin: float, beyond: float
) -> None:
    def log_e(counts: list[Count]) -> float:
        return rates.log_e_no_worse(counts, margin)

    assert expected(looks, margin, log_e) == pytest.approx(1.0, abs=1e-9)
    assert expected(looks, margin * beyond, log_e) <= 1 + 1e-9


@settings(deadline=None)
@given(st.integers(0, 12), st.floats(0.01, 0.5), st.floats(1.0, 1.9))
def test_the_bet_against_a_floor_is_fair_at_the_floor_and_loses_above(units: int, floor: float, above: float) -> None:
    def wealth(chance: float) -> float:
        return sum(
            math.comb(units, bad)
            * chance**bad
            * (1 - chance) ** (units - bad)
            * math.exp(rates.log_e_below(bad, units, floor))
            for bad in range(units + 1)
        )

    assert wealth(floor) == pytest.approx(1.0, abs=1e-9)
    assert wealth(floor * above) <= 1 + 1e-9


@settings(deadline=None)
@given(st.integers(0, 40), SHARES)
def test_the_sample_ratio_bet_is_fair(units: int, share: float) -> None:
    wealth = sum(
        math.comb(units, one)
        * share**one
        * (1 - share) ** (units - one)
        * math.exp(rates.log_e_sample_ratio(one, units, share))
        for one in range(units + 1)
    )
    assert wealth == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("challenger", "units", "share"), [(0, 200, 0.5), (600, 1_000, 0.5), (40, 2_000, 0.05)])
def test_a_sample_ratio_that_is_off_is_found(challenger: int, units: int, share: float) -> None:
    assert rates.log_e_sample_ratio(challenger, units, share) > math.log(1_000)


def test_the_stakes_sum_to_one_and_are_laid_in_time() -> None:
    assert sum(stake for _, stake in rates.HARM_RATIOS) == pytest.approx(1.0)
    left = [rates.unstaked(rounds) for rounds in (0, 1, 100, 10_000)]
    assert left[0] == 1.0
    assert left == sorted(left, reverse=True)
    assert left[-1] > 0


@settings(deadline=None)
@given(COUNTS)
def test_more_of_the_bad_events_in_the_challenger_is_more_harm_and_less_non_inferiority(counts: list[Count]) -> None:
    for place, count in enumerate(counts):
        if count.challenger < count.total:
            worse = [*counts]
            worse[place] = Count(share=count.share, challenger=count.challenger + 1, total=count.total)
            assert harm(worse) >= harm(counts)
            assert rates.log_e_no_worse(worse, 1.5) <= rates.log_e_no_worse(counts, 1.5)


@settings(deadline=None)
@given(COUNTS)
def test_the_state_survives_json_and_the_peak_never_falls(counts: list[Count]) -> None:
    bet = Bet()
    for count in counts:
        before, bet = bet, rates.wager(bet, [count])
        stored = json.loads(json.dumps(asdict(bet)))
        assert Bet(**{**stored, "start": tuple(stored["start"]), "restarts": tuple(stored["restarts"])}) == bet
        assert bet.peak >= max(before.peak, rates.log_e_harm(bet))
    assert rates.wager(bet, [Count(share=0.1, challenger=0, total=0)]) == bet


@settings(deadline=None)
@given(COUNTS)
def test_strata_of_one_look_and_one_look_each_bet_the_same_from_the_start(counts: list[Count]) -> None:
    at_once, singly = rates.wager(Bet(), counts), Bet()
    for count in counts:
        singly = rates.wager(singly, [count])
    assert at_once.start == pytest.approx(singly.start)


def test_restarts_find_a_late_regression_that_a_bet_from_the_start_still_pays_for() -> None:
    bet = Bet()
    for _ in range(60):
        bet = rates.wager(bet, [Count(share=0.1, challenger=2, total=20)])
    for _ in range(20):
        bet = rates.wager(bet, [Count(share=0.1, challenger=1, total=3)])
    assert rates.log_e_harm(bet) > math.log(20)
    assert rates.log_sum(bet.start) < 0


@settings(deadline=None)
@given(COUNTS, st.sampled_from([0.2, 0.05, 0.001]))
def test_the_interval_holds_the_estimate_and_widens_with_confidence(counts: list[Count], alpha: float) -> None:
    interval, estimate = rates.ratio_interval(counts, alpha), rates.ratio_estimate(counts)
    if interval is None:
        assert not sum(count.total for count in counts)
        return
    low, high = interval
    wider = rates.ratio_interval(counts, alpha / 10)
    assert wider is not None
    assert wider[0] <= low * (1 + 1e-9)
    assert (high is None) == (wider[1] is None)
    if estimate is None:
        assert high is None
    else:
        assert high is not None
        assert wider[1] is not None
        assert low <= estimate * (1 + 1e-6)
        assert estimate <= high * (1 + 1e-6)
        assert high <= wider[1] * (1 + 1e-9)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_interval_misses_the_true_ratio_no_more_often_than_alpha(ratio: float, share: float) -> None:
    missed = 0.0
    for chance, counts in outcomes([(share, 60)], ratio):
        interval = rates.ratio_interval(counts, 0.1)
        assert interval is not None
        missed += chance * (not interval[0] <= ratio <= (interval[1] or math.inf))
    assert missed <= 0.1


def test_the_interval_closes_in_on_the_true_ratio() -> None:
    widths = []
    for size in (10, 100, 1_000, 10_000):
        interval = rates.ratio_interval([Count(share=0.5, challenger=size, total=2 * size)], 0.05)
        assert interval is not None
        assert interval[1] is not None
        widths.append(interval[1] - interval[0])
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.12


def test_without_bad_units_a_ratio_says_nothing_and_a_floor_does() -> None:
    none = [Count(share=0.5, challenger=0, total=0)]
    assert rates.log_e_no_worse(none, 1.5) == pytest.approx(0.0)
    assert rates.ratio_interval(none, 0.05) is None
    assert rates.log_e_below(0, 1_000, 0.005) > math.log(20)
    assert rates.log_e_below(10, 1_000, 0.005) < 0
