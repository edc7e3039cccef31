"""A regression's gates: from a holdout's arrays and the charter's bounds to findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from towpath.core.evidence import Finding, Outcome, Severity
from towpath.core.task_bounds import RegressionGates
from towpath.measure import groups
from towpath.measure.gates import Options, latency_finding, no_champion
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
from towpath.measure.verdicts import Demand, Side, count, judge, number

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
    demands = (
        ("rmse", "The root mean squared error", Side.AT_MOST, gates.rmse, metrics.rmse),
        ("mae", "The mean absolute error", Side.AT_MOST, gates.mae, metrics.mae),
        ("r2", "R²", Side.AT_LEAST, gates.r2, metrics.r2),
    )
    return tuple(
        judge(
            Demand(
                code=code or f"eval.{name}",
                subject=name if code else "",
                what=what,
                side=side,
                bound=bound,
                source=source,
            ),
            estimate,
            confidence=gates.confidence,
        )
        for name, what, side, bound, estimate in demands
    )


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
    return tuple(
        judge(
            Demand(
                code="eval.champion",
                what=f"The share by which the {what} is lower than the champion's",
                side=Side.AT_LEAST,
                bound=-margin,
                subject=name,
            ),
            estimate,
            confidence=gates.confidence,
        )
        for name, what, margin, estimate in pairs
    )


def cheaper_finding(metrics: RegressionMetrics, main: float, gates: RegressionGates) -> Finding:
    """The cheaper model's RMSE against the model's own bound, and how much worse it is than the model's (`main`).

    A warning: a cheaper model that is not good enough is left out, and the model serves without one.
    """
    demand = Demand(
        code="register.cheaper",
        what="RMSE of the cheaper model",
        side=Side.AT_MOST,
        bound=gates.rmse,
        subject="rmse",
    )
    found = judge(demand, metrics.rmse, confidence=gates.confidence)
    worse = metrics.rmse.value - main
    told = f"{found.reason} It is {number(abs(worse))} {'worse' if worse >= 0 else 'better'} than the model."
    return found.model_copy(update={"severity": Severity.WARNING, "reason": told})


def performance(
    labels: ArrayLike, predictions: ArrayLike, gates: RegressionGates, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Finding, ...]:
    """The charter's bounds on rows whose labels are known by now; too few of them, or all the same, say nothing."""
    rows = np.asarray(labels).size
    if rows < MIN_LABELS or np.unique(np.asarray(labels)).size < 2:
        return (
            Finding(
                code="monitor.performance",
                outcome=Outcome.INCONCLUSIVE,
                sample_size=rows,
                source="watched window",
                reason=f"{count(rows)} have a known label: at least {MIN_LABELS}, not all the same, are needed.",
            ),
        )
    metrics = measure(labels, predictions, confidence=gates.confidence, resamples=resamples, seed=seed)
    return metric_findings(metrics, gates, code="monitor.performance", source="watched window")
