"""The look of every plot.

Matplotlib's object interface on its own canvas, under its default style whatever the reader has configured, without
time or software in the file: the same figures give the same bytes (with the same Matplotlib).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from towpath.core.errors import Unwritable

DPI = 120
INK, BLUE, ORANGE, RED, GREEN = "#222b33", "#1f6fb2", "#c96a12", "#b3261e", "#1a7f4b"
GREY, PALE = "#7a858f", "#dfe5ea"


def figure(width: float, height: float) -> Figure:
    made = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(made)
    return made


def title(axes: Any, what: str, figures: str) -> None:
    axes.set_title(f"{what}\n", loc="left", fontsize=13, fontweight="bold", color=INK)
    subtitle = axes.annotate(
        figures, (0, 1), xytext=(0, 5), xycoords="axes fraction", textcoords="offset points", fontsize=9, color=INK
    )
    subtitle.set_in_layout(False)  # a long one shall run over the edge rather than squeeze the plot


def clean(axes: Any, *, grid: str = "both") -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
    axes.grid(visible=True, axis=grid, color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)


def short(text: str, length: int = 32) -> str:
    """Long names lose their middle: columns of one family differ at their ends."""
    return text if len(text) <= length else f"{text[: length // 2]}…{text[-(length // 2 - 1) :]}"


def save(draw: Callable[[], Figure], path: Path) -> Path:
    """Draw under Matplotlib's own style and write the PNG. Raises `Unwritable`."""
    with matplotlib.style.context("default"):
        try:
            draw().savefig(path, format="png", metadata={"Software": None})
        except OSError as error:
            raise Unwritable(f"The plot {path.name} cannot be written: {error}.", value=path) from error
    return path
