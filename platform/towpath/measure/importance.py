"""Permutation importance: how much worse the loss becomes when one column is shuffled.

Breiman 2001 (*Random Forests*, Machine Learning 45); Fisher, Rudin and Dominici 2019 (JMLR 20) for any model. It tells
what this model uses, not what causes the outcome; of two columns that say the same, each may look unimportant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from towpath.core.errors import BadInput
from towpath.measure.metrics import Floats, Scored

REPEATS = 5
MAX_ROWS = 5_000

Losses = Callable[[ArrayLike, ArrayLike], Floats]
"""The loss of each row (n,), of its label and what the model answered."""
Predict = Callable[[pd.DataFrame], ArrayLike]


@dataclass(frozen=True, kw_only=True)
class Importance:
    """The increase in the loss when the column is shuffled: mean and standard deviation over the repeats."""

    column: str
    increase: float
    spread: float


def importance(
    predict: Predict,
    inputs: pd.DataFrame,
    labels: ArrayLike,
    *,
    repeats: int = REPEATS,
    max_rows: int = MAX_ROWS,
    seed: int = 0,
    losses: Losses | None = None,
) -> tuple[Importance, ...]:
    """Every column of `inputs`, the most important first.

    `predict` gives the model's answers for a frame like `inputs`, and `losses` tells how bad they are; by default these
    are probabilities of class 1 and their log loss. At most `max_rows` rows are used, drawn by the
    seed. Raises `BadInput` for no rows or labels of another length.
    """
    truth = np.asarray(labels)
    if truth.shape != (len(inputs),) or inputs.empty:
        raise BadInput(f"There are {truth.size} labels for {len(inputs)} rows.", value=truth.size, valid=[len(inputs)])
    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.permutation(len(inputs))[:max_rows])
    rows, truth = inputs.iloc[chosen].reset_index(drop=True), truth[chosen]
    bad = losses or log_losses

    def mean_losses(frame: pd.DataFrame, labels: ArrayLike, parts: int) -> Floats:
        """Of equally long consecutive parts of the rows (parts,): one call of the model for all of them."""
        return bad(labels, predict(frame)).reshape(parts, -1).mean(axis=1)

    whole = mean_losses(rows, truth, 1)[0]
    found = []
    for name in rows.columns:
        shuffled = pd.concat([rows] * repeats, ignore_index=True)
        order = np.concatenate([generator.permutation(len(rows)) for _ in range(repeats)])
        shuffled[name] = rows[name].iloc[order].reset_index(drop=True)
        increases = mean_losses(shuffled, np.tile(truth, repeats), repeats) - whole
        found.append(
            Importance(
                column=str(name),
                increase=float(increases.mean()),
                spread=float(increases.std(ddof=min(1, repeats - 1))),
            )
        )
    return tuple(sorted(found, key=lambda item: (-item.increase, item.column)))


def log_losses(truth: ArrayLike, probabilities: ArrayLike) -> Floats:
    """Log loss by row, in nats, of probabilities of class 1."""
    return Scored.of(truth, probabilities).losses
