"""A regression's gates: from a holdout's arrays and the charter's bounds to findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from towpath.core.evidence import Finding
from towpath.core.task_bounds import RegressionGates
from towpath.measure import groups
from towpath.measure.gates import Options, latency_finding, no_champion, unknown_yet
from towpath.measure.groups import Cut, LossGroup
from towpath.measure.metrics import RESAMPLES
from towpath.measure.metrics_regression import (
    Predicted,
    RegressionGain,
    RegressionMetrics,
    gain,
    mean_absolute_error,
    measure,
)
from towpath.measure.verdicts import Demand, Side, judge, judge_each, number

MIN_LABELS = 20  # known labels below which a watched window says nothing


@dataclass(frozen=True, kw_only=True)
class RegressionHoldout:
    """What the evaluation works from, row by row (n,), beside single-row prediction times in milliseconds.

    `champion` is None when there is none yet. `mean`: the target's among the training rows. `columns`: the slice
    columns' values.
    """

    labels: ArrayLike
    candidate: ArrayLike
    champion: ArrayLike | None = None
    mean: float
    columns: Mapping[str, ArrayLike] = field(default_factory=dict)
    latencies_ms: ArrayLike = ()


@dataclass(frozen=True, kw_only=True)
class RegressionEvaluation:
    """What the evaluation measured, for plots and the card, and its findings."""

    metrics: RegressionMetrics
    groups: tuple[LossGroup, ...]
    findings: tuple[Finding, ...]


def evaluate(
    holdout: RegressionHoldout, gates: RegressionGates, *, resamples: int = RESAMPLES, seed: int = 0
) -> RegressionEvaluation:
    """Measure the candidate on the holdout and judge it by every evaluation gate.

    Raises `BadInput` for arrays that cannot be measured: other lengths, no numbers, one value, a missing slice column.
    """
    sample = Predicted.of(holdout.labels, holdout.candidate)
    options = Options(confidence=gates.confidence, resamples=resamples, seed=seed)
    truth, found = sample.labels, sample.predictions
    metrics = measure(truth, found, **options)
    baseline = gain(truth, found, np.full(sample.n, holdout.mean), **options)
    champion = None if holdout.champion is None else gain(truth, found, holdout.champion, **options)
    cuts = [Cut(by=part.by, min_rows=part.min_rows, bound=part.mae) for part in gates.slices]
    judged = groups.measure_groups(
        holdout.columns,
        cuts,
        lambda inside: mean_absolute_error(truth[inside], found[inside], **options),
        rows=sample.n,
        measure="The mean absolute error",
    )
    return RegressionEvaluation(
        metrics=metrics,
        groups=judged,
        findings=(
            *metric_findings(metrics, gates),
            _baseline(baseline, holdout.mean, gates),
            *_champion(champion, gates),
            *groups.findings(judged, cuts, confidence=gates.confidence),
            latency_finding(holdout.latencies_ms, gates.latency_ms),
        ),
    )


def metric_findings(
    metrics: RegressionMetrics, gates: RegressionGates, *, code: str = "", source: str = "holdout"
) -> tuple[Finding, ...]:
    """RMSE and MAE by their upper ends, R² by its lower end.

    `code` puts the three under one gate, each with its subject; by default each has its own.
    """
    demanded = (
        (
            Demand(code="eval.rmse", what="The root mean squared error", side=Side.AT_MOST, bound=gates.rmse),
            metrics.rmse,
        ),
        (Demand(code="eval.mae", what="The mean absolute error", side=Side.AT_MOST, bound=gates.mae), metrics.mae),
        (Demand(code="eval.r2", what="R²", side=Side.AT_LEAST, bound=gates.r2), metrics.r2),
    )
    return judge_each(demanded, confidence=gates.confidence, code=code, source=source)


def _baseline(found: RegressionGain, mean: float, gates: RegressionGates) -> Finding:
    demand = Demand(
        code="eval.baseline",
        what=f"The share by which the RMSE is lower than of always predicting the training's mean {number(mean)}",
        side=Side.ABOVE,
        bound=gates.baseline_rmse_gain,
    )
    return judge(demand, found.rmse, confidence=gates.confidence)


def _champion(found: RegressionGain | None, gates: RegressionGates) -> tuple[Finding, ...]:
    """Non-inferiority in RMSE and in MAE; without a champion, a PASS that says what it means."""
    if found is None:
        return (no_champion("the training's mean"),)
    pairs = (
        ("rmse", "RMSE", gates.champion.rmse_margin, found.rmse),
        ("mae", "MAE", gates.champion.mae_margin, found.mae),
    )
    demanded = [
        (
            Demand(
                code="eval.champion",
                what=f"The share by which the {what} is lower than the champion's",
                side=Side.AT_LEAST,
                bound=-margin,
                subject=name,
            ),
            estimate,
        )
        for name, what, margin, estimate in pairs
    ]
    return judge_each(demanded, confidence=gates.confidence)


def performance(
    labels: ArrayLike, predictions: ArrayLike, gates: RegressionGates, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Finding, ...]:
    """The charter's bounds on rows whose labels are known by now; too few of them, or all the same, say nothing."""
    rows = np.asarray(labels).size
    if rows < MIN_LABELS or np.unique(np.asarray(labels)).size < 2:
        return (unknown_yet(rows, f"{MIN_LABELS}, not all the same,"),)
    metrics = measure(labels, predictions, confidence=gates.confidence, resamples=resamples, seed=seed)
    return metric_findings(metrics, gates, code="monitor.performance", source="watched window")
