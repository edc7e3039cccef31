"""A skops file in canonical form: the same model gives the same bytes.

skops numbers nodes by memory address and stamps the archive with the time, and some estimators remember the machine
they were fitted on. Here nodes are renumbered in the order of the document, arrays are renamed alike, what changes no
result gets a fixed value, and the archive is written stored, in that order, with one fixed time.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

_SCHEMA = "schema.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_VALUE_NODES = {"JsonNode", "TypeNode"}  # equal content means equal value, so identity in memory says nothing
# attributes that hold the number of cores at fitting; no result depends on them
_OF_THE_MACHINE: dict[tuple[Any, Any], dict[str, int]] = {
    ("sklearn.ensemble._hist_gradient_boosting.binning", "_BinMapper"): {"n_threads": 1},
}


class _Renumber:
    def __init__(self) -> None:
        self.numbers: dict[object, int] = {}
        self.files: dict[str, str] = {}

    def walk(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.walk(item) for item in node]
        if not isinstance(node, dict):
            return node
        _forget_machine(node)
        fresh = {key: self.walk(value) for key, value in node.items() if key != "__id__" and not _names_file(node, key)}
        if _names_file(node, "file"):
            suffix = Path(node["file"]).suffix
            fresh["file"] = self.files.setdefault(node["file"], f"{len(self.files):06d}{suffix}")
        if "__id__" in node:
            fresh["__id__"] = self.numbers.setdefault(self._identity(node), len(self.numbers) + 1)
        return fresh

    @staticmethod
    def _identity(node: dict[str, Any]) -> object:
        if node.get("__loader__") in _VALUE_NODES:
            return (node["__loader__"], node.get("__module__"), node.get("__class__"), json.dumps(node.get("content")))
        return node["__id__"]


def _forget_machine(node: dict[str, Any]) -> None:
    for name, value in _OF_THE_MACHINE.get((node.get("__module__"), node.get("__class__")), {}).items():
        node["content"]["content"][name]["content"] = json.dumps(value)


def _names_file(node: dict[str, Any], key: str) -> bool:
    """Whether the key names a part of the archive; in the content of a stored dictionary it is the user's own key."""
    return key == "file" and isinstance(node.get(key), str)


def canonicalise(file: Path) -> None:
    """Rewrite a skops file in place in canonical form."""
    with zipfile.ZipFile(file) as archive:
        renumber = _Renumber()
        schema = renumber.walk(json.loads(archive.read(_SCHEMA)))
        parts = {fresh: archive.read(name) for name, fresh in renumber.files.items()}
        unknown = set(archive.namelist()) - set(renumber.files) - {_SCHEMA}
    if unknown:
        raise ValueError(f"{file.name} holds files that its schema does not name: {sorted(unknown)}")
    parts[_SCHEMA] = json.dumps(schema, sort_keys=False, separators=(",", ":")).encode()
    fresh_file = file.with_suffix(".canonical")
    with zipfile.ZipFile(fresh_file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in parts.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)
    fresh_file.replace(file)
