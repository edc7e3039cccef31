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
REPEATED = ("rollout", "arm", "model", "candidate", "version", "unit", "fallback", "error", "features", "source")
"""Columns that are worth a dictionary: names repeat from row to row, request ids and inputs do not."""


def tables(lines: Iterable[Lines]) -> Mapping[str, pa.Table]:
    """The lines by the folder they go to: `<project>/predictions/<YYYY-MM-DD>` and `<project>/labels/<YYYY-MM-DD>`."""
    found: dict[str, list[pa.Table]] = defaultdict(list)
    for some in lines:
        for (project, day), predictions in _parted(some.predictions).items():
            found[f"{project}/predictions/{_date(day)}"].append(_predictions(predictions))
        for (project, day), labels in _parted(some.labels).items():
            table = pa.Table.from_pylist([_label(line) for line in labels], schema=LABELS)
            found[f"{project}/labels/{_date(day)}"].append(table)
    return {folder: pa.concat_tables(parts) for folder, parts in found.items()}


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
        "prediction": [one for line in lines for one in (line.predictions or [None] * len(line.rows))],
        "inputs": [_json(dict(zip(line.columns, row, strict=True))) for line in lines for row in line.rows],
    }
    shared: dict[str, list[object]] = {
        "at": [_microseconds(line.at) for line in lines],
        "features": [None if line.features is None else _json(line.features) for line in lines],
    }
    columns = []
    for field in PREDICTIONS:
        if field.name in own:
            columns.append(pa.array(own[field.name], field.type))
            continue
        values = shared.get(field.name) or [getattr(line, field.name) for line in lines]
        columns.append(pa.array(values, field.type).take(owner))
    return pa.Table.from_arrays(columns, schema=PREDICTIONS)


def _label(line: Label) -> dict[str, Any]:
    return {
        "request": line.request,
        "row": line.row,
        "at": _microseconds(line.at),
        "key": line.key,
        "label": line.label,
        "source": line.source,
    }


def _microseconds(at: float) -> int:
    return round(at * 1_000_000)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
