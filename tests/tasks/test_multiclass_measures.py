"""What is measured of a multiclass model: against scikit-learn's own figures, and at the edges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris, load_wine
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from towpath.adapters.runtime_sklearn_scorer import Scorer
from towpath.core.errors import BadInput
from towpath.core.evidence import Outcome, Severity
from towpath.core.gates import GATES
from towpath.core.task import Task
from towpath.core.task_bounds import MulticlassGates
from towpath.measure import drift, gates_multiclass, metrics_multiclass, proxy_findings, proxy_tasks, targets
from towpath.measure.gates_multiclass import MulticlassHoldout, evaluate, performance
from towpath.measure.metrics_multiclass import gain, measure
from towpath.measure.parity import parity, reference
from towpath.stages.scoring import Scoring

RNG = np.random.default_rng(3)
TRUTH = RNG.integers(0, 3, 400)
GOOD = RNG.dirichlet([1, 1, 1], 400) * 0.4 + 0.6 * np.eye(3)[TRUTH]
OPTIONS: dict[str, Any] = {"resamples": 100, "seed": 1}


def bounds(**changed: object) -> MulticlassGates:
    slices = [{"by": "site", "min_rows": 50, "log_loss": 0.5}]
    given = {"roc_auc": 0.9, "log_loss": 0.4, "calibration": 0.5, "slices": slices, **changed}
    return MulticlassGates.model_validate(given)


def holdout(**changed: Any) -> MulticlassHoldout:
    given: dict[str, Any] = {
        "labels": TRUTH,
        "classes": ("a", "b", "c"),
        "candidate": GOOD,
        "frequencies": [0.3, 0.3, 0.4],
        "columns": {"site": np.array(["north", "south"] * 200)},
        "latencies_ms": np.full(50, 2.0),
    }
    return MulticlassHoldout(**{**given, **changed})


def test_the_estimates_are_scikit_learns() -> None:
    chances = RNG.dirichlet([1, 1, 1], 400) * 0.8 + 0.2 * np.eye(3)[TRUTH]
    found = measure(TRUTH, chances, resamples=30)
    assert found.roc_auc.value == pytest.approx(roc_auc_score(TRUTH, chances, multi_class="ovr", average="macro"))
    assert found.log_loss.value == pytest.approx(log_loss(TRUTH, chances))
    assert found.accuracy.value == pytest.approx(accuracy_score(TRUTH, chances.argmax(axis=1)))
    for one in (found.roc_auc, found.log_loss, found.accuracy, found.calibration):
        assert one.low < one.value < one.high


def test_top_label_calibration_sees_overconfidence() -> None:
    rng = np.random.default_rng(5)
    chances = rng.dirichlet([2, 2, 2], 5_000)
    truth = np.array([rng.choice(3, p=row) for row in chances])
    sharp = chances**3 / (chances**3).sum(axis=1, keepdims=True)
    assert measure(truth, chances, resamples=50).calibration.high < 0.05
    assert measure(truth, sharp, resamples=50).calibration.low > 0.1


def test_a_good_model_passes_every_gate_of_a_multiclass_model() -> None:
    found = evaluate(holdout(), bounds(), **OPTIONS).findings
    assert {item.outcome for item in found} == {Outcome.PASS}, [item.reason for item in found]
    asked = {code for code, gate in GATES.items() if code.startswith("eval.") and Task.MULTICLASS in gate.tasks}
    assert {item.code for item in found} == asked


@pytest.mark.parametrize(
    ("code", "changed"),
    [
        ("eval.roc_auc", {"roc_auc": 1.0, "candidate": GOOD * 0.5 + 0.5 * RNG.dirichlet([0.2] * 3, 400)}),
        ("eval.log_loss", {"log_loss": 0.05}),
        ("eval.calibration", {"calibration": 0.001}),
        ("eval.slice", {"slices": [{"by": "site", "min_rows": 50, "log_loss": 0.01}]}),
        ("eval.baseline", {"baseline_log_loss_gain": 2.0}),
        ("eval.champion", {"champion": np.eye(3)[TRUTH] * 0.97 + 0.01}),
    ],
)
def test_each_bound_bites(code: str, changed: dict[str, Any]) -> None:
    given = {name: changed.pop(name) for name in ("candidate",) if name in changed}
    given |= {"champion": changed.pop("champion")} if isinstance(changed.get("champion"), np.ndarray) else {}
    found = [item for item in evaluate(holdout(**given), bounds(**changed), **OPTIONS).findings if item.code == code]
    assert Outcome.FAIL in {item.outcome for item in found}, found


def test_frequencies_alone_do_not_beat_frequencies() -> None:
    frequencies = [0.3, 0.3, 0.4]
    found = evaluate(holdout(candidate=np.tile(frequencies, (400, 1))), bounds(), **OPTIONS).findings
    (baseline,) = [item for item in found if item.code == "eval.baseline"]
    assert (baseline.outcome, baseline.measured) == (Outcome.FAIL, 0)
    assert gain(TRUTH, GOOD, GOOD, resamples=20).log_loss.high == 0


def test_a_class_that_the_holdout_lacks_is_named() -> None:
    wider = np.column_stack([GOOD, np.zeros(400)])
    given = holdout(candidate=wider, classes=("a", "b", "c", "rare"), frequencies=[0.3, 0.3, 0.3, 0.1])
    (warned,) = [item for item in evaluate(given, bounds(), **OPTIONS).findings if item.severity is Severity.WARNING]
    assert "no row of rare" in warned.reason
    assert warned.outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("labels", "chances", "said"),
    [
        ([0, 1], [0.5, 0.5], "shape"),
        ([], np.empty((0, 3)), "no rows"),
        ([0, 3], [[0.5, 0.5], [0.5, 0.5]], "the place of no class"),
        ([0, 1], [[0.5, 0.2], [0.5, 0.5]], "do not sum to 1"),
        ([0, 1], [[np.nan, 0.2], [0.5, 0.5]], "not between 0 and 1"),
        ([1, 1], [[0.5, 0.5], [0.5, 0.5]], "one class, at place 1;"),
    ],
)
def test_what_cannot_be_measured_is_said(labels: Any, chances: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        measure(labels, chances)


def test_a_slice_may_lack_a_class() -> None:
    assert metrics_multiclass.log_loss(np.zeros(50, dtype=int), GOOD[:50], resamples=20).n == 50


def test_few_known_labels_say_nothing() -> None:
    (found,) = performance(TRUTH[:5], GOOD[:5], bounds())
    assert found.outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("values", "outcome", "said"),
    [
        (["red", "blue", "red", "green"], Outcome.PASS, "3 classes"),
        (["yes", "no", "no"], Outcome.PASS, "the rarest yes (1)"),
        ([3, 1, 2], Outcome.PASS, "3 classes"),
        ([0, 1, 1], Outcome.FAIL, "set training.task to binary"),
        (["red", None, "blue"], Outcome.FAIL, "1 of 3 rows are missing"),
        ([0.5, 1.5, 2.5], Outcome.FAIL, "all text or all whole numbers"),
        (["red", 1, 2], Outcome.FAIL, "all text or all whole numbers"),
        (["red", "red"], Outcome.FAIL, "1 classes in 2 rows"),
        ([str(number) for number in range(300)], Outcome.FAIL, "300 classes"),
    ],
)
def test_a_target_is_classes(values: list[Any], outcome: Outcome, said: str) -> None:
    found = targets.finding("colour", pd.Series(values), Task.MULTICLASS)
    assert found.outcome is outcome
    assert said in found.reason


def wines() -> tuple[pd.DataFrame, pd.Series]:
    wine = load_wine(as_frame=True)
    return wine.data, wine.target.map({0: "Barolo", 1: "Grignolino", 2: "Barbera"})


def test_probabilities_come_in_the_order_of_the_classes() -> None:
    rows, target = wines()
    scoring = Scoring(task=Task.MULTICLASS, classes=targets.classes(target, Task.MULTICLASS))
    part = target != "Barolo"
    model = LogisticRegression(max_iter=20).fit(rows[part][["alcohol"]], target[part])
    found = scoring.checked(model, rows[["alcohol"]])
    assert found.shape == (178, 3)
    assert (found[:, 1] == 0).all()  # Barolo, which the model has not seen
    assert found[:, 0] == pytest.approx(model.predict_proba(rows[["alcohol"]])[:, 0])
    assert [scoring.classes[place] for place in scoring.labels(target)] == target.tolist()
    with pytest.raises(BadInput, match="1 class was not among the training rows, the first 'Chianti'"):
        scoring.labels(pd.Series(["Barolo", "Chianti"]))
    assert scoring.learnt(pd.Series(["Barolo", "Chianti", None])).tolist() == [True, False, True]
    strange = DummyClassifier().fit(rows, target.replace("Barolo", "Chianti"))
    with pytest.raises(BadInput, match="has the classes") as raised:
        scoring.checked(strange, rows)
    assert (raised.value.value, raised.value.valid) == ("Chianti", ("Barbera", "Barolo", "Grignolino"))


def test_a_champion_of_other_classes_is_no_rival() -> None:
    one, two = (Scoring(task=Task.MULTICLASS, classes=classes) for classes in (("a", "b", "c"), ("b", "c", "d")))
    assert one.unlike(one) is None
    assert one.unlike(Scoring()) == ("task", "the champion is a binary model, so the two cannot be compared")
    subject, reason = one.unlike(two) or ("", "")
    assert subject == "classes"
    assert "(new a; gone d)" in reason
    assert "(gone d)" in (Scoring(task=Task.MULTICLASS, classes=("b", "c")).unlike(two) or ("", ""))[1]


def test_classes_that_are_new_in_a_watched_window_are_named() -> None:
    assert gates_multiclass.new_classes([], 9) == ()
    (found,) = gates_multiclass.new_classes(["Chianti", 3, "Chianti"], 90)
    assert (found.code, found.outcome, found.measured) == ("monitor.performance", Outcome.FAIL, 3)
    assert "3 of 90 rows" in found.reason
    assert "Chianti (2), 3 (1)." in found.reason


class _Worker:
    """A `Runtime` that answers by the scorer of the worker process, changed by `change`."""

    kind, inline = "sklearn", False

    def __init__(self, scorer: Scorer, columns: tuple[str, ...], change: Callable[[list[float]], list[float]]) -> None:
        self.columns, self._scorer, self._change = columns, scorer, change

    def predict(self, rows: Any) -> list[float]:
        return self._change(self._scorer.predict(rows))

    async def predict_apart(self, rows: Any) -> list[float]:
        return self.predict(rows)

    def close(self) -> None: ...


@pytest.mark.parametrize(("turned", "outcome"), [(False, Outcome.PASS), (True, Outcome.FAIL)])
def test_parity_compares_every_class(turned: bool, outcome: Outcome) -> None:
    rows, target = wines()
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, target)
    scoring = Scoring(task=Task.MULTICLASS, classes=targets.classes(target, Task.MULTICLASS))
    given: dict[str, Any] = {"columns": list(rows.columns), "types": dict.fromkeys(rows.columns, "float64")}
    truth = reference(model, rows, score=lambda frame: scoring.scores(model, frame), width=scoring.width, **given)
    worker = _Worker(Scorer(model, **given), tuple(rows.columns), lambda found: found[::-1] if turned else found)
    found = parity(worker, truth, tolerance=1e-9)
    assert found.outcome is outcome, found.reason


@pytest.mark.parametrize("load", [load_iris, load_wine])
def test_honest_inputs_raise_no_alarm_and_a_copy_does(load: Callable[..., Any]) -> None:
    given = load(as_frame=True)
    default = bounds().single_feature_roc_auc

    def alarms(inputs: pd.DataFrame) -> set[str]:
        found = proxy_tasks.class_strengths(inputs, given.target.to_numpy())
        told = proxy_findings.findings(
            found, source="holdout", bound=default, what="x", inputs=inputs.shape[1], rows=len(inputs)
        )
        return {item.subject for item in told if item.outcome is not Outcome.PASS}

    assert alarms(given.data) == set()
    disguised = given.data.assign(copy=given.target.map({0: 7.0, 1: -2.0, 2: 11.0}))
    assert alarms(disguised) == {"copy"}


def test_predicted_classes_drift_by_how_often_they_come() -> None:
    before = ["red"] * 500 + ["blue"] * 500
    assert drift.class_drift(before, before[::-1], bound=0.05).measured == 0
    assert drift.class_drift(before, ["red"] * 900 + ["green"] * 100, bound=0.1).outcome is Outcome.FAIL
    assert drift.class_drift(before, ["red"] * 2, bound=0.05).outcome is Outcome.INCONCLUSIVE
