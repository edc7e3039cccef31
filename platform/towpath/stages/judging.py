"""What is measured of a model, by its charter's bounds, which are those of its task. A part of several stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from towpath.core.charter import Bounds, Gates
from towpath.core.evidence import Finding
from towpath.core.task_bounds import MulticlassGates, RegressionGates
from towpath.measure import (
    drift,
    gates,
    gates_multiclass,
    gates_regression,
    importance,
    plots,
    plots_multiclass,
    plots_regression,
    proxy,
    proxy_findings,
    proxy_tasks,
)
from towpath.measure.gates import Holdout
from towpath.measure.gates_multiclass import MulticlassHoldout
from towpath.measure.gates_regression import RegressionHoldout
from towpath.measure.groups import LossGroup
from towpath.measure.importance import Losses
from towpath.measure.metrics import Estimate
from towpath.measure.metrics import measure as measure_binary
from towpath.measure.metrics_multiclass import Classed
from towpath.measure.metrics_multiclass import measure as measure_multiclass
from towpath.measure.metrics_regression import Predicted
from towpath.measure.metrics_regression import measure as measure_regression
from towpath.measure.slices import Group

BINARY_METRICS = ("roc_auc", "log_loss", "brier", "calibration")
MULTICLASS_METRICS = ("roc_auc", "log_loss", "accuracy", "calibration")
REGRESSION_METRICS = ("rmse", "mae", "r2")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A holdout's arrays: labels (n,) and answers, as `Scoring` gives them, the champion's, and the slice columns."""

    labels: NDArray[Any]
    scores: NDArray[np.float64]
    rival: NDArray[np.float64] | None
    trained: NDArray[Any]
    """The labels of the training rows."""
    classes: Sequence[str | int] = ()
    """Of a multiclass model, in the order of its probabilities."""
    columns: Mapping[str, ArrayLike]
    latencies_ms: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What was measured, the findings, and what draws the evaluation's own plots into a folder."""

    metrics: Mapping[str, Estimate]
    groups: Sequence[Group | LossGroup]
    findings: Sequence[Finding]
    draw: Callable[[Path], list[Path]]


def judge(asked: Asked, bounds: Bounds, *, seed: int) -> Judged:
    """Measure the candidate and judge it by every evaluation gate of its task."""
    match bounds:
        case RegressionGates():
            return _regression(asked, bounds, seed)
        case MulticlassGates():
            return _multiclass(asked, bounds, seed)
        case _:
            return _binary(asked, bounds, seed)


def _binary(asked: Asked, bounds: Gates, seed: int) -> Judged:
    found = gates.evaluate(
        Holdout(
            labels=asked.labels,
            candidate=asked.scores,
            champion=asked.rival,
            base_rate=float(asked.trained.mean()),
            columns=asked.columns,
            latencies_ms=asked.latencies_ms,
        ),
        bounds,
        seed=seed,
    )

    def draw(folder: Path) -> list[Path]:
        truth, scores, metrics = asked.labels, asked.scores, found.metrics
        return [
            plots.calibration(folder / "calibration.png", truth, scores, metrics, bound=bounds.calibration),
            plots.roc(folder / "roc.png", truth, scores, metrics, bound=bounds.roc_auc),
        ]

    metrics = {name: getattr(found.metrics, name) for name in BINARY_METRICS}
    return Judged(metrics=metrics, groups=found.groups, findings=found.findings, draw=draw)


def _regression(asked: Asked, bounds: RegressionGates, seed: int) -> Judged:
    found = gates_regression.evaluate(
        RegressionHoldout(
            labels=asked.labels,
            candidate=asked.scores,
            champion=asked.rival,
            mean=float(asked.trained.mean()),
            columns=asked.columns,
            latencies_ms=asked.latencies_ms,
        ),
        bounds,
        seed=seed,
    )

    def draw(folder: Path) -> list[Path]:
        truth, scores = asked.labels, asked.scores
        return [
            plots_regression.predicted(folder / "predicted.png", truth, scores, found.metrics, bound=bounds.rmse),
            plots_regression.residuals(folder / "residuals.png", truth, scores),
        ]

    metrics = {name: getattr(found.metrics, name) for name in REGRESSION_METRICS}
    return Judged(metrics=metrics, groups=found.groups, findings=found.findings, draw=draw)


def _multiclass(asked: Asked, bounds: MulticlassGates, seed: int) -> Judged:
    frequencies = np.bincount(asked.trained, minlength=len(asked.classes)) / len(asked.trained)
    found = gates_multiclass.evaluate(
        MulticlassHoldout(
            labels=asked.labels,
            classes=asked.classes,
            candidate=asked.scores,
            champion=asked.rival,
            frequencies=frequencies,
            columns=asked.columns,
            latencies_ms=asked.latencies_ms,
        ),
        bounds,
        seed=seed,
    )

    def draw(folder: Path) -> list[Path]:
        truth, scores, classes = asked.labels, asked.scores, asked.classes
        return [
            plots_multiclass.confusion(folder / "confusion.png", truth, scores, classes, found.metrics),
            plots_multiclass.ranking(
                folder / "classes.png", truth, scores, classes, found.metrics, bound=bounds.roc_auc
            ),
        ]

    metrics = {name: getattr(found.metrics, name) for name in MULTICLASS_METRICS}
    return Judged(metrics=metrics, groups=found.groups, findings=found.findings, draw=draw)


