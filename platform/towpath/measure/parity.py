"""Parity: whether a compiled model answers as scikit-learn does, measured on every holdout row and on unusual ones.

It is measured for each model and never assumed: converters have turned models into wrong ones without an error. A row
that scikit-learn refuses must be refused by the compiled model too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from towpath.core.errors import BadInput
from towpath.core.evidence import Finding, Outcome, Severity
from towpath.measure.parity_rows import Row, Unusual, fits, frame_of, rows_of, unusual
from towpath.measure.verdicts import count
from towpath.ports import Runtime

Answer = float | list[float]  # one number, or one for each class
Answers = list[Answer | None]  # None: the row was refused
Score = Callable[[pd.DataFrame], NDArray[np.float64]]  # what scikit-learn answers a frame's rows, one each

_BLOCK, _FEW = 4096, 16


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What scikit-learn answers: on the holdout, and on rows with an unusual value."""

    rows: Sequence[Row]
    expected: Sequence[Answer | None]
    what: Sequence[str]
    holdout: int
    scaled: bool = False
    """Whether the answers are a regression's, whose differences are told in standard deviations."""
    scale: float = 1.0
    """What a difference is divided by; 1 too where a regression gives every row the same answer."""
    width: int = 1
    """Numbers that a row is answered with."""

    @property
    def told(self) -> str:
        """What is compared, and in which unit where that is not its own."""
        if not self.scaled:
            return "probabilities"
        alike = len({str(one) for one in self.expected[: self.holdout]}) < 2
        return "predictions" if alike else "predictions (in standard deviations of them)"

    @property
    def compared(self) -> str:
        return f"{count(self.holdout)} of the holdout and {len(self.rows) - self.holdout:,} with an unusual value"


def reference(
    model: Any,
    holdout: pd.DataFrame,
    *,
    columns: Sequence[str],
    types: Mapping[str, str],
    score: Score | None = None,
    scaled: bool = False,
    width: int = 1,
) -> Reference:
    """scikit-learn's own answers. The holdout is given to it as it is, as when the model was evaluated.

    `score` asks the model; by default for the probability of class 1. `scaled`: differences are told in standard
    deviations of the holdout's answers, for a regression, whose unit is any. `width`: numbers of each answer.

    Text for a number, or a number for text, counts as refused, though pandas would read "12" as 12.
    """
    asked: Score = score or (lambda frame: model.predict_proba(frame)[:, 1])
    odd: tuple[Unusual, ...] = unusual(model, holdout, columns, types)
    with threadpool_limits(limits=1), np.errstate(all="ignore"):  # sklearn overflows before it refuses
        known = asked(holdout[list(columns)]).tolist() if len(holdout) else []
        fitting = [one.row for one in odd if fits(one.row, columns, types)]
        answered = iter(
            answers(
                lambda rows: asked(frame_of(rows, columns, types)).tolist(),
                fitting,
                refusal=ValueError,
            )
        )
    strange = [next(answered) if fits(one.row, columns, types) else None for one in odd]
    return Reference(
        rows=[*rows_of(holdout, columns), *(one.row for one in odd)],
        expected=[*known, *strange],
        what=[*(f"holdout row {number}" for number in range(len(holdout))), *(one.what for one in odd)],
        holdout=len(holdout),
        width=width,
        scaled=scaled,
        scale=(float(np.std(known)) or 1.0) if scaled and known else 1.0,
    )


def answers(
    score: Callable[[Sequence[Row]], Sequence[Answer]], rows: Sequence[Row], *, refusal: type[Exception]
) -> Answers:
    """What `score` answers each row. A block that is refused is halved, and a small one gone through row by row."""
    if not rows:
        return []
    if len(rows) > _BLOCK:
        return [
            one
            for begin in range(0, len(rows), _BLOCK)
            for one in answers(score, rows[begin : begin + _BLOCK], refusal=refusal)
        ]
    try:
        return list(score(rows))
    except refusal:
        if len(rows) == 1:
            return [None]
    if len(rows) <= _FEW:
        return [one for row in rows for one in answers(score, [row], refusal=refusal)]
    half = len(rows) // 2
    return answers(score, rows[:half], refusal=refusal) + answers(score, rows[half:], refusal=refusal)


def parity(runtime: Runtime, truth: Reference, *, tolerance: float) -> Finding:
    """One finding for the runtime's kind: the greatest difference, and the row on which it is.

    A row that only one of the two refuses counts as a difference of 1. No holdout row is INCONCLUSIVE. The measured
    value differs in its last digits from machine to machine, so it is recorded and not digested.
    """
    found = answers(lambda rows: _regrouped(runtime.predict(rows), truth.width), truth.rows, refusal=BadInput)
    gaps = np.array([_gap(one, two, truth.scale) for one, two in zip(truth.expected, found, strict=True)])
    worst = int(np.argmax(gaps)) if len(gaps) else 0
    gap = float(gaps[worst]) if len(gaps) else 0.0
    apart = int((gaps > tolerance).sum())
    if not truth.holdout:
        outcome, reason = Outcome.INCONCLUSIVE, f"{runtime.kind}: there is no holdout row to compare on"
    elif apart:
        outcome = Outcome.FAIL
        reason = (
            f"{runtime.kind} differs on {count(apart)} of {truth.compared}, most on {truth.what[worst]}: "
            f"scikit-learn {_said(truth.expected[worst])}, {runtime.kind} {_said(found[worst])}"
        )
    else:
        outcome = Outcome.PASS
        reason = f"{runtime.kind} gives scikit-learn's {truth.told} within {gap:.1e} on {truth.compared}"
    return Finding(
        code="register.parity",
        outcome=outcome,
        severity=Severity.ERROR if outcome is Outcome.PASS else Severity.WARNING,
        subject=runtime.kind,
        measured=gap,
        bound=f"<= {tolerance:g}",
        sample_size=len(truth.rows),
        source="holdout and unusual rows",
        reason=reason,
        volatile=True,
    )


def _regrouped(answered: list[float], width: int) -> Sequence[Answer]:
    """What was answered row by row: of a multiclass model, the numbers of a row follow on those of the row before."""
    if width == 1:
        return answered
    return [answered[begin : begin + width] for begin in range(0, len(answered), width)]


def _gap(expected: Answer | None, found: Answer | None, scale: float) -> float:
    if expected is None or found is None:
        return 0.0 if expected is found else 1.0
    if isinstance(expected, list) or isinstance(found, list):
        one, two = np.atleast_1d(expected), np.atleast_1d(found)
        gap = float(np.max(np.abs(one - two))) if one.shape == two.shape else 1.0
    else:
        gap = abs(expected - found) / scale
    return gap if gap == gap else 1.0


def _said(answer: Answer | None) -> str:
    if answer is None:
        return "refuses it"
    return f"says {', '.join(f'{one:.9g}' for one in np.atleast_1d(answer))}"
