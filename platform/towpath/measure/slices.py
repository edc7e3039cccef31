"""Slices: how well each group of rows is served.

Every judged group must meet the bound at its own confidence. That is an intersection-union test (Berger 1982,
*Technometrics* 24): passing all of them needs no correction for their number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from towpath.core.charter import Slice
from towpath.core.errors import BadInput
from towpath.core.evidence import Finding, Outcome, Severity
from towpath.measure.metrics import RESAMPLES, Estimate, Scored, roc_auc
from towpath.measure.verdicts import Demand, Side, count, judge, number, percent

MISSING = "(missing)"
MIN_OF_A_CLASS = 10  # below it an interval of a ranking says nothing


@dataclass(frozen=True, kw_only=True)
class Group:
    """One value of a slice column; `roc_auc` is None when the group is too small to be judged."""

    by: str
    value: str
    rows: int
    positives: int
    bound: float
    roc_auc: Estimate | None

    @property
    def name(self) -> str:
        return f"{self.by}={self.value}"

    @property
    def estimate(self) -> Estimate | None:
        return self.roc_auc

    @property
    def met(self) -> bool:
        """Whether the interval's lower end meets the bound."""
        return self.roc_auc is not None and self.roc_auc.low >= self.bound

    @property
    def nearly(self) -> bool:
        """Whether the estimate does, at least."""
        return self.roc_auc is not None and self.roc_auc.value >= self.bound


def labelled(values: ArrayLike) -> NDArray[np.str_]:
    """The groups' names (n,): whole numbers without a decimal point, missing values as `(missing)`."""
    return np.array([_label(value) for value in np.asarray(values, dtype=object)], dtype=np.str_)


def _label(value: object) -> str:
    if value is None or value != value or str(value) in ("NaT", "<NA>"):
        return MISSING
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def natural(value: str) -> tuple[int, float, str]:
    """Numbers by size, then words by letter, `(missing)` last."""
    if value == MISSING:
        return 2, 0.0, value
    try:
        return 0, float(value), value
    except ValueError:
        return 1, 0.0, value


def measure_slices(
    scored: Scored,
    columns: Mapping[str, ArrayLike],
    slices: Sequence[Slice],
    *,
    confidence: float,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Group, ...]:
    """Every group of every slice column. `columns` maps a column to its values (n,).

    Raises `BadInput` for a slice column that is not there or has another length.
    """
    return tuple(
        _group(scored, part, value, inside, confidence, resamples, seed)
        for part in slices
        for value, inside in members(columns, part.by, scored.n)
    )


def members(columns: Mapping[str, ArrayLike], by: str, rows: int) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each value of a slice column in its order, with which of the rows (n,) have it. Raises `BadInput`."""
    if by not in columns:
        raise BadInput(
            f"There is no column {by!r} to slice by.",
            value=by,
            valid=sorted(columns),
            hint="Name a column of the training set in gates.slices.",
        )
    labels = labelled(columns[by])
    if labels.shape != (rows,):
        raise BadInput(f"Slice column {by!r} has {labels.size} values for {rows} rows.", value=by)
    for value in sorted(set(labels.tolist()), key=natural):
        yield value, labels == value


def _group(
    scored: Scored, part: Slice, value: str, inside: NDArray[np.bool_], confidence: float, resamples: int, seed: int
) -> Group:
    truth, chance = scored.labels[inside], scored.probabilities[inside]
    rows, positives = truth.size, int(truth.sum())
    estimate = None
    if rows >= part.min_rows and min(positives, rows - positives) >= MIN_OF_A_CLASS:
        estimate = roc_auc(truth, chance, confidence=confidence, resamples=resamples, seed=seed)
    return Group(by=part.by, value=value, rows=rows, positives=positives, bound=part.roc_auc, roc_auc=estimate)


def findings(groups: Sequence[Group], slices: Sequence[Slice], *, confidence: float) -> tuple[Finding, ...]:
    """A finding a judged group, and for each column one that names the groups which were not judged.

    Groups too small are a warning; a column without any judged group is INCONCLUSIVE and closes the gate.
    """
    found: list[Finding] = []
    for part in slices:
        inside = [group for group in groups if group.by == part.by]
        found += [_judged(group, group.roc_auc, confidence) for group in inside if group.roc_auc is not None]
        small = [group for group in inside if group.roc_auc is None]
        if small:
            few = f"{part.min_rows:,} rows or fewer than {MIN_OF_A_CLASS} of a class"
            found.append(unjudged(part.by, small, inside, bound=f">= {number(part.roc_auc)}", few=few))
    return tuple(found)


def _judged(group: Group, estimate: Estimate, confidence: float) -> Finding:
    demand = Demand(
        code="eval.slice",
        what=f"ROC AUC where {group.by} is {group.value}",
        side=Side.AT_LEAST,
        bound=group.bound,
        subject=group.name,
    )
    return judge(demand, estimate, confidence=confidence)


class Sized(Protocol):
    """A group: the value of its column, and its rows."""

    @property
    def value(self) -> str: ...
    @property
    def rows(self) -> int: ...


def unjudged(by: str, small: Sequence[Sized], all_of_it: Sequence[Sized], *, bound: str, few: str) -> Finding:
    """The groups of a column that are too `small`: each has fewer than `few`."""
    nobody = len(small) == len(all_of_it)
    rows, total = sum(group.rows for group in small), sum(group.rows for group in all_of_it)
    shown = ", ".join(f"{group.value} ({group.rows:,})" for group in sorted(small, key=lambda group: -group.rows)[:10])
    more = f" and {len(small) - 10} more" if len(small) > 10 else ""
    who = "No group" if nobody else f"{len(small)} of {len(all_of_it)} groups"
    were = "was judged" if nobody else "was not judged" if len(small) == 1 else "were not judged"
    return Finding(
        code="eval.slice",
        outcome=Outcome.INCONCLUSIVE,
        severity=Severity.ERROR if nobody else Severity.WARNING,
        subject=by,
        measured=len(small),
        bound=bound,
        unit="groups",
        sample_size=rows,
        source="holdout",
        reason=f"{who} of {by} {were} ({count(rows)}, {percent(rows / total)} of the holdout): each has fewer than "
        f"{few}: {shown}{more}.",
    )