def target_proxy(
    inputs: pd.DataFrame, target: NDArray[Any], bounds: Bounds, *, source: str, seed: int
) -> Sequence[Finding]:
    """Whether one input alone says too much of the target. `source`: the part of the data that the rows are."""
    given: dict[str, Any] = {"inputs": inputs.shape[1], "rows": len(inputs), "source": source}
    if isinstance(bounds, RegressionGates):
        found, what = (
            proxy_tasks.number_strengths(inputs, target, seed=seed),
            "reaches a share of the target's variance of",
        )
        return proxy_findings.findings(found, bound=bounds.single_feature_r2, what=what, **given)
    if isinstance(bounds, MulticlassGates):
        found, what = proxy_tasks.class_strengths(inputs, target, seed=seed), "reaches an average ROC AUC of"
        return proxy_findings.findings(found, bound=bounds.single_feature_roc_auc, what=what, **given)
    return proxy.target_proxy(inputs, target, bound=bounds.single_feature_roc_auc, source=source, seed=seed)


def losses(bounds: Bounds) -> Losses:
    """What permutation importance measures: log loss in nats, or the absolute error in the target's unit."""
    match bounds:
        case RegressionGates():
            return _absolute
        case MulticlassGates():
            return _class_losses
        case _:
            return importance.log_losses


def loss_name(bounds: Bounds) -> str:
    return "absolute error" if isinstance(bounds, RegressionGates) else "log loss"


def _absolute(truth: ArrayLike, predictions: ArrayLike) -> NDArray[np.float64]:
    return Predicted.of(truth, predictions).absolute


def _class_losses(truth: ArrayLike, probabilities: ArrayLike) -> NDArray[np.float64]:
    return Classed.of(truth, probabilities).losses


def prediction_drift(before: pd.DataFrame, now: Mapping[str, ArrayLike], *, bound: float) -> Finding:
    """Whether predictions are distributed as on the holdout (`before`): the scores, or the predicted classes."""
    if "predicted" in now:
        return drift.class_drift(before["predicted"], now["predicted"], bound=bound)
    return drift.prediction_drift(before["score"], now["score"], bound=bound)


def performance(labels: ArrayLike, scores: ArrayLike, bounds: Bounds, *, seed: int) -> Sequence[Finding]:
    """The charter's bounds on rows whose labels are known by now."""
    if isinstance(bounds, RegressionGates):
        return gates_regression.performance(labels, scores, bounds, seed=seed)
    if isinstance(bounds, MulticlassGates):
        return gates_multiclass.performance(labels, scores, bounds, seed=seed)
    return drift.performance(labels, scores, bounds, seed=seed)


def new_classes(labels: pd.Series[Any], learnt: NDArray[np.bool_]) -> Sequence[Finding]:
    """Whether labels (n,) are of classes that the model has not learnt, as `Scoring.learnt` says."""
    return gates_multiclass.new_classes(labels[~learnt].tolist(), len(labels))


def cheaper(labels: ArrayLike, scores: ArrayLike, main: Mapping[str, Any], bounds: Bounds, *, seed: int) -> Finding:
    """Whether the cheaper model is good enough; `main`: the model's own metrics as its evaluation recorded them."""
    options: dict[str, Any] = {"confidence": bounds.confidence, "seed": seed}
    if isinstance(bounds, RegressionGates):
        name, unit, bound, found = "rmse", "", bounds.rmse, measure_regression(labels, scores, **options).rmse
    else:
        measure = measure_multiclass if isinstance(bounds, MulticlassGates) else measure_binary
        name, unit, bound, found = "log_loss", "nats", bounds.log_loss, measure(labels, scores, **options).log_loss
    recorded = float(main[name]["value"])
    return gates.cheaper_finding(name, found, recorded, bound=bound, confidence=bounds.confidence, unit=unit)


def recorded(judged: Judged) -> dict[str, Any]:
    """The metrics and groups as an entry's facts hold them."""
    return {
        "metrics": {name: asdict(item) for name, item in judged.metrics.items()},
        "groups": [asdict(group) for group in judged.groups],
    }


def group_of(recorded: Mapping[str, Any]) -> Group | LossGroup:
    """A group as facts hold it."""
    key = "estimate" if "estimate" in recorded else "roc_auc"
    given = {**recorded, key: Estimate(**recorded[key]) if recorded[key] else None}
    return LossGroup(**given) if key == "estimate" else Group(**given)
