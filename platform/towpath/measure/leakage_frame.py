"""What the leakage checks look at: the split as it was trained and judged on, and how a finding of theirs is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from towpath.core.evidence import Finding, Outcome, Severity
from towpath.measure.leakage import CREATED_SUFFIX, EVENT_SUFFIX
from towpath.measure.metrics import Floats
from towpath.measure.proxy import as_numbers
from towpath.measure.verdicts import rounded

LEVEL = 0.001
"""Chance of a false alarm that each statistical check may have in a run, shared among all columns that it judges."""
_IDENTIFIER_ROWS = 20  # a text input whose values have at most so many rows each names things rather than kinds


@dataclass(frozen=True, kw_only=True)
class Split:
    """The training set and the holdout, with what the project says of their columns.

    Both frames hold `target`, `row_id`, `event_timestamp` and the model's `inputs`, in the order in which they were
    joined. `known_at`: for a column of a contract, the column that says when its value became known.
    """

    train: pd.DataFrame
    holdout: pd.DataFrame
    inputs: Sequence[str]
    target: str
    row_id: str
    event_timestamp: str = "event_timestamp"
    label_timestamp: str = "label_timestamp"
    known_at: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0

    @cached_property
    def both(self) -> pd.DataFrame:
        return pd.concat([self.train, self.holdout], ignore_index=True)

    @cached_property
    def labels(self) -> Floats:
        """The target (n,) of both parts as numbers; classes that are words are numbered."""
        column = self.both[self.target]
        numbers = as_numbers(column)
        return numbers if numbers is not None else pd.factorize(column, sort=True)[0].astype(np.float64)

    @cached_property
    def in_train(self) -> NDArray[np.bool_]:
        return np.arange(len(self.both)) < len(self.train)

    @cached_property
    def numbers(self) -> dict[str, Floats]:
        """Each input (n,) of both parts that holds numbers other than times, with NaN for missing values."""
        found = {}
        for name in self.inputs:
            column = self.both[name]
            if not pd.api.types.is_datetime64_any_dtype(column) and (values := as_numbers(column)) is not None:
                found[name] = values
        return found

    @cached_property
    def entities(self) -> dict[str, NDArray[np.intp]]:
        """A number (n,) for each value, -1 where missing, of each column that may name what a row is about.

        Columns beside the inputs, and text inputs whose values have few rows each; those with a value of its own for
        nearly every row name rows.
        """
        said = {self.target, self.row_id, self.event_timestamp, self.label_timestamp, *self.known_at.values()}
        found = {}
        for name in map(str, self.both.columns):
            column = self.both[name]
            stamp = name.endswith((EVENT_SUFFIX, CREATED_SUFFIX)) or pd.api.types.is_datetime64_any_dtype(column)
            if name in said or stamp or pd.api.types.is_float_dtype(column):
                continue
            if name in self.inputs and name in self.numbers:
                continue
            codes = pd.factorize(column)[0].astype(np.intp)
            rows = int((codes >= 0).sum())
            values = int(codes.max(initial=-1)) + 1
            few = _IDENTIFIER_ROWS if name in self.inputs else np.inf
            if 5 <= values <= 0.9 * rows and rows / values <= few:
                found[name] = codes
        return found

    @cached_property
    def categories(self) -> dict[str, NDArray[np.intp]]:
        """A number (n,) for each value, -1 where missing, of each text input and of each column of `entities`."""
        texts = [name for name in self.inputs if name not in self.numbers]
        return {**self.entities, **{name: pd.factorize(self.both[name])[0].astype(np.intp) for name in texts}}


def distinct(values: Floats) -> int:
    return len(np.unique(values[~np.isnan(values)]))


def whole(values: Floats) -> bool:
    """Whether all numbers are integers; such columns meet round figures by chance."""
    filled = values[~np.isnan(values)]
    return bool(np.all(filled == np.round(filled)))


def finding(
    code: str,
    outcome: Outcome,
    reason: str,
    *,
    rows: int,
    subject: str = "",
    measured: float | None = None,
    bound: str = "",
    unit: str = "",
    severity: Severity = Severity.ERROR,
) -> Finding:
    return Finding(
        code=code,
        outcome=outcome,
        severity=severity,
        subject=subject,
        measured=rounded(measured) if isinstance(measured, float) else measured,
        bound=bound,
        unit=unit,
        sample_size=rows,
        source="training set and holdout",
        reason=reason,
    )


def group_means(codes: NDArray[np.intp], values: Floats) -> tuple[Floats, Floats]:
    """Rows (g,) and mean (g,) of each group; codes (n,) run from 0, and every group has a row."""
    rows = np.bincount(codes).astype(np.float64)
    return rows, np.bincount(codes, weights=values) / rows


def numbered(values: NDArray[Any]) -> NDArray[np.intp]:
    return np.unique(values, return_inverse=True)[1].astype(np.intp)
