"""MLflow's scoring protocol: `/invocations` with JSON in its four forms, or CSV.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally. `inputs` and `instances` must name their columns:
a bare matrix would be guessed at.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from towpath.core.errors import BadInput
from towpath.gateway.asked import Asked, asked
from towpath.gateway.faults import WrongMedia
from towpath.gateway.schema import Kind, Schema

JSON, CSV = "application/json", "text/csv"
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_TRUTHS = {"true": True, "false": False, "1": True, "0": False}
_DECODER = msgspec.json.Decoder(dict[str, Any])

Columns = dict[str, list[object]]


def decode(body: bytes, media: str, schema: Schema, *, request: str, max_rows: int) -> Asked:
    """A scoring request. Raises `BadInput` that says what is wrong and where, and `WrongMedia`."""
    kind = media.partition(";")[0].strip().lower() or JSON
    if kind == CSV:
        return asked(schema, _csv(body, schema), parameters=None, request=request, max_rows=max_rows)
    if kind != JSON:
        raise WrongMedia(f"The content type {kind!r} is not read here.", value=kind, valid=[JSON, CSV])
    try:
        found = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"The body is no scoring request: {error}.") from error
    named = [name for name in FORMS if name in found]
    unknown = sorted(set(found) - {*FORMS, "params", "parameters"})
    if len(named) != 1 or unknown:
        raise BadInput(
            f"The body holds {', '.join(map(repr, sorted(found))) or 'nothing'}.",
            value=unknown[0] if unknown else "",
            valid=FORMS,
            hint="Send exactly one of these, and params beside it if need be.",
        )
    params = found.get("params") or found.get("parameters")
    if params is not None and not isinstance(params, dict):
        raise BadInput("params is no object of names and values.", value=str(params)[:80])
    columns = _READERS[named[0]](found[named[0]], named[0])
    return asked(schema, columns, parameters=params, request=request, max_rows=max_rows)


def _split(value: object, form: str) -> Columns:
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise BadInput(f"{form} is no object with columns and data.")
    names, data = value.get("columns"), value["data"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadInput(f"{form}.columns is no list of names.")
    if len(set(names)) != len(names):
        raise BadInput(f"{form}.columns names a column twice.", value=next(n for n in names if names.count(n) > 1))
    for number, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(names):
            raise BadInput(f"{form}.data, row {number}: it is no list of {len(names)} values.", value=number)
    return {name: [row[place] for row in data] for place, name in enumerate(names)}


def _records(value: object, form: str) -> Columns:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadInput(f"{form} is no list of objects, each a row with its columns by name.")
    names = dict.fromkeys(name for row in value for name in row)
    return {name: [row.get(name) for row in value] for name in names}


def _inputs(value: object, form: str) -> Columns:
    if isinstance(value, list):
        return _records(value, form)
    if not isinstance(value, dict):
        raise BadInput(f"{form} is no object of columns, each a list of values.")
    return {name: items if isinstance(items, list) else [items] for name, items in value.items()}


_READERS: Mapping[str, Callable[[object, str], Columns]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _records,
    "inputs": _inputs,
}


def _csv(body: bytes, schema: Schema) -> Columns:
    try:
        lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"The body is no CSV: {error}.") from error
    if not lines:
        raise BadInput("The body holds no line.", hint="The first line names the columns.")
    names, rows = lines[0], [line for line in lines[1:] if line]
    if len(set(names)) != len(names):
        raise BadInput("The first line names a column twice.", value=next(n for n in names if names.count(n) > 1))
    for number, row in enumerate(rows):
        if len(row) != len(names):
            raise BadInput(f"CSV row {number} has {len(row)} values, the first line {len(names)}.", value=number)
    return {name: _typed(name, [row[place] for row in rows], schema) for place, name in enumerate(names)}


def _typed(name: str, texts: Sequence[str], schema: Schema) -> list[object]:
    """CSV has no types: numbers are read as such where the column holds numbers, and an empty field is null."""
    kind = schema.columns.get(name)
    if kind is Kind.TRUTH:
        return [_TRUTHS.get(text.lower(), text) if text else None for text in texts]
    if kind in (Kind.NUMBER, Kind.WHOLE):
        return [_number(name, row, text) if text else None for row, text in enumerate(texts)]
    return [text or None for text in texts]


def _number(name: str, row: int, text: str) -> float | int:
    try:
        found = msgspec.json.decode(text.strip().encode(), type=float | int)  # as JSON: neither nan nor infinity
    except msgspec.DecodeError as error:
        raise BadInput(
            f"Column {name!r}, row {row}: {text[:40]!r} is no finite number.", value=text[:40], valid=["a number", ""]
        ) from error
    return found
