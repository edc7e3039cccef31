"""The prediction log as Arrow: one row a predicted row, one row a label, parted by project and day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from towpath.adapters.prediction_log_lines import Label, Lines, Prediction

_TIME = pa.timestamp("us", tz="UTC")
PREDICTIONS = pa.schema(
    [
        pa.field("request", pa.string(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("at", _TIME, nullable=False),
        ("rollout", pa.string()),
        pa.field("generation", pa.int32(), nullable=False),
        pa.field("step", pa.int32(), nullable=False),
        pa.field("arm", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("candidate", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("weight", pa.int32(), nullable=False),
        ("unit", pa.string()),
        ("bucket", pa.int32()),
        ("key", pa.string()),
        ("prediction", pa.float64()),
        pa.field("latency_ms", pa.float64(), nullable=False),
        ("fallback", pa.string()),
        ("error", pa.string()),
        ("inputs", pa.string()),
        ("features", pa.string()),
    ]
)
CLASSED_PREDICTIONS = pa.schema(
    [*PREDICTIONS, ("predicted", pa.string()), ("probabilities", pa.map_(pa.string(), pa.float64()))]
)
"""Of a file with rows of a multiclass model: the most probable class, whose probability `prediction` is, and each's."""
LABELS = pa.schema(
    [
        ("request", pa.string()),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("at", _TIME, nullable=False),
        ("key", pa.string()),
        pa.field("label", pa.int8(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
    ]
)
CLASSED_LABELS = pa.schema(
    [*(one.with_nullable(True) if one.name == "label" else one for one in LABELS), ("class", pa.string())]
)
"""Of a file with labels that are classes; `label` is null there."""
REPEATED = (
    *("rollout", "arm", "model", "candidate", "version", "unit", "fallback", "error", "features", "source"),
    *("predicted", "class"),
)
"""Columns that are worth a dictionary: names repeat from row to row, request ids and inputs do not."""


def tables(lines: Iterable[Lines]) -> Mapping[str, pa.Table]:
    """The lines by the folder they go to: `<project>/predictions/<YYYY-MM-DD>` and `<project>/labels/<YYYY-MM-DD>`."""
    found: dict[str, list[pa.Table]] = defaultdict(list)
    for some in lines:
        for (project, day), predictions in _parted(some.predictions).items():
            found[f"{project}/predictions/{_date(day)}"].append(_predictions(predictions))
        for (project, day), labels in _parted(some.labels).items():
            classed = any(line.named is not None for line in labels)
            schema = CLASSED_LABELS if classed else LABELS
            table = pa.Table.from_pylist([_label(line) for line in labels], schema=schema)
            found[f"{project}/labels/{_date(day)}"].append(table)
    # a project's model may have become one of another task within a file
    return {folder: pa.concat_tables(parts, promote_options="default") for folder, parts in found.items()}


class _Dated(Protocol):
    @property
    def at(self) -> float: ...
    @property
    def project(self) -> str: ...


_Line = TypeVar("_Line", bound=_Dated)


def _parted(lines: Iterable[_Line]) -> dict[tuple[str, int], list[_Line]]:
    """By project and day since 1970."""
    parts: dict[tuple[str, int], list[_Line]] = defaultdict(list)
    for line in lines:
        parts[line.project, int(line.at // 86_400)].append(line)
    return parts


def _date(day: int) -> str:
    return f"{datetime.fromtimestamp(day * 86_400, tz=UTC):%Y-%m-%d}"


def _predictions(lines: Sequence[Prediction]) -> pa.Table:
    """By columns: rows of dicts would take five times as long, and the log is written beside the gateway."""
    counts = np.array([len(line.rows) for line in lines])
    owner = pa.array(np.repeat(np.arange(len(lines)), counts))  # of each row its line
    own: dict[str, list[object]] = {
        "row": [row for line in lines for row in (line.positions or range(len(line.rows)))],
        "unit": [unit for line in lines for unit in line.units],
        "bucket": [bucket for line in lines for bucket in line.buckets],
        "key": [key for line in lines for key in line.keys],
        "prediction": [one for line in lines for one in _numbers(line)],
        "inputs": [_json(dict(zip(line.columns, row, strict=True))) for line in lines for row in line.rows],
    }
    schema = PREDICTIONS
    if any(line.classes for line in lines):
        schema = CLASSED_PREDICTIONS
        chances = [one for line in lines for one in _chances(line)]
        own |= {"probabilities": list(chances), "predicted": [_best(one)[0] for one in chances]}
    shared: dict[str, list[object]] = {
        "at": [_microseconds(line.at) for line in lines],
        "features": [None if line.features is None else _json(line.features) for line in lines],
    }
    columns = []
    for field in schema:
        if field.name in own:
            columns.append(pa.array(own[field.name], field.type))
            continue
        values = shared.get(field.name) or [getattr(line, field.name) for line in lines]
        columns.append(pa.array(values, field.type).take(owner))
    return pa.Table.from_arrays(columns, schema=schema)


_Chances = list[tuple[str, float]]


def _numbers(line: Prediction) -> Sequence[float | None]:
    """Each row's number; of a multiclass model the probability of its most probable class."""
    if line.classes:
        return [_best(one)[1] for one in _chances(line)]
    return line.predictions or [None] * len(line.rows)


def _chances(line: Prediction) -> list[_Chances | None]:
    """Each row's classes with their probabilities; None where there are none."""
    width, found = len(line.classes), line.predictions
    if not width or found is None:
        return [None] * len(line.rows)
    rows = (found[begin : begin + width] for begin in range(0, len(found), width))
    return [[(name, float(one or 0)) for name, one in zip(line.classes, row, strict=True)] for row in rows]


def _best(chances: _Chances | None) -> tuple[str | None, float | None]:
    """The most probable class, of several alike the first, and its probability."""
    return (None, None) if chances is None else max(chances, key=lambda one: one[1])


def _label(line: Label) -> dict[str, Any]:
    return {
        "request": line.request,
        "row": line.row,
        "at": _microseconds(line.at),
        "key": line.key,
        "label": line.label,
        "class": line.named,
        "source": line.source,
    }


def _microseconds(at: float) -> int:
    return round(at * 1_000_000)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
