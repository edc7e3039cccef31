"""Plots of a multiclass model's evaluation as PNG files: which classes are taken for which, and how well each ranks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from towpath.measure.metrics import plain_roc_auc
from towpath.measure.metrics_multiclass import Classed, MulticlassMetrics
from towpath.measure.plots_style import BLUE, GREY, clean, figure, save, short, title
from towpath.measure.verdicts import number

_MOST = 30


def confusion(
    path: Path, labels: ArrayLike, probabilities: ArrayLike, classes: Sequence[object], metrics: MulticlassMetrics
) -> Path:
    """Rows of each class by their most probable class, as shares of the class; of many classes the most frequent."""
    sample = Classed.of(labels, probabilities)
    rows = np.bincount(sample.labels, minlength=len(classes))
    chosen = np.sort(np.argsort(-rows, kind="stable")[:_MOST])
    table = np.zeros((len(classes), len(classes)))
    np.add.at(table, (sample.labels, sample.probabilities.argmax(axis=1)), 1)
    shares = (table / np.maximum(1, rows)[:, None])[np.ix_(chosen, chosen)]
    names = [short(str(classes[place])) for place in chosen]

    def draw() -> Figure:
        side = 3.6 + 0.34 * len(names)
        drawn = figure(side + 0.6, side)
        axes = drawn.subplots()
        axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
        if len(names) <= 15:
            for (row, column), share in np.ndenumerate(shares):
                if share:
                    axes.text(
                        column,
                        row,
                        f"{share:.2f}".removeprefix("0"),
                        ha="center",
                        va="center",
                        fontsize=7,
                        color="white" if share > 0.5 else "black",
                    )
        right = metrics.accuracy
        title(axes, "Confusion", f"Accuracy {number(right.value)} ({number(right.low)} to {number(right.high)})")
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(
            range(len(names)), [f"{name} ({rows[place]:,})" for name, place in zip(names, chosen, strict=True)]
        )
        axes.set_xlabel("most probable class")
        axes.set_ylabel("class (rows)")
        return drawn

    return save(draw, path)


def ranking(
    path: Path,
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[object],
    metrics: MulticlassMetrics,
    *,
    bound: float,
) -> Path:
    """The ROC AUC of each class against the rest, the worst on top."""
    sample = Classed.of(labels, probabilities)
    areas = {
        int(place): plain_roc_auc(sample.labels == place, sample.probabilities[:, place])
        for place in np.unique(sample.labels)
    }
    worst = sorted(areas, key=lambda place: areas[place])[:_MOST][::-1]

    def draw() -> Figure:
        drawn = figure(7.2, 1.7 + 0.28 * len(worst))
        axes = drawn.subplots()
        axes.barh(range(len(worst)), [areas[place] for place in worst], color=BLUE, alpha=0.75, height=0.68)
        axes.set_yticks(range(len(worst)), [short(str(classes[place])) for place in worst])
        axes.axvline(bound, color=GREY, linewidth=1, linestyle="--")
        axes.set_xlim(0, 1)
        axes.set_xlabel("ROC AUC, the class against the rest")
        area = metrics.roc_auc
        title(
            axes,
            "Classes",
            f"Average ROC AUC {number(area.value)} ({number(area.low)} to {number(area.high)}, bound {number(bound)})",
        )
        clean(axes, grid="x")
        return drawn

    return save(draw, path)
