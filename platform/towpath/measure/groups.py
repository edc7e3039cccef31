"""Slices of models that are no binary ones: a loss for each group of rows, which must not exceed its bound.

As in `slices`, every judged group must meet the bound at its own confidence (an intersection-union test).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from towpath.core.errors import BadInput
from towpath.core.evidence import Finding, Outcome, Severity
from towpath.measure.metrics import Estimate
from towpath.measure.slices import labelled, natural
from towpath.measure.verdicts import Demand, Side, count, judge, number, percent


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
    groups: list[LossGroup] = []
    for cut in cuts:
        if cut.by not in columns:
            raise BadInput(
                f"There is no column {cut.by!r} to slice by.",
                value=cut.by,
                valid=sorted(columns),
                hint="Name a column of the training set in gates.slices.",
            )
        labels = labelled(columns[cut.by])
        if labels.shape != (rows,):
            raise BadInput(f"Slice column {cut.by!r} has {labels.size} values for {rows} rows.", value=cut.by)
        for value in sorted(set(labels.tolist()), key=natural):
            inside = labels == value
            size = int(inside.sum())
            found = loss(inside) if size >= cut.min_rows else None
            groups.append(
                LossGroup(
                    by=cut.by, value=value, rows=size, measure=measure, unit=unit, bound=cut.bound, estimate=found
                )
            )
    return tuple(groups)


def findings(groups: Sequence[LossGroup], cuts: Sequence[Cut], *, confidence: float) -> tuple[Finding, ...]:
    """A finding a judged group, and for each column one that names the groups which were not judged.

    Groups too small are a warning; a column without any judged group is INCONCLUSIVE and closes the gate.
    """
    found: list[Finding] = []
    for cut in cuts:
        members = [group for group in groups if group.by == cut.by]
        found += [_judged(group, group.estimate, confidence) for group in members if group.estimate is not None]
        small = [group for group in members if group.estimate is None]
        if small:
            found.append(_unjudged(cut, small, members))
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


def _unjudged(cut: Cut, small: Sequence[LossGroup], members: Sequence[LossGroup]) -> Finding:
    nobody = len(small) == len(members)
    rows, total = sum(group.rows for group in small), sum(group.rows for group in members)
    shown = ", ".join(f"{group.value} ({group.rows:,})" for group in sorted(small, key=lambda group: -group.rows)[:10])
    more = f" and {len(small) - 10} more" if len(small) > 10 else ""
    who = "No group" if nobody else f"{len(small)} of {len(members)} groups"
    verb = "was" if nobody or len(small) == 1 else "were"
    return Finding(
        code="eval.slice",
        outcome=Outcome.INCONCLUSIVE,
        severity=Severity.ERROR if nobody else Severity.WARNING,
        subject=cut.by,
        measured=len(small),
        bound=f"<= {number(cut.bound)}",
        unit="groups",
        sample_size=rows,
        source="holdout",
        reason=f"{who} of {cut.by} {verb} {'' if nobody else 'not '}judged ({count(rows)}, {percent(rows / total)} of "
        f"the holdout): each has fewer than {cut.min_rows:,} rows: {shown}{more}.",
    )
