"""Malicious and broken model folders, each made from a good one by one change. All of them must be refused unread."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from supply import payloads as make

Change = Callable[[Path, Path], object]
"""Changes the good folder (first) so that loading it would make the canary (second), or break out of the folder."""


def _put(name: str, content: Callable[[Path], bytes]) -> Change:
    return lambda folder, canary: (folder / name).write_bytes(content(canary))


def _member(change: Callable[[dict[str, bytes], Path], None], *, name: str = "model.skops") -> Change:
    """The good archive with its members changed."""

    def act(folder: Path, canary: Path) -> None:
        with zipfile.ZipFile(folder / name) as archive:
            members = {member: archive.read(member) for member in archive.namelist()}
        change(members, canary)
        (folder / name).write_bytes(make.archive(members))

    return act


def _schema(change: Callable[[Any, Path], object]) -> Change:
    def act(members: dict[str, bytes], canary: Path) -> None:
        document = json.loads(members["schema.json"])
        members["schema.json"] = json.dumps(change(document, canary) or document).encode()

    return _member(act)


def _array(content: Callable[[Path], bytes]) -> Change:
    def act(members: dict[str, bytes], canary: Path) -> None:
        members[next(name for name in members if name.endswith(".npy"))] = content(canary)

    return _member(act)


def _added(name: str, content: Callable[[Path], bytes]) -> Change:
    return _member(lambda members, canary: members.update({name: content(canary)}))


def _typed(module: str, kind: str, loader: str = "ObjectNode") -> Change:
    """A schema whose root is another type."""

    def act(document: Any, canary: Path) -> Any:
        node = {"__class__": kind, "__module__": module, "__loader__": loader, "__id__": 1}
        content: Any = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": '"x"'}
        return {**document, **node, "content": {**content, "__id__": 2}}

    return _schema(act)


def _around(before: Callable[[Path], bytes], after: bytes = b"") -> Change:
    def act(folder: Path, canary: Path) -> None:
        file = folder / "model.skops"
        file.write_bytes(before(canary) + file.read_bytes() + after)

    return act


def _encrypted(folder: Path, canary: Path) -> None:
    file = folder / "model.skops"
    data = bytearray(file.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + offset] |= 1
    file.write_bytes(bytes(data))


def _twice(folder: Path, canary: Path) -> None:
    import warnings

    with warnings.catch_warnings(), zipfile.ZipFile(folder / "model.skops", "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("schema.json", "{}")


def _link(target: str, name: str = "notes.txt") -> Change:
    return lambda folder, canary: (folder / name).symlink_to(target)


def _flavour(old: str, new: str) -> Change:
    def act(folder: Path, canary: Path) -> None:
        text = (folder / "MLmodel").read_text(encoding="utf-8")
        assert old in text
        (folder / "MLmodel").write_text(text.replace(old, new, 1), encoding="utf-8")

    return act


def _emptied(folder: Path, canary: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def _deep(folder: Path, canary: Path) -> None:
    inner = folder
    for _ in range(20):
        inner = inner / "d"
    inner.mkdir(parents=True)
    (inner / "notes.txt").write_text("far down", encoding="utf-8")


CASES: Mapping[str, Change] = {
    # pickles, under their own names and others
    **{f"pickle protocol {n}": _put("model.pkl", lambda c, n=n: make.pickled(c, protocol=n)) for n in range(6)},
    **{f"pickle of {way}": _put("extra.pickle", lambda c, w=way: make.pickled(c, way=w)) for way in make.WAYS},
    "pickle typed by hand as text": _put("notes.txt", make.typed),
    "pickle with INST as text": _put("requirements.txt", make.instantiated),
    "pickle protocol 0 named YAML": _put("conda.yaml", lambda c: make.pickled(c, protocol=0)),
    "pickle named JSON": _put("input_example.json", lambda c: make.pickled(c, protocol=4)),
    "pickle named skops": _put("model.skops", lambda c: make.pickled(c, protocol=5)),
    "pickle named ONNX": _put("model.onnx", lambda c: make.pickled(c, protocol=2)),
    "pickle named as a compiled model": _put("runtime.trees", lambda c: make.pickled(c, protocol=3)),
    "pickle named MLmodel": _put("MLmodel", lambda c: make.pickled(c, protocol=0)),
    "pickle named as MLflow's note": _put("registered_model_meta", lambda c: make.pickled(c, protocol=0)),
    "pickle without an extension": _put("weights", make.pickled),
    "joblib": _put("model.joblib", make.pickled),
    "dill": _put("model.dill", make.pickled),
    "joblib, compressed": _put("model.joblib", make.gzipped),
    "compressed pickle named text": _put("notes.md", make.gzipped),
    # arrays
    "array of objects": _put("weights.npy", make.objects),
    "array of objects within skops": _array(make.objects),
    "record with objects within skops": _array(make.records),
    "pickle in place of an array": _array(make.pickled),
    "pickle as bytes within skops": _added("000900.bin", make.pickled),
    "pickle within npz within skops": _added("000901.npz", lambda c: make.archive({"data.npy": make.pickled(c)})),
    "objects within npz within skops": _added("000902.npz", lambda c: make.archive({"data.npy": make.objects(c)})),
    "npz of objects": _put("weights.npz", lambda c: make.archive({"data.npy": make.objects(c)})),
    "pickle beside the arrays": _added("payload.pkl", make.pickled),
    "python beside the arrays": _added("hook.py", lambda c: f"open({str(c)!r}, 'w')".encode()),
    # types
    "skops with os.system": _typed("os", "system", "FunctionNode"),
    "skops with builtins.eval": _typed("builtins", "eval", "FunctionNode"),
    "skops with a class of a module in the path": _typed("supply_canary", "Boom"),
    "skops with subprocess": _typed("subprocess", "Popen"),
    "skops with a loader that there is not": _typed("os", "system", "NoSuchNode"),
    "skops without a schema": _member(lambda members, canary: members.__delitem__("schema.json")),
    "skops with a broken schema": _member(lambda members, canary: members.update({"schema.json": b'{"a": '})),
    # other frameworks
    "PyTorch archive": _put("model.pt", make.torch_zip),
    "PyTorch archive named skops": _put("model.skops", make.torch_zip),
    "PyTorch, the old format": _put("model.bin", make.torch_legacy),
    "Keras with a Lambda layer": _put("model.keras", lambda c: make.keras_lambda()),
    "Keras named skops": _put("model.skops", lambda c: make.keras_lambda()),
    "HDF5": _put("model.h5", lambda c: b"\x89HDF\r\n\x1a\n" + bytes(64)),
    "program": _put("helper", lambda c: b"\x7fELF" + bytes(64)),
    "script": _put("setup.sh", lambda c: f"#!/bin/sh\ntouch {c}\n".encode()),
    "python": _put("model.py", lambda c: f"open({str(c)!r}, 'w')\n".encode()),
    "unknown bytes": _put("weights.dat", lambda c: bytes(range(256))),
    "unknown bytes named text": _put("notes.txt", lambda c: bytes(range(256))),
    # ONNX
    "ONNX data up the tree": _put("model.onnx", lambda c: make.graph(location="../../secrets")),
    "ONNX data at an absolute path": _put("model.onnx", lambda c: make.graph(location="/etc/passwd")),
    "ONNX data up the tree, backslashes": _put("model.onnx", lambda c: make.graph(location="..\\..\\secrets")),
    "ONNX data beside it": _put("model.onnx", lambda c: make.graph(location="weights.bin")),
    "ONNX data within a branch": _put("model.onnx", lambda c: make.graph(location="../x", nested=True)),
    "ONNX with operators of others": _put("model.onnx", lambda c: make.graph(domain="com.example.exec")),
    "ONNX with others' operators in a branch": _put(
        "model.onnx", lambda c: make.graph(domain="com.example.exec", nested=True)
    ),
    "ONNX cut off": _put("model.onnx", lambda c: make.graph()[:-3]),
    "ONNX within a compiled model": _put(
        "runtime.trees",
        lambda c: make.archive({"plan.json": b"{}", "trees.onnx": make.graph(location="/etc/passwd")}),
    ),
    "pickle within a compiled model": _put(
        "runtime.treelite", lambda c: make.archive({"plan.json": b"{}", "trees.treelite": make.pickled(c)})
    ),
    "more within a compiled model": _put(
        "runtime.trees",
        lambda c: make.archive({"plan.json": b"{}", "trees.onnx": make.graph(), "x.pkl": make.pickled(c)}),
    ),
    # archives
    "zip slip": _added("../../canary", make.pickled),
    "zip slip, absolute": _added("/tmp-canary", make.pickled),
    "zip slip, backslashes": _added("..\\..\\canary", make.pickled),
    "link within an archive": _put("model.skops", lambda c: make.linked_member("000000.npy", "/etc/passwd")),
    "zip bomb": _put("model.skops", lambda c: make.bomb()),
    "zip bomb of overlapping members": _put("model.skops", lambda c: make.overlapping()),
    "archive behind a pickle": _around(make.pickled),
    "archive before a pickle": _around(lambda c: b"", after=b"\x80\x04cos\nsystem\n"),
    "encrypted member": _encrypted,
    "two members of one name": _twice,
    "archive within an archive": _added("inner.zip", lambda c: make.archive({"x.pkl": make.pickled(c)})),
    "zip named text": _put("notes.txt", lambda c: make.archive({"x.pkl": make.pickled(c)})),
    # the folder
    "link out of the folder": _link("/etc/passwd"),
    "link to a folder above": _link("..", name="more"),
    "link to nowhere": _link("/no/such/place"),
    "pipe": lambda folder, canary: os.mkfifo(folder / "notes.txt"),
    "hidden file": _put(".git", make.pickled),
    "folders without end": _deep,
    "nothing": _emptied,
    # metadata
    "YAML that makes objects": _put(
        "conda.yaml", lambda c: f"!!python/object/apply:os.system ['touch {c}']\n".encode()
    ),
    "MLmodel saved with cloudpickle": _flavour("serialization_format: skops", "serialization_format: cloudpickle"),
    "MLmodel with code": _flavour("code: null", "code: code"),
    "MLmodel with a loader of its own": _flavour("loader_module: mlflow.sklearn", "loader_module: evil.loader"),
    "MLmodel of another flavour": _flavour("  sklearn:", "  pytorch: {data: data}\n  sklearn:"),
    "JSON without end": _put("input_example.json", lambda c: b"[" * 200_000),
}
