"""A row number among the inputs that says something of the target: the order in which rows were written leaks.

Files are often sorted, or put together class by class. A column is a row number when it holds nearly as many different
integers as rows, and few between its least and its greatest that no row has. Whether it says anything is tested by its
rank (Spearman's correlation with the target) and by the target in twentieths of the order (Kruskal-Wallis), with
Bonferroni's correction.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from towpath.core.evidence import Finding, Outcome
from towpath.measure.leakage_frame import LEVEL, Split, finding, whole
from towpath.measure.metrics import Floats
from towpath.measure.verdicts import count

CODE = "leakage.index"
_UNIQUE = 0.95
_DENSE = 3.0  # integers between the ends, for each that is there
_MIN_ROWS = 40
_PARTS = 20


def index(split: Split) -> tuple[Finding, ...]:
    """One FAIL for each input that numbers rows and ranks or groups the target, else one PASS."""
    numbers = {name: values for name, values in split.numbers.items() if _numbers_rows(values)}
    rows = len(split.both)
    found = []
    for name, values in numbers.items():
        chance = _chance(values, split.labels)
        if chance < LEVEL / len(numbers):
            found.append(
                finding(
                    CODE,
                    Outcome.FAIL,
                    f"Column {name} numbers the rows, and the target goes with that order (p {chance:.1g} on "
                    f"{count(rows)}): the order of a file is no property of what is predicted. Drop it.",
                    rows=rows,
                    subject=name,
                    measured=chance,
                    bound=f">= {LEVEL / len(numbers):.2g}",
                    unit="p",
                )
            )
    return tuple(found) or (
        finding(
            CODE,
            Outcome.PASS,
            f"{count(len(numbers), 'input')} of {len(split.inputs)} numbers rows"
            + (", and the target does not go with that order." if numbers else "."),
            rows=rows,
        ),
    )


def _numbers_rows(values: Floats) -> bool:
    if len(values) < _MIN_ROWS or np.isnan(values).any() or not whole(values):
        return False
    different = len(np.unique(values))
    return different >= _UNIQUE * len(values) and float(np.ptp(values)) + 1 <= _DENSE * different


def _chance(values: Floats, labels: Floats) -> float:
    """How likely chance alone brings an association as strong, by rank or by twentieths, the likelier twice."""
    rank = float(stats.spearmanr(values, labels).pvalue)
    parts = np.array_split(labels[np.argsort(values, kind="stable")], min(_PARTS, len(values) // 10))
    groups = float(stats.kruskal(*parts).pvalue) if np.ptp(labels) > 0 else 1.0
    return min(1.0, 2 * min(rank, groups))
