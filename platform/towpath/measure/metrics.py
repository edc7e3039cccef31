"""Metrics of binary probabilities, each with a bootstrap interval.

Intervals are percentile bootstrap intervals (Efron and Tibshirani 1993, *An Introduction to the Bootstrap*, chapter 13)
over rows: a resample is a vector of multinomial counts, how often each row was drawn, and every metric is computed from
those counts over rows sorted once, so that a resample costs one pass. Models are compared on the same resamples
(paired).

The expected calibration error (Naeini, Cooper and Hauskrecht 2015, AAAI) uses bins of equal mass, which Nixon et al.
2019 (*Measuring Calibration in Deep Learning*) and Roelofs et al. 2022 (*Mitigating Bias in Calibration Error
Estimation*, AISTATS) found less biased than bins of equal width. It is biased upward all the same: an absolute value of
noise is never zero. Resampling adds that noise a second time, so that a percentile interval would count the bias twice
and can lie wholly above the truth. Its interval is therefore the standard one (Efron and Tibshirani, chapter 12): the
estimate and a normal quantile of bootstrap standard errors, and at the lower end less the most that the bias can be,
the error that a perfectly calibrated model would show on these rows. A gate looks at the upper end: the bias may count
against a model once, never for it. What happens inside a bin is not seen (Kumar, Liang and Ma 2019, *Verified
Uncertainty Calibration*).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from towpath.core.errors import BadInput

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

BINS = 15
RESAMPLES = 500
_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value, the ends of its interval, and the rows it stands on."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What is measured of one model's probabilities. Log loss is in nats; `calibration` is the expected calibration
    error.
    """

    roc_auc: Estimate
    log_loss: Estimate
    brier: Estimate
    calibration: Estimate
    positives: int

    @property
    def rows(self) -> int:
        return self.roc_auc.n


