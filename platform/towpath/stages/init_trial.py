"""A trial of the drafted model on its own training rows: what bounds can it honestly be held to?

Every training row is predicted by a model that did not see it (Stone 1974, *JRSS B* 36), by time where there is one. A
bound lies halfway between what these predictions reach and what no model reaches. On few rows chance alone may miss
that: samples of the holdout's size are drawn, each from rows that were drawn themselves, since the training rows and
the holdout are both samples (Efron and Tibshirani 1993, chapter 8), and measured as the evaluation will measure the
holdout, with the same intervals. Where the worst end of them, and as far from their mean again, is laxer, that is the
bound. The held-out rows are not looked at: a bound that was fitted to them could not fail. What is measured is the
task's: `init_trial_binary`, `init_trial_multiclass`, `init_trial_regression`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import KFold, StratifiedKFold, TimeSeriesSplit

from towpath.core.draft_split import MIN_ROWS
from towpath.core.errors import BadInput
from towpath.core.task import Task
from towpath.measure.slices import labelled
from towpath.stages.init_files import ALL_ROWS, Bounds
from towpath.stages.init_rows import MOST_GROUPS, Floats, Rows
from towpath.stages.scoring import Scoring

DRAWS = 40
FOLDS = 4
RESAMPLES = 60
_ROWS = 4_000  # of the training rows are enough for bounds
_MANY_OUTPUTS = 100  # columns times classes; of more, one parameter set is tried: a fold takes seconds
_MOST_SLICES = 2

Fit = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the trial measured: labels (n,) and answers out of fold, and the gates' ends (draws, measures) on draws.

    `naive`: the answer of no model. `strongest`: the most that one input says alone. `columns`: how many inputs.
    """

    labels: NDArray[Any]
    scores: Floats
    ends: Floats
    naive: Floats
    strongest: float
    columns: int


class Kind(Protocol):
    """A task's part of the trial. Labels (n,) are 0 and 1, or places of classes, or numbers."""

    @property
    def scoring(self) -> Scoring: ...

    def lacking(self, labels: NDArray[Any], *, least: int) -> str:
        """What these labels lack to be learnt or judged, as a clause; nothing when they are enough."""

    def judgeable(self, labels: NDArray[Any]) -> bool:
        """Whether a group of `MIN_ROWS` rows with these labels can be judged."""

    def measurable(self, labels: NDArray[Any]) -> bool:
        """Whether every measure is defined on a sample with these labels."""

    def naive(self, labels: NDArray[Any]) -> Floats:
        """What no model answers: a number, or one for each class."""

    def strengths(self, inputs: pd.DataFrame, labels: NDArray[Any]) -> Sequence[tuple[str, float]]:
        """How much each input says alone, the strongest first."""

    def loss(self, labels: NDArray[Any], scores: Floats) -> float:
        """By which parameter sets are compared."""

    def ends(self, labels: NDArray[Any], scores: Floats, naive: Floats) -> tuple[float, ...]:
        """The unfavourable ends of the intervals that the gates look at; the last is of the gain over no model."""

    def group_end(self, labels: NDArray[Any], scores: Floats) -> float:
        """The same of a group."""

    def bounds(self, measured: Measured) -> Bounds:
        """The charter's bounds, but for the slices."""

    def group_bound(self, ends: Sequence[float], measured: Measured) -> str:
        """The bound of a slice's groups."""

    @property
    def no_model(self) -> str:
        """What no model does, as a clause: `always predicting …`."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What the trial found; a `warning` when the drafted model will not pass."""

    bounds: Bounds
    warning: str = ""


def judged_by(kind: Kind, holdout: Rows) -> list[str]:
    """Columns of few values with a group that is large enough to be judged; the column of all rows without one."""
    found = [
        name
        for name in holdout.groups.columns
        if name != ALL_ROWS and holdout.groups[name].nunique() <= MOST_GROUPS and _judgeable(kind, holdout, name)
    ]
    return found[:_MOST_SLICES] or [ALL_ROWS]


def _judgeable(kind: Kind, holdout: Rows, name: str) -> list[str]:
    groups = labelled(holdout.groups[name].to_numpy())
    return [
        value
        for value in sorted(set(groups.tolist()))
        if (groups == value).sum() >= MIN_ROWS and kind.judgeable(holdout.labels[groups == value])
    ]


def require_enough(kind: Kind, train: Rows, holdout: Rows, *, by_time: bool, before: Sequence[str] = ()) -> None:
    """Raises `BadInput` when a side has too few rows, or too few of a class, to fit or to judge.

    `before`: what else was found until then, as sentences.
    """
    for rows, side, least in ((train, "training", FOLDS * 2), (holdout, "held-out", 0)):
        many = len(rows.labels)
        lacking = kind.lacking(rows.labels, least=least) if many >= MIN_ROWS else f"at least {MIN_ROWS} are needed"
        if lacking:
            raise BadInput(
                " ".join([*before, f"There are {many:,} {side} rows: {lacking}."]),
                value=many,
                hint="The newest rows are held out; leave out --time to hold out some of all times."
                if by_time
                else "Rows with the same inputs are held out together; --key or --time tells them apart.",
            )


