"""MLflow's scoring protocol: `/invocations` with JSON in its four forms, or CSV.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally. `inputs` and `instances` must name their columns:
a bare matrix would be guessed at.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from towpath.core.errors import BadInput
from towpath.gateway.asked import Asked, Row, asked, rows_of
from towpath.gateway.faults import WrongMedia
from towpath.gateway.outputs import METHOD
from towpath.gateway.schema import Kind, Schema

JSON, CSV = "application/json", "text/csv"
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_TRUTHS = {"true": True, "false": False, "1": True, "0": False}

Records = list[dict[str, Any]]


class Split(msgspec.Struct):
    """Columns by name, and rows of values; pandas puts an index beside them, which says nothing."""

    columns: list[str]
    data: list[list[Any]]


class ScoringRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a scoring request: one of the forms."""

    dataframe_split: Split | None = None
    dataframe_records: Records | None = None
    instances: Records | None = None
    inputs: dict[str, Any] | Records | None = None
    params: dict[str, Any] | None = None
    parameters: dict[str, Any] | None = None


_DECODER = msgspec.json.Decoder(ScoringRequest)


def decode(
    body: bytes, media: str, schema: Schema, *, request: str, max_rows: int, methods: tuple[str, ...] = ()
) -> Asked:
    """A scoring request. `methods` are those that a parameter may choose from, of a model that has several.

    Raises `BadInput` that says what is wrong and where, and `WrongMedia`.
    """
    kind = media if media == JSON else media.partition(";")[0].strip().lower() or JSON
    if kind == CSV:
        return asked(schema, _csv(body, schema), parameters=None, request=request, max_rows=max_rows)
    if kind != JSON:
        raise WrongMedia(f"The content type {kind!r} is not read here.", value=kind, valid=[JSON, CSV])
    try:
        found = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"The body is no scoring request: {error}.", valid=FORMS) from error
    given = [form for form in (found.dataframe_split, found.dataframe_records, found.instances, found.inputs) if form]
    if len(given) != 1:
        raise BadInput(
            f"The body holds {len(given) or 'none'} of the forms.",
            value=len(given),
            valid=FORMS,
            hint="Send exactly one of these, with a row in it, and params beside it if need be.",
        )
    (form,) = given
    rows = _split(form) if isinstance(form, Split) else _records(form) if isinstance(form, list) else _inputs(form)
    parameters = found.params or found.parameters
    wanted = asked(schema, rows, parameters=parameters, request=request, max_rows=max_rows)
    if methods and parameters and METHOD in parameters:
        method = parameters[METHOD]
        if method not in methods:
            raise BadInput(f"params.{METHOD} is {str(method)[:40]!r}.", value=str(method)[:40], valid=methods)
        wanted.outputs = (method,)
    return wanted


def _split(form: Split) -> list[Row]:
    names, count = form.columns, len(form.columns)
    rows = [dict(zip(names, row, strict=False)) for row in form.data]
    if rows and len(rows[0]) != count:
        _refuse_twice("dataframe_split.columns", names)
    for number, row in enumerate(form.data):
        if len(row) != count:
            raise BadInput(f"dataframe_split.data, row {number}: it holds no {count} values.", value=number)
    return rows


def _records(rows: Records) -> list[Row]:
    blank: Row = dict.fromkeys(name for row in rows for name in row)
    return [{**blank, **row} for row in rows]


def _inputs(form: Mapping[str, Any]) -> list[Row]:
    return rows_of({name: items if isinstance(items, list) else [items] for name, items in form.items()})


def _refuse_twice(where: str, names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        raise BadInput(f"{where} names a column twice.", value=next(n for n in names if names.count(n) > 1))


def _csv(body: bytes, schema: Schema) -> list[Row]:
    try:
        lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"The body is no CSV: {error}.") from error
    if not lines:
        raise BadInput("The body holds no line.", hint="The first line names the columns.")
    names, rows = lines[0], [line for line in lines[1:] if line]
    _refuse_twice("The first line", names)
    for number, row in enumerate(rows):
        if len(row) != len(names):
            raise BadInput(f"CSV row {number} has {len(row)} values, the first line {len(names)}.", value=number)
    return rows_of({name: _typed(name, [row[place] for row in rows], schema) for place, name in enumerate(names)})


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
