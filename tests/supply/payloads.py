"""Payloads that make a canary file when they are loaded, and files of other formats around them."""

from __future__ import annotations

import builtins
import gzip
import io
import json
import os
import pickle
import struct
import subprocess
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np


class _Calls:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


def system(canary: Path) -> object:
    return _Calls(os.system, f"touch {canary}")


def evaluated(canary: Path) -> object:
    return _Calls(builtins.eval, f"open({str(canary)!r}, 'w')")


def executed(canary: Path) -> object:
    return _Calls(builtins.exec, f"open({str(canary)!r}, 'w')")


def process(canary: Path) -> object:
    return _Calls(subprocess.check_call, ["touch", str(canary)])


def imported(canary: Path) -> object:
    return _Calls(builtins.getattr, _Calls(builtins.__import__, "pathlib"), "Path")


WAYS: Mapping[str, Callable[[Path], object]] = {
    "system": system,
    "eval": evaluated,
    "exec": executed,
    "subprocess": process,
    "import": imported,
}


def pickled(canary: Path, *, way: str = "system", protocol: int = 4) -> bytes:
    return pickle.dumps(WAYS[way](canary), protocol=protocol)


def typed(canary: Path) -> bytes:
    """By hand, in the textual protocol 0: what a text editor could write."""
    return f"cos\nsystem\n(S'touch {canary}'\ntR.".encode()


def instantiated(canary: Path) -> bytes:
    """By the opcode INST, which scanners forget."""
    return f"(S'touch {canary}'\nios\nsystem\n.".encode()


def archive(members: Mapping[str, bytes], *, packed: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", packed) as written:
        for name, content in members.items():
            written.writestr(zipfile.ZipInfo(name), content, compress_type=packed)
    return stream.getvalue()


def linked_member(name: str, target: str) -> bytes:
    """An archive with a member that is a symbolic link."""
    stream = io.BytesIO()
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(stream, "w") as written:
        written.writestr("schema.json", "{}")
        written.writestr(info, target)
    return stream.getvalue()


def objects(canary: Path) -> bytes:
    """An array of objects in numpy's format."""
    stream = io.BytesIO()
    np.save(stream, np.array([system(canary)], dtype=object), allow_pickle=True)
    return stream.getvalue()


def records(canary: Path) -> bytes:
    """A structured array with a field of objects."""
    stream = io.BytesIO()
    made = np.array([(1.0, system(canary))], dtype=[("a", "f8"), ("b", "O")])
    np.save(stream, made, allow_pickle=True)
    return stream.getvalue()


def torch_zip(canary: Path) -> bytes:
    return archive({"archive/data.pkl": pickled(canary, protocol=2), "archive/version": b"3\n"})


def torch_legacy(canary: Path) -> bytes:
    return pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickled(canary, protocol=2)


def keras_lambda() -> bytes:
    config = {"class_name": "Sequential", "config": {"layers": [{"class_name": "Lambda", "config": {}}]}}
    members = {"config.json": json.dumps(config).encode(), "metadata.json": b"{}", "model.weights.h5": b"\x89HDF\r\n"}
    return archive(members)


def gzipped(canary: Path) -> bytes:
    return gzip.compress(pickled(canary))


def field(number: int, value: bytes | int) -> bytes:
    """A field of Protocol Buffers."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def graph(*, location: str | None = None, domain: str = "", nested: bool = False) -> bytes:
    """An ONNX model by hand: one node, and a tensor that lies at `location` when that is given."""
    entry = field(1, b"location") + field(2, (location or "").encode())
    tensor = field(1, 1) + field(2, 1) + field(8, b"w")
    tensor += field(13, entry) + field(14, 1) if location is not None else field(9, struct.pack("<f", 1.0))
    node = field(4, b"Identity") + field(7, domain.encode())
    if nested:  # in a branch of a branch, as an attribute
        inner = field(1, node) + field(5, tensor)
        node = field(4, b"If") + field(5, field(1, b"then_branch") + field(6, inner))
        return field(1, 8) + field(7, field(1, node)) + field(8, field(2, 17))
    return (
        field(1, 8) + field(7, field(1, node) + field(5, tensor)) + field(8, field(1, domain.encode()) + field(2, 17))
    )


def bomb() -> bytes:
    """A few hundred kilobytes that unpack to 400 MB."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as written,
        written.open("schema.json", "w", force_zip64=True) as member,
    ):
        for _ in range(400):
            member.write(bytes(1 << 20))
    return stream.getvalue()


def overlapping() -> bytes:
    """An archive whose directory names the same bytes many times (after Fifield 2019, *A better zip bomb*)."""
    with_one = archive({"schema.json": b"{}" * 100, "000000.npy": b"0" * 5000})
    directory = with_one.index(b"PK\x01\x02")
    end = with_one.rindex(b"PK\x05\x06")
    entries = with_one[directory:end]
    second = entries[entries.rindex(b"PK\x01\x02") :]
    more = b"".join(second.replace(b"000000.npy", b"%06d.npy" % number) for number in range(1, 40))
    count, size = 41, len(entries) + len(more)
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count + 0, count + 0, size, directory, 0)
    return with_one[:end] + more + tail
