"""The Open Inference Protocol, version 2, REST: requests of one tensor a column, and their answers.

https://github.com/open-inference/open-inference-protocol. A tensor has shape [rows] or [rows, 1]; its data may be flat
or nested. Nulls are allowed, as missing values were in training. The binary tensor extension is not spoken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from towpath.core.errors import BadInput
from towpath.gateway.asked import Asked, asked, request_id, rows_of
from towpath.gateway.schema import Schema

OUTPUT, LABEL = "probability", "label"


class Tensor(msgspec.Struct):
    """One column."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] | None = None


class Output(msgspec.Struct):
    """An output that the client asks for by name."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(msgspec.Struct):
    """The body of an inference request."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[Output] | None = None


class OutputTensor(msgspec.Struct):
    """Numbers or classes; `data` is flat, one row behind the other."""

    name: str
    shape: list[int]
    datatype: str
    data: Sequence[object]


class ClassesTensor(OutputTensor):
    """Probabilities of shape [rows, classes]; `parameters` names the classes in their order."""

    parameters: dict[str, Any]


class InferResponse(msgspec.Struct, omit_defaults=True):
    """The body of an answer."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    parameters: dict[str, Any]
    id: str


_DECODER = msgspec.json.Decoder(InferRequest)


def decode(body: bytes, schema: Schema, *, request: str, max_rows: int, offered: tuple[str, ...] = (OUTPUT,)) -> Asked:
    """An inference request. `offered` are the model's outputs. Raises `BadInput` that says what is wrong and where."""
    try:
        found = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"The body is no inference request: {error}.") from error
    for output in found.outputs or ():
        if output.name not in offered:
            raise BadInput(f"There is no output {output.name!r}.", value=output.name, valid=offered)
    columns: dict[str, list[object]] = {}
    datatypes = schema.datatypes
    for tensor in found.inputs:
        name, values = tensor.name, tensor.data
        flat = tensor.shape == [len(values)] and values and type(values[0]) is not list
        if not flat or tensor.datatype not in datatypes.get(name, ()) or name in columns:
            values = _values(tensor, schema, columns)
        columns[name] = values
    wanted = asked(
        schema,
        rows_of(columns),
        parameters=found.parameters,
        request=request if found.id is None else request_id(found.id),
        max_rows=max_rows,
    )
    if found.outputs:
        wanted.outputs = tuple([output.name for output in found.outputs])
    return wanted


def _values(tensor: Tensor, schema: Schema, columns: dict[str, list[object]]) -> list[object]:
    """The values of a tensor that is not flat. Raises `BadInput` for one that is not as it should be."""
    if tensor.name in columns:
        raise BadInput(f"The input {tensor.name!r} is there twice.", value=tensor.name)
    allowed = schema.datatypes.get(tensor.name)
    if allowed is None:
        raise BadInput(f"There is no input {tensor.name!r}.", value=tensor.name, valid=sorted(schema.columns))
    if tensor.datatype not in allowed:
        raise BadInput(
            f"Input {tensor.name!r} has datatype {tensor.datatype!r}.", value=tensor.datatype, valid=sorted(allowed)
        )
    values, shape = tensor.data, tensor.shape
    if values and type(values[0]) is list:
        if not all(type(item) is list and len(item) == 1 for item in values):
            raise BadInput(f"Input {tensor.name!r} is nested otherwise than in rows of one value.", value=tensor.name)
        values = [item[0] for item in values]
    if shape not in ([len(values)], [len(values), 1]):
        raise BadInput(
            f"Input {tensor.name!r} has shape {shape[:8]} and {len(values)} values.",
            value=str(shape[:8]),
            valid=[f"[{len(values)}]", f"[{len(values)}, 1]"],
        )
    return values
