"""Target encoding without folds: a column that was computed from the labels of the very rows that hold it.

Where rows share a value of such a column, their target rate is that value: exactly, or shrunk towards the mean
(Micci-Barreca 2001, *SIGKDD Explorations* 3), or near enough that chance would not bring it. An honest column, however
good, meets the rate of n rows with an error of about sqrt(p (1 - p) / n). So beside the exact match the lack of that
error is tested: Pearson's chi-squared of the rates about their best line, in the *lower* tail. Clustered labels and
relations that bend only raise it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from towpath.core.evidence import Finding, Outcome
from towpath.measure.leakage_frame import LEVEL, Split, distinct, finding, group_means, numbered
from towpath.measure.metrics import Floats
from towpath.measure.verdicts import count, number

CODE = "leakage.encoding"
_EXACT = 1e-9
_MIN_VALUES = 3  # values that must match exactly
_MIN_SHRUNK = 8  # the same where the shrinkage is solved for
_MIN_GROUPS = 30  # values with several rows each, for the test


def encoding(split: Split) -> tuple[Finding, ...]:
    """One FAIL for each numeric input that follows the labels of its own rows too closely, else one PASS.

    It is looked for in the training set, in the holdout, and in both together, by the column's own values and by those
    of every category that fixes them. The chi-squared test needs a target of two values.
    """
    judged = {name: values for name, values in split.numbers.items() if distinct(values) >= _MIN_VALUES}
    found = [verdict for name, values in judged.items() if (verdict := _column(split, name, values, len(judged)))]
    if found:
        return tuple(found)
    rows = len(split.both)
    return (
        finding(
            CODE,
            Outcome.PASS,
            f"None of {count(len(judged), 'numeric input')} is a rate of the labels of its own rows, exactly or closer "
            f"than chance lets (level {LEVEL:g} for all together), on {count(rows)}.",
            rows=rows,
        ),
    )


def _column(split: Split, name: str, values: Floats, columns: int) -> Finding | None:
    filled = ~np.isnan(values)
    scopes = {
        "the training set": filled & split.in_train,
        "the training set and the holdout together": filled,
        "the holdout": filled & ~split.in_train,
    }
    for where, rows in scopes.items():
        if distinct(values[rows]) < _MIN_VALUES:
            continue
        labels = split.labels[rows]
        for by, known, codes in _groupings(split, values, rows):
            size, rate = group_means(codes, split.labels[known])
            mean = group_means(codes, values[known])[1]
            if _exact(size, rate, mean, split.labels[known]):
                how = f"is the target's mean by {by} over {where}, to nine places, for {count(len(size), 'value')}"
                return _guilty(name, how, int(known.sum()), None, "")
        z = _closeness(values[rows], labels)
        limit = float(norm.ppf(LEVEL / (len(scopes) * columns)))
        if z is not None and z < limit:
            how = f"lies closer to the target rate of its own rows in {where} than chance lets (z {number(z)})"
            return _guilty(name, how, int(rows.sum()), z, f">= {number(limit)}")
    return None


def _guilty(name: str, how: str, rows: int, z: float | None, bound: str) -> Finding:
    return finding(
        CODE,
        Outcome.FAIL,
        f"Column {name} {how}: each row's feature holds its own label. Encode out of folds, or from earlier rows only.",
        rows=rows,
        subject=name,
        measured=z,
        bound=bound,
        unit="z" if z is not None else "",
    )


def _groupings(
    split: Split, values: Floats, rows: NDArray[np.bool_]
) -> Iterator[tuple[str, NDArray[np.bool_], NDArray[np.intp]]]:
    """Ways in which rows share a value: the column itself, and each category within which it is constant.

    With the rows (n,) that have the category, and the group of each of these.
    """
    yield "its own value", rows, numbered(values[rows])
    for name, codes in split.categories.items():
        known = rows & (codes >= 0)
        within, held = codes[known], values[known]
        first = np.zeros(int(within.max(initial=0)) + 1)
        first[within] = held
        if within.size and np.array_equal(first[within], held):
            yield name, known, numbered(within)


def _exact(size: Floats, rate: Floats, mean: Floats, labels: Floats) -> bool:
    """Whether the column is the group's rate, plain or shrunk, by a fixed weight or by that of empirical Bayes."""
    repeated = int((size > 1).sum())
    if repeated < _MIN_VALUES or np.ptp(rate) == 0:
        return False
    scale = float(np.ptp(labels)) or 1.0
    if np.all(np.abs(rate - mean) <= _EXACT * scale):
        return True
    if repeated < _MIN_SHRUNK:
        return False
    spread = labels.var()
    within = np.clip(rate * (1 - rate), 0, None) if np.isin(labels, (0, 1)).all() else np.full_like(rate, np.nan)
    weight = size * spread / (size * spread + within)
    if np.all(np.abs(weight * rate + (1 - weight) * labels.mean() - mean) <= _EXACT * scale):
        return True
    # (sum + a m) / (n + a) = v  is linear in a and a m
    left = mean * size - rate * size
    design = np.column_stack([np.ones_like(mean), -mean])
    solution, *_ = np.linalg.lstsq(design, left, rcond=None)
    residual = left - design @ solution
    return bool(solution[1] > 0 and np.all(np.abs(residual) <= _EXACT * scale * np.maximum(size, 1)))


def _closeness(values: Floats, labels: Floats) -> float | None:
    """The standardised chi-squared of rates about their line in value and in shrinkage; None where it cannot be had."""
    if not np.isin(labels, (0, 1)).all() or len(np.unique(labels)) < 2:
        return None
    size, rate = group_means(numbered(values), labels)
    value = np.unique(values)
    if int((size > 1).sum()) < _MIN_GROUPS:
        return None
    value, size, rate = value[size > 1], size[size > 1], rate[size > 1]
    design = np.column_stack([np.ones_like(value), value, (value - labels.mean()) / size])
    root = np.sqrt(size)
    solution, *_ = np.linalg.lstsq(design * root[:, None], rate * root, rcond=None)
    expected = np.clip(design @ solution, 0.001, 0.999)
    noise = expected * (1 - expected)
    statistic = float(np.sum(size * (rate - expected) ** 2 / noise))
    variance = float(np.sum(2 + (1 - 6 * noise) / (size * noise)))
    return float((statistic - (len(size) - design.shape[1])) / max(variance, 1.0) ** 0.5)
