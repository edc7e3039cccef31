"""What is measured of a regression: against scikit-learn's own figures, and at the edges."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from towpath.core.errors import BadInput
from towpath.core.evidence import Outcome, Severity
from towpath.core.gates import GATES
from towpath.core.task import Task
from towpath.core.task_bounds import RegressionGates
from towpath.measure import gates, proxy_findings, proxy_tasks, targets
from towpath.measure.gates_regression import RegressionHoldout, evaluate, performance
from towpath.measure.metrics_regression import gain, measure

RNG = np.random.default_rng(3)
TRUTH = RNG.normal(100, 20, 400)
GOOD = TRUTH + RNG.normal(0, 5, 400)
OPTIONS = {"resamples": 200, "seed": 1}


def bounds(**changed: object) -> RegressionGates:
    given = {"rmse": 6, "mae": 5, "r2": 0.8, "slices": [{"by": "site", "min_rows": 50, "mae": 5.5}], **changed}
    return RegressionGates.model_validate(given)


def holdout(**changed: object) -> RegressionHoldout:
    given = {
        "labels": TRUTH,
        "candidate": GOOD,
        "mean": 100.0,
        "columns": {"site": np.array(["north", "south"] * 180 + ["isle"] * 40)},
        "latencies_ms": np.full(50, 2.0),
    }
    return RegressionHoldout(**{**given, **changed})


def test_the_estimates_are_scikit_learns() -> None:
    found = measure(TRUTH, GOOD, resamples=50)
    assert found.rmse.value == pytest.approx(root_mean_squared_error(TRUTH, GOOD))
    assert found.mae.value == pytest.approx(mean_absolute_error(TRUTH, GOOD))
    assert found.r2.value == pytest.approx(r2_score(TRUTH, GOOD))
    for one in (found.rmse, found.mae, found.r2):
        assert one.low < one.value < one.high


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng, covered = np.random.default_rng(11), 0
    for _ in range(100):
        truth = rng.normal(size=200)
        found = measure(truth, truth + rng.normal(0, 0.5, 200), resamples=150, confidence=0.9).rmse
        covered += found.low <= 0.5 <= found.high
    assert 80 <= covered <= 98


def test_a_good_model_passes_every_gate_of_a_regression() -> None:
    found = evaluate(holdout(), bounds(), **OPTIONS).findings
    stops = [item for item in found if item.outcome is not Outcome.PASS and item.severity is not Severity.WARNING]
    assert not stops, [item.reason for item in stops]
    asked = {code for code, gate in GATES.items() if code.startswith("eval.") and Task.REGRESSION in gate.tasks}
    assert {item.code for item in found} == asked
    (small,) = [item for item in found if item.severity is Severity.WARNING]
    assert "1 of 3 groups of site was not judged (40 rows" in small.reason


@pytest.mark.parametrize(
    ("code", "changed", "outcome"),
    [
        ("eval.rmse", {"rmse": 4}, Outcome.FAIL),
        ("eval.mae", {"mae": 3}, Outcome.FAIL),
        ("eval.r2", {"r2": 0.99}, Outcome.FAIL),
        ("eval.rmse", {"rmse": 5.05}, Outcome.INCONCLUSIVE),
        ("eval.slice", {"slices": [{"by": "site", "min_rows": 50, "mae": 2}]}, Outcome.FAIL),
        ("eval.slice", {"slices": [{"by": "site", "min_rows": 5000, "mae": 9}]}, Outcome.INCONCLUSIVE),
        ("eval.baseline", {"baseline_rmse_gain": 0.9}, Outcome.FAIL),
    ],
)
def test_each_bound_bites(code: str, changed: dict[str, object], outcome: Outcome) -> None:
    found = [item for item in evaluate(holdout(), bounds(**changed), **OPTIONS).findings if item.code == code]
    assert outcome in {item.outcome for item in found if item.severity is not Severity.WARNING}, found


def test_a_model_that_says_the_mean_does_not_beat_it() -> None:
    found = evaluate(holdout(candidate=np.full(400, 100.0)), bounds(), **OPTIONS).findings
    (baseline,) = [item for item in found if item.code == "eval.baseline"]
    assert baseline.outcome is Outcome.FAIL
    assert baseline.measured == 0


def test_the_champion_is_compared_pair_by_pair() -> None:
    worse = TRUTH + 1.2 * (GOOD - TRUTH)
    assert gain(GOOD, GOOD, GOOD).rmse.value == 0
    paired = gain(TRUTH, worse, GOOD, resamples=100).rmse
    assert (paired.low, paired.high) == (pytest.approx(-0.2), pytest.approx(-0.2))
    found = evaluate(holdout(candidate=worse, champion=GOOD), bounds(rmse=9, mae=9), **OPTIONS).findings
    assert {item.outcome for item in found if item.code == "eval.champion"} == {Outcome.FAIL}


@pytest.mark.parametrize(
    ("labels", "predictions", "said"),
    [
        ([1.0, 2.0], [1.0], "shape"),
        ([], [], "no rows"),
        ([1.0, float("nan")], [1.0, 2.0], "1 of 2 labels are missing"),
        ([1.0, 2.0], [1.0, float("inf")], "1 of 2 predictions are missing or infinite"),
        (["a", "b"], [1.0, 2.0], "not a number"),
        ([3.0, 3.0], [1.0, 2.0], "All 2 rows"),
    ],
)
def test_what_cannot_be_measured_is_said(labels: list[object], predictions: list[float], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        measure(labels, predictions)


def test_few_known_labels_say_nothing() -> None:
    (found,) = performance(TRUTH[:5], GOOD[:5], bounds())
    assert found.outcome is Outcome.INCONCLUSIVE
    assert {item.code for item in performance(TRUTH, GOOD, bounds(), resamples=50)} == {"monitor.performance"}


@pytest.mark.parametrize(
    ("values", "outcome", "said"),
    [
        (pd.Series([1.0, 2.5, 4.0]), Outcome.PASS, "mean 2.5"),
        (pd.Series([1, 2, 4]), Outcome.PASS, "3 rows"),
        (pd.Series([1.0, None, 4.0]), Outcome.FAIL, "1 of 3 rows are missing"),
        (pd.Series([2.0, 2.0]), Outcome.FAIL, "the same value"),
        (pd.Series(["1", "2"]), Outcome.FAIL, "a regression's target is a number"),
        (pd.Series([True, False]), Outcome.FAIL, "a regression's target is a number"),
        (pd.Series([], dtype="float64"), Outcome.FAIL, "all 0 rows"),
    ],
)
def test_a_target_is_numbers(values: pd.Series, outcome: Outcome, said: str) -> None:
    found = targets.finding("cost", values, Task.REGRESSION)
    assert found.outcome is outcome
    assert said in found.reason


def proxies(inputs: pd.DataFrame, target: np.ndarray) -> dict[str, Outcome]:
    found = proxy_tasks.number_strengths(inputs, target)
    told = proxy_findings.findings(
        found, source="holdout", bound=0.97, what="a share", inputs=inputs.shape[1], rows=len(inputs)
    )
    return {item.subject: item.outcome for item in told}


def test_an_input_that_is_the_target_in_disguise_is_found() -> None:
    frame = load_diabetes(as_frame=True).frame
    target = frame.pop("target").to_numpy()
    assert proxies(frame, target) == {"": Outcome.PASS}
    frame["copy"] = -3 * target
    frame["log"] = np.log(target)
    frame["rounded"] = (target // 5).astype(int)
    frame["bent"] = (target - target.mean()) ** 2
    assert proxies(frame, target) == dict.fromkeys(("copy", "log", "rounded"), Outcome.FAIL)
    assert proxies(frame[["sex"]].assign(sex=1), target) == {"": Outcome.INCONCLUSIVE}


def test_the_cheaper_model_is_held_to_the_models_own_bound() -> None:
    found = gates.cheaper_finding("rmse", measure(TRUTH, GOOD, resamples=50).rmse, 4.0, bound=4.5, confidence=0.95)
    assert found.outcome is Outcome.FAIL
    assert found.severity is Severity.WARNING
    assert "worse than the model" in found.reason