def trial(
    kind: Kind,
    fit: Fit,
    train: Rows,
    holdout: Rows,
    sweep: Sequence[Mapping[str, Any]],
    *,
    by_time: bool,
    slices: Sequence[str],
) -> Trial:
    """Fit the drafted model in folds of the training rows, and draft the gates from what it reaches."""
    some = _newest(train) if by_time else _thinned(train)
    columns = train.inputs.shape[1]
    tried = sweep if columns * kind.scoring.width <= _MANY_OUTPUTS else sweep[:1]
    labels, scores, groups = min(
        (_out_of_fold(kind, fit, some, params, by_time=by_time) for params in tried),
        key=lambda found: kind.loss(found[0], found[1]) if found[0].size else math.inf,
    )
    naive = kind.naive(train.labels)
    ends = [
        kind.ends(labels[places], scores[places], naive)
        for places in _draws(np.arange(labels.size), min(len(holdout.labels), _ROWS), DRAWS)
        if kind.measurable(labels[places])
    ]
    if not ends:
        raise BadInput(
            "The training rows hold one class only, so no model can be tried.",
            value=str(labels[:1]),
            hint="Check the target, or hold out other rows.",
        )
    strengths = kind.strengths(some.inputs, some.labels)
    measured = Measured(
        labels=labels,
        scores=scores,
        ends=np.array(ends),
        naive=naive,
        strongest=strengths[0][1] if strengths else 0.0,
        columns=columns,
    )
    bounds = kind.bounds(measured)
    groupwise = [_slice(kind, name, holdout, measured, groups) for name in slices]
    return Trial(bounds=bounds.followed_by(["slices:", *groupwise]), warning=_warning(kind, measured))


def _thinned(train: Rows) -> Rows:
    every = max(1, len(train.labels) // _ROWS)
    return train.taken(np.arange(0, len(train.labels), every))


def _newest(train: Rows) -> Rows:
    return train.taken(np.arange(max(0, len(train.labels) - _ROWS), len(train.labels)))


_Scored = tuple[NDArray[Any], Floats, pd.DataFrame]


def _out_of_fold(kind: Kind, fit: Fit, rows: Rows, params: Mapping[str, Any], *, by_time: bool) -> _Scored:
    """Labels, answers and groups of the rows that some fold held out, of classes that it had."""
    classes = kind.scoring.task is not Task.REGRESSION
    found: list[tuple[NDArray[np.intp], Floats]] = []
    target = pd.Series(rows.labels)
    for inside, outside in _folds(rows, classes=classes, by_time=by_time):
        known = outside[np.isin(rows.labels[outside], rows.labels[inside])] if classes else outside
        if known.size and kind.measurable(rows.labels[inside]):
            model = fit(rows.inputs.iloc[inside], target.iloc[inside], params=params, seed=0)
            found.append((known, kind.scoring.scores(model, rows.inputs.iloc[known])))
    places = np.concatenate([one for one, _ in found]) if found else np.empty(0, dtype=np.intp)
    scores = np.concatenate([one for _, one in found]) if found else np.empty(0)
    order = np.argsort(places)
    places = places[order]
    return rows.labels[places], scores[order], rows.groups.iloc[places].reset_index(drop=True)


def _folds(rows: Rows, *, classes: bool, by_time: bool) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    folds: Any
    if by_time:
        folds = TimeSeriesSplit(FOLDS)
    elif classes and min(np.unique(rows.labels, return_counts=True)[1]) >= FOLDS:
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    else:
        folds = KFold(FOLDS, shuffle=True, random_state=0)
    yield from folds.split(rows.inputs, rows.labels)


def _draws(places: NDArray[np.intp], size: int, times: int) -> Iterator[NDArray[np.intp]]:
    """Places (size,) of a sample of a sample of the given ones, so many times."""
    generator = np.random.default_rng(0)
    for _ in range(times if places.size else 0):
        yield places[generator.choice(generator.integers(0, places.size, size=places.size), size=size)]


def _slice(kind: Kind, name: str, holdout: Rows, measured: Measured, groups: pd.DataFrame) -> str:
    found, held = labelled(groups[name].to_numpy()), labelled(holdout.groups[name].to_numpy())
    ends = [
        kind.group_end(measured.labels[drawn], measured.scores[drawn])
        for value in _judgeable(kind, holdout, name)
        for drawn in _draws(np.flatnonzero(found == value), min(int((held == value).sum()), _ROWS), DRAWS // 2)
        if kind.measurable(measured.labels[drawn])
    ]
    told = " # DECIDE: no column has few enough values; name one whose groups matter" if name == ALL_ROWS else ""
    return f"  - {{by: {json.dumps(name)}, minRows: {MIN_ROWS}, {kind.group_bound(ends, measured)}}}{told}"


def _warning(kind: Kind, measured: Measured) -> str:
    if float(np.median(measured.ends[:, -1])) > 0:
        return ""
    return (
        f"On samples of the holdout's size the drafted model is not better than {kind.no_model}, beyond chance: "
        "`towpath run` will refuse it (eval.baseline). More rows, other columns or another model may help."
    )
