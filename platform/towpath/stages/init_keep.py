"""Writing a draft where a person may have been at work: what is there is never overwritten, only proposed beside.

The folder keeps a note of what was drafted (`.towpath-draft.json`: a digest a file), so that a second draft that is the
same as the first proposes nothing, however much a person changed since.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from towpath.core import digest as digests
from towpath.core.contract import Contract, parse
from towpath.core.contract_changes import Comparison, compare
from towpath.core.errors import BadInput, TowpathError, Unwritable
from towpath.project import contract_file

NOTE = ".towpath-draft.json"
PROPOSED = ".proposed"
_FIRST = "version: 1.0.0"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Files that were written, those proposed beside one that is there, and those the draft says nothing new of.

    `change`: what the proposed contract changes, when one is proposed; `why_not` when that could not be told.
    """

    folder: Path
    written: tuple[str, ...] = ()
    proposed: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    change: Comparison | None = None
    why_not: str = ""


@dataclass(kw_only=True)
class _Done:
    written: list[str] = field(default_factory=list)
    proposed: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    change: Comparison | None = None
    why_not: str = ""


def keep(folder: Path, files: Mapping[str, str]) -> Kept:
    """Write the files that are not there, and propose those that differ from what is there and from the last draft.

    Raises `Unwritable`.
    """
    try:
        before = _noted(folder)
        done = _Done()
        for place, text in files.items():
            _one(folder, place, text, before.get(place), done)
        for name in before:
            if name not in files and (folder / name).is_file():
                done.same.append(name)
        note = {place: _digest(text) for place, text in files.items()}
        (folder / NOTE).write_text(json.dumps({"drafted": note}, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise Unwritable(
            f"The project cannot be written into {folder}: {error.strerror}.",
            value=str(folder),
            hint="Name another folder.",
        ) from error
    return Kept(
        folder=folder,
        written=tuple(done.written),
        proposed=tuple(done.proposed),
        same=tuple(done.same),
        change=done.change,
        why_not=done.why_not,
    )


def require_project(folder: Path, name: str) -> None:
    """Raises `BadInput` for a folder that holds something else than a project."""
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file.", value=str(folder), hint="Name a folder that is to be made.")
    if (
        folder.is_dir()
        and any(folder.iterdir())
        and not (folder / "charter.yaml").exists()
        and not (folder / NOTE).exists()
    ):
        raise BadInput(
            f"{folder} is not empty and holds no project.",
            value=str(folder),
            hint=f"Name a folder that is to be made, for instance {name}-model.",
        )


def _one(folder: Path, place: str, text: str, before: str | None, done: _Done) -> None:
    file = folder / place
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        done.written.append(place)
        return
    if before == _digest(text) or file.read_bytes() == text.encode():
        done.same.append(place)
        return
    proposal = _versioned(file, text, done) if place.endswith(".odcs.yaml") else text
    if proposal is None:
        done.same.append(place)
        return
    file.with_name(file.name + PROPOSED).write_text(proposal, encoding="utf-8")
    done.proposed.append(place + PROPOSED)


def _versioned(file: Path, text: str, done: _Done) -> str | None:
    """The drafted contract with the version that its changes need; None when nothing changes."""
    try:
        now, document = contract_file(file)
        drafted = yaml.safe_load(text)
        least = compare(now, _parsed(drafted, now.version), document, drafted).least
        found = compare(now, _parsed(drafted, str(least)), document, drafted)
        if not found.changes:
            return None
        done.change = found
        return text.replace(_FIRST, f"version: {least}", 1)
    except TowpathError as error:
        done.why_not = f"{file.name} as it is cannot be compared: {error}"
        return text


def _parsed(document: dict[str, Any], version: str) -> Contract:
    return parse({**document, "version": version}, origin="the draft")


def _digest(text: str) -> str:
    return digests.of_bytes(text.encode())


def _noted(folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / NOTE).read_text(encoding="utf-8"))["drafted"]
        return {str(place): str(digest) for place, digest in found.items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return {}
