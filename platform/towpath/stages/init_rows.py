"""The rows of a drafted project, as the path will make them by the drafted SQL: training rows and held-out ones."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from towpath.core import names
from towpath.core.draft import Plan, Shape
from towpath.core.draft_columns import Role
from towpath.core.draft_split import Split
from towpath.core.profile import Value
from towpath.core.task import Task
from towpath.measure import leakage_frame
from towpath.measure.metrics import Floats
from towpath.ports import Transforms, Window
from towpath.stages.init_files import ALL_ROWS, Owner, repository, row_id, view_name

__all__ = ["MOST_GROUPS", "Floats", "Rows", "Sides", "classes", "sides"]

MOST_GROUPS = 12


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of one side of the split: model inputs (n rows), labels (n,), and the columns to judge groups by.

    Labels are 0 and 1, places among `classes`, or numbers, as the task is.
    """

    inputs: pd.DataFrame
    labels: NDArray[Any]
    groups: pd.DataFrame

    def taken(self, places: NDArray[np.intp]) -> Self:
        return replace(
            self,
            inputs=self.inputs.iloc[places].reset_index(drop=True),
            labels=self.labels[places],
            groups=self.groups.iloc[places].reset_index(drop=True),
        )


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Both sides, and the same as the leakage checks look at them."""

    train: Rows
    holdout: Rows
    split: leakage_frame.Split


def classes(drafted: Plan) -> tuple[Value, ...]:
    """A multiclass target's classes, sorted as scikit-learn sorts them."""
    return tuple(np.unique(np.array(drafted.target.classes)).tolist())


def sides(drafted: Plan, split: Split, file: Path, scratch: Path, *, transforms: Transforms, owner: Owner) -> Sides:
    """The rows of the file that the drafted project would learn from and be judged by, oldest first."""
    whole = replace(drafted, every=1)
    folder = Path(tempfile.mkdtemp(dir=scratch))
    for place, text in repository(whole, split, owner=owner, slices=[ALL_ROWS]).items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    built = transforms.build(
        folder / "feature_repo",
        {drafted.asked.table: file},
        window=Window(start=split.start, end=split.as_of),
        target=folder,
    )
    frame = pd.read_parquet(built.spine)
    if drafted.shape is Shape.FACTS:
        key = row_id(drafted)
        facts = pd.read_parquet(built.sources[view_name(drafted)]).drop(columns=[names.EVENT_TIME, "created_timestamp"])
        frame = frame.merge(facts.drop_duplicates(key), on=key, how="left")
    frame = frame.sort_values(names.EVENT_TIME, kind="stable", ignore_index=True)
    held_out = frame[names.EVENT_TIME] >= pd.Timestamp(split.cut)
    train, holdout = frame.loc[~held_out].reset_index(drop=True), frame.loc[held_out].reset_index(drop=True)
    return Sides(
        train=_side(drafted, train),
        holdout=_side(drafted, holdout),
        split=leakage_frame.Split(
            train=train.drop(columns=ALL_ROWS),
            holdout=holdout.drop(columns=ALL_ROWS),
            inputs=_inputs(drafted),
            target=drafted.label,
            row_id=row_id(drafted),
        ),
    )


def _side(drafted: Plan, frame: pd.DataFrame) -> Rows:
    few = [column.name for column in drafted.inputs if 2 <= column.profile.distinct <= MOST_GROUPS]
    texts = [column.name for column in drafted.inputs if column.role is Role.CATEGORY and column.name in few]
    labels = frame[drafted.label].to_numpy()
    if drafted.target.task is Task.MULTICLASS:
        labels = np.searchsorted(np.array(classes(drafted)), labels.astype(type(classes(drafted)[0])))
    return Rows(
        inputs=frame[_inputs(drafted)].reset_index(drop=True),
        labels=labels,
        groups=frame[[*texts, *(name for name in few if name not in texts), ALL_ROWS]].reset_index(drop=True),
    )


def _inputs(drafted: Plan) -> Sequence[str]:
    return [column.name for column in drafted.inputs]
