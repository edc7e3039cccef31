"""Texts of a model's folder: metadata that is data and nothing else."""

from __future__ import annotations

import json
from typing import Any, Final

import yaml

from towpath.adapters import model_scan_sniff as sniff

LARGEST: Final = 16 << 20
_LOADERS: Final = {"mlflow.sklearn", "mlflow.onnx"}
_FLAVOURS: Final = {"python_function", "sklearn", "onnx"}
_WHITE: Final = "\t\n\r"


def plain(data: bytes) -> str | None:
    """What is wrong with a text; None when it is one."""
    if len(data) > LARGEST:
        return f"a text of more than {LARGEST >> 20} MB"
    if sniff.pickled(data):
        return "a pickle, written as text"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return "no text"
    if any(not character.isprintable() and character not in _WHITE and ord(character) < 0xA0 for character in text):
        return "no text: it holds control characters"
    return None


def structured(data: bytes) -> str | None:
    """What is wrong with a JSON document."""
    wrong = plain(data)
    if wrong is None:
        try:
            json.loads(data)
        except (ValueError, RecursionError):
            return "no JSON"
    return wrong


def settings(data: bytes) -> str | None:
    """What is wrong with a YAML document. Tags that make objects are not known to the safe loader."""
    wrong = plain(data)
    if wrong is None:
        try:
            yaml.load(data, Loader=_LOADER)  # noqa: S506 - the safe one
        except (yaml.YAMLError, ValueError, RecursionError):
            return "no YAML, or one that makes objects"
    return wrong


def metadata(data: bytes) -> str | None:
    """What is wrong with an `MLmodel`: it names no pickle, no code, no other loader than for skops and ONNX."""
    wrong = settings(data)
    if wrong is not None:
        return wrong
    document: Any = yaml.load(data, Loader=_LOADER)  # noqa: S506 - the safe one
    flavours = document.get("flavors") if isinstance(document, dict) else None
    if not isinstance(flavours, dict) or not all(isinstance(flavour, dict) for flavour in flavours.values()):
        return "no description of a model"
    for name, flavour in flavours.items():
        if name not in _FLAVOURS:
            return f"it has the flavour {name!r}, whose files are not known to be safe"
        if flavour.get("code"):
            return "it brings code along"
    if flavours.get("python_function", {}).get("loader_module", "mlflow.sklearn") not in _LOADERS:
        return f"it is loaded by {flavours['python_function']['loader_module']}"
    saved = flavours.get("sklearn", {}).get("serialization_format", "skops")
    return None if saved == "skops" else f"it is saved with {saved}, which runs code when it is read"


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
