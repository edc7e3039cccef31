"""A trial of the drafted model on its own training rows: what bounds can it honestly be held to?

Every training row is predicted by a model that did not see it (Stone 1974, *JRSS B* 36), by time where there is one. A
bound lies halfway between what these predictions reach and what no model reaches. On few rows chance alone may miss
that: samples of the holdout's size are drawn, each from rows that were drawn themselves, since the training rows and
the holdout are both samples (Efron and Tibshirani 1993, chapter 8), and measured as the evaluation will measure the
holdout, with the same intervals. Where the worst end of them, and as far from their mean again, is laxer, that is the
bound. The held-out rows are not looked at: a bound that was fitted to them could not fail.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold, TimeSeriesSplit

from towpath.core.draft_split import MIN_CLASS, MIN_ROWS
from towpath.core.errors import BadInput
from towpath.measure import metrics, proxy
from towpath.measure.slices import labelled
from towpath.stages.init_files import ALL_ROWS, Bounds

DRAWS = 40
FOLDS = 4
_RESAMPLES = 60
_ROWS = 4_000  # of the training rows are enough for bounds
_DISGUISED = 0.995  # of ROC AUC by a column alone: it is the target under another name
_CALIBRATED = 0.1  # an error that few decisions notice
_HONEST = 0.97  # the charter's own default
_MANY_COLUMNS = 100  # of more, one parameter set is tried: a fold takes seconds
_MOST_GROUPS = 12
_MOST_SLICES = 2

Fit = Callable[..., Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of one side of the split: model inputs (n rows), labels (n,), and the columns to judge groups by."""

    inputs: pd.DataFrame
    labels: NDArray[Any]
    groups: pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What the trial found; a `warning` when the drafted model will not pass."""

    bounds: Bounds
    slices: Sequence[str]
    warning: str = ""


def disguised(train: Rows) -> dict[str, str]:
    """Inputs that alone rank the target as no honest column does, with the reason for leaving them out."""
    return {
        alone.column: f"alone it ranks the target with ROC AUC {alone.roc_auc:.4f}: the target in disguise, or known "
        "only afterwards"
        for alone in proxy.strengths(train.inputs, train.labels)
        if alone.roc_auc >= _DISGUISED
    }


def judged_by(holdout: Rows) -> list[str]:
    """Columns of few values with a group that is large enough to be judged; the column of all rows without one."""
    found = [
        name
        for name in holdout.groups.columns
        if name != ALL_ROWS and holdout.groups[name].nunique() <= _MOST_GROUPS and _judgeable(holdout, name)
    ]
    return found[:_MOST_SLICES] or [ALL_ROWS]


def _judgeable(holdout: Rows, name: str) -> list[str]:
    labels = labelled(holdout.groups[name].to_numpy())
    return [
        value
        for value in sorted(set(labels.tolist()))
        if (labels == value).sum() >= MIN_ROWS and _rarest(holdout.labels[labels == value]) >= MIN_CLASS
    ]


def _rarest(labels: NDArray[Any]) -> int:
    positives = int(labels.sum())
    return min(positives, labels.size - positives)


def require_enough(train: Rows, holdout: Rows, *, by_time: bool) -> None:
    """Raises `BadInput` when a side has too few rows of a class to fit or to judge."""
    for rows, side, least in ((train, "training", FOLDS * 2), (holdout, "held-out", MIN_CLASS)):
        if len(rows.labels) < MIN_ROWS or _rarest(rows.labels) < least:
            raise BadInput(
                f"There are {len(rows.labels):,} {side} rows, {_rarest(rows.labels):,} of the rarer class; at least "
                f"{MIN_ROWS} are needed, {least} of each class.",
                value=len(rows.labels),
                hint="The newest rows are held out; leave out --time to hold out some of all times." if by_time else "",
            )


def trial(
    fit: Fit, train: Rows, holdout: Rows, sweep: Sequence[Mapping[str, Any]], *, by_time: bool, slices: Sequence[str]
) -> Trial:
    """Fit the drafted model in folds of the training rows, and draft the gates from what it reaches."""
    some = _newest(train) if by_time else _thinned(train)
    tried = sweep if train.inputs.shape[1] <= _MANY_COLUMNS else sweep[:1]
    scored = min((_out_of_fold(fit, some, params, by_time=by_time) for params in tried), key=_mean_loss)
    labels, scores, groups = scored
    base = float(train.labels.mean())
    drawn = _drawn(labels, scores, base, min(len(holdout.labels), _ROWS))
    strongest = proxy.strengths(some.inputs, some.labels)
    lines = _gates(drawn, base, columns=train.inputs.shape[1], strongest=strongest[0].roc_auc if strongest else 0.5)
    lines += ["slices:", *(_slice(name, holdout, labels, scores, groups) for name in slices)]
    return Trial(
        bounds=Bounds(lines=lines, told=_told(drawn, labels), fallback=round(base, 4)),
        slices=slices,
        warning=_warning(drawn),
    )


def _thinned(train: Rows) -> Rows:
    every = max(1, len(train.labels) // _ROWS)
    return _taken(train, np.arange(0, len(train.labels), every))


def _newest(train: Rows) -> Rows:
    return _taken(train, np.arange(max(0, len(train.labels) - _ROWS), len(train.labels)))


def _taken(rows: Rows, places: NDArray[np.intp]) -> Rows:
    return Rows(
        inputs=rows.inputs.iloc[places].reset_index(drop=True),
        labels=rows.labels[places],
        groups=rows.groups.iloc[places].reset_index(drop=True),
    )


_Scored = tuple[NDArray[Any], Floats, pd.DataFrame]


def _out_of_fold(fit: Fit, rows: Rows, params: Mapping[str, Any], *, by_time: bool) -> _Scored:
    """Labels, predictions and groups of the rows that some fold held out."""
    folds = TimeSeriesSplit(FOLDS) if by_time else StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    scores = np.full(len(rows.labels), np.nan)
    target = pd.Series(rows.labels)
    for inside, outside in folds.split(rows.inputs, rows.labels):
        if len(np.unique(rows.labels[inside])) == 2:
            model = fit(rows.inputs.iloc[inside], target.iloc[inside], params=params, seed=0)
            scores[outside] = model.predict_proba(rows.inputs.iloc[outside])[:, 1]
    kept = ~np.isnan(scores)
    return rows.labels[kept], scores[kept], rows.groups[kept]


def _mean_loss(scored: _Scored) -> float:
    labels, scores, _ = scored
    clipped = np.clip(scores, 1e-12, 1 - 1e-12)
    return float(-np.mean(np.where(labels == 1, np.log(clipped), np.log1p(-clipped)))) if labels.size else math.inf


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """For each draw the ends that the gates look at, and the values."""

    roc_auc: Floats
    log_loss: Floats
    calibration: Floats
    gain: Floats
    value: metrics.Metrics


def _drawn(labels: NDArray[Any], scores: Floats, base: float, size: int) -> _Drawn:
    generator = np.random.default_rng(0)
    ends = []
    for _ in range(DRAWS):
        places = _twice(generator, labels.size, size)
        truth, chance = labels[places], scores[places]
        if _rarest(truth) == 0:
            continue
        found = metrics.measure(truth, chance, resamples=_RESAMPLES)
        over = metrics.gain(truth, chance, np.full(truth.size, base), resamples=_RESAMPLES)
        ends.append((found.roc_auc.low, found.log_loss.high, found.calibration.high, over.log_loss.low))
    if not ends:
        raise BadInput(
            "The training rows hold one class only, so no model can be tried.",
            value=str(labels[:1]),
            hint="Check the target, or hold out other rows.",
        )
    table = np.array(ends)
    return _Drawn(
        roc_auc=table[:, 0],
        log_loss=table[:, 1],
        calibration=table[:, 2],
        gain=table[:, 3],
        value=metrics.measure(labels, scores, resamples=_RESAMPLES),
    )


def _twice(generator: np.random.Generator, rows: int, size: int) -> NDArray[np.intp]:
    """Places (size,) of a sample of a sample of the rows."""
    return generator.choice(generator.integers(0, rows, size=rows), size=size)


def _below(ends: Floats) -> float:
    """The worst low end, and as far from the mean again."""
    return float(ends.min() - (ends.mean() - ends.min()))


def _above(ends: Floats) -> float:
    return float(ends.max() + (ends.max() - ends.mean()))


def _gates(drawn: _Drawn, base: float, *, columns: int, strongest: float) -> list[str]:
    """The bounds as lines of YAML. A model must be better than no model, whatever was measured."""
    nothing = -(base * math.log(base) + (1 - base) * math.log(1 - base))
    ranking = _floor(min(_below(drawn.roc_auc), (drawn.value.roc_auc.value + 0.5) / 2))
    loss = _ceiling(max(_above(drawn.log_loss), (drawn.value.log_loss.value + nothing) / 2))
    error = min(1.0, _ceiling(max(_above(drawn.calibration), _CALIBRATED)))
    margin = _ceiling(float(drawn.value.roc_auc.value - drawn.roc_auc.min()))
    worse = _ceiling(float(drawn.log_loss.max() - drawn.value.log_loss.value))
    alone = _HONEST if strongest < _HONEST - 0.02 else min(0.999, round(1 - (1 - strongest) / 3, 4))
    return [
        f"rocAuc: {ranking}",
        f"logLoss: {loss} # always predicting the share of class 1 has {nothing:.3f}",
        f"calibration: {error}",
        "baselineLogLossGain: 0.0 # better than always predicting the share of class 1, beyond chance",
        f"champion: {{rocAucMargin: {max(0.01, margin)}, logLossMargin: {max(0.01, worse)}}}",
        f"latencyMs: {max(250, 5 * columns)} # of scikit-learn on one row; the gateway compiles the model",
        f"singleFeatureRocAuc: {alone}"
        + ("" if alone == _HONEST else " # DECIDE: one column alone comes near; is it known at prediction?"),
    ]


def _floor(value: float) -> float:
    return max(0.0, math.floor(100 * value) / 100)


def _ceiling(value: float) -> float:
    return math.ceil(100 * value) / 100


def _slice(name: str, holdout: Rows, labels: NDArray[Any], scores: Floats, groups: pd.DataFrame) -> str:
    lows = []
    found = labelled(groups[name].to_numpy())
    held = labelled(holdout.groups[name].to_numpy())
    generator = np.random.default_rng(0)
    for value in _judgeable(holdout, name):
        places = np.flatnonzero(found == value)
        size = min(int((held == value).sum()), _ROWS)
        for _ in range(DRAWS // 2 if places.size else 0):
            drawn = places[_twice(generator, places.size, size)]
            if _rarest(labels[drawn]):
                lows.append(metrics.roc_auc(labels[drawn], scores[drawn], resamples=_RESAMPLES).low)
    bound = _floor(min(_below(np.array(lows)), (float(np.mean(lows)) + 0.5) / 2)) if lows else 0.0
    told = " # DECIDE: no column has few enough values; name one whose groups matter" if name == ALL_ROWS else ""
    return f"  - {{by: {name}, minRows: {MIN_ROWS}, rocAuc: {bound}}}{told}"


def _told(drawn: _Drawn, labels: NDArray[Any]) -> list[str]:
    value = drawn.value
    told = (
        f"{labels.size:,} training rows, each predicted by a model that did not see it: ROC AUC "
        f"{value.roc_auc.value:.3f}, log loss {value.log_loss.value:.3f}, calibration error "
        f"{value.calibration.value:.3f}."
    )
    return [told]


def _warning(drawn: _Drawn) -> str:
    if float(np.median(drawn.gain)) > 0:
        return ""
    return (
        "On samples of the holdout's size the drafted model is not better than always predicting the share of class 1, "
        "beyond chance: `towpath run` will refuse it (eval.baseline). More rows, other columns or another model may "
        "help."
    )
