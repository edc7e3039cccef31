"""Lines of the prediction log, as the gateway writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from towpath.gateway.asked import Asked
    from towpath.gateway.plan import Assigned, Part


class PredictionLine(msgspec.Struct, kw_only=True):
    """One request, or the rows of it that one arm answered; lists have one element a row."""

    v: int = 1
    request: str
    at: float
    project: str
    rollout: str | None
    generation: int
    step: int
    arm: str
    model: str
    candidate: str
    version: str
    weight: int
    units: list[str | None]
    buckets: list[int | None]
    keys: list[str | None]
    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]
    predictions: list[float] | None
    latency_ms: float
    fallback: str | None
    error: str | None
    features: dict[str, int] | None
    positions: list[int] | None


class ClassesLine(PredictionLine, kw_only=True):
    """The same of a multiclass model: `predictions` has a probability for each class a row."""

    classes: tuple[str, ...]


class LabelLine(msgspec.Struct, kw_only=True):
    """What came true of one prediction of a binary model."""

    v: int = 1
    at: float
    project: str
    request: str | None
    row: int
    key: str | None
    label: int
    source: str


class ClassLine(msgspec.Struct, kw_only=True):
    """What came true of one prediction of a multiclass model."""

    v: int = 1
    at: float
    project: str
    request: str | None
    row: int
    key: str | None
    named: str = msgspec.field(name="class")
    source: str


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What all lines of one request share."""

    project: str
    at: float
    asked: Asked
    assigned: Assigned
    features: dict[str, int] | None


def prediction_line(
    context: Context,
    part: Part,
    rows: Sequence[Sequence[object]],
    predictions: list[float] | None,
    *,
    latency_ms: float,
    fallback: str | None = None,
    error: str | None = None,
) -> PredictionLine:
    """The line of one arm. A challenger that could not be loaded is named by what the champion's model is."""
    asked, assigned, places = context.asked, context.assigned, part.positions
    split = assigned.split
    model = part.model if part.model is not None else (split.champion if split is not None else None)
    assert model is not None
    return model.outputs.line(
        request=asked.request,
        at=context.at,
        project=context.project,
        rollout=split.rollout if split else None,
        generation=split.generation if split else 0,
        step=split.step if split else 0,
        arm=part.name,
        model=model.approved.model,
        candidate=model.approved.candidate,
        version=model.approved.version,
        weight=split.weight if split else 0,
        units=asked.units if places is None else [asked.units[place] for place in places],
        buckets=assigned.buckets if places is None else [assigned.buckets[place] for place in places],
        keys=asked.keys if places is None else [asked.keys[place] for place in places],
        columns=model.approved.columns,
        rows=rows,
        predictions=predictions,
        latency_ms=latency_ms,
        fallback=fallback,
        error=error,
        features=context.features,
        positions=places,
    )
