"""Slices of models that are no binary ones: a loss for each group of rows, which must not exceed its bound.

As in `slices`, every judged group must meet the bound at its own confidence (an intersection-union test).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from towpath.core.evidence import Finding
from towpath.measure.metrics import Estimate
from towpath.measure.slices import members, unjudged
from towpath.measure.verdicts import Demand, Side, judge, number


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A slice column, the rows that a group of it needs, and the greatest loss of every judged group."""

    by: str
    min_rows: int
    bound: float


@dataclass(frozen=True, kw_only=True)
class LossGroup:
    """One value of a slice column: a loss (`measure`, in `unit`) that is None when the group is too small."""

    by: str
    value: str
    rows: int
    measure: str
    unit: str
    bound: float
    estimate: Estimate | None

    @property
    def name(self) -> str:
        return f"{self.by}={self.value}"

    @property
    def met(self) -> bool:
        """Whether the interval's upper end meets the bound."""
        return self.estimate is not None and self.estimate.high <= self.bound

    @property
    def nearly(self) -> bool:
        """Whether the estimate does, at least."""
        return self.estimate is not None and self.estimate.value <= self.bound


Loss = Callable[[NDArray[np.bool_]], Estimate]
"""The loss on the rows (n,) that are true."""


def measure_groups(
    columns: Mapping[str, ArrayLike], cuts: Sequence[Cut], loss: Loss, *, rows: int, measure: str, unit: str = ""
) -> tuple[LossGroup, ...]:
    """Every group of every slice column. `columns` maps a column to its values (rows,).

    Raises `BadInput` for a slice column that is not there or has another length.
    """
    return tuple(
        LossGroup(
            by=cut.by,
            value=value,
            rows=int(inside.sum()),
            measure=measure,
            unit=unit,
            bound=cut.bound,
            estimate=loss(inside) if inside.sum() >= cut.min_rows else None,
        )
        for cut in cuts
        for value, inside in members(columns, cut.by, rows)
    )


def findings(groups: Sequence[LossGroup], cuts: Sequence[Cut], *, confidence: float) -> tuple[Finding, ...]:
    """A finding a judged group, and for each column one that names the groups which were not judged.

    Groups too small are a warning; a column without any judged group is INCONCLUSIVE and closes the gate.
    """
    found: list[Finding] = []
    for cut in cuts:
        inside = [group for group in groups if group.by == cut.by]
        found += [_judged(group, group.estimate, confidence) for group in inside if group.estimate is not None]
        small = [group for group in inside if group.estimate is None]
        if small:
            bound, few = f"<= {number(cut.bound)}", f"{cut.min_rows:,} rows"
            found.append(unjudged(cut.by, small, inside, bound=bound, few=few))
    return tuple(found)


def _judged(group: LossGroup, estimate: Estimate, confidence: float) -> Finding:
    demand = Demand(
        code="eval.slice",
        what=f"{group.measure} where {group.by} is {group.value}",
        side=Side.AT_MOST,
        bound=group.bound,
        unit=group.unit,
        subject=group.name,
    )
    return judge(demand, estimate, confidence=confidence)
