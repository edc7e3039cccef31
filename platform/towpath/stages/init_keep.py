"""Writing a draft where a person may have been at work: what is there is never overwritten, only proposed beside.

The folder keeps what was drafted (`.towpath-draft.json`), so that a second draft that is the same as the first proposes
nothing, however much a person changed since, and a contract's proposal takes nothing of theirs back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import yaml

from towpath.core.contract_changes import Comparison
from towpath.core.errors import BadInput, TowpathError, Unwritable
from towpath.project import contract_file
from towpath.stages.init_contract import proposed

NOTE = ".towpath-draft.json"
PROPOSED = ".proposed"


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


def keep(folder: Path, files: Mapping[str, str], *, as_of: date) -> Kept:
    """Write the files that are not there, and propose those that differ from what is there and from the last draft.

    `as_of` is the day on which a proposed contract would come.

    Raises `Unwritable`.
    """
    try:
        before = _noted(folder)
        done = _Done()
        for place, text in files.items():
            _one(folder, place, text, before.get(place), done, as_of)
        for name in before:
            if name not in files and (folder / name).is_file():
                done.same.append(name)
        note = json.dumps({"drafted": dict(files)}, indent=2, ensure_ascii=False)
        (folder / NOTE).write_text(note + "\n", encoding="utf-8")
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


def _one(folder: Path, place: str, text: str, before: str | None, done: _Done, as_of: date) -> None:
    file = folder / place
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        done.written.append(place)
        return
    if before == text or file.read_bytes() == text.encode():
        done.same.append(place)
        return
    proposal = _contract(file, text, before, done, as_of) if place.endswith(".odcs.yaml") else text
    if proposal is None:
        done.same.append(place)
        return
    file.with_name(file.name + PROPOSED).write_text(proposal, encoding="utf-8")
    done.proposed.append(place + PROPOSED)


def _contract(file: Path, text: str, before: str | None, done: _Done, as_of: date) -> str | None:
    """The contract to propose; None when nothing changes. One that cannot be compared is proposed as drafted."""
    try:
        now, theirs = contract_file(file)
        earlier = yaml.safe_load(before) if before else None
        found = proposed(now, theirs, before=earlier, drafted=yaml.safe_load(text), as_of=as_of)
    except TowpathError as error:
        done.why_not = f"{file.name} as it is cannot be compared: {error}"
        return text
    if found is None:
        return None
    done.change = found[1]
    return found[0]


def _noted(folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / NOTE).read_text(encoding="utf-8"))["drafted"]
        return {str(place): str(text) for place, text in found.items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return {}
