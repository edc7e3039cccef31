"""The normal mixture on the stratified difference of means."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towpath.core import sequential_means as means
from towpath.core.sequential_means import Contrast, Sample, contrast, sample


def of(values: np.ndarray) -> Sample:
    return sample(len(values), float(values.sum()), float((values**2).sum()))


@settings(deadline=None)
@given(st.lists(st.floats(0, 50), min_size=2, max_size=60))
def test_a_sample_has_the_mean_and_variance_of_its_values(values: list[float]) -> None:
    got = of(np.array(values))
    assert got.mean == pytest.approx(np.mean(values))
    assert got.variance == pytest.approx(np.var(values, ddof=1), abs=1e-9)


def test_one_stratum_is_welch_once_the_challenger_has_300_values() -> None:
    rng = np.random.default_rng(1)
    old, new = rng.normal(0, 1, 4_000), rng.normal(0.1, 0.5, 400)
    seen = contrast([(of(old), of(new))])
    assert seen is not None
    assert seen.difference == pytest.approx(new.mean() - old.mean())
    assert seen.variance == pytest.approx(old.var(ddof=1) / 4_000 + new.var(ddof=1) / 400)
    assert seen.wary == pytest.approx(old.var(ddof=1) / 4_000 + old.var(ddof=1) / 400)
    few = contrast([(of(old), of(new[:200]))])
    assert few is not None
    assert few.variance == few.wary


def test_a_base_rate_that_drifts_between_steps_is_no_difference() -> None:
    rng = np.random.default_rng(2)
    strata = [
        (of(rng.normal(level, 0.1, old)), of(rng.normal(level, 0.1, new)))
        for level, old, new in ((1.0, 950, 50), (2.0, 750, 250), (3.0, 500, 500))
    ]
    seen = contrast(strata)
    assert seen is not None
    assert abs(seen.difference) < 4 * math.sqrt(seen.variance)
    assert means.log_e_worse(seen) < math.log(20)


def seen(difference: float, challenger: int, variance: float = 1e-4) -> Contrast:
    return Contrast(difference=difference, variance=variance, wary=variance, spread=0.5, challenger=challenger)


def test_tests_are_held_back_until_enough_units_have_a_value() -> None:
    assert means.log_e_worse(seen(9.0, 99)) == 0
    assert means.log_e_worse(seen(9.0, 100)) > 3
    assert means.log_e_no_worse(seen(-9.0, 299), 0.02) == 0
    assert means.log_e_no_worse(seen(-9.0, 300), 0.02) > 3
    assert means.difference_interval(seen(0.0, 99), 0.05) is None


@pytest.mark.parametrize("strata", [[], [(Sample(n=9, mean=1, variance=1), Sample(n=9, mean=9, variance=1))]])
def test_nothing_measured_is_no_evidence(strata: list[tuple[Sample, Sample]]) -> None:
    assert contrast(strata) is None
    assert means.log_e_worse(None) == means.log_e_no_worse(None, 0.1) == 0
    assert means.difference_interval(None, 0.05) is None


def test_values_that_do_not_vary_are_no_evidence() -> None:
    assert contrast([(Sample(n=500, mean=1, variance=0), Sample(n=500, mean=2, variance=0))]) is None


@settings(deadline=None)
@given(st.floats(-40, 40), st.floats(-40, 40), st.floats(1e-8, 1e-2))
def test_a_greater_difference_is_more_harm_and_less_non_inferiority(one: float, other: float, variance: float) -> None:
    low, high = sorted((one, other))
    less, more = seen(low, 500, variance), seen(high, 500, variance)
    assert means.log_e_worse(less) <= means.log_e_worse(more)
    assert means.log_e_no_worse(less, 0.1) >= means.log_e_no_worse(more, 0.1)
    assert all(math.isfinite(means.log_e_worse(each)) for each in (less, more))


@pytest.mark.parametrize("scale", [0.2, 1.0, 3.0])
def test_the_mixture_is_the_integral_of_likelihood_ratios_over_the_half_normal(scale: float) -> None:
    """The formula against numerical integration, at several values of the statistic."""
    effects = np.linspace(0, 12 * scale, 200_001)
    prior = 2 / (scale * math.sqrt(2 * math.pi)) * np.exp(-((effects / scale) ** 2) / 2)
    for effect in (-2.0, 0.0, 1.0, 3.0):
        ratios = np.exp(effect * effects / 0.7 - effects**2 / (2 * 0.7))
        integral = float(np.sum(prior * ratios) * (effects[1] - effects[0]))
        assert means._log_e(effect, 0.7, scale) == pytest.approx(math.log(integral), abs=1e-3)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_the_mixture_is_fair_at_the_edge_of_the_null(scale: float) -> None:
    z = np.linspace(-80, 80, 16_001)
    wealth = [math.exp(means._log_e(one, 1.0, scale) - one * one / 2) for one in z.tolist()]
    assert sum(wealth) / math.sqrt(2 * math.pi) * (z[1] - z[0]) == pytest.approx(1.0, abs=1e-3)


def test_a_small_sample_without_its_rare_losses_is_not_called_better() -> None:
    """Mean and variance are low together; the champion's variance stands in, so that it is not taken for certainty."""
    usual = sample(6_000, 6_000 * 0.4, 6_000 * 0.4**2 + 5_999 * 0.5)
    lucky = sample(310, 310 * 0.33, 310 * 0.33**2 + 309 * 0.02)
    found = contrast([(usual, lucky)])
    assert found is not None
    assert found.wary > found.variance
    assert means.log_e_no_worse(found, 0.02) < math.log(20)
    plain = Contrast(
        difference=found.difference,
        variance=found.variance,
        wary=found.variance,
        spread=found.spread,
        challenger=found.challenger,
    )
    assert means.log_e_no_worse(plain, 0.02) > math.log(20)