@dataclass(frozen=True, kw_only=True)
class Gain:
    """How much better one model is than another on the same rows; positive is better in both figures.

    `roc_auc`: its ROC AUC less the other's. `log_loss`: the other's log loss less its own, in nats.
    """

    roc_auc: Estimate
    log_loss: Estimate


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Rows of about equal probability: mean probability, observed rate with its Wilson interval, rows."""

    probability: float
    rate: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Labels (n,) of 0 and 1 and probabilities (n,) of class 1, checked, with what is computed from them once."""

    labels: Floats
    probabilities: Floats

    @classmethod
    def of(cls, labels: ArrayLike, probabilities: ArrayLike) -> Scored:
        """Checked arrays. Raises `BadInput` for unequal lengths, other values than 0 and 1, or no probability."""
        truth, chance = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
        if truth.ndim != 1 or truth.shape != chance.shape:
            raise BadInput(
                f"There are labels of shape {truth.shape} and probabilities of shape {chance.shape}.",
                hint="Give one label and one probability a row.",
            )
        if truth.size == 0:
            raise BadInput("There are no rows to measure.", hint="Widen the holdout, or move `--as-of`.")
        values = np.unique(truth)
        if not np.isin(values, (0, 1)).all():
            raise BadInput(f"The labels hold {values[:5].tolist()}.", value=values[:5].tolist(), valid=(0, 1))
        bad = ~((chance >= 0) & (chance <= 1))
        if bad.any():
            raise BadInput(
                f"{int(bad.sum())} of {bad.size} probabilities are not between 0 and 1 (the first is "
                f"{chance[bad][0]}).",
                hint="Give the probability of class 1, no score and no missing value.",
            )
        return cls(labels=truth.astype(np.float64), probabilities=chance)

    @property
    def n(self) -> int:
        return self.labels.size

    @property
    def both_classes(self) -> bool:
        return 0 < float(self.labels.sum()) < self.n

    @cached_property
    def order(self) -> Indices:
        return np.argsort(self.probabilities, kind="stable")

    @cached_property
    def ties(self) -> Indices:
        """Where each run of equal probabilities starts, in sorted order."""
        ranked = self.probabilities[self.order]
        return np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))

    @cached_property
    def positives(self) -> Floats:
        return self.labels[self.order]

    @cached_property
    def residuals(self) -> Floats:
        return (self.labels - self.probabilities)[self.order]

    @cached_property
    def losses(self) -> Floats:
        """Log loss by row, in nats; probabilities are clipped as scikit-learn does."""
        chance = np.clip(self.probabilities, _EPSILON, 1 - _EPSILON)
        return -np.where(self.labels == 1, np.log(chance), np.log1p(-chance))

    @cached_property
    def bins(self) -> Indices:
        """Where each of up to `BINS` bins of equal mass starts, in sorted order; equal probabilities share a bin."""
        ranked = self.probabilities[self.order]
        cuts = ranked[np.arange(BINS) * self.n // BINS]
        return np.unique(np.searchsorted(ranked, cuts, side="left"))


def roc_auc_of(scored: Scored, counts: Floats) -> float:
    """Mann-Whitney's statistic over pairs, ties counting half, rows as often as counted; NaN with one class only."""
    ranked = counts[scored.order]
    positive = ranked * scored.positives
    above = np.add.reduceat(positive, scored.ties)
    below = np.add.reduceat(ranked - positive, scored.ties)
    pairs = float(above.sum() * below.sum())
    if pairs == 0:
        return float("nan")
    return float((above * (np.cumsum(below) - below / 2)).sum() / pairs)


def _log_loss(scored: Scored, counts: Floats) -> float:
    return float((counts * scored.losses).sum() / scored.n)


def _brier(scored: Scored, counts: Floats) -> float:
    return float((counts[scored.order] * scored.residuals**2).sum() / scored.n)


def calibration_error(scored: Scored, counts: Floats) -> float:
    """Expected calibration error over the sample's own bins."""
    return float(np.abs(np.add.reduceat(counts[scored.order] * scored.residuals, scored.bins)).sum() / scored.n)


def resampled(n: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each of n rows is drawn, `resamples` times: multinomial counts (n,) that sum to n."""
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(generator.integers(0, n, size=n), minlength=n).astype(np.float64)


def _interval(draws: Floats, confidence: float) -> tuple[float, float]:
    """Percentile interval of the draws that are defined."""
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def estimated(value: float, draws: Floats, n: int, confidence: float) -> Estimate:
    low, high = _interval(draws, confidence)
    return Estimate(value=value, low=low, high=high, n=n)


def calibration_estimated(value: float, draws: Floats, scored: Scored, confidence: float) -> Estimate:
    reach = float(norm.ppf((1 + confidence) / 2) * np.nanstd(draws, ddof=1))
    low = max(0.0, value - _noise_floor(scored) - reach)
    return Estimate(value=value, low=low, high=min(1.0, value + reach), n=scored.n)


def _noise_floor(scored: Scored) -> float:
    """The calibration error that noise alone is expected to show: a mean absolute normal deviate for each bin."""
    ranked = scored.probabilities[scored.order]
    variances = np.add.reduceat(ranked * (1 - ranked), scored.bins)
    return float(np.sqrt(2 / np.pi * variances).sum() / scored.n)


def require_both_classes(scored: Scored, what: str) -> None:
    """Raises `BadInput` when all labels are of one class: no ranking can be measured."""
    if not scored.both_classes:
        raise BadInput(
            f"All {scored.n} rows of {what} are of class {int(scored.labels[0])}; ROC AUC needs both classes.",
            value=int(scored.labels[0]),
            hint="Widen the window or check the label.",
        )


def bootstrapped(
    compute: Callable[[Floats], Sequence[float]], rows: int, confidence: float, resamples: int, seed: int
) -> list[Estimate]:
    """Each figure that `compute` makes of how often each row counts (n,): over all rows, and its interval."""
    whole = compute(np.ones(rows))
    draws = np.array([compute(counts) for counts in resampled(rows, resamples, seed)])
    return [estimated(value, draws[:, place], rows, confidence) for place, value in enumerate(whole)]


def measure(
    labels: ArrayLike, probabilities: ArrayLike, *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Metrics:
    """Every metric of one model on labels (n,) and probabilities (n,), with two-sided intervals of that confidence.

    Raises `BadInput` for arrays that cannot be measured and for labels of one class.
    """
    scored = Scored.of(labels, probabilities)
    require_both_classes(scored, "the sample")
    measures = (roc_auc_of, _log_loss, _brier, calibration_error)
    whole = np.ones(scored.n)
    values = [compute(scored, whole) for compute in measures]
    draws = np.array(
        [[compute(scored, counts) for compute in measures] for counts in resampled(scored.n, resamples, seed)]
    )
    ranking, loss, brier = (estimated(values[i], draws[:, i], scored.n, confidence) for i in range(3))
    return Metrics(
        roc_auc=ranking,
        log_loss=loss,
        brier=brier,
        calibration=calibration_estimated(values[3], draws[:, 3], scored, confidence),
        positives=int(scored.labels.sum()),
    )


def roc_auc(
    labels: ArrayLike, scores: ArrayLike, *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """ROC AUC alone of probabilities (n,), for slices. Raises `BadInput` as `measure` does."""
    scored = Scored.of(labels, scores)
    require_both_classes(scored, "the sample")
    (found,) = bootstrapped(lambda counts: (roc_auc_of(scored, counts),), scored.n, confidence, resamples, seed)
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
    """How much better `probabilities` are than `other` on the same rows, paired: both are measured on each resample."""
    scored, reference = Scored.of(labels, probabilities), Scored.of(labels, other)
    require_both_classes(scored, "the sample")

    def difference(counts: Floats) -> tuple[float, float]:
        ranking = roc_auc_of(scored, counts) - roc_auc_of(reference, counts)
        return ranking, _log_loss(reference, counts) - _log_loss(scored, counts)

    ranking, loss = bootstrapped(difference, scored.n, confidence, resamples, seed)
    return Gain(roc_auc=ranking, log_loss=loss)


def plain_roc_auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """ROC AUC of any real scores (n,), without an interval; NaN when one class is absent."""
    truth, ranks = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    return roc_auc_of(Scored(labels=truth, probabilities=ranks), np.ones(truth.size))


def reliability(labels: ArrayLike, probabilities: ArrayLike) -> tuple[Bin, ...]:
    """The bins of the expected calibration error, each rate with its 95 % interval (Wilson 1927, JASA 22)."""
    scored = Scored.of(labels, probabilities)
    ends = np.append(scored.bins[1:], scored.n)
    ranked = scored.probabilities[scored.order]
    found = []
    for start, end in zip(scored.bins, ends, strict=True):
        rate, rows = float(scored.positives[start:end].mean()), int(end - start)
        low, high = _wilson(rate, rows)
        found.append(Bin(probability=float(ranked[start:end].mean()), rate=rate, low=low, high=high, n=rows))
    return tuple(found)


def _wilson(rate: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    middle, spread = rate + z**2 / (2 * n), z * float(np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2)))
    return max(0.0, (middle - spread) / (1 + z**2 / n)), min(1.0, (middle + spread) / (1 + z**2 / n))
