"""How a drafted bound is written: beyond the worst draws, rounded to the lax side."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from towpath.measure.metrics import Floats

_DIGITS = 3
_CALIBRATED = 0.1  # an error that few decisions notice


def below(ends: ArrayLike) -> float:
    """The worst low end, and as far from the mean again."""
    found = np.asarray(ends, dtype=np.float64)
    return float(found.min() - (found.mean() - found.min()))


def above(ends: ArrayLike) -> float:
    """The worst high end, and as far from the mean again."""
    found = np.asarray(ends, dtype=np.float64)
    return float(found.max() + (found.max() - found.mean()))


def floor(value: float) -> float:
    """The hundredth below, at least 0."""
    return max(0.0, math.floor(100 * value) / 100)


def ceiling(value: float) -> float:
    """The hundredth above."""
    return math.ceil(100 * value) / 100


def size_above(value: float) -> float:
    """A size in any unit with three significant digits, rounded up."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - _DIGITS + 1)
    return significant(math.ceil(value / unit) * unit, digits=_DIGITS + 1)


def significant(value: float, *, digits: int = 4) -> float:
    return float(f"{value:.{digits}g}")


def written(value: float) -> str:
    """A number as YAML 1.1 reads one: with a point before the exponent."""
    text = repr(float(value))
    mantissa, exponent, power = text.partition("e")
    return f"{mantissa}.0e{power}" if exponent and "." not in mantissa else text


def honest(default: float, strongest: float) -> str:
    """The bound of one input alone: the charter's default, or above an input that comes near it."""
    if strongest < default - 0.02:
        return str(default)
    bound = min(0.999, round(1 - (1 - strongest) / 3, 4))
    return f"{max(bound, default)} # DECIDE: one column alone comes near; is it known at prediction?"


def of_classes(
    ends: Floats,
    *,
    roc_auc: float,
    log_loss: float,
    nothing: float,
    told: Mapping[str, str],
    strongest: str,
    columns: int,
) -> list[str]:
    """The charter's gates of a classifier as lines of YAML, but for the slices.

    `ends` (draws, 3 or more): of the ROC AUC the low, of log loss and calibration error the high. `nothing`: the log
    loss of no model, in nats. `told`: comments, by gate. `strongest`: the bound of one input alone.
    """
    lows, losses, errors = ends[:, 0], ends[:, 1], ends[:, 2]
    margins = [max(0.01, ceiling(margin)) for margin in (roc_auc - float(lows.min()), float(losses.max()) - log_loss)]
    gates = {
        "rocAuc": floor(min(below(lows), (roc_auc + 0.5) / 2)),
        "logLoss": ceiling(max(above(losses), (log_loss + nothing) / 2)),
        "calibration": min(1.0, ceiling(max(above(errors), _CALIBRATED))),
        "baselineLogLossGain": 0.0,
        "champion": f"{{rocAucMargin: {margins[0]}, logLossMargin: {margins[1]}}}",
        "latencyMs": latency(columns),
        "singleFeatureRocAuc": strongest,
    }
    return [f"{gate}: {bound}" + (f" # {told[gate]}" if gate in told else "") for gate, bound in gates.items()]


def latency(columns: int) -> str:
    """Milliseconds of scikit-learn on one row of so many columns."""
    return str(max(250, 5 * columns))
