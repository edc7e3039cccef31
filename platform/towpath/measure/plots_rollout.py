"""The plot of a rollout: the challenger's weight, the evidence of harm, and what promotion asked, over its looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from towpath.core.errors import BadInput
from towpath.measure.plots_style import BLUE, GREEN, GREY, INK, ORANGE, PALE, RED, clean, figure, save, title
from towpath.measure.verdicts import number

_MARGINS = 4  # promotion's margins above and below zero that are drawn
_NOTE: dict[str, Any] = {"fontsize": 9, "color": GREY, "ha": "center", "va": "center"}
_COLOURS = (BLUE, ORANGE, GREEN, "#7b3fa0", "#8a6d00")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One guardrail at one look: its evidence of harm as a share of the bound (both logarithms of e-values).

    `interval` is the confidence sequence of the difference or ratio, None while there is none, its upper end None where
    it is unbounded; `margin` is what promotion asks it to stay below, None when promotion asks nothing.
    """

    harm: float
    estimate: float | None = None
    interval: tuple[float, float | None] | None = None
    margin: float | None = None
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One look at a rollout: when, the requests seen by then, the weight after it (0 to 1), and its measures."""

    at: datetime
    requests: int
    phase: str
    weight: float
    measured: Mapping[str, Measured]


def rollout(path: Path, points: Sequence[Point], *, name: str, outcome: str) -> Path:
    """Draw the rollout as PNG: weight, evidence of harm against its bound, and each promotion metric with its margin.

    Raises `BadInput` without a point.
    """
    if not points:
        raise BadInput("There is no decision to draw.", value=name, hint="See `towpath rollout status`.")
    asked = [one for one in _names(points) if any(_of(point, one).margin is not None for point in points)]

    def draw() -> Figure:
        heights = [2.0, 2.4, *([1.9] * len(asked))]
        drawn = figure(8.4, 1.0 + sum(heights))
        rows = drawn.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
        _weights(rows[0], points)
        last = points[-1]
        title(rows[0], f"Rollout {name}: {outcome}", f"{last.requests:,} requests, {len(points)} looks")
        _harm(rows[1], points)
        for axes, one in zip(rows[2:], asked, strict=True):
            _promotion(axes, points, one)
        rows[-1].set_xlabel("requests since the start")
        drawn.align_ylabels(rows)
        return drawn

    return save(draw, path)


def _names(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(name for point in points for name in point.measured))


def _of(point: Point, name: str) -> Measured:
    return point.measured.get(name, Measured(harm=0.0))


def _weights(axes: Any, points: Sequence[Point]) -> None:
    x, y = [point.requests for point in points], [point.weight for point in points]
    axes.step(x, y, where="post", color=INK, linewidth=1.8)
    axes.fill_between(x, y, step="post", color=PALE)
    axes.set_ylim(0, 1.12)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.set_ylabel("challenger's weight")
    before = ""
    for point in points:
        if point.phase != before:
            axes.annotate(
                point.phase,
                (point.requests, point.weight),
                xytext=(3, 4),
                textcoords="offset points",
                fontsize=8,
                color=GREY,
            )
        before = point.phase
    clean(axes)


def _harm(axes: Any, points: Sequence[Point]) -> None:
    x = [point.requests for point in points]
    for name, colour in zip(_names(points), _COLOURS * 3, strict=False):
        axes.plot(x, [_of(point, name).harm for point in points], color=colour, linewidth=1.6, label=name)
    axes.axhline(1, color=RED, linewidth=1.2, linestyle="--", label="rolls back")
    axes.set_ylabel("evidence of harm / bound")
    axes.legend(loc="upper left", frameon=False, fontsize=8, ncols=4)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -1.5), max(high, 1.45))
    clean(axes)


def _promotion(axes: Any, points: Sequence[Point], name: str) -> None:
    seen = [(point.requests, _of(point, name)) for point in points]
    known = [(x, one, one.interval) for x, one in seen if one.interval is not None]
    margin = next(one.margin for _, one in reversed(seen) if one.margin is not None)
    least, most = -_MARGINS * margin, _MARGINS * margin  # an early interval would squeeze the later ones to a line
    if known:
        x = [at for at, _, _ in known]
        lows = [max(low, least) for _, _, (low, _) in known]
        highs = [most if high is None else min(high, most) for _, _, (_, high) in known]
        axes.fill_between(x, lows, highs, color=PALE)
        axes.plot(x, [one.estimate for _, one, _ in known], color=BLUE, linewidth=1.6)
    else:
        axes.set_ylim(0, 2 * margin)
        axes.text(0.5, 0.25, "nothing to compare: no bad event, or too few units", transform=axes.transAxes, **_NOTE)
    axes.axhline(margin, color=GREEN, linewidth=1.2, linestyle="--")
    axes.annotate(
        f"promotion: below {number(margin)}",
        (0.995, margin),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        fontsize=8,
        color=GREEN,
        ha="right",
    )
    unit = next((one.unit for _, one in seen if one.unit), "")
    axes.set_ylabel(f"{name}\n{unit}".strip(), fontsize=9)
    clean(axes)
