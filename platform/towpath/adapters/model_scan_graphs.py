"""ONNX files, read as Protocol Buffers' wire format by their field numbers (onnx.proto3): no library parses them here.

A graph is data as long as its tensors lie in the file itself and its operators are the standard's: a tensor elsewhere
is read from whatever path the file says, an operator of another domain is code that somebody installs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final

DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml"})
_DEEPEST: Final = 64
# message -> field number -> message; what is not named holds nothing that we ask about
_MESSAGES: Final[Mapping[str, Mapping[int, str]]] = {
    "Model": {7: "Graph", 8: "OperatorSet", 20: "Training", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 9: "OperatorSet", 11: "Attribute"},
    "Tensor": {13: "Entry"},
    "OperatorSet": {},
    "Entry": {},
}
_DOMAIN: Final = {"Node": 7, "OperatorSet": 1, "Function": 10}  # message -> number of its field `domain`
_EXTERNAL: Final = 1  # of Tensor.data_location, field 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _Wrong(Exception):
    """What is wrong with a graph."""


def wrong(data: bytes) -> str | None:
    """What is wrong with an ONNX model; None when its graph is data."""
    try:
        found = {number for number, _, _ in _fields(memoryview(data))}
        if not {1, 7} <= found:
            return "no ONNX model"
        _read(memoryview(data), "Model", 0)
    except (ValueError, IndexError):
        return "no ONNX model"
    except _Wrong as error:
        return str(error)
    return None


def _read(data: memoryview, message: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise _Wrong("an ONNX model nested too deep")
    below = _MESSAGES[message]
    for number, wire, value in _fields(data):
        if wire == _BYTES:
            assert isinstance(value, memoryview)
            if number == _DOMAIN.get(message) and (domain := bytes(value).decode("utf-8")) not in DOMAINS:
                raise _Wrong(f"an ONNX model with operators of the domain {domain!r}")
            if message == "Tensor" and number == 13:
                raise _Wrong(_outside(value))
            if number in below:
                _read(value, below[number], depth + 1)
        elif message == "Tensor" and number == 14 and value == _EXTERNAL:
            raise _Wrong("an ONNX model whose tensors lie in another file")


def _outside(entry: memoryview) -> str:
    said = {number: value for number, wire, value in _fields(entry) if wire == _BYTES}
    key, value = (bytes(said.get(number, b"")).decode("utf-8", "replace") for number in (1, 2))
    path = PurePosixPath(value.replace("\\", "/"))
    if key == "location" and (path.is_absolute() or ".." in path.parts or ":" in value):
        return f"an ONNX model that reads {value!r}, outside its folder"
    return "an ONNX model whose tensors lie in another file"


def _fields(data: memoryview) -> Iterator[tuple[int, int, memoryview | int]]:
    """Field number, wire type and value of every field. Raises `ValueError` or `IndexError` for other bytes."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, wire = tag >> 3, tag & 7
        if not number:
            raise ValueError("field 0")
        value: memoryview | int = 0
        if wire == _VARINT:
            value, place = _varint(data, place)
        elif wire == _BYTES:
            length, place = _varint(data, place)
            value = data[place : place + length]
            place += length
        elif wire in (_FIXED64, _FIXED32):
            place += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if place > len(data):
            raise ValueError("cut off")
        yield number, wire, value


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number too long")
