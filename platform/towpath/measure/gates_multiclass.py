"""A multiclass model's gates: from a holdout's arrays and the charter's bounds to findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from towpath.core.evidence import Finding, Outcome, Severity
from towpath.core.task_bounds import MulticlassGates
from towpath.measure import groups
from towpath.measure.gates import (
    Options,
    baseline_finding,
    calibration_demand,
    champion_findings,
    latency_finding,
    log_loss_demand,
    unknown_yet,
)
from towpath.measure.groups import Cut, LossGroup
from towpath.measure.metrics import RESAMPLES
from towpath.measure.metrics_multiclass import Classed, MulticlassMetrics, gain, log_loss, measure
from towpath.measure.verdicts import Demand, Side, count, judge_each

MIN_LABELS = 20  # known labels below which a watched window says nothing
_NAMED = 5
_NOTHING = "the training's class frequencies"


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
            baseline_finding(baseline, _NOTHING, gates),
            *champion_findings(champion, gates, instead=_NOTHING),
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
    ranking = "ROC AUC, averaged over the classes,"
    error = "The expected calibration error of the top label"
    demanded = (
        (Demand(code="eval.roc_auc", what=ranking, side=Side.AT_LEAST, bound=gates.roc_auc), metrics.roc_auc),
        (log_loss_demand(gates.log_loss), metrics.log_loss),
        (calibration_demand(error, gates.calibration), metrics.calibration),
    )
    return judge_each(demanded, confidence=gates.confidence, code=code, source=source)


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


def performance(
    labels: ArrayLike, probabilities: ArrayLike, gates: MulticlassGates, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Finding, ...]:
    """The charter's bounds on rows whose labels are known by now; too few of them, or of one class, say nothing."""
    places = np.asarray(labels)
    if places.size < MIN_LABELS or np.unique(places).size < 2:
        return (unknown_yet(places.size, f"{MIN_LABELS} of two classes"),)
    metrics = measure(places, probabilities, confidence=gates.confidence, resamples=resamples, seed=seed)
    return metric_findings(metrics, gates, code="monitor.performance", source="watched window")


def new_classes(found: Sequence[object], rows: int) -> tuple[Finding, ...]:
    """A FAIL for labels that are of classes which the model has not learnt: it cannot but miss them. None for none.

    `found`: the class of each such row, of `rows` watched.
    """
    if not found:
        return ()
    several = Counter(map(str, found)).most_common()
    named = ", ".join(f"{name} ({number:,})" for name, number in several[:_NAMED])
    more = f" and {len(several) - _NAMED:,} more" if len(several) > _NAMED else ""
    return (
        Finding(
            code="monitor.performance",
            outcome=Outcome.FAIL,
            subject="classes",
            measured=len(found),
            bound="<= 0",
            unit="rows",
            sample_size=rows,
            source="watched window",
            reason=f"{len(found):,} of {count(rows)} of the watched window are of a class that the training rows did "
            f"not have, so that the champion cannot name it: {named}{more}. The others are judged without them.",
        ),
    )
