"""Whether a target can be learnt, by its task, and by what the trials of a sweep are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics import log_loss, mean_absolute_error, roc_auc_score, root_mean_squared_error

from towpath.core.errors import BadInput
from towpath.core.evidence import Finding, Outcome
from towpath.core.task import Task


def finding(name: str, target: pd.Series[Any], task: Task) -> Finding:
    """`train.target`: PASS for labels that the task can learn from, none of them missing."""
    return _numbers(name, target) if task is Task.REGRESSION else _two_classes(name, target)


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


def trial(truth: pd.Series[Any], scores: ArrayLike, task: Task) -> dict[str, float]:
    """The metrics by which a sweep may choose, on rows that its trial has not seen.

    Raises `BadInput` for rows of one class: none is better than another there.
    """
    if task is Task.REGRESSION:
        return {
            "rmse": float(root_mean_squared_error(truth, scores)),
            "mae": float(mean_absolute_error(truth, scores)),
        }
    if truth.nunique() < 2:
        raise BadInput(
            "The newest fifth of the training window holds one class only, so a sweep cannot choose.",
            value=str(truth.iloc[0]),
            hint="Widen training.span.",
        )
    return {"log_loss": float(log_loss(truth, scores)), "roc_auc": float(roc_auc_score(truth, scores))}
