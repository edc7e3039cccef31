"""What monitoring finds: drifted columns, drifted predictions, and performance once the labels are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

from towpath.core.charter import Gates
from towpath.core.errors import BadInput
from towpath.core.evidence import Finding, Outcome
from towpath.measure.gates import metric_findings
from towpath.measure.metrics import RESAMPLES, Floats, Scored, measure
from towpath.measure.slices import MIN_OF_A_CLASS
from towpath.measure.verdicts import count, number, percent, rounded

DECILES = 10
_NAMED = 5


class Distances(Protocol):
    """A drift report's figures: a distance and a method for each column, and the columns over their threshold."""

    @property
    def distances(self) -> Mapping[str, float]: ...

    @property
    def drifted(self) -> tuple[str, ...]: ...

    @property
    def method(self) -> Mapping[str, str]: ...


def findings(report: Distances, *, share: float, rows: int | None = None) -> tuple[Finding, ...]:
    """Whether at most `share` of the compared columns drifted; the reason names the columns that moved most.

    `rows`: rows of the current sample. No column compared is INCONCLUSIVE.
    """
    total, bound = len(report.distances), f"<= {number(share)}"
    if not total:
        reason = "No column was compared, so nothing is known of drift."
        return (_finding("monitor.drift", Outcome.INCONCLUSIVE, None, bound, "share of columns", rows, reason),)
    measured = len(report.drifted) / total
    ranked = sorted(report.drifted, key=lambda name: (-report.distances[name], name))
    worst = ", ".join(f"{name} {number(report.distances[name])} ({report.method[name]})" for name in ranked[:_NAMED])
    more = f", and {len(ranked) - _NAMED} more" if len(ranked) > _NAMED else ""
    reason = (
        f"{len(ranked)} of {count(total, 'column')} drifted ({percent(measured)}; the charter allows {percent(share)})"
        + (f", most of all {worst}{more}." if ranked else ".")
    )
    outcome = Outcome.PASS if measured <= share else Outcome.FAIL
    return (_finding("monitor.drift", outcome, rounded(measured), bound, "share of columns", rows, reason),)


def prediction_distance(reference: ArrayLike, current: ArrayLike) -> tuple[float, float]:
    """Jensen-Shannon distance of two samples of predictions, and the distance that noise alone exceeds in 1 of 20
    cases.

    The square root of the Jensen-Shannon divergence in bits (Lin 1991, IEEE Trans. Inf. Theory 37; a metric by Endres
    and Schindelin 2003), between 0 and 1, over the reference's deciles and
    what lies below and above all of them. Without drift, 8 times the divergence in nats
    over (1/n + 1/m) tends to a chi-squared variable of one degree less than there are bins, as the G statistic does.
    """
    first, second = _numbers(reference, "reference"), _numbers(current, "current")
    deciles = np.quantile(first, np.arange(1, DECILES) / DECILES)
    edges = np.unique([first.min(), *deciles, np.nextafter(first.max(), np.inf)])
    return _distance(
        *(
            np.bincount(np.searchsorted(edges, sample, side="right"), minlength=edges.size + 1)
            for sample in (first, second)
        )
    )


def class_distance(reference: ArrayLike, current: ArrayLike) -> tuple[float, float]:
    """The same of two samples of predicted classes, text or integers, over the classes."""
    first, second = np.asarray(reference), np.asarray(current)
    if not first.size or not second.size:
        raise BadInput("There are no predicted classes to compare.", hint="Widen the watched window.")
    places = np.unique(np.concatenate([first, second]).astype(str), return_inverse=True)[1]
    size = int(places.max()) + 1
    return _distance(*(np.bincount(part, minlength=size) for part in (places[: first.size], places[first.size :])))


