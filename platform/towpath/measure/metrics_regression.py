"""Metrics of a regression's predictions, each with a bootstrap interval: RMSE, MAE and R².

Percentile intervals over rows, as in `metrics`; models are compared on the same resamples (paired), as a share of the
other's error, so that a margin has no unit. R² is 1 less the squared error over that of the sample's own mean (Kvålseth
1985, *Cautionary Note about R²*, American Statistician 39): below zero for a model that is worse than that mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from towpath.core.errors import BadInput
from towpath.measure.metrics import RESAMPLES, Estimate, Floats, bootstrapped


@dataclass(frozen=True, kw_only=True)
class RegressionMetrics:
    """RMSE and MAE in the target's unit; R² has none."""

    rmse: Estimate
    mae: Estimate
    r2: Estimate

    @property
    def rows(self) -> int:
        return self.rmse.n


@dataclass(frozen=True, kw_only=True)
class RegressionGain:
    """By which share of the other model's error one's own is smaller, on the same rows; positive is better."""

    rmse: Estimate
    mae: Estimate


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """Numbers that were observed (n,) and predicted (n,), checked."""

    labels: Floats
    predictions: Floats

    @classmethod
    def of(cls, labels: ArrayLike, predictions: ArrayLike) -> Predicted:
        """Checked arrays. Raises `BadInput` for unequal lengths, no rows, or a value that is no finite number."""
        try:
            truth, found = np.asarray(labels, dtype=np.float64), np.asarray(predictions, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise BadInput(f"The target is not a number in every row: {error}.", hint="Check the label.") from error
        if truth.ndim != 1 or truth.shape != found.shape:
            raise BadInput(
                f"There are labels of shape {truth.shape} and predictions of shape {found.shape}.",
                hint="Give one label and one prediction a row.",
            )
        if truth.size == 0:
            raise BadInput("There are no rows to measure.", hint="Widen the holdout, or move `--as-of`.")
        for values, what in ((truth, "labels"), (found, "predictions")):
            bad = ~np.isfinite(values)
            if bad.any():
                raise BadInput(
                    f"{int(bad.sum())} of {bad.size} {what} are missing or infinite.",
                    value=str(values[bad][0]),
                    hint="Every row needs a number.",
                )
        return cls(labels=truth, predictions=found)

    @property
    def n(self) -> int:
        return self.labels.size

    @cached_property
    def absolute(self) -> Floats:
        return np.abs(self.labels - self.predictions)

    @cached_property
    def squared(self) -> Floats:
        return (self.labels - self.predictions) ** 2


def _rmse(sample: Predicted, counts: Floats) -> float:
    return float(np.sqrt((counts * sample.squared).sum() / sample.n))


def _mae(sample: Predicted, counts: Floats) -> float:
    return float((counts * sample.absolute).sum() / sample.n)


def _r2(sample: Predicted, counts: Floats) -> float:
    """NaN when the drawn labels are all the same."""
    mean = float((counts * sample.labels).sum() / sample.n)
    total = float((counts * (sample.labels - mean) ** 2).sum())
    return 1 - float((counts * sample.squared).sum()) / total if total > 0 else float("nan")


def measure(
    labels: ArrayLike, predictions: ArrayLike, *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> RegressionMetrics:
    """Every metric of one model on numbers (n,), with two-sided intervals of that confidence.

    Raises `BadInput` for arrays that cannot be measured and for labels that are all the same: nothing is explained.
    """
    sample = Predicted.of(labels, predictions)
    if np.ptp(sample.labels) == 0:
        raise BadInput(
            f"All {sample.n} rows of the sample have the target {sample.labels[0]:g}; R² needs labels that differ.",
            value=float(sample.labels[0]),
            hint="Widen the window or check the label.",
        )
    measures = (_rmse, _mae, _r2)
    rmse, mae, r2 = bootstrapped(
        lambda counts: [one(sample, counts) for one in measures], sample.n, confidence, resamples, seed
    )
    return RegressionMetrics(rmse=rmse, mae=mae, r2=r2)


def mean_absolute_error(
    labels: ArrayLike, predictions: ArrayLike, *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """MAE alone, for slices. Raises `BadInput` for arrays that cannot be measured."""
    sample = Predicted.of(labels, predictions)
    (found,) = bootstrapped(lambda counts: (_mae(sample, counts),), sample.n, confidence, resamples, seed)
    return found


def gain(
    labels: ArrayLike,
    predictions: ArrayLike,
    other: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> RegressionGain:
    """How much smaller the errors of `predictions` are than those of `other`, paired: both on each resample.

    Two models without any error are equal: a gain of 0.
    """
    sample, reference = Predicted.of(labels, predictions), Predicted.of(labels, other)

    def shares(counts: Floats) -> tuple[float, float]:
        return (
            _smaller(_rmse(sample, counts), _rmse(reference, counts)),
            _smaller(_mae(sample, counts), _mae(reference, counts)),
        )

    rmse, mae = bootstrapped(shares, sample.n, confidence, resamples, seed)
    return RegressionGain(rmse=rmse, mae=mae)


def _smaller(own: float, other: float) -> float:
    """By which share of the other's error one's own is smaller; the worst there is against a model without error."""
    if other == 0:
        return 0.0 if own == 0 else -1.0
    return 1 - own / other
