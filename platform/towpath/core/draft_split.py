"""Which rows a drafted project holds out: the newest by a time, or, where there is none, some by their content.

Rows without a time get a made one, the same whenever and wherever they are read: training rows stand in 1971, held-out
rows in 2000. What they are is told by their content, so rows with the same inputs are never on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from towpath.core.errors import BadInput
from towpath.core.task import Task

FACTS_AT = 86_400  # 1970-01-02: what is true of a row was known before any prediction
TRAIN_AT = 31_536_000  # 1971
HOLDOUT_AT = 946_684_800  # 2000
MIN_ROWS, MIN_CLASS = 50, 10  # of the holdout, for its groups to be judged
MIN_OF_SEVERAL = 8  # rows of each of several classes, held out
_SHARES = (0.2, 0.25, 0.3, 0.4, 0.5)
# Rows and rows of the rarest class, held out; of several classes one may be so rare that it is hardly judged.
_WISHED = {
    Task.BINARY: ((200, 40), (60, 12), (MIN_ROWS + 2, MIN_CLASS + 1)),
    Task.MULTICLASS: ((200, 20), (60, MIN_OF_SEVERAL), (MIN_ROWS + 2, MIN_OF_SEVERAL)),
    Task.REGRESSION: ((200, 0), (60, 0), (MIN_ROWS + 2, 0)),
}
_YEARS = timedelta(days=18_262)  # a window that reaches the made holdout from 2022 to 2049


@dataclass(frozen=True, kw_only=True)
class Split:
    """`share` of the rows held out; the charter's windows, and since when rows are held out, as seen at `as_of`."""

    share: float
    span: timedelta
    holdout: timedelta
    as_of: datetime

    @property
    def cut(self) -> datetime:
        return self.as_of - self.holdout

    @property
    def start(self) -> datetime:
        return self.cut - self.span


def share_held_out(rows: int, rarest: int | None, *, task: Task, table: str) -> float:
    """The share to hold out: the least that is enough to judge a model by, of rows and of the rarest class.

    `rarest`: the rows of that class; None when there are no classes. Raises `BadInput` when half of the table is not
    enough.
    """
    for least, least_of_class in _WISHED[task]:
        for share in _SHARES:
            if rows * share >= least and (rarest is None or rarest * share >= least_of_class):
                return share
    of_class = "" if rarest is None else f", {rarest:,} of its rarest class"
    _, each = _WISHED[task][-1]
    raise BadInput(
        f"{table} has {rows:,} rows with a target{of_class}: too few to hold out rows and judge a model by them.",
        value=rows,
        hint=f"At least {2 * (MIN_ROWS + 2)} rows are needed"
        + (f", {2 * each} of each class." if rarest is not None else ".")
        + (" Group rare classes in the file, or leave their rows out." if task is Task.MULTICLASS else ""),
    )


def by_content(share: float, *, as_of: datetime) -> Split:
    """The windows that reach the made times."""
    return Split(share=share, span=timedelta(days=29_200), holdout=_YEARS, as_of=as_of)


def by_time(share: float, *, cut: int, first: int, as_of: datetime) -> Split:
    """The windows that hold out what is at or after `cut`; both times are microseconds since 1970."""
    since, until = (datetime.fromtimestamp(time // 1_000_000, tz=UTC) for time in (first, cut))
    unit = _unit(as_of - since)
    holdout = -(-(as_of - until) // unit) * unit
    span = (-(-(as_of - holdout - since) // unit) + 1) * unit
    return Split(share=share, span=max(span, unit), holdout=holdout, as_of=as_of)


def _unit(length: timedelta) -> timedelta:
    return timedelta(seconds=1) if length < timedelta(days=60) else timedelta(hours=1)


def text(length: timedelta) -> str:
    """A duration as a charter writes it."""
    seconds = int(length.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
