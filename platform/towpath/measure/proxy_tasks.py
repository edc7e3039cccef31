"""Leakage by an input that is the target in disguise, where the target is a class of several, or a number.

A multiclass target is looked at one class against the rest, as `proxy` does, and the ROC AUC averaged over the classes
(of more than `MOST_CLASSES`, the most frequent): a copy tells every class apart, an honest input only some. Of a number
it is asked which share of its variance one input explains: by rank (Spearman's correlation, squared, which a monotone
copy cannot hide from), or by the mean of its twentieths or of its values, out of fold and shrunk.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import spearmanr

from towpath.core.errors import BadInput
from towpath.measure.metrics import Floats
from towpath.measure.proxy import FOLDS, PARTS, SHRINKAGE, as_numbers, codes_of, strengths
from towpath.measure.proxy_findings import Strength
from towpath.measure.verdicts import count

MOST_CLASSES = 20
_MIN_ROWS = 20  # below it a rank correlation may be luck


def class_strengths(inputs: pd.DataFrame, target: ArrayLike, *, seed: int = 0) -> tuple[Strength, ...]:
    """Every column's ROC AUC, averaged over the classes of `target` (n,), strongest first."""
    truth = np.asarray(target)
    classes, rows = np.unique(truth, return_counts=True)
    chosen = classes[np.argsort(-rows, kind="stable")[:MOST_CLASSES]]
    found: dict[str, list[float]] = defaultdict(list)
    aspects: dict[str, list[tuple[float, str, int]]] = defaultdict(list)
    for one in chosen:
        for alone in strengths(inputs, (truth == one).astype(np.int64), seed=seed):
            found[alone.column].append(alone.value)
            aspects[alone.column].append((alone.value, alone.aspect, alone.rows))
    return _ranked(
        Strength(column=name, value=float(np.mean(values)), aspect=max(aspects[name])[1], rows=max(aspects[name])[2])
        for name, values in found.items()
    )


def number_strengths(inputs: pd.DataFrame, target: ArrayLike, *, seed: int = 0) -> tuple[Strength, ...]:
    """Every column's share of the variance of `target` (n,), strongest first. Raises `BadInput` for no numbers."""
    truth = np.asarray(target, dtype=np.float64)
    if truth.shape != (len(inputs),):
        raise BadInput(f"There are {truth.size} labels for {count(len(inputs))}.", value=truth.size)
    if not np.isfinite(truth).all() or truth.size == 0 or np.ptp(truth) == 0:
        raise BadInput("The target must hold numbers that differ, none missing.", value=truth[:5].tolist())
    folds = np.random.default_rng(seed).permutation(truth.size) % FOLDS
    found = []
    for name in inputs.columns:
        candidates = list(_aspects(inputs[name], truth, folds))
        if candidates:
            value, aspect, rows = max(candidates, key=lambda item: item[0])
            found.append(Strength(column=str(name), value=value, aspect=aspect, rows=rows))
    return _ranked(iter(found))


def _ranked(found: Iterator[Strength]) -> tuple[Strength, ...]:
    return tuple(sorted(found, key=lambda item: (-item.value, item.column)))


def _aspects(column: pd.Series[Any], truth: Floats, folds: NDArray[np.intp]) -> Iterator[tuple[float, str, int]]:
    """The share of the variance, what it was of, and the rows, for each aspect of the column that can be judged."""
    missing = column.isna().to_numpy(dtype=bool)
    numbers = None if missing.all() else as_numbers(column)
    if numbers is None:
        codes = codes_of(column, missing)
        if int(codes.max()) > 0:
            yield _explained(truth, codes, folds), "mean by value", truth.size
        return
    filled = ~np.isnan(numbers)
    known, labels = numbers[filled], truth[filled]
    if known.size >= _MIN_ROWS and np.ptp(known) > 0 and np.ptp(labels) > 0:
        yield float(spearmanr(known, labels).statistic) ** 2, "rank", known.size
    cuts = np.unique(np.quantile(known, np.arange(1, PARTS) / PARTS))
    codes = np.where(filled, np.searchsorted(cuts, np.nan_to_num(numbers), side="right"), len(cuts) + 1)
    codes = np.unique(codes, return_inverse=True)[1].astype(np.intp)
    if int(codes.max()) > 0:
        yield _explained(truth, codes, folds), "mean by twentieths", truth.size


def _explained(truth: Floats, codes: NDArray[np.intp], folds: NDArray[np.intp]) -> float:
    """R² of each code's shrunk mean among the rows of the other folds; not below 0."""
    size = int(codes.max()) + 1
    rows_of, sums_of = np.zeros((FOLDS, size)), np.zeros((FOLDS, size))
    np.add.at(rows_of, (folds, codes), 1)
    np.add.at(sums_of, (folds, codes), truth)
    mean = float(truth.mean())
    rows, sums = rows_of.sum(axis=0) - rows_of, sums_of.sum(axis=0) - sums_of
    means = (sums + SHRINKAGE * mean) / (rows + SHRINKAGE)
    return max(0.0, 1 - float(((truth - means[folds, codes]) ** 2).sum() / ((truth - mean) ** 2).sum()))
