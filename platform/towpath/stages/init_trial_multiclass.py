"""The trial of a drafted model of several classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from towpath.core.draft_split import MIN_CLASS
from towpath.core.profile import Value
from towpath.core.task import Task
from towpath.core.task_bounds import MulticlassGates
from towpath.measure import metrics_multiclass as metrics
from towpath.measure import proxy_tasks
from towpath.measure.metrics import estimated, resampled
from towpath.measure.metrics_multiclass import Classed
from towpath.stages.init_bounds import above, ceiling, honest, of_classes
from towpath.stages.init_files import Bounds
from towpath.stages.init_rows import Floats
from towpath.stages.init_trial import RESAMPLES, Measured
from towpath.stages.scoring import Scoring

_HONEST: float = MulticlassGates.model_fields["single_feature_roc_auc"].default


@dataclass(frozen=True)
class Multiclass:
    """Several classes, named in the order of their places."""

    classes: tuple[Value, ...]
    no_model: str = "always predicting the training's class frequencies"

    @property
    def scoring(self) -> Scoring:
        return Scoring(task=Task.MULTICLASS, classes=tuple(range(len(self.classes))))

    def lacking(self, labels: NDArray[Any], *, least: int) -> str:
        rows = np.bincount(labels, minlength=len(self.classes))
        if rows.min() < least:
            rarest = self.classes[int(rows.argmin())]
            return (
                f"{rows.min():,} of the class {rarest!r}; at least {least} of each class are needed. Group rare "
                "classes, or leave their rows out"
            )
        others = int(rows.sum() - rows.max())
        return "" if others >= MIN_CLASS else f"all but {others:,} are of the class {self.classes[rows.argmax()]!r}"

    def judgeable(self, labels: NDArray[Any]) -> bool:
        return labels.size > 0  # log loss needs no row of each class

    def measurable(self, labels: NDArray[Any]) -> bool:
        return np.unique(labels).size > 1

    def naive(self, labels: NDArray[Any]) -> Floats:
        return np.bincount(labels, minlength=len(self.classes)) / labels.size

    def strengths(self, inputs: pd.DataFrame, labels: NDArray[Any]) -> Sequence[tuple[str, float]]:
        return [(one.column, one.value) for one in proxy_tasks.class_strengths(inputs, labels)]

    def loss(self, labels: NDArray[Any], scores: Floats) -> float:
        return float(Classed.of(labels, scores).losses.mean())

    def ends(self, labels: NDArray[Any], scores: Floats, naive: Floats) -> tuple[float, ...]:
        found = metrics.measure(labels, scores, resamples=RESAMPLES)
        return found.roc_auc.low, found.log_loss.high, found.calibration.high, _gain_low(labels, scores, naive)

    def group_end(self, labels: NDArray[Any], scores: Floats) -> float:
        return metrics.log_loss(labels, scores, resamples=RESAMPLES).high

    def bounds(self, measured: Measured) -> Bounds:
        found = metrics.measure(measured.labels, measured.scores, resamples=RESAMPLES)
        nothing = self._nothing(measured)
        told = (
            f"{measured.labels.size:,} training rows of {len(self.classes)} classes, each predicted by a model "
            f"that did not see it: ROC AUC {found.roc_auc.value:.3f}, log loss {found.log_loss.value:.3f}, accuracy "
            f"{found.accuracy.value:.3f}, calibration error {found.calibration.value:.3f}."
        )
        return Bounds(
            lines=of_classes(
                measured.ends,
                roc_auc=found.roc_auc.value,
                log_loss=found.log_loss.value,
                nothing=nothing,
                told={
                    "rocAuc": "of each class against the rest, averaged over the classes",
                    "logLoss": f"{self.no_model} has {nothing:.3f}",
                    "calibration": "of the most probable class",
                    "baselineLogLossGain": f"better than {self.no_model}, beyond chance",
                    "latencyMs": "of scikit-learn on one row",
                },
                strongest=honest(_HONEST, measured.strongest),
                columns=measured.columns,
            ),
            told=[told],
            fallback=None,
        )

    def group_bound(self, ends: Sequence[float], measured: Measured) -> str:
        nothing = self._nothing(measured)
        return f"logLoss: {ceiling(max(above(ends), (float(np.mean(ends)) + nothing) / 2) if ends else 2 * nothing)}"

    def _nothing(self, measured: Measured) -> float:
        """Log loss of no model, in nats."""
        return self.loss(measured.labels, np.tile(measured.naive, (measured.labels.size, 1)))


def _gain_low(labels: NDArray[Any], scores: Floats, naive: Floats) -> float:
    """The low end of the gain in log loss, as the evaluation's `gain` has it, without ranking no model."""
    difference = Classed.of(labels, np.tile(naive, (labels.size, 1))).losses - Classed.of(labels, scores).losses
    drawn = np.array([counts @ difference / labels.size for counts in resampled(labels.size, RESAMPLES, 0)])
    return estimated(float(difference.mean()), drawn, labels.size, 0.95).low
