"""Preprocessing that was fitted on the holdout too: figures that only the two parts together explain.

A column that was standardised, scaled to its range, ranked, imputed with its mean or turned into components bears the
mark of the rows on which that was fitted: over them, and no others, its mean is 0, or its ends are 0 and 1, to the last
places of a float. The marks are looked for over both parts, and count only when the training set alone does not bear
them. Columns of integers are left out, except for imputed values that are none: they meet round figures by chance.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

from towpath.core.evidence import Finding, Outcome
from towpath.measure.leakage_frame import Split, distinct, finding, whole
from towpath.measure.metrics import Floats
from towpath.measure.verdicts import count

CODE = "leakage.fitted"
_EXACT = 1e-9
_MIN_ROWS = 20
_MIN_VALUES = 10
_FREQUENT = 20  # values that may have been filled in
_NORMAL_END = 5.199337582605575  # where scikit-learn's QuantileTransformer cuts the normal distribution
_RANGES = ((0.0, 1.0), (-1.0, 1.0), (-_NORMAL_END, _NORMAL_END))


def fitted(split: Split) -> tuple[Finding, ...]:
    """One FAIL for each numeric input that was transformed by figures of training set and holdout, else one PASS."""
    judged = {
        name: values
        for name, values in split.numbers.items()
        if distinct(values) >= _MIN_VALUES and min(split.in_train.sum(), (~split.in_train).sum()) >= _MIN_ROWS
    }
    found = []
    for name, values in judged.items():
        for mark, borne in _MARKS.items():
            if borne(values) and not borne(values[split.in_train]):
                found.append(_guilty(name, mark, len(values)))
                break
    rows = len(split.both)
    return tuple(found) or (
        finding(
            CODE,
            Outcome.PASS,
            f"None of {count(len(judged), 'numeric input')} bears the mark of a transform that was fitted on training "
            f"set and holdout together, on {count(rows)}.",
            rows=rows,
        ),
    )


def _guilty(name: str, mark: str, rows: int) -> Finding:
    return finding(
        CODE,
        Outcome.FAIL,
        f"Column {name} {mark} over training set and holdout together, and not over the training set alone: it was "
        "fitted on the rows that judge the model. Fit inside the model's pipeline, on training rows.",
        rows=rows,
        subject=name,
    )


def _centred(values: Floats) -> bool:
    """Mean 0 to the last places, of numbers finer than thousandths: standardised, centred, or principal components."""
    filled = values[~np.isnan(values)]
    if len(filled) < _MIN_ROWS or whole(filled * 1_000):
        return False
    return bool(abs(filled.mean()) <= _EXACT * filled.std())


def _ranged(values: Floats) -> bool:
    """From end to end of a unit range, one end met by one row: a share that is 0 by nature is so more than once."""
    filled = values[~np.isnan(values)]
    if len(filled) < _MIN_ROWS or whole(filled):
        return False
    low, high = filled.min(), filled.max()
    met = any(max(abs(low - least), abs(high - most)) <= _EXACT for least, most in _RANGES)
    return bool(met and min(np.sum(filled - low <= _EXACT), np.sum(high - filled <= _EXACT)) == 1)


def _robust(values: Floats) -> bool:
    filled = values[~np.isnan(values)]
    if len(filled) < _MIN_ROWS or whole(filled * 4):
        return False
    quarter, half, most = np.quantile(filled, (0.25, 0.5, 0.75))
    return bool(abs(half) <= _EXACT and abs(most - quarter - 1) <= _EXACT)


def _ranked(values: Floats) -> bool:
    """All values are their own ranks, as shares of the rows or between 0 and 1."""
    filled = values[~np.isnan(values)]
    size = len(filled)
    if size < _MIN_ROWS or whole(filled) or filled.min() < 0 or filled.max() > 1:
        return False
    for ties in ("average", "min", "max"):
        ranks = rankdata(filled, method=ties)
        if any(np.all(np.abs(filled - made) <= _EXACT) for made in (ranks / size, (ranks - 1) / (size - 1))):
            return True
    return False


def _imputed(values: Floats) -> bool:
    """A frequent value, held by several rows and no integer, is the mean of all others."""
    filled = values[~np.isnan(values)]
    if len(filled) < _MIN_ROWS:
        return False
    kept, times = np.unique(filled, return_counts=True)
    for place in np.argsort(-times)[:_FREQUENT]:
        usual, others = kept[place], filled[filled != kept[place]]
        if times[place] < 3 or usual == np.round(usual) or len(others) < _MIN_ROWS:
            continue
        if abs(others.mean() - usual) <= _EXACT * max(float(others.std()), 1e-12):
            return True
    return False


_MARKS: dict[str, Callable[[Floats], bool]] = {
    "has mean 0": _centred,
    "runs from end to end of a unit range": _ranged,
    "has median 0 and quartiles 1 apart": _robust,
    "holds its own ranks": _ranked,
    "holds the mean of its other values where it was filled in": _imputed,
}
