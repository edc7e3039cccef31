"""The trial of a drafted model of two classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from towpath.core.charter import Gates
from towpath.core.draft_split import MIN_CLASS
from towpath.measure import metrics, proxy
from towpath.stages.init_bounds import below, floor, honest, of_classes
from towpath.stages.init_files import Bounds
from towpath.stages.init_rows import Floats
from towpath.stages.init_trial import RESAMPLES, Measured
from towpath.stages.scoring import Scoring

_HONEST: float = Gates.model_fields["single_feature_roc_auc"].default


@dataclass(frozen=True)
class Binary:
    """Two classes, 0 and 1."""

    scoring: Scoring = Scoring()  # noqa: RUF009  frozen
    no_model: str = "always predicting the share of class 1"

    def lacking(self, labels: NDArray[Any], *, least: int) -> str:
        least = least or MIN_CLASS
        rarest = _rarest(labels)
        return "" if rarest >= least else f"{rarest:,} of the rarer class; at least {least} of each class are needed"

    def judgeable(self, labels: NDArray[Any]) -> bool:
        return _rarest(labels) >= MIN_CLASS

    def measurable(self, labels: NDArray[Any]) -> bool:
        return _rarest(labels) > 0

    def naive(self, labels: NDArray[Any]) -> Floats:
        return np.array([labels.mean()])

    def strengths(self, inputs: pd.DataFrame, labels: NDArray[Any]) -> Sequence[tuple[str, float]]:
        return [(one.column, one.value) for one in proxy.strengths(inputs, labels)]

    def loss(self, labels: NDArray[Any], scores: Floats) -> float:
        clipped = np.clip(scores, 1e-12, 1 - 1e-12)
        return float(-np.mean(np.where(labels == 1, np.log(clipped), np.log1p(-clipped))))

    def ends(self, labels: NDArray[Any], scores: Floats, naive: Floats) -> tuple[float, ...]:
        found = metrics.measure(labels, scores, resamples=RESAMPLES)
        over = metrics.gain(labels, scores, np.full(labels.size, naive[0]), resamples=RESAMPLES)
        return found.roc_auc.low, found.log_loss.high, found.calibration.high, over.log_loss.low

    def group_end(self, labels: NDArray[Any], scores: Floats) -> float:
        return metrics.roc_auc(labels, scores, resamples=RESAMPLES).low

    def bounds(self, measured: Measured) -> Bounds:
        found = metrics.measure(measured.labels, measured.scores, resamples=RESAMPLES)
        base = float(measured.naive[0])
        nothing = -(base * math.log(base) + (1 - base) * math.log(1 - base))
        told = (
            f"{measured.labels.size:,} training rows, each predicted by a model that did not see it: ROC AUC "
            f"{found.roc_auc.value:.3f}, log loss {found.log_loss.value:.3f}, calibration error "
            f"{found.calibration.value:.3f}."
        )
        return Bounds(
            lines=of_classes(
                measured.ends,
                roc_auc=found.roc_auc.value,
                log_loss=found.log_loss.value,
                nothing=nothing,
                told={
                    "logLoss": f"{self.no_model} has {nothing:.3f}",
                    "baselineLogLossGain": f"better than {self.no_model}, beyond chance",
                    "latencyMs": "of scikit-learn on one row; the gateway compiles the model",
                },
                strongest=honest(_HONEST, measured.strongest),
                columns=measured.columns,
            ),
            told=[told],
            fallback=f"{round(base, 4)} # the share of class 1 among the training rows, answered when something fails",
        )

    def group_bound(self, ends: Sequence[float], measured: Measured) -> str:  # noqa: ARG002  other tasks need it
        return f"rocAuc: {floor(min(below(ends), (float(np.mean(ends)) + 0.5) / 2)) if ends else 0.0}"


def _rarest(labels: NDArray[Any]) -> int:
    positives = int(labels.sum())
    return min(positives, labels.size - positives)
