"""What a model answers, by its task: probabilities, or numbers. A part of several stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from towpath.core.errors import BadInput
from towpath.core.evidence import Entry
from towpath.core.task import Task
from towpath.measure import targets

Scores = NDArray[np.float64]
_NAMED = 5  # classes, in a sentence
_HINTS = {
    Task.BINARY: "fit must return a classifier of two classes, fitted on the rows that it was given.",
    Task.MULTICLASS: "fit must return a classifier of the target's classes, fitted on the rows that it was given.",
    Task.REGRESSION: "fit must return a regressor, fitted on the rows that it was given.",
}


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How a model of one task is asked."""

    task: Task = Task.BINARY
    classes: tuple[str | int, ...] = ()
    """Of a multiclass model, in the order of its probabilities."""

    @classmethod
    def of(cls, trained: Entry) -> Self:
        """As a train entry recorded it; an entry of before there were tasks is of a binary model."""
        classes: Any = trained.facts.get("classes", ())
        return cls(task=Task(str(trained.facts.get("task", Task.BINARY.value))), classes=tuple(classes))

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a train entry records; nothing for a binary model, as before there were others."""
        named = {} if self.task is Task.BINARY else {"task": self.task.value}
        return {**named, "classes": list(self.classes)} if self.classes else named

    @property
    def width(self) -> int:
        """Numbers that a row is answered with."""
        return len(self.classes) or 1

    def unlike(self, champion: Scoring) -> tuple[str, str] | None:
        """In what the champion's answers are others, and why they cannot be compared; None when they are alike."""
        if champion.task is not self.task:
            return "task", f"the champion is a {champion.task.value} model, so the two cannot be compared"
        if champion.classes == self.classes:
            return None
        added = [str(one) for one in self.classes if one not in champion.classes]
        removed = [str(one) for one in champion.classes if one not in self.classes]
        moved = [f"{what} {_listed(names)}" for what, names in (("new", added), ("gone", removed)) if names]
        return "classes", f"the classes are not the champion's ({'; '.join(moved)}), so the two cannot be compared"

    def labels(self, target: pd.Series[Any]) -> NDArray[Any]:
        """The labels (n,) as they are measured: of a multiclass target, each class's place.

        Raises `BadInput` for a class that the training rows did not have.
        """
        if self.task is not Task.MULTICLASS:
            return target.to_numpy()
        places = {one: place for place, one in enumerate(self.classes)}
        plain = [targets.plain(value) for value in target]
        strange = sorted({str(value) for value in plain if value not in places})
        if strange:
            were = "class was" if len(strange) == 1 else "classes were"
            raise BadInput(
                f"{len(strange)} {were} not among the training rows, the first {strange[0]!r}.",
                value=strange[0],
                valid=[str(one) for one in self.classes[:20]],
                hint="Widen training.span, or merge rare classes in transforms/spine.sql.",
            )
        return np.array([places[value] for value in plain], dtype=np.intp)

    def learnt(self, target: pd.Series[Any]) -> NDArray[np.bool_]:
        """Rows (n,) that are not of a class which the training rows did not have; a missing label is of no class."""
        if self.task is not Task.MULTICLASS:
            return np.ones(len(target), dtype=np.bool_)
        plain = [targets.plain(value) for value in target]
        return np.array([value in self.classes for value in plain], dtype=np.bool_) | target.isna().to_numpy(dtype=bool)

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
        """The model's answers, unchecked: probabilities of class 1 (n,) or of each class (n, k), or numbers (n,)."""
        if self.task is Task.REGRESSION:
            return np.asarray(model.predict(rows), dtype=np.float64)
        chances = np.asarray(model.predict_proba(rows), dtype=np.float64)
        return self._by_class(model, chances) if self.task is Task.MULTICLASS else chances[:, 1]

    def columns(self, scores: Scores) -> dict[str, Any]:
        """The answers as a table's columns: `score`, and of a multiclass model the most probable class, its `score`."""
        if self.task is not Task.MULTICLASS:
            return {"score": scores}
        return {"predicted": [self.classes[place] for place in scores.argmax(axis=1)], "score": scores.max(axis=1)}

    def _by_class(self, model: Any, chances: Scores) -> Scores:
        """The probabilities in the order of `classes`; 0 for a class that the model has not seen."""
        known = [targets.plain(value) for value in model.classes_]
        if len(known) != chances.shape[1] or not set(known) <= set(self.classes):
            kind, valid = type(model).__name__, [str(one) for one in self.classes[:20]]
            strange = [str(one) for one in known if one not in self.classes]
            raise BadInput(
                f"The project's {kind} has the classes {known[:5]}.",
                value=strange[0] if strange else kind,
                valid=valid,
                hint=_HINTS[self.task],
            )
        found = np.zeros((len(chances), len(self.classes)))
        found[:, [self.classes.index(one) for one in known]] = chances
        return found

    def checked(self, model: Any, rows: pd.DataFrame) -> Scores:
        """The same of a model that is new. Raises `BadInput` for one that gives anything else."""
        kind, hint = type(model).__name__, _HINTS[self.task]
        regression = self.task is Task.REGRESSION
        if self.task is Task.MULTICLASS:
            return self._checked_classes(model, rows)
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

    def _checked_classes(self, model: Any, rows: pd.DataFrame) -> Scores:
        kind, hint = type(model).__name__, _HINTS[self.task]
        try:
            found = self.scores(model, rows)
        except BadInput:
            raise
        except Exception as error:
            raise BadInput(f"The project's {kind} cannot predict: {error}", value=kind, hint=hint) from error
        if not np.isfinite(found).all():
            raise BadInput(f"The project's {kind} predicts nan or infinity.", value=kind, hint=hint)
        return found


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
