"""Feast's keys and values as bytes: the encoding of entity keys, version 3, and its protobuf `Value`.

https://github.com/feast-dev/feast/blob/master/docs/specs/online_store_format.md says the layout; the keys are those of
`feast.infra.key_encoding_utils`. Scalars are decoded here, everything else (lists, sets, maps) by Feast itself.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

from towpath.adapters.online_description import View

Decode = Callable[[bytes], object]
DecodeRow = Callable[[Sequence[bytes | None]], Sequence[object]]

_WORD = struct.Struct("<I")
_LONG = struct.Struct("<q")
_INT = struct.Struct("<i")
_DOUBLE = struct.Struct("<d")
_FLOAT = struct.Struct("<f")
_TYPES = {"BYTES": 1, "STRING": 2, "INT32": 3, "INT64": 4, "UNIX_TIMESTAMP": 8}  # feast.types.ValueType.Enum
_NULL_TIME = -(2**63)  # a null timestamp, as Feast writes it
_DUMMY = ("__dummy_id", "STRING")  # the entity of views without one; its only value is empty
KEY_TYPES = frozenset(_TYPES)
"""Types of join keys that Feast can encode."""
SCALARS = frozenset({"BYTES", "STRING", "INT32", "INT64", "DOUBLE", "FLOAT", "BOOL", "UNIX_TIMESTAMP"})
"""Types of features that need no Feast to decode."""


class KeyEncoder:
    """Entity keys of one view as bytes. What is the same for all of them is made once."""

    def __init__(self, view: View) -> None:
        keys = view.keys or (_DUMMY,)
        order = sorted(range(len(keys)), key=lambda number: keys[number][0])
        self._prefix = _WORD.pack(len(keys)) + b"".join(
            _WORD.pack(_TYPES["STRING"]) + _sized(keys[number][0].encode()) for number in order
        )
        self._parts = [(number, _WORD.pack(_TYPES[keys[number][1]]), _ENCODERS[keys[number][1]]) for number in order]
        self._constant = self._prefix + _WORD.pack(_TYPES["STRING"]) + _sized(b"") if not view.keys else None

    def __call__(self, values: tuple[object, ...]) -> bytes | None:
        """The key's bytes; None for values that no entity can have (null, or of another type than the key)."""
        if self._constant is not None:
            return self._constant
        found = self._prefix
        for number, kind, encode in self._parts:
            value = encode(values[number])
            if value is None:
                return None
            found += kind + _WORD.pack(len(value)) + value
        return found


def _sized(data: bytes) -> bytes:
    return _WORD.pack(len(data)) + data


def _text(value: object) -> bytes | None:
    return value.encode() if isinstance(value, str) else None


def _bytes(value: object) -> bytes | None:
    return bytes(value) if isinstance(value, bytes) else None


def _whole(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    try:
        return value.__index__()  # type: ignore[attr-defined, no-any-return]
    except AttributeError:
        return None


def _packed(packer: struct.Struct) -> Callable[[object], bytes | None]:
    def encode(value: object) -> bytes | None:
        number = _whole(value)
        try:
            return None if number is None else packer.pack(number)
        except struct.error:
            return None  # out of its range

    return encode


def _instant(value: object) -> bytes | None:
    return _packed(_LONG)(int(value.timestamp()) if isinstance(value, datetime) else value)


_ENCODERS: Mapping[str, Callable[[object], bytes | None]] = {
    "STRING": _text,
    "BYTES": _bytes,
    "INT32": _packed(_INT),
    "INT64": _packed(_LONG),
    "UNIX_TIMESTAMP": _instant,
}


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A protobuf varint as a signed 64-bit number, and where it ends."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number - (1 << 64) if number >> 63 else number), at
        shift += 7


def decode_scalar(data: bytes) -> object:
    """A `Value` that holds a scalar, or nothing. Raises `ValueError` for any other."""
    if not data:
        return None
    tag = data[0]
    if tag == 0x29 and len(data) == 9:
        return _DOUBLE.unpack_from(data, 1)[0]
    if tag == 0x12 or tag == 0x0A:
        size, start = (data[1], 2) if data[1] < 0x80 else varint(data, 1)
        if start + size != len(data):
            raise ValueError("a value with more than one field")
        return data[start:].decode() if tag == 0x12 else data[start:]
    if tag == 0x35 and len(data) == 5:
        return _FLOAT.unpack_from(data, 1)[0]
    if tag in (0x18, 0x20, 0x38, 0x40):
        number, end = varint(data, 1)
        if end != len(data):
            raise ValueError("a value with more than one field")
        if tag == 0x38:
            return bool(number)
        if tag == 0x40:
            return None if number == _NULL_TIME else datetime.fromtimestamp(number, tz=UTC)
        return number
    raise ValueError(f"no scalar: its first byte is {tag:#04x}")


def decoders(view: View, features: Sequence[str]) -> list[Decode]:
    """For each feature what makes a Python value of its bytes, the same that Feast's own answer holds."""
    return [
        decode_scalar if view.features.get(name) in SCALARS else feast_decoder(view.features[name]) for name in features
    ]


def row_decoder(view: View, features: Sequence[str]) -> DecodeRow:
    """What makes Python values of a row of those features' bytes. A row of doubles is unpacked whole."""
    each = decoders(view, features)

    def one_by_one(row: Sequence[bytes | None]) -> Sequence[object]:
        return [decode(data) if data else None for decode, data in zip(each, row, strict=True)]

    if not features or any(view.features.get(name) != "DOUBLE" for name in features):
        return one_by_one
    tags = b"\x29" * len(features)  # whatever value begins with it is a double, and has nine bytes
    whole = struct.Struct("<" + "xd" * len(features))

    def doubles(row: Sequence[bytes | None]) -> Sequence[object]:
        if None not in row:
            joined = b"".join(row)  # type: ignore[arg-type]
            if len(joined) == whole.size and joined[::9] == tags:
                return whole.unpack(joined)
        return one_by_one(row)

    return doubles


@cache
def feast_decoder(kind: str) -> Decode:
    """Feast's own decoding of one type."""
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.type_map import feast_value_type_to_python_type
    from feast.value_type import ValueType

    hint: Any = ValueType[kind]

    def decode(data: bytes) -> object:
        value = Value()
        value.ParseFromString(data)
        return feast_value_type_to_python_type(value, hint)

    return decode


@lru_cache(maxsize=4_096)
def decode_time(data: bytes | None) -> float:
    """A protobuf `Timestamp`, in seconds since 1970; 0 when there is none, as Feast has it.

    Rows that were materialized together bear one time, so it is remembered.
    """
    seconds = nanos = at = 0
    while data and at < len(data):
        tag = data[at]
        number, at = varint(data, at + 1)
        if tag == 0x08:
            seconds = number
        elif tag == 0x10:
            nanos = number
    return seconds + nanos / 1_000_000_000.0
