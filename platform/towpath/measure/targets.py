"""Whether a target can be learnt, by its task, and by what the trials of a sweep are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import log_loss, mean_absolute_error, roc_auc_score, root_mean_squared_error

from towpath.core.errors import BadInput
from towpath.core.evidence import Finding, Outcome
from towpath.core.task import Task
from towpath.measure.metrics import plain_roc_auc
from towpath.measure.metrics_multiclass import Classed

MOST_CLASSES = 200


def finding(name: str, target: pd.Series[Any], task: Task) -> Finding:
    """`train.target`: PASS for labels that the task can learn from, none of them missing."""
    if task is Task.MULTICLASS:
        return _several(name, target)
    return _numbers(name, target) if task is Task.REGRESSION else _two_classes(name, target)


def classes(target: pd.Series[Any], task: Task) -> tuple[str | int, ...]:
    """The classes of a multiclass target that `finding` passed, sorted as scikit-learn sorts them; none of others."""
    return tuple(plain(value) for value in np.unique(target.to_numpy())) if task is Task.MULTICLASS else ()


def plain(value: Any) -> Any:
    """A class as JSON holds it: text, or a whole number."""
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _several(name: str, target: pd.Series[Any]) -> Finding:
    bound, missing = f"2 to {MOST_CLASSES} classes", int(target.isna().sum())
    if missing:
        return _target(name, target, None, bound, f"{name}: {missing:,} of {len(target):,} rows are missing")
    found = {plain(value) for value in target.unique()}
    kinds = {type(value) for value in found}
    if kinds - {str, int} or len(kinds) > 1:
        told = ", ".join(sorted(kind.__name__ for kind in kinds))
        return _target(name, target, None, bound, f"{name} holds {told}; classes are all text or all whole numbers")
    if found == {0, 1}:
        return _target(name, target, None, bound, f"{name} is 0 and 1; set training.task to binary")
    if not 2 <= len(found) <= MOST_CLASSES:
        told = f"{len(found):,} classes in {len(target):,} rows; at most {MOST_CLASSES}, at least 2, can be learnt"
        return _target(name, target, None, bound, f"{name}: {told}")
    rarest = target.value_counts()
    reason = f"{name}: {len(target):,} rows, {len(found)} classes, the rarest {rarest.index[-1]} ({rarest.iloc[-1]:,})"
    return _target(name, target, len(found), bound, reason)


def _two_classes(name: str, target: pd.Series[Any]) -> Finding:
    missing = int(target.isna().sum())
    classes = sorted(target.dropna().unique().tolist())
    good = not missing and classes == [0, 1]
    rate = float(target.mean()) if good else None
    reason = (
        f"{name}: {len(target):,} rows, {rate:.1%} positive"
        if rate is not None
        else f"{name}: classes {classes[:5]} and {missing:,} missing; a target is 0 and 1, both present, none missing"
    )
    return _target(name, target, rate, "classes 0 and 1", reason)


def _numbers(name: str, target: pd.Series[Any]) -> Finding:
    bound = "numbers that differ"
    if not pd.api.types.is_numeric_dtype(target) or pd.api.types.is_bool_dtype(target):
        return _target(
            name, target, None, bound, f"{name} is of type {target.dtype}; a regression's target is a number"
        )
    values = target.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = int((~np.isfinite(values)).sum())
    if bad:
        return _target(name, target, None, bound, f"{name}: {bad:,} of {len(values):,} rows are missing or infinite")
    if not len(values) or np.ptp(values) == 0:
        return _target(name, target, None, bound, f"{name}: all {len(values):,} rows have the same value")
    mean, spread = float(values.mean()), float(values.std())
    return _target(name, target, mean, bound, f"{name}: {len(values):,} rows, mean {mean:.4g}, deviation {spread:.4g}")


def _target(name: str, target: pd.Series[Any], measured: float | None, bound: str, reason: str) -> Finding:
    return Finding(
        code="train.target",
        outcome=Outcome.FAIL if measured is None else Outcome.PASS,
        subject=name,
        measured=measured,
        bound=bound,
        sample_size=len(target),
        reason=reason,
    )


def trial(truth: NDArray[Any], scores: NDArray[np.float64], task: Task) -> dict[str, float]:
    """The metrics by which a sweep may choose, on rows that its trial has not seen.

    Raises `BadInput` for rows of one class: none is better than another there.
    """
    if task is Task.REGRESSION:
        return {
            "rmse": float(root_mean_squared_error(truth, scores)),
            "mae": float(mean_absolute_error(truth, scores)),
        }
    if pd.Series(truth).nunique() < 2:
        raise BadInput(
            "The newest fifth of the training window holds one class only, so a sweep cannot choose.",
            value=str(truth[0]),
            hint="Widen training.span.",
        )
    if task is Task.MULTICLASS:
        found = Classed.of(truth, scores)
        areas = [plain_roc_auc(one.labels, one.probabilities) for one in found.ranked]
        return {"log_loss": float(found.losses.mean()), "roc_auc": float(np.mean(areas))}
    return {"log_loss": float(log_loss(truth, scores)), "roc_auc": float(roc_auc_score(truth, scores))}
