"""Training-serving skew: the model's inputs as trained on against the same rows as served."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from towpath.core.errors import BadInput
from towpath.core.evidence import Finding, Outcome
from towpath.measure.proxy import as_numbers
from towpath.measure.verdicts import count, percent, rounded

TOLERANCE = 1e-9


def skew(offline: pd.DataFrame, served: pd.DataFrame, *, tolerance: float = TOLERANCE) -> tuple[Finding, ...]:
    """One FAIL for each column that differs or is not served, else one PASS.

    Both frames hold the same rows in the same order. Numbers are equal within `tolerance` of their size, whatever their
    types; missing values (None, NaN, NaT) equal each other; anything else is compared as it is. No rows or no columns
    are INCONCLUSIVE. Raises `BadInput` for unequal numbers of rows.
    """
    if len(offline) != len(served):
        raise BadInput(
            f"{count(len(offline))} offline, {count(len(served))} as served: they are not the same rows.",
            value=len(served),
            valid=[len(offline)],
        )
    names, other = list(map(str, offline.columns)), list(map(str, served.columns))
    if offline.empty or not names:
        return (_finding("", Outcome.INCONCLUSIVE, None, 0, "No row was compared between training and serving."),)
    found = [
        _finding(name, Outcome.FAIL, 1.0, len(offline), f"Column {name} is in the {there} only, not in the {gone}.")
        for name in sorted({*names} ^ {*other})
        for there, gone in [("training set", "served inputs") if name in names else ("served inputs", "training set")]
    ]
    for name in names:
        if name in other:
            found += _column(name, offline[name], served[name], tolerance)
    return tuple(found) or (
        _finding(
            "",
            Outcome.PASS,
            0.0,
            len(offline),
            f"All {len(names)} model inputs are the same in training and as served, on {count(len(offline))}.",
        ),
    )


def _column(name: str, offline: pd.Series[Any], served: pd.Series[Any], tolerance: float) -> list[Finding]:
    differing = _differs(offline, served, tolerance)
    rows = int(differing.sum())
    if not rows:
        return []
    first = int(np.flatnonzero(differing)[0])
    return [
        _finding(
            name,
            Outcome.FAIL,
            rows / len(offline),
            len(offline),
            f"Column {name} differs in {rows:,} of {count(len(offline))} ({percent(rows / len(offline))}) between "
            "training and "
            f"serving; the first is {_shown(offline.iloc[first])} in training, {_shown(served.iloc[first])} as served.",
        )
    ]


def _differs(offline: pd.Series[Any], served: pd.Series[Any], tolerance: float) -> NDArray[np.bool_]:
    """Where (n,) the two columns are not the same value."""
    absent, gone = offline.isna().to_numpy(dtype=bool), served.isna().to_numpy(dtype=bool)
    if absent.all() or gone.all():
        return np.asarray(absent != gone, dtype=bool)
    left, right = as_numbers(offline), as_numbers(served)
    if left is not None and right is not None:
        same = np.isclose(left, right, rtol=tolerance, atol=0.0, equal_nan=True)
        return np.asarray(~same | (absent != gone), dtype=bool)
    pairs = zip(offline.astype("object"), served.astype("object"), strict=True)
    unequal = np.array([not _same(one, two) for one, two in pairs], dtype=bool)
    return np.where(absent | gone, absent != gone, unequal)


def _same(one: object, two: object) -> bool:
    words = isinstance(one, str) and isinstance(two, str)
    return (words or type(one) is type(two)) and bool(one == two)


def _shown(value: object) -> str:
    missing = value is None or value != value or str(value) in ("NaT", "<NA>")
    return "missing" if missing else repr(value.item() if isinstance(value, np.generic) else value)


def _finding(subject: str, outcome: Outcome, share: float | None, rows: int, reason: str) -> Finding:
    return Finding(
        code="leakage.skew",
        outcome=outcome,
        subject=subject,
        measured=None if share is None else rounded(share),
        bound="<= 0",
        unit="share of rows",
        sample_size=rows,
        source="sampled rows",
        reason=reason,
    )
