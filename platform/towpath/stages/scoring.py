"""What a model answers, by its task: probabilities, or numbers. A part of several stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from towpath.core.errors import BadInput
from towpath.core.evidence import Entry
from towpath.core.task import Task

Scores = NDArray[np.float64]
_HINTS = {
    Task.BINARY: "fit must return a classifier of two classes, fitted on the rows that it was given.",
    Task.REGRESSION: "fit must return a regressor, fitted on the rows that it was given.",
}


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How a model of one task is asked."""

    task: Task = Task.BINARY

    @classmethod
    def of(cls, trained: Entry) -> Self:
        """As a train entry recorded it; an entry of before there were tasks is of a binary model."""
        return cls(task=Task(str(trained.facts.get("task", Task.BINARY.value))))

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a train entry records; nothing for a binary model, as before there were others."""
        return {} if self.task is Task.BINARY else {"task": self.task.value}

    def require_fit(self, model: Any) -> None:
        """Raises `BadInput` for what is no fitted model of the task."""
        kind = type(model).__name__
        if self.task is Task.REGRESSION:
            from sklearn.base import is_regressor

            if not hasattr(model, "predict") or not is_regressor(model):
                raise BadInput(
                    f"The project's fit returned {kind}, which is no regressor.",
                    value=kind,
                    hint="Return a fitted scikit-learn regressor or pipeline, or change training.task.",
                )
        elif not hasattr(model, "predict_proba"):
            raise BadInput(
                f"The project's fit returned {kind}, which has no predict_proba.",
                value=kind,
                hint="Return a fitted scikit-learn classifier or pipeline.",
            )

    def scores(self, model: Any, rows: pd.DataFrame) -> Scores:
        """The model's answer for each row: probabilities of class 1 (n,), or numbers (n,), unchecked."""
        if self.task is Task.REGRESSION:
            return np.asarray(model.predict(rows), dtype=np.float64)
        return np.asarray(model.predict_proba(rows), dtype=np.float64)[:, 1]

    def checked(self, model: Any, rows: pd.DataFrame) -> Scores:
        """The same of a model that is new. Raises `BadInput` for one that gives anything else."""
        kind, hint = type(model).__name__, _HINTS[self.task]
        regression = self.task is Task.REGRESSION
        try:
            found = np.asarray(model.predict(rows) if regression else model.predict_proba(rows), dtype=np.float64)
        except Exception as error:
            raise BadInput(f"The project's {kind} cannot predict: {error}", value=kind, hint=hint) from error
        if found.shape != ((len(rows),) if regression else (len(rows), 2)):
            learnt = (
                "one class"
                if not regression and found.shape == (len(rows), 1)
                else f"predictions of shape {found.shape}"
            )
            raise BadInput(f"The project's {kind} gives {learnt} for {len(rows)} rows.", value=kind, hint=hint)
        if not np.isfinite(found).all():
            raise BadInput(f"The project's {kind} predicts nan or infinity.", value=kind, hint=hint)
        return found if regression else found[:, 1]
