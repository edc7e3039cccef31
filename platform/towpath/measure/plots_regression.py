"""Plots of a regression's evaluation as PNG files: predictions against what was observed, and what is left over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from towpath.measure.metrics_regression import Predicted, RegressionMetrics
from towpath.measure.plots_style import BLUE, GREY, ORANGE, clean, figure, save, title
from towpath.measure.verdicts import number

_MOST_POINTS = 5_000
_PARTS = 20


def predicted(
    path: Path, labels: ArrayLike, predictions: ArrayLike, metrics: RegressionMetrics, *, bound: float
) -> Path:
    """Each row's observed value against its prediction; of many rows, evenly chosen ones."""
    sample = Predicted.of(labels, predictions)
    chosen = np.unique(np.linspace(0, sample.n - 1, min(sample.n, _MOST_POINTS)).astype(int))
    truth, found = sample.labels[chosen], sample.predictions[chosen]

    def draw() -> Figure:
        drawn = figure(6.4, 6.0)
        axes = drawn.subplots()
        low, high = float(min(truth.min(), found.min())), float(max(truth.max(), found.max()))
        axes.plot([low, high], [low, high], color=GREY, linewidth=1, linestyle="--", label="perfect prediction")
        axes.plot(found, truth, ".", color=BLUE, markersize=4, alpha=0.5, label=f"{chosen.size:,} of {sample.n:,} rows")
        error = metrics.rmse
        title(
            axes,
            "Predicted and observed",
            f"RMSE {number(error.value)} (interval {number(error.low)} to {number(error.high)}, bound "
            f"{number(bound)}), R² {number(metrics.r2.value)}",
        )
        axes.set_xlabel("predicted")
        axes.set_ylabel("observed")
        axes.legend(loc="upper left", frameon=False)
        clean(axes)
        return drawn

    return save(draw, path)


def residuals(path: Path, labels: ArrayLike, predictions: ArrayLike) -> Path:
    """How much observed values exceed predictions: over the predictions by parts of equal mass, and all of them."""
    sample = Predicted.of(labels, predictions)
    left, order = sample.labels - sample.predictions, np.argsort(sample.predictions, kind="stable")
    parts = [part for part in np.array_split(order, min(_PARTS, sample.n)) if part.size]
    middle = [float(sample.predictions[part].mean()) for part in parts]
    quartiles = np.array([np.quantile(left[part], [0.25, 0.5, 0.75]) for part in parts])

    def draw() -> Figure:
        drawn = figure(6.4, 6.6)
        upper, lower = drawn.subplots(2, 1)
        upper.axhline(0, color=GREY, linewidth=1, linestyle="--")
        upper.fill_between(middle, quartiles[:, 0], quartiles[:, 2], color=BLUE, alpha=0.25, label="middle half")
        upper.plot(middle, quartiles[:, 1], "o-", color=ORANGE, markersize=4, linewidth=1.4, label="median")
        title(upper, "Residuals", f"Observed less predicted: mean {number(float(left.mean()))}")
        upper.set_xlabel(f"predicted, {len(parts)} parts of equal mass")
        upper.set_ylabel("residual")
        upper.legend(loc="upper left", frameon=False)
        lower.hist(left, bins=50, color=BLUE, alpha=0.55)
        lower.set_xlabel("residual")
        lower.set_ylabel("rows")
        clean(upper)
        clean(lower)
        return drawn

    return save(draw, path)
