"""Metrics of a multiclass model's probabilities, each with a bootstrap interval.

The ROC AUC is that of each class against the rest, averaged over the classes alike (macro; Provost and Domingos 2000,
*Well-Trained PETs*), over those that a resample holds. Log loss is in nats. The calibration error is the top label's:
how often the most probable class is right, against its probability (Guo et al. 2017, *On Calibration of Modern Neural
Networks*, ICML); what is said of the other classes is not seen. Its bins, bias and interval are those of `metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from towpath.core.errors import BadInput
from towpath.measure.metrics import (
    RESAMPLES,
    Estimate,
    Floats,
    Gain,
    Scored,
    bootstrapped,
    calibration_error,
    calibration_estimated,
    estimated,
    resampled,
    roc_auc_of,
)

_EPSILON = float(np.finfo(np.float64).eps)
_SUM = 1e-6  # by which the probabilities of a row may differ from 1


@dataclass(frozen=True, kw_only=True)
class MulticlassMetrics:
    """What is measured of one model's probabilities; `accuracy` is the share of rows whose top label is right."""

    roc_auc: Estimate
    log_loss: Estimate
    accuracy: Estimate
    calibration: Estimate

    @property
    def rows(self) -> int:
        return self.roc_auc.n


@dataclass(frozen=True, kw_only=True)
class Classed:
    """Places of the true classes (n,) and probabilities (n, k) of each class, checked."""

    labels: NDArray[np.intp]
    probabilities: Floats

    @classmethod
    def of(cls, labels: ArrayLike, probabilities: ArrayLike) -> Classed:
        """Checked arrays. Raises `BadInput` for other shapes, places beyond the classes, or no probabilities."""
        truth, chances = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
        if truth.ndim != 1 or chances.ndim != 2 or len(truth) != len(chances):
            raise BadInput(
                f"There are labels of shape {truth.shape} and probabilities of shape {chances.shape}.",
                hint="Give one label a row, and a probability for each class.",
            )
        if truth.size == 0:
            raise BadInput("There are no rows to measure.", hint="Widen the holdout, or move `--as-of`.")
        if not np.isin(truth, np.arange(chances.shape[1])).all():
            strange = truth[~np.isin(truth, np.arange(chances.shape[1]))]
            raise BadInput(
                f"{strange.size} labels are the place of no class, the first {strange[0]!r}.",
                value=str(strange[0]),
                hint=f"A label is a whole number from 0 to {chances.shape[1] - 1}, its class's place.",
            )
        if not ((chances >= 0) & (chances <= 1)).all() or not np.allclose(chances.sum(axis=1), 1, atol=_SUM):
            raise BadInput(
                "The probabilities of a row are not between 0 and 1, or do not sum to 1.",
                hint="Give what predict_proba gives: a probability for each class.",
            )
        return cls(labels=truth.astype(np.intp), probabilities=chances)

    @property
    def n(self) -> int:
        return self.labels.size

    @cached_property
    def losses(self) -> Floats:
        """Log loss by row, in nats; probabilities are clipped as scikit-learn does."""
        chance = self.probabilities[np.arange(self.n), self.labels]
        return -np.log(np.clip(chance, _EPSILON, 1))

    @cached_property
    def ranked(self) -> tuple[Scored, ...]:
        """Each class against the rest, of the classes that are there."""
        return tuple(
            Scored(labels=(self.labels == one).astype(np.float64), probabilities=self.probabilities[:, one])
            for one in np.unique(self.labels)
        )

    @cached_property
    def top(self) -> Scored:
        """Whether the most probable class is right, and its probability."""
        right = self.probabilities.argmax(axis=1) == self.labels
        return Scored(labels=right.astype(np.float64), probabilities=self.probabilities.max(axis=1))


def _roc_auc(sample: Classed, counts: Floats) -> float:
    """NaN only when one class was drawn alone."""
    found = np.array([roc_auc_of(scored, counts) for scored in sample.ranked])
    return float("nan") if np.isnan(found).all() else float(np.nanmean(found))


def _log_loss(sample: Classed, counts: Floats) -> float:
    return float((counts * sample.losses).sum() / sample.n)


def _accuracy(sample: Classed, counts: Floats) -> float:
    return float((counts * sample.top.labels).sum() / sample.n)


def _calibration(sample: Classed, counts: Floats) -> float:
    return calibration_error(sample.top, counts)


def _require_two(sample: Classed) -> None:
    if len(sample.ranked) < 2:
        only = int(sample.labels[0])
        raise BadInput(
            f"All {sample.n} rows of the sample are of one class, at place {only}; ROC AUC needs two.",
            value=only,
            hint="Widen the window or check the label.",
        )


def measure(
    labels: ArrayLike, probabilities: ArrayLike, *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> MulticlassMetrics:
    """Every metric on places of classes (n,) and probabilities (n, k). Raises `BadInput` for anything else."""
    sample = Classed.of(labels, probabilities)
    _require_two(sample)
    measures = (_roc_auc, _log_loss, _accuracy, _calibration)
    whole = np.ones(sample.n)
    values = [one(sample, whole) for one in measures]
    drawn = np.array([[one(sample, counts) for one in measures] for counts in resampled(sample.n, resamples, seed)])
    ranking, loss, accuracy = (estimated(values[i], drawn[:, i], sample.n, confidence) for i in range(3))
    calibration = calibration_estimated(values[3], drawn[:, 3], sample.top, confidence)
    return MulticlassMetrics(roc_auc=ranking, log_loss=loss, accuracy=accuracy, calibration=calibration)


def log_loss(
    labels: ArrayLike, probabilities: ArrayLike, *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Log loss alone, for slices, which may lack a class."""
    sample = Classed.of(labels, probabilities)
    (found,) = bootstrapped(lambda counts: (_log_loss(sample, counts),), sample.n, confidence, resamples, seed)
    return found


def gain(
    labels: ArrayLike,
    probabilities: ArrayLike,
    other: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Gain:
    """How much better `probabilities` are than `other` on the same rows, paired: both on each resample."""
    sample, reference = Classed.of(labels, probabilities), Classed.of(labels, other)
    _require_two(sample)

    def difference(counts: Floats) -> tuple[float, float]:
        ranking = _roc_auc(sample, counts) - _roc_auc(reference, counts)
        return ranking, _log_loss(reference, counts) - _log_loss(sample, counts)

    ranking, loss = bootstrapped(difference, sample.n, confidence, resamples, seed)
    return Gain(roc_auc=ranking, log_loss=loss)
