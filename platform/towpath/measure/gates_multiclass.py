"""A multiclass model's gates: from a holdout's arrays and the charter's bounds to findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from towpath.core.evidence import Finding, Outcome, Severity
from towpath.core.task_bounds import MulticlassGates
from towpath.measure import groups
from towpath.measure.gates import Options, latency_finding, no_champion
from towpath.measure.groups import Cut, LossGroup
from towpath.measure.metrics import RESAMPLES
from towpath.measure.metrics_multiclass import Classed, MulticlassGain, MulticlassMetrics, gain, log_loss, measure
from towpath.measure.verdicts import Demand, Side, count, judge, number

MIN_LABELS = 20  # known labels below which a watched window says nothing
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class MulticlassHoldout:
    """What the evaluation works from, beside single-row prediction times in milliseconds.

    `labels`: places of the true classes (n,) among `classes` (k). `candidate` and `champion`: probabilities (n, k);
    `champion` is None when there is none yet. `frequencies`: of the classes among the training rows (k,). `columns`:
    the slice columns' values.
    """

    labels: ArrayLike
    classes: Sequence[object]
    candidate: ArrayLike
    champion: ArrayLike | None = None
    frequencies: ArrayLike
    columns: Mapping[str, ArrayLike] = field(default_factory=dict)
    latencies_ms: ArrayLike = ()


@dataclass(frozen=True, kw_only=True)
class MulticlassEvaluation:
    """What the evaluation measured, for plots and the card, and its findings."""

    metrics: MulticlassMetrics
    groups: tuple[LossGroup, ...]
    findings: tuple[Finding, ...]


def evaluate(
    holdout: MulticlassHoldout, gates: MulticlassGates, *, resamples: int = RESAMPLES, seed: int = 0
) -> MulticlassEvaluation:
    """Measure the candidate on the holdout and judge it by every evaluation gate.

    Raises `BadInput` for arrays that cannot be measured: other shapes, no probabilities, one class, a missing slice
    column.
    """
    sample = Classed.of(holdout.labels, holdout.candidate)
    options = Options(confidence=gates.confidence, resamples=resamples, seed=seed)
    truth, chances = sample.labels, sample.probabilities
    metrics = measure(truth, chances, **options)
    frequencies = np.tile(np.asarray(holdout.frequencies, dtype=np.float64), (sample.n, 1))
    baseline = gain(truth, chances, frequencies, **options)
    champion = None if holdout.champion is None else gain(truth, chances, holdout.champion, **options)
    cuts = [Cut(by=part.by, min_rows=part.min_rows, bound=part.log_loss) for part in gates.slices]
    judged = groups.measure_groups(
        holdout.columns,
        cuts,
        lambda inside: log_loss(truth[inside], chances[inside], **options),
        rows=sample.n,
        measure="Log loss",
        unit="nats",
    )
    return MulticlassEvaluation(
        metrics=metrics,
        groups=judged,
        findings=(
            *metric_findings(metrics, gates),
            *_unseen(sample, holdout.classes),
            _baseline(baseline, gates),
            *_champion(champion, gates),
            *groups.findings(judged, cuts, confidence=gates.confidence),
            latency_finding(holdout.latencies_ms, gates.latency_ms),
        ),
    )


def metric_findings(
    metrics: MulticlassMetrics, gates: MulticlassGates, *, code: str = "", source: str = "holdout"
) -> tuple[Finding, ...]:
    """ROC AUC by its lower end, log loss and calibration error by their upper ends.

    `code` puts the three under one gate, each with its subject; by default each has its own.
    """
    noise = "Noise raises this error when rows are few."
    error = "The expected calibration error of the top label"
    demands = (
        ("roc_auc", "ROC AUC, averaged over the classes,", Side.AT_LEAST, gates.roc_auc, "", metrics.roc_auc, ""),
        ("log_loss", "Log loss", Side.AT_MOST, gates.log_loss, "nats", metrics.log_loss, ""),
        ("calibration", error, Side.AT_MOST, gates.calibration, "", metrics.calibration, noise),
    )
    return tuple(
        judge(
            Demand(
                code=code or f"eval.{name}",
                subject=name if code else "",
                what=what,
                side=side,
                bound=bound,
                unit=unit,
                source=source,
            ),
            estimate,
            confidence=gates.confidence,
            cause=cause,
        )
        for name, what, side, bound, unit, estimate, cause in demands
    )


def _unseen(sample: Classed, classes: Sequence[object]) -> tuple[Finding, ...]:
    """A warning that names the classes of which the holdout has no row: how well they are told apart is not known."""
    seen = set(sample.labels.tolist())
    absent = [str(one) for place, one in enumerate(classes) if place not in seen]
    if not absent:
        return ()
    more = f" and {len(absent) - _NAMED} more" if len(absent) > _NAMED else ""
    return (
        Finding(
            code="eval.roc_auc",
            outcome=Outcome.INCONCLUSIVE,
            severity=Severity.WARNING,
            subject="classes",
            measured=len(absent),
            unit="classes",
            sample_size=sample.n,
            source="holdout",
            reason=f"The holdout has no row of {', '.join(absent[:_NAMED])}{more}, so nothing is known of them.",
        ),
    )


def _baseline(found: MulticlassGain, gates: MulticlassGates) -> Finding:
    demand = Demand(
        code="eval.baseline",
        what="The gain in log loss over always predicting the training's class frequencies",
        side=Side.ABOVE,
        bound=gates.baseline_log_loss_gain,
        unit="nats",
    )
    return judge(demand, found.log_loss, confidence=gates.confidence)


def _champion(found: MulticlassGain | None, gates: MulticlassGates) -> tuple[Finding, ...]:
    """Non-inferiority in ROC AUC and in log loss; without a champion, a PASS that says what it means."""
    if found is None:
        return (no_champion("the training's class frequencies"),)
    pairs = (
        ("roc_auc", "ROC AUC", gates.champion.roc_auc_margin, "", found.roc_auc),
        ("log_loss", "log loss", gates.champion.log_loss_margin, "nats", found.log_loss),
    )
    return tuple(
        judge(
            Demand(
                code="eval.champion",
                what=f"The gain in {what} over the champion",
                side=Side.AT_LEAST,
                bound=-margin,
                unit=unit,
                subject=name,
            ),
            estimate,
            confidence=gates.confidence,
        )
        for name, what, margin, unit, estimate in pairs
    )


def cheaper_finding(metrics: MulticlassMetrics, main: float, gates: MulticlassGates) -> Finding:
    """The cheaper model's log loss against the model's own bound, and how much worse it is than the model's (`main`).

    A warning: a cheaper model that is not good enough is left out.
    """
    demand = Demand(
        code="register.cheaper",
        what="Log loss of the cheaper model",
        side=Side.AT_MOST,
        bound=gates.log_loss,
        unit="nats",
        subject="log_loss",
    )
    found = judge(demand, metrics.log_loss, confidence=gates.confidence)
    worse = metrics.log_loss.value - main
    told = f"{found.reason} It is {number(abs(worse))} nats {'worse' if worse >= 0 else 'better'} than the model."
    return found.model_copy(update={"severity": Severity.WARNING, "reason": told})


def performance(
    labels: ArrayLike, probabilities: ArrayLike, gates: MulticlassGates, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Finding, ...]:
    """The charter's bounds on rows whose labels are known by now; too few of them, or of one class, say nothing."""
    places = np.asarray(labels)
    if places.size < MIN_LABELS or np.unique(places).size < 2:
        return (
            Finding(
                code="monitor.performance",
                outcome=Outcome.INCONCLUSIVE,
                sample_size=places.size,
                source="watched window",
                reason=f"{count(places.size)} have a known label: at least {MIN_LABELS} of two classes are needed.",
            ),
        )
    metrics = measure(places, probabilities, confidence=gates.confidence, resamples=resamples, seed=seed)
    return metric_findings(metrics, gates, code="monitor.performance", source="watched window")
