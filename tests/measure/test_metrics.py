"""Metrics against scikit-learn, and intervals against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from towpath.core.errors import BadInput
from towpath.measure import metrics
from towpath.measure.metrics import Scored, gain, measure, reliability

Floats = NDArray[np.float64]


def sample(rows: int, seed: int, *, ties: bool = False) -> tuple[Floats, Floats]:
    """Labels (n,) drawn from their own probabilities (n,): perfectly calibrated."""
    generator = np.random.default_rng(seed)
    chance = 1 / (1 + np.exp(1.2 - generator.normal(size=rows)))
    chance = np.round(chance, 1).clip(0.05, 0.95) if ties else chance
    return (generator.random(rows) < chance).astype(np.float64), chance


@pytest.mark.parametrize("ties", [False, True])
def test_values_are_those_of_scikit_learn(ties: bool) -> None:
    labels, chance = sample(3_000, 1, ties=ties)
    found = measure(labels, chance, resamples=20)
    assert found.roc_auc.value == pytest.approx(roc_auc_score(labels, chance), abs=1e-12)
    assert found.log_loss.value == pytest.approx(log_loss(labels, chance), abs=1e-12)
    assert found.brier.value == pytest.approx(brier_score_loss(labels, chance), abs=1e-12)
    assert (found.rows, found.positives) == (3_000, int(labels.sum()))


@pytest.mark.parametrize("ties", [False, True])
def test_a_resample_by_counts_is_the_resample_by_rows(ties: bool) -> None:
    labels, chance = sample(400, 2, ties=ties)
    scored = Scored.of(labels, chance)
    for counts in metrics.resampled(400, 25, seed=3):
        assert counts.sum() == 400
        rows = np.repeat(np.arange(400), counts.astype(int))
        assert metrics.roc_auc_of(scored, counts) == pytest.approx(roc_auc_score(labels[rows], chance[rows]), abs=1e-12)
        assert metrics._log_loss(scored, counts) == pytest.approx(log_loss(labels[rows], chance[rows]), abs=1e-12)
        assert metrics._brier(scored, counts) == pytest.approx(brier_score_loss(labels[rows], chance[rows]), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10)), min_size=2, max_size=60))
def test_any_ranking_with_ties_is_scikit_learns(pairs: list[tuple[bool, int]]) -> None:
    labels, chance = np.array([one for one, _ in pairs], dtype=float), np.array([two / 10 for _, two in pairs])
    if len(set(labels)) == 2:
        assert metrics.plain_roc_auc(labels, chance) == pytest.approx(roc_auc_score(labels, chance), abs=1e-12)
    else:
        assert np.isnan(metrics.plain_roc_auc(labels, chance))


def test_certain_mistakes_have_the_log_loss_of_scikit_learn() -> None:
    labels, chance = np.array([0, 1, 1, 0]), np.array([0.0, 1.0, 0.0, 1.0])
    assert measure(labels, chance, resamples=5).log_loss.value == pytest.approx(log_loss(labels, chance))


def test_calibration_error_is_the_mean_gap_of_bins_of_equal_mass() -> None:
    chance = np.repeat([0.1, 0.4, 0.8], 100)
    labels = np.concatenate([np.arange(100) < 10, np.arange(100) < 60, np.arange(100) < 80]).astype(float)
    found = measure(labels, chance, resamples=20)
    assert found.calibration.value == pytest.approx((0.0 + 0.2 + 0.0) / 3)
    bins = reliability(labels, chance)
    assert [(round(item.probability, 6), item.rate, item.n) for item in bins] == [
        (0.1, 0.1, 100),
        (0.4, 0.6, 100),
        (0.8, 0.8, 100),
    ]
    assert all(item.low < item.rate < item.high for item in bins)


def test_equal_probabilities_share_a_bin_whatever_the_order_of_rows() -> None:
    labels, chance = sample(999, 5, ties=True)
    shuffle = np.random.default_rng(6).permutation(999)
    assert measure(labels, chance, resamples=5).calibration.value == pytest.approx(
        measure(labels[shuffle], chance[shuffle], resamples=5).calibration.value
    )


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others() -> None:
    labels, chance = sample(500, 7)
    assert measure(labels, chance, seed=1) == measure(labels, chance, seed=1)
    assert measure(labels, chance, seed=1) != measure(labels, chance, seed=2)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """200 samples of 400 rows, 90 % intervals: within 4 standard errors of 90 % for ranking, loss and Brier score."""
    big_labels, big_chance = sample(400_000, 11)
    truths = (
        roc_auc_score(big_labels, big_chance),
        log_loss(big_labels, big_chance),
        brier_score_loss(big_labels, big_chance),
    )
    held = np.zeros((200, 3))
    for trial in range(200):
        found = measure(*sample(400, 1_000 + trial), confidence=0.9, resamples=200, seed=trial)
        for place, (estimate, truth) in enumerate(
            zip((found.roc_auc, found.log_loss, found.brier), truths, strict=True)
        ):
            held[trial, place] = estimate.low <= truth <= estimate.high
    assert (np.abs(held.mean(axis=0) - 0.9) < 4 * np.sqrt(0.9 * 0.1 / 200)).all(), held.mean(axis=0)


@pytest.mark.parametrize("shift", [0.0, 0.03, 0.1])
def test_the_calibration_errors_upper_end_is_seldom_below_the_truth(shift: float) -> None:
    """The gate passes by this end: 1 in 40 may lie below the true error (here the shift), 12 of 200 would be 4 errors
    more.
    """
    below = above = 0
    for trial in range(200):
        labels, chance = sample(600, 5_000 + trial)
        estimate = measure(labels, np.clip(chance + shift, 0, 1), resamples=100, seed=trial).calibration
        assert 0 <= estimate.low <= estimate.value <= estimate.high
        below += estimate.high < shift
        above += estimate.low > shift
    assert below <= 12
    assert above <= 12


def test_a_paired_gain_is_narrower_than_the_models_are_apart() -> None:
    labels, chance = sample(3_000, 13)
    other = np.clip(chance + np.random.default_rng(14).normal(0, 0.02, 3_000), 0.001, 0.999)
    found = gain(labels, chance, other)
    alone = measure(labels, chance).log_loss
    assert found.log_loss.value == pytest.approx(log_loss(labels, other) - log_loss(labels, chance), abs=1e-12)
    assert found.roc_auc.value == pytest.approx(roc_auc_score(labels, chance) - roc_auc_score(labels, other), abs=1e-12)
    assert found.log_loss.high - found.log_loss.low < (alone.high - alone.low) / 3


def test_a_model_gains_nothing_over_itself() -> None:
    labels, chance = sample(200, 15)
    found = gain(labels, chance, chance)
    assert (found.log_loss.low, found.log_loss.value, found.log_loss.high) == (0, 0, 0)
    assert (found.roc_auc.low, found.roc_auc.high) == (0, 0)


@pytest.mark.parametrize(
    ("labels", "chance", "says"),
    [
        ([], [], "no rows"),
        ([0, 1], [0.5], "shape"),
        ([0, 2], [0.5, 0.5], "labels hold"),
        ([0, 1], [0.5, np.nan], "1 of 2 probabilities"),
        ([0, 1], [0.5, 1.2], "between 0 and 1"),
        ([1, 1], [0.5, 0.6], "of class 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(labels: list[float], chance: list[float], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        measure(labels, chance)
