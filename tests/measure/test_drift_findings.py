"""Monitoring's findings: columns, predictions and performance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from towpath.core.charter import Gates, Slice
from towpath.core.errors import BadInput
from towpath.core.evidence import Outcome
from towpath.measure.drift import findings, performance, prediction_distance, prediction_drift

PASS, FAIL, UNSURE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
GATES = Gates(roc_auc=0.7, log_loss=0.6, slices=(Slice(by="origin", roc_auc=0.6),))


@dataclass(frozen=True, kw_only=True)
class Report:
    distances: Mapping[str, float]
    drifted: tuple[str, ...]

    @property
    def method(self) -> Mapping[str, str]:
        return dict.fromkeys(self.distances, "a distance")


@pytest.mark.parametrize(("drifted", "outcome"), [(0, PASS), (3, PASS), (4, FAIL), (10, FAIL)])
def test_the_share_of_drifted_columns_is_judged_and_the_worst_are_named(drifted: int, outcome: Outcome) -> None:
    distances = {f"column_{place}": 0.9 - place / 20 for place in range(10)}
    (found,) = findings(Report(distances=distances, drifted=tuple(distances)[:drifted][::-1]), share=0.3, rows=700)
    assert (found.code, found.outcome, found.measured, found.sample_size) == (
        "monitor.drift",
        outcome,
        drifted / 10,
        700,
    )
    assert ("column_0 0.9" in found.reason) == (drifted > 0)
    assert ("and 5 more" in found.reason) == (drifted == 10)


def test_no_column_is_inconclusive() -> None:
    assert findings(Report(distances={}, drifted=()), share=0.3)[0].outcome is UNSURE


def test_the_distance_is_scipys_in_base_two() -> None:
    generator = np.random.default_rng(1)
    reference, current = generator.beta(2, 5, 5_000), generator.beta(3, 4, 4_000)
    edges = [0, *np.quantile(reference, np.arange(1, 10) / 10), 1]
    expected = jensenshannon(np.histogram(reference, edges)[0], np.histogram(current, edges)[0], base=2)
    assert prediction_distance(reference, current)[0] == pytest.approx(expected, abs=0.01)
    assert prediction_distance(reference, reference)[0] == 0
    assert prediction_distance([0.1] * 50, [0.9] * 50)[0] == pytest.approx(1)


def test_noise_alone_exceeds_its_distance_in_one_of_twenty() -> None:
    generator = np.random.default_rng(2)
    over = 0
    for _ in range(400):
        distance, noise = prediction_distance(generator.beta(2, 5, 800), generator.beta(2, 5, 500))
        over += distance > noise
    assert 5 <= over <= 38  # 20 expected, 4 standard errors either way


@pytest.mark.parametrize(
    ("rows", "shift", "outcome"), [(5_000, 0.0, PASS), (5_000, 0.2, FAIL), (60, 0.0, UNSURE), (60, 0.5, FAIL)]
)
def test_drifted_predictions_fail_and_few_are_inconclusive(rows: int, shift: float, outcome: Outcome) -> None:
    generator = np.random.default_rng(5)
    found = prediction_drift(generator.beta(2, 5, 5_000), np.clip(generator.beta(2, 5, rows) + shift, 0, 1), bound=0.1)
    assert found.outcome is outcome
    assert "noise alone" in found.reason


def test_what_are_no_predictions_is_refused() -> None:
    with pytest.raises(BadInput, match="current predictions"):
        prediction_drift([0.5], [], bound=0.1)
    with pytest.raises(BadInput, match="reference predictions"):
        prediction_drift([float("nan")], [0.5], bound=0.1)


def test_performance_is_judged_by_the_charters_bounds() -> None:
    generator = np.random.default_rng(7)
    chance = 1 / (1 + np.exp(1 - 2 * generator.normal(size=3_000)))
    labels = (generator.random(3_000) < chance).astype(int)
    good, bad = performance(labels, chance, GATES), performance(labels, generator.permutation(chance), GATES)
    assert {(item.code, item.subject, item.outcome) for item in good} == {
        ("monitor.performance", subject, PASS) for subject in ("roc_auc", "log_loss", "calibration")
    }
    assert {item.outcome for item in bad} == {FAIL}
    assert all("watched window" in item.reason for item in good)


def test_no_known_label_is_inconclusive() -> None:
    (found,) = performance([], [], GATES)
    assert (found.outcome, found.sample_size) == (UNSURE, 0)
    assert performance([0] * 100, [0.2] * 100, GATES)[0].outcome is UNSURE
