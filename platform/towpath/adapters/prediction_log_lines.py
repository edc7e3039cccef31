"""Lines of the prediction log as the gateway writes them: JSON, one a request and arm, or one a label.

A gateway that is killed leaves a torn last line. Whatever cannot be read is set aside with its bytes, never fatal: the
other lines of the file are evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from towpath.core.errors import BadInput

_Project = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
_Instant = Annotated[float, msgspec.Meta(ge=0, lt=2**33)]
_Number = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
_BasisPoints = Annotated[int, msgspec.Meta(ge=0, le=10_000)]


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One request, or its part that one arm answered. Lists have one element a row of the request.

    `positions` says which rows of the request these are; without it they are all of them, in order. With `classes`,
    `predictions` has one probability for each of them a row, one row's behind the other's.
    """

    v: Literal[1]
    request: str
    at: _Instant
    project: _Project
    rollout: str | None = None
    generation: _Number = 0
    step: int = 0
    arm: Literal["champion", "challenger", "shadow"]
    model: str
    candidate: str
    version: str
    weight: _BasisPoints = 0
    units: list[str | None]
    buckets: list[_BasisPoints | None]
    keys: list[str | None]
    columns: list[str]
    rows: list[list[object]]
    predictions: list[float | None] | None
    latency_ms: float
    fallback: str | None = None
    error: str | None = None
    features: dict[str, int] | None = None
    positions: list[_Number] | None = None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.rows)
        for one in (self.units, self.buckets, self.keys, self.positions):
            if one is not None and len(one) != count:
                raise ValueError(f"not every list has {count} elements, as many as there are rows")
        if self.predictions is not None and len(self.predictions) != count * (len(self.classes) or 1):
            raise ValueError(f"there are {len(self.predictions)} predictions of {count} rows")
        if self.classes and (len(set(self.classes)) != len(self.classes) or None in (self.predictions or ())):
            raise ValueError("a class is named twice, or has no probability")
        width = len(self.columns)
        for row in self.rows:
            if len(row) != width:
                raise ValueError("a row has more or fewer values than there are columns")


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """What came true of one prediction, named by its request and row or by the key of its row.

    `label` is a binary model's, `named` (in the line `class`) a multiclass model's.
    """

    v: Literal[1]
    at: _Instant
    project: _Project
    request: str | None = None
    row: _Number = 0
    key: str | None = None
    label: Literal[0, 1] | None = None
    named: str | None = msgspec.field(default=None, name="class")
    source: str

    def __post_init__(self) -> None:
        if (self.label is None) is (self.named is None):
            raise ValueError("a label is either a number or a class")
        if self.request is None and self.key is None:
            raise ValueError("a label names neither a request nor a key")


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Lines as read: what could be read, in its order, and the bytes of what could not."""

    predictions: tuple[Prediction, ...]
    labels: tuple[Label, ...]
    torn: tuple[bytes, ...]


_AT_ONCE = 200
_PREDICTION = msgspec.json.Decoder(Prediction)
_LABEL = msgspec.json.Decoder(Label)


def read(content: bytes) -> Iterator[Lines]:
    """Every line of a spool file's bytes, some at a time: many objects at once are a load on the collector."""
    whole = content.split(b"\n")
    for start in range(0, len(whole), _AT_ONCE):
        predictions: list[Prediction] = []
        labels: list[Label] = []
        torn: list[bytes] = []
        for line in whole[start : start + _AT_ONCE]:
            if not line.strip():
                continue
            try:
                predictions.append(_PREDICTION.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError):
                try:
                    labels.append(_LABEL.decode(line))
                except (msgspec.DecodeError, UnicodeDecodeError):
                    torn.append(line)
        yield Lines(predictions=tuple(predictions), labels=tuple(labels), torn=tuple(torn))


def checked(rows: Sequence[object]) -> Lines:
    """Lines given as objects of the same form. Raises `BadInput` for one that is not."""
    predictions: list[Prediction] = []
    labels: list[Label] = []
    for number, row in enumerate(rows):
        is_label = isinstance(row, dict) and bool({"label", "class"} & row.keys())
        try:
            if is_label:
                labels.append(msgspec.convert(row, Label))
            else:
                predictions.append(msgspec.convert(row, Prediction))
        except msgspec.ValidationError as error:
            raise BadInput(
                f"Line {number} for the prediction log is not of its form: {error}.", value=number
            ) from error
    return Lines(predictions=tuple(predictions), labels=tuple(labels), torn=())
