"""Group leakage: the same thing on both sides of the split, with a label that is its own rather than the row's.

Rows of one patient, machine or household are not independent. That an entity is on both sides is no leak in itself: an
aircraft flies in May and in June, and will when the model serves. It is one when the entity fixes the label, so that a
model that remembers entities is taken for one that predicts. So the holdout's labels are predicted by the mean label of
the same entity in training, and the share of their variance that this explains is bounded.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from towpath.core.evidence import Finding, Outcome
from towpath.measure.leakage_frame import Split, finding
from towpath.measure.verdicts import count, percent

CODE = "leakage.group"
BOUND = 0.5
"""Share of the variance of the holdout's labels that an entity's own label in training may explain."""
_MIN_ROWS = 20
_MIN_ENTITIES = 8
_MIN_SHARE = 0.05


def group(split: Split) -> tuple[Finding, ...]:
    """One FAIL for each column of entities whose labels in training fix those in the holdout, else one PASS."""
    judged = {name: found for name, codes in split.entities.items() if (found := _explained(split, codes))}
    guilty = [
        finding(
            CODE,
            Outcome.FAIL,
            f"{count(shared, 'value')} of {name} are on both sides of the split, and their labels in training explain "
            f"{percent(share)} of the variance of {count(rows)} of the holdout: who is remembered looks predicted. "
            f"Split by {name}.",
            rows=rows,
            subject=name,
            measured=float(share),
            bound=f"<= {BOUND:g}",
            unit="share of variance",
        )
        for name, (share, rows, shared) in judged.items()
        if share > BOUND
    ]
    most = max(((share, name) for name, (share, _, _) in judged.items()), default=None)
    return tuple(guilty) or (
        finding(
            CODE,
            Outcome.PASS,
            f"Of {count(len(split.entities), 'column')} that may name entities, {len(judged)} have enough on both sides"
            + (
                f"; the most that one's labels in training explain of the holdout's is {percent(max(most[0], 0.0))} "
                f"({most[1]})."
                if most
                else "."
            ),
            rows=len(split.both),
            measured=float(max(most[0], 0.0)) if most else None,
            bound=f"<= {BOUND:g}" if most else "",
            unit="share of variance" if most else "",
        ),
    )


def _explained(split: Split, codes: NDArray[np.intp]) -> tuple[float, int, int] | None:
    """Share of variance, holdout rows it is of, and entities; None when too few are on both sides."""
    known = codes >= 0
    size = int(codes.max()) + 1
    before, after = known & split.in_train, known & ~split.in_train
    rows = np.bincount(codes[before], minlength=size)
    sums = np.bincount(codes[before], weights=split.labels[before], minlength=size)
    judged = after & (rows[codes] > 0)
    shared = len(np.unique(codes[judged]))
    if int(judged.sum()) < max(_MIN_ROWS, _MIN_SHARE * after.sum()) or shared < _MIN_ENTITIES:
        return None
    truth = split.labels[judged]
    spread = float(np.sum((truth - truth.mean()) ** 2))
    if spread == 0:
        return None
    error = float(np.sum((truth - (sums / np.maximum(rows, 1))[codes[judged]]) ** 2))
    return 1 - error / spread, int(judged.sum()), shared
