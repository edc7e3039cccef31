"""`POST /v1/feedback`: labels that come later, by the request and its row or by the row's own key.

A label goes into the prediction log as it comes. Sending it again changes nothing: the first label of a prediction
holds, and repeats are counted where the log is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from towpath.core.errors import BadInput, NotFound
from towpath.gateway.asked import request_id
from towpath.gateway.faults import TooLarge, Unready
from towpath.gateway.lines import ClassLine, LabelLine

MOST_LABELS = 10_000
_LONGEST_KEY = 512
_MOST_ROW = 99_999


class Label(msgspec.Struct, forbid_unknown_fields=True):
    """One label, of the row of a request, or of the row with a key: 0 or 1, or of a multiclass model a class."""

    label: int | str
    request: str | None = None
    row: int = 0
    key: str | int | None = None


class Feedback(msgspec.Struct, forbid_unknown_fields=True):
    """The body: labels of one project, which may be left out where one alone is served."""

    labels: list[Label]
    project: str | None = None


_DECODER = msgspec.json.Decoder(Feedback)


def decode(body: bytes, projects: Mapping[str, bool]) -> tuple[str, list[Label]]:
    """The project and its labels; `projects` says of each whether its champion's labels are classes.

    A class that the champion was not trained on is a label too: it came true, and the model was wrong. Raises
    `BadInput`, `NotFound` and `TooLarge`.
    """
    try:
        found = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"The body is no feedback: {error}.") from error
    project = found.project if found.project is not None or len(projects) != 1 else next(iter(projects))
    if project is None:
        raise BadInput("The feedback does not say of which project it is.", valid=sorted(projects))
    if project not in projects:
        raise NotFound(f"There is no project {project!r} here.", value=project, valid=sorted(projects))
    if not found.labels:
        raise BadInput("The feedback holds no label.", hint="Send at least one.")
    if len(found.labels) > MOST_LABELS:
        raise TooLarge(
            f"The feedback holds {len(found.labels):,} labels.",
            value=len(found.labels),
            valid=[f"1 to {MOST_LABELS:,}"],
        )
    for number, label in enumerate(found.labels):
        _check(number, label, classed=projects[project])
    return project, found.labels


def _check(number: int, label: Label, *, classed: bool) -> None:
    where, said = f"labels[{number}]", str(label.label)
    if classed:
        if not 0 < len(said) <= _LONGEST_KEY:
            raise BadInput(f"{where}.label is empty or too long.", value=said[:40])
    elif label.label not in (0, 1):
        raise BadInput(f"{where}.label is {said[:40]}.", value=said[:40], valid=[0, 1])
    if label.request is None and label.key is None:
        raise BadInput(f"{where} names neither a request nor a key.", value=number, valid=["request", "key"])
    if label.request is not None:
        request_id(label.request)
    if not 0 <= label.row <= _MOST_ROW:
        raise BadInput(f"{where}.row is {label.row}.", value=label.row, valid=[f"0 to {_MOST_ROW}"])
    if label.key is not None and not 0 < len(str(label.key)) <= _LONGEST_KEY:
        raise BadInput(f"{where}.key is empty or too long.", value=str(label.key)[:40])


def record(project: str, labels: list[Label], *, at: float, classed: bool, write: Callable[[bytes], bool]) -> int:
    """Write the labels into the log, before they are acknowledged. Raises `Unready` when that cannot be done now."""
    for label in labels:
        if not write(msgspec.json.encode(_line(project, label, at=at, classed=classed))):
            raise Unready("The label cannot be written now.", hint="Send all of them again; repeats do no harm.")
    return len(labels)


def _line(project: str, label: Label, *, at: float, classed: bool) -> LabelLine | ClassLine:
    key = None if label.key is None else str(label.key)
    if classed:
        return ClassLine(
            at=at,
            project=project,
            request=label.request,
            row=label.row,
            key=key,
            named=str(label.label),
            source="feedback",
        )
    return LabelLine(
        at=at,
        project=project,
        request=label.request,
        row=label.row,
        key=key,
        label=int(label.label),
        source="feedback",
    )
