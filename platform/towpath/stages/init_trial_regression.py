"""The trial of a drafted regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from towpath.core.task import Task
from towpath.core.task_bounds import RegressionGates
from towpath.measure import metrics_regression as metrics
from towpath.measure import proxy_tasks
from towpath.stages.init_bounds import above, below, ceiling, honest, latency, significant, size_above, written
from towpath.stages.init_files import Bounds
from towpath.stages.init_rows import Floats
from towpath.stages.init_trial import RESAMPLES, Measured
from towpath.stages.scoring import Scoring

_HONEST: float = RegressionGates.model_fields["single_feature_r2"].default


@dataclass(frozen=True)
class Regression:
    """A number."""

    scoring: Scoring = Scoring(task=Task.REGRESSION)  # noqa: RUF009  frozen
    no_model: str = "always predicting the training's mean"

    def lacking(self, labels: NDArray[Any], *, least: int) -> str:  # noqa: ARG002  other tasks need it
        return "" if self.measurable(labels) else f"the target is {labels[0]:g} in all of them"

    def judgeable(self, labels: NDArray[Any]) -> bool:
        return labels.size > 0

    def measurable(self, labels: NDArray[Any]) -> bool:
        return labels.size > 0 and float(np.ptp(labels)) > 0

    def naive(self, labels: NDArray[Any]) -> Floats:
        return np.array([labels.mean()])

    def strengths(self, inputs: pd.DataFrame, labels: NDArray[Any]) -> Sequence[tuple[str, float]]:
        return [(one.column, one.value) for one in proxy_tasks.number_strengths(inputs, labels)]

    def loss(self, labels: NDArray[Any], scores: Floats) -> float:
        return float(np.mean((labels - scores) ** 2))

    def ends(self, labels: NDArray[Any], scores: Floats, naive: Floats) -> tuple[float, ...]:
        found = metrics.measure(labels, scores, resamples=RESAMPLES)
        over = metrics.gain(labels, scores, np.full(labels.size, naive[0]), resamples=RESAMPLES)
        return found.rmse.high, found.mae.high, found.r2.low, over.rmse.low

    def group_end(self, labels: NDArray[Any], scores: Floats) -> float:
        return metrics.mean_absolute_error(labels, scores, resamples=RESAMPLES).high

    def bounds(self, measured: Measured) -> Bounds:
        found = metrics.measure(measured.labels, measured.scores, resamples=RESAMPLES)
        rmse, mae = found.rmse.value, found.mae.value
        nothing, absolute = self._nothing(measured)
        squares, sizes, explained = measured.ends[:, 0], measured.ends[:, 1], measured.ends[:, 2]
        margins = [max(0.01, ceiling(float(ends.max()) / value - 1)) for ends, value in ((squares, rmse), (sizes, mae))]
        squared = written(size_above(max(above(squares), (rmse + nothing) / 2)))
        plain = written(size_above(max(above(sizes), (mae + absolute) / 2)))
        r2 = max(-1.0, -ceiling(-min(below(explained), found.r2.value / 2)))
        told = (
            f"{measured.labels.size:,} training rows, each predicted by a model that did not see it: RMSE "
            f"{significant(rmse)}, MAE {significant(mae)}, R² {found.r2.value:.3f}."
        )
        return Bounds(
            lines=[
                f"rmse: {squared} # {self.no_model} has {significant(nothing)}",
                f"mae: {plain} # the same has {significant(absolute)}",
                f"r2: {r2}",
                f"baselineRmseGain: 0.0 # better than {self.no_model}, beyond chance",
                f"champion: {{rmseMargin: {margins[0]}, maeMargin: {margins[1]}}} # shares of the champion's error",
                f"latencyMs: {latency(measured.columns)} # of scikit-learn on one row",
                f"singleFeatureR2: {honest(_HONEST, measured.strongest)}",
            ],
            told=[told],
            fallback=f"{written(significant(float(measured.naive[0])))} # the mean of the training rows, answered when "
            "something fails",
        )

    def group_bound(self, ends: Sequence[float], measured: Measured) -> str:
        _, absolute = self._nothing(measured)
        bound = max(above(ends), (float(np.mean(ends)) + absolute) / 2) if ends else 2 * absolute
        return f"mae: {written(size_above(bound))}"

    def _nothing(self, measured: Measured) -> tuple[float, float]:
        """RMSE and MAE of no model."""
        errors = measured.labels - measured.naive[0]
        return float(np.sqrt(np.mean(errors**2))), float(np.mean(np.abs(errors)))
