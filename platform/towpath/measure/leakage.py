"""Leakage: information in training that will not be there, or not be the same, when the model serves.

Kaufman et al. 2012 (*Leakage in Data Mining*, ACM TKDD 6) divide it into leaking features and leaking rows; the four
checks here look at a feature that is the target in disguise, a feature row from the future, rows on both sides of the
split, and inputs that differ between training and serving.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from towpath.core.errors import BadInput
from towpath.core.evidence import Finding, Outcome
from towpath.measure.verdicts import count

EVENT_SUFFIX = "__event_timestamp"
CREATED_SUFFIX = "__created_timestamp"
_EXAMPLES = 3


def future_feature(rows: pd.DataFrame, *, event_timestamp: str = "event_timestamp") -> tuple[Finding, ...]:
    """Whether each joined feature row was stamped and known by its prediction time.

    `rows`: the training set with `event_timestamp` and, for each view, `<view>__event_timestamp` and
    `<view>__created_timestamp` (missing where nothing was joined). One FAIL a view that leads, one INCONCLUSIVE a view
    whose stamps cannot be compared, else one PASS. Raises `BadInput` without `event_timestamp`.
    """
    views = sorted({_view(str(name)) for name in rows.columns} - {None, ""}, key=str)
    if not views:
        return (
            _unproven(
                "",
                f"The training set has no columns named <view>{EVENT_SUFFIX} and <view>{CREATED_SUFFIX}, so nothing "
                "shows when "
                "its features were known.",
            ),
        )
    asked = _instants(rows, event_timestamp)
    found = [finding for view in views for finding in _view_findings(rows, str(view), asked)]
    if found:
        return tuple(found)
    return (
        Finding(
            code="leakage.future_feature",
            outcome=Outcome.PASS,
            measured=0,
            bound="<= 0",
            unit="rows",
            sample_size=len(rows),
            source="training set",
            reason=f"In {count(len(rows))}, no feature row of {count(len(views), 'view')} "
            f"({', '.join(map(str, views))}) was "
            "stamped or created after its prediction time.",
        ),
    )


def _view(column: str) -> str | None:
    for suffix in (EVENT_SUFFIX, CREATED_SUFFIX):
        if column.endswith(suffix):
            return column.removesuffix(suffix)
    return None


def _view_findings(rows: pd.DataFrame, view: str, asked: pd.Series[pd.Timestamp]) -> list[Finding]:
    columns = [view + EVENT_SUFFIX, view + CREATED_SUFFIX]
    absent = [name for name in columns if name not in rows.columns]
    if absent:
        return [_unproven(view, f"View {view} has no column {absent[0]}, so its rows may have become known later.")]
    stamps = {name: _instants(rows, name) for name in columns}
    late = {name: (stamp - asked).loc[stamp > asked] for name, stamp in stamps.items()}
    leading = {name: lead for name, lead in late.items() if len(lead)}
    if leading:
        name, lead = max(leading.items(), key=lambda item: (item[1].max(), item[0]))
        either = (stamps[columns[0]] > asked) | (stamps[columns[1]] > asked)
        kind = "stamped" if name == columns[0] else "created"
        return [
            Finding(
                code="leakage.future_feature",
                outcome=Outcome.FAIL,
                subject=view,
                measured=int(either.sum()),
                bound="<= 0",
                unit="rows",
                sample_size=len(rows),
                source="training set",
                reason=f"{int(either.sum()):,} of {count(len(rows))} joined a row of view {view} from after their "
                "prediction "
                f"time, {kind} up to {lead.max()} later (row {lead.idxmax()}): the model would learn from the future.",
            )
        ]
    stamped, known = stamps[columns[0]].notna(), stamps[columns[1]].notna()
    if not stamped.any():
        return [_unproven(view, f"View {view} joined no row to any of {count(len(rows))}, so nothing was compared.")]
    unknown = int((stamped & ~known).sum())
    if unknown:
        return [_unproven(view, f"Of view {view}, {count(unknown)} joined without saying when created.")]
    return []


def _unproven(subject: str, reason: str) -> Finding:
    return Finding(
        code="leakage.future_feature",
        outcome=Outcome.INCONCLUSIVE,
        subject=subject,
        bound="<= 0",
        unit="rows",
        source="training set",
        reason=reason,
    )


def _instants(rows: pd.DataFrame, name: str) -> pd.Series[pd.Timestamp]:
    """The column as UTC instants; a column without a time zone is taken as UTC."""
    if name not in rows.columns:
        raise BadInput(f"There is no column {name!r}.", value=name, valid=list(map(str, rows.columns)))
    try:
        return pd.to_datetime(rows[name], utc=True)
    except (ValueError, TypeError) as error:
        raise BadInput(f"Column {name!r} does not hold times: {error}.", value=name) from error


def overlap(
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    *,
    row_id: str,
    event_timestamp: str = "event_timestamp",
    label_timestamp: str = "label_timestamp",
) -> tuple[Finding, ...]:
    """Whether training ends before the holdout begins: no row in both, events earlier, labels known by the first
    prediction.

    Both frames hold the three named columns. One FAIL for each rule that is broken, else one PASS. Equal feature rows
    with different ids are no leak: many flights look alike. Raises `BadInput` for a missing column or time.
    """
    if train.empty or holdout.empty:
        return (
            _overlap(
                "", Outcome.INCONCLUSIVE, None, "rows", 0, "The training set or the holdout has no rows to compare."
            ),
        )
    for frame, which in ((train, "training set"), (holdout, "holdout")):
        _require_filled(frame, which, (row_id, event_timestamp, label_timestamp))
    begins = _instants(holdout, event_timestamp).min()
    event_end, label_end = _instants(train, event_timestamp).max(), _instants(train, label_timestamp).max()
    shared = pd.Index(train[row_id].unique()).intersection(pd.Index(holdout[row_id].unique()))
    compared = len(train) + len(holdout)
    found = []
    if len(shared):
        examples = ", ".join(sorted(map(str, shared))[:_EXAMPLES])
        found.append(
            _overlap(
                row_id,
                Outcome.FAIL,
                len(shared),
                "rows",
                compared,
                f"{count(len(shared))} are in the training set and in the holdout, for example {examples}: the model "
                "is examined "
                "on what it learnt.",
            )
        )
    if event_end >= begins:
        late = int((_instants(train, event_timestamp) >= begins).sum())
        found.append(
            _overlap(
                event_timestamp,
                Outcome.FAIL,
                late,
                "rows",
                compared,
                f"{count(late)} of the training set lie at or after the holdout's begin {_text(begins)}, the last at "
                f"{_text(event_end)}.",
            )
        )
    if label_end > begins:
        late = int((_instants(train, label_timestamp) > begins).sum())
        found.append(
            _overlap(
                label_timestamp,
                Outcome.FAIL,
                late,
                "rows",
                compared,
                f"The labels of {count(late)} of the training set became known after the holdout's begin "
                f"{_text(begins)}, the "
                f"last at {_text(label_end)}: a model trained then could not have had them.",
            )
        )
    return tuple(found) or (
        _overlap(
            "",
            Outcome.PASS,
            0,
            "rows",
            compared,
            f"{count(len(train))} of training end {_text(event_end)} with labels known by {_text(label_end)}; "
            f"{count(len(holdout))} of the holdout begin {_text(begins)}; none is in both.",
        ),
    )


def _require_filled(frame: pd.DataFrame, which: str, columns: Sequence[str]) -> None:
    for name in columns:
        if name not in frame.columns:
            raise BadInput(f"The {which} has no column {name!r}.", value=name, valid=list(map(str, frame.columns)))
        if frame[name].isna().any():
            raise BadInput(
                f"The {which} has {count(int(frame[name].isna().sum()))} without {name!r}.",
                value=name,
                hint="Every row needs its id, its prediction time and the time its label became known.",
            )


def _overlap(subject: str, outcome: Outcome, measured: int | None, unit: str, sample: int, reason: str) -> Finding:
    return Finding(
        code="leakage.overlap",
        outcome=outcome,
        subject=subject,
        measured=measured,
        bound="<= 0",
        unit=unit,
        sample_size=sample,
        source="training set and holdout",
        reason=reason,
    )


def _text(instant: pd.Timestamp) -> str:
    return instant.strftime("%Y-%m-%d %H:%M UTC")
