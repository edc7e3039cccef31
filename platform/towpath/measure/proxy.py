"""Leakage by a feature that is the target in disguise: each model input alone, as a ranking of the target.

A numeric column is judged by its rank (in either direction), and by the target rate of its twentieths, which also sees
a relation that rises and falls; a categorical one by the target rate of its values; any column by where it is missing.
Rates are out of fold and shrunk towards the mean (Micci-Barreca 2001, *SIGKDD Explorations* 3), so that a value seen
once says nothing of itself. Rates point one way: turning a ranking round, as is fair for a number, would call the noise
of rare values a leak, because leaving a row out moves its rate away from its label.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from towpath.core.errors import BadInput
from towpath.core.evidence import Finding
from towpath.measure.metrics import Floats, plain_roc_auc
from towpath.measure.proxy_findings import Strength, findings
from towpath.measure.verdicts import count

FOLDS = 5
PARTS = 20
SHRINKAGE = 10.0
_MIN_OF_A_CLASS = 10
_NUMERIC = {"integer", "floating", "mixed-integer-float", "decimal", "boolean"}


def strengths(inputs: pd.DataFrame, target: ArrayLike, *, seed: int = 0) -> tuple[Strength, ...]:
    """The ROC AUC of every column of `inputs` that has two or more distinct values, strongest first.

    `target`: 0 or 1 (n,). Raises `BadInput` for another length, other labels or one class.
    """
    truth = np.asarray(target)
    if truth.shape != (len(inputs),):
        raise BadInput(f"There are {truth.size} labels for {count(len(inputs))}.", value=truth.size)
    if not np.isin(truth, (0, 1)).all() or len(np.unique(truth)) != 2:
        raise BadInput("The target must hold 0 and 1, both.", value=np.unique(truth)[:5].tolist(), valid=(0, 1))
    folds = _folds(truth, seed)
    found = []
    for name in inputs.columns:
        candidates = list(_aspects(inputs[name], truth.astype(np.float64), folds))
        if candidates:
            value, aspect, rows = max(candidates, key=lambda item: item[0])
            found.append(Strength(column=str(name), value=value, aspect=aspect, rows=rows))
    return tuple(sorted(found, key=lambda item: (-item.value, item.column)))


def target_proxy(
    inputs: pd.DataFrame, target: ArrayLike, *, bound: float, source: str, seed: int = 0
) -> tuple[Finding, ...]:
    """The findings of inputs that rank the target better than `bound`. Raises `BadInput` as `strengths` does.

    `source`: the part of the data that the rows are.
    """
    found, what = strengths(inputs, target, seed=seed), "ranks the target with ROC AUC"
    return findings(found, bound=bound, what=what, inputs=inputs.shape[1], rows=len(inputs), source=source)


def _aspects(column: pd.Series[Any], truth: Floats, folds: NDArray[np.intp]) -> Iterator[tuple[float, str, int]]:
    """ROC AUC, what it was of, and the rows, for each aspect of the column that can be judged."""
    missing = column.isna().to_numpy(dtype=bool)
    if missing.any():
        yield from _either_way(missing.astype(np.float64), truth, "missing values")
    if missing.all():
        return
    numbers = as_numbers(column)
    if numbers is None:
        codes = codes_of(column, missing)
        if int(codes.max()) > 0:
            yield plain_roc_auc(truth, _rates(codes, truth, folds)), "target rate by value", truth.size
        return
    filled = ~np.isnan(numbers)
    yield from _either_way(numbers[filled], truth[filled], "rank")
    if np.unique(numbers[filled]).size > 2:
        cuts = np.unique(np.quantile(numbers[filled], np.arange(1, PARTS) / PARTS))
        codes = np.where(filled, np.searchsorted(cuts, np.nan_to_num(numbers), side="right"), len(cuts) + 1)
        yield plain_roc_auc(truth, _rates(codes, truth, folds)), "target rate by twentieths", truth.size


def codes_of(column: pd.Series[Any], missing: NDArray[np.bool_]) -> NDArray[np.intp]:
    """A number (n,) for each distinct value, missing ones sharing the last."""
    codes = np.unique(column.astype("object").astype(str).to_numpy(dtype=np.str_), return_inverse=True)[1].astype(
        np.intp
    )
    codes[missing] = codes.max() + 1
    return np.unique(codes, return_inverse=True)[1].astype(np.intp)


def _either_way(values: Floats, truth: Floats, aspect: str) -> Iterator[tuple[float, str, int]]:
    """The ranking in its better direction, when values differ and each class has enough rows to be more than luck."""
    if min(truth.sum(), truth.size - truth.sum()) >= _MIN_OF_A_CLASS and np.unique(values).size > 1:
        value = plain_roc_auc(truth, values)
        yield max(value, 1 - value), aspect, truth.size


def as_numbers(column: pd.Series[Any]) -> Floats | None:
    """The column as float64 with NaN for missing values, times as nanoseconds; None when it is categorical."""
    if pd.api.types.is_datetime64_any_dtype(column):
        instants = pd.to_datetime(column, utc=True).dt.tz_localize(None).astype("datetime64[ns]")
        return np.where(column.isna(), np.nan, instants.astype("int64").astype("float64"))
    if pd.api.types.is_timedelta64_dtype(column):
        return np.asarray(column.dt.total_seconds(), dtype=np.float64)
    if isinstance(column.dtype, pd.CategoricalDtype):
        return None
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    if pd.api.types.infer_dtype(column, skipna=True) in _NUMERIC:
        return pd.to_numeric(column.astype("object").where(column.notna(), np.nan)).to_numpy(dtype=np.float64)
    return None


def _folds(truth: NDArray[np.generic], seed: int) -> NDArray[np.intp]:
    """A fold (n,) for each row, drawn at random, each class spread evenly."""
    generator = np.random.default_rng(seed)
    folds = np.empty(truth.size, dtype=np.intp)
    for label in (0, 1):
        rows = np.flatnonzero(truth == label)
        folds[generator.permutation(rows)] = np.arange(rows.size) % FOLDS
    return folds


def _rates(codes: NDArray[np.intp], truth: Floats, folds: NDArray[np.intp]) -> Floats:
    """The shrunk target rate (n,) of each row's code among the rows of the other folds."""
    size = int(codes.max()) + 1
    mean = float(truth.mean())
    rows_of = np.zeros((FOLDS, size))
    positives_of = np.zeros((FOLDS, size))
    np.add.at(rows_of, (folds, codes), 1)
    np.add.at(positives_of, (folds, codes), truth)
    rows = rows_of.sum(axis=0) - rows_of
    positives = positives_of.sum(axis=0) - positives_of
    rates = (positives + SHRINKAGE * mean) / (rows + SHRINKAGE)
    return rates[folds, codes]