def _distance(first: NDArray[np.intp], second: NDArray[np.intp]) -> tuple[float, float]:
    """The distance of two histograms over the same bins, and what noise alone exceeds in 1 of 20 cases."""
    n, m = int(first.sum()), int(second.sum())
    p, q = first / n, second / m
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    freedom = max(1, int((middle > 0).sum()) - 1)
    noise = chi2.ppf(0.95, freedom) * (1 / n + 1 / m) / 8 / np.log(2)
    return float(np.sqrt(max(divergence, 0.0))), float(np.sqrt(noise))


def prediction_drift(reference: ArrayLike, current: ArrayLike, *, bound: float) -> Finding:
    """Whether predictions lie within `bound` of the reference's. The distance of small samples is noise, biased upward:
    one over the bound that noise could explain is INCONCLUSIVE. Raises `BadInput` for no predictions."""
    distance, noise = prediction_distance(reference, current)
    return _drifted(distance, noise, reference, current, bound=bound, over="deciles")


def class_drift(reference: ArrayLike, current: ArrayLike, *, bound: float) -> Finding:
    """The same of predicted classes: whether they come about as often as on the holdout."""
    distance, noise = class_distance(reference, current)
    return _drifted(distance, noise, reference, current, bound=bound, over="classes")


def _drifted(
    distance: float, noise: float, reference: ArrayLike, current: ArrayLike, *, bound: float, over: str
) -> Finding:
    n, m = np.asarray(reference).size, np.asarray(current).size
    opening = (
        f"The Jensen-Shannon distance of {count(m, 'prediction')} from {count(n, 'reference prediction')} is "
        f"{number(distance)} (base 2, over {over}; noise alone reaches {number(noise)} in 1 of 20 cases)"
    )
    if distance <= bound:
        outcome, closing = Outcome.PASS, f", within the bound {number(bound)}."
    elif distance <= noise:
        outcome, closing = (
            Outcome.INCONCLUSIVE,
            f", over the bound {number(bound)}, but the samples are too small to tell.",
        )
    else:
        outcome, closing = Outcome.FAIL, f", over the bound {number(bound)}."
    return _finding(
        "monitor.prediction_drift", outcome, rounded(distance), f"<= {number(bound)}", "", m, opening + closing
    )


def performance(
    labels: ArrayLike, probabilities: ArrayLike, gates: Gates, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Finding, ...]:
    """The charter's bounds on ROC AUC, log loss and calibration, on rows whose labels are known by now.

    Too few rows of a class are INCONCLUSIVE, since no label may be known yet. Raises `BadInput` for other labels than 0
    and 1.
    """
    rows = np.asarray(labels).size
    positives = int(Scored.of(labels, probabilities).labels.sum()) if rows else 0
    if min(positives, rows - positives) < MIN_OF_A_CLASS:
        reason = (
            f"{count(rows)} have a known label, {positives:,} of class 1: at least {MIN_OF_A_CLASS} of each class are "
            "needed."
        )
        return (_finding("monitor.performance", Outcome.INCONCLUSIVE, None, "", "", rows, reason),)
    metrics = measure(labels, probabilities, confidence=gates.confidence, resamples=resamples, seed=seed)
    return metric_findings(metrics, gates, code="monitor.performance", source="watched window")


def _numbers(values: ArrayLike, which: str) -> Floats:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or found.size == 0 or not np.isfinite(found).all():
        raise BadInput(
            f"The {which} predictions are not a list of finite numbers.",
            value=found.shape,
            hint="Give at least one, and one a row.",
        )
    return found


def _relative_entropy(p: Floats, q: Floats) -> float:
    """Kullback-Leibler divergence in bits; `q` is positive wherever `p` is."""
    held = p > 0
    return float((p[held] * np.log2(p[held] / q[held])).sum())


def _finding(
    code: str, outcome: Outcome, measured: float | None, bound: str, unit: str, rows: int | None, reason: str
) -> Finding:
    return Finding(
        code=code,
        outcome=outcome,
        measured=measured,
        bound=bound,
        unit=unit,
        sample_size=rows,
        source="watched window",
        reason=reason,
    )
