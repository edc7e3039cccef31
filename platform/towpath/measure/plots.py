"""Plots of an evaluation as PNG files: calibration, ROC, importance and slices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from sklearn.metrics import roc_curve

from towpath.core.errors import BadInput
from towpath.measure.groups import LossGroup
from towpath.measure.importance import Importance
from towpath.measure.metrics import Bin, Metrics, Scored, reliability
from towpath.measure.plots_style import BLUE, GREY, INK, ORANGE, RED, clean, figure, save, short, title
from towpath.measure.slices import Group
from towpath.measure.verdicts import count, number

_MOST_BARS = 25
_MOST_GROUPS = 60


def calibration(path: Path, labels: ArrayLike, probabilities: ArrayLike, metrics: Metrics, *, bound: float) -> Path:
    """Observed rate against predicted probability by bins of equal mass, with the distribution of the probabilities."""
    bins = reliability(labels, probabilities)

    def draw() -> Figure:
        drawn = figure(6.4, 6.6)
        upper, lower = drawn.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [4, 1]})
        _draw_bins(upper, bins, float(np.max(np.asarray(probabilities))))
        lower.hist(np.asarray(probabilities, dtype=np.float64), bins=np.linspace(0, 1, 51), color=BLUE, alpha=0.55)
        error = metrics.calibration
        title(
            upper,
            "Calibration",
            f"Expected calibration error {number(error.value)} (interval {number(error.low)} to {number(error.high)}, "
            f"bound {number(bound)})",
        )
        upper.set_ylabel("observed rate")
        lower.set_ylabel("rows")
        lower.set_xlabel("predicted probability")
        clean(upper)
        clean(lower)
        return drawn

    return save(draw, path)


def _draw_bins(axes: Any, bins: Sequence[Bin], highest: float) -> None:
    x, y = np.array([item.probability for item in bins]), np.array([item.rate for item in bins])
    low, high = np.array([item.low for item in bins]), np.array([item.high for item in bins])
    top = min(1.0, max(float(high.max()), highest) * 1.05)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="perfect calibration")
    axes.errorbar(
        x,
        y,
        yerr=[np.maximum(0, y - low), np.maximum(0, high - y)],
        fmt="o",
        markersize=4.5,
        color=BLUE,
        ecolor=BLUE,
        elinewidth=1.2,
        capsize=2,
        label=f"{len(bins)} bins of equal mass, 95 % interval",
    )
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    axes.legend(loc="upper left", frameon=False)


def roc(
    path: Path,
    labels: ArrayLike,
    probabilities: ArrayLike,
    metrics: Metrics,
    *,
    bound: float,
    champion: ArrayLike | None = None,
) -> Path:
    """The ROC curve of the candidate, and of the champion when there is one."""

    def draw() -> Figure:
        drawn = figure(6.4, 6.0)
        axes = drawn.subplots()
        area = metrics.roc_auc
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="chance")
        if champion is not None:
            _draw_curve(axes, labels, champion, ORANGE, "champion")
        _draw_curve(axes, labels, probabilities, BLUE, "candidate")
        title(
            axes,
            "ROC curve",
            f"ROC AUC {number(area.value)} (interval {number(area.low)} to {number(area.high)}, bound "
            f"{number(bound)}), "
            f"{area.n:,} rows",
        )
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.01)
        axes.set_aspect("equal")
        axes.legend(loc="lower right", frameon=False)
        clean(axes)
        return drawn

    return save(draw, path)


def _draw_curve(axes: Any, labels: ArrayLike, probabilities: ArrayLike, colour: str, label: str) -> None:
    scored = Scored.of(labels, probabilities)
    false, true, _ = roc_curve(scored.labels, scored.probabilities)
    grid = np.linspace(0, 1, 1001)  # more points than pixels only slow the drawing down
    keep = np.unique(np.searchsorted(false, grid).clip(0, len(false) - 1)) if len(false) > grid.size else slice(None)
    axes.plot(false[keep], true[keep], color=colour, linewidth=1.8, label=label)


def importances(path: Path, found: Sequence[Importance], *, what: str = "log loss") -> Path:
    """Permutation importance as bars with one standard deviation over the repeats, the most important on top."""
    if not found:
        raise BadInput("There is no importance to draw.", hint="Give at least one model input.")
    shown = list(found[:_MOST_BARS])[::-1]

    def draw() -> Figure:
        drawn = figure(7.2, 1.7 + 0.28 * len(shown))
        axes = drawn.subplots()
        increases = [item.increase for item in shown]
        axes.barh(
            range(len(shown)),
            increases,
            xerr=[item.spread for item in shown],
            color=BLUE,
            alpha=0.75,
            height=0.68,
            error_kw={"ecolor": INK, "elinewidth": 1, "capsize": 2},
        )
        axes.set_yticks(range(len(shown)), [short(item.column) for item in shown])
        axes.set_ylim(-0.6, len(shown) - 0.4)
        axes.axvline(0, color=INK, linewidth=0.8)
        unit = "nats" if what == "log loss" else ""
        axes.set_xlabel(f"increase in {what} when shuffled{f' ({unit})' if unit else ''}, ± 1 sd")
        more = f", the first {len(shown)} of {len(found)}" if len(found) > len(shown) else ""
        best = found[0]
        title(
            axes,
            "Permutation importance",
            f"Strongest: {short(best.column)}, +{number(best.increase)}{unit and f' {unit}'}{more}",
        )
        clean(axes, grid="x")
        return drawn

    return save(draw, path)


def groups(path: Path, found: Sequence[Group | LossGroup]) -> Path:
    """Each judged group's ROC AUC or loss with its interval, against its column's bound; a panel a slice column."""
    judged = [group for group in found if group.estimate is not None]
    columns = list(dict.fromkeys(group.by for group in found))
    if not judged:
        raise BadInput("No group is large enough to draw.", value=len(found), hint="See the eval.slice findings.")
    panels = [(name, _worst([group for group in judged if group.by == name])) for name in columns]
    panels = [(name, members) for name, members in panels if members]

    def draw() -> Figure:
        heights = [len(members) + 1.5 for _, members in panels]
        drawn = figure(7.2, 1.6 + 0.25 * sum(heights))
        rows = drawn.subplots(len(panels), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
        for axes, (name, members) in zip(rows, panels, strict=True):
            _draw_groups(axes, name, members)
        missed = sum(1 for group in judged if not group.met)
        verdict = f"{missed} do not meet their bound" if missed else "all meet their bound"
        unjudged = len(found) - len(judged)
        small = f"; {unjudged} too small to judge" if unjudged else ""
        what, end = ("ROC AUC", "lower") if isinstance(judged[0], Group) else (judged[0].measure, "upper")
        title(
            rows[0], "Slices", f"{count(len(judged), 'group')} judged, {verdict} with the interval's {end} end{small}"
        )
        rows[-1].set_xlabel(f"{what} and its interval")
        drawn.align_ylabels(rows)
        return drawn

    return save(draw, path)


def _worst(members: Sequence[Group | LossGroup]) -> list[Group | LossGroup]:
    """All members, or when there are too many to read those that come nearest to the bound."""
    ends = sorted(_room(group) for group in members if group.estimate is not None)
    if len(ends) <= _MOST_GROUPS:
        return list(members)
    return [group for group in members if group.estimate is not None and _room(group) <= ends[_MOST_GROUPS - 1]]


def _room(group: Group | LossGroup) -> float:
    """How far the unfavourable end is on the right side of the bound."""
    assert group.estimate is not None
    return group.estimate.low - group.bound if isinstance(group, Group) else group.bound - group.estimate.high


def _draw_groups(axes: Any, name: str, members: Sequence[Group | LossGroup]) -> None:
    places = np.arange(len(members))[::-1]
    for place, group in zip(places, members, strict=True):
        estimate = group.estimate
        if estimate is None:
            continue
        colour = BLUE if group.met else ORANGE if group.nearly else RED
        axes.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot([estimate.value], [place], "o", color=colour, markersize=4.5)
    axes.axvline(members[0].bound, color=INK, linewidth=1, linestyle="--")
    axes.set_ylim(-0.8, len(members) + 0.1)
    axes.annotate(
        f"bound {number(members[0].bound)}",
        (members[0].bound, len(members) - 0.35),
        xytext=(4, 0),
        textcoords="offset points",
        fontsize=8,
        color=INK,
        va="center",
    )
    axes.set_yticks(places, [f"{short(group.value)}  ({group.rows:,})" for group in members])
    axes.set_ylabel(f"{short(name)} (rows)")
    clean(axes, grid="x")
