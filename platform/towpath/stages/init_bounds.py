"""How a drafted bound is written: beyond the worst draws, rounded to the lax side."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

_DIGITS = 3


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


def latency(columns: int) -> str:
    """Milliseconds of scikit-learn on one row of so many columns."""
    return str(max(250, 5 * columns))
