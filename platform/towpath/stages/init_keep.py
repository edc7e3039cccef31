"""Writing a draft where a person may have been at work: what is there is never overwritten, only proposed beside.

The folder keeps, for each file, the draft that the person has (`.towpath-draft.json`): the one that was written, or the
last proposal that they took over. A draft that says the same proposes nothing, however much a person changed since; one
that says something else is proposed until it is taken over. What is proposed is remembered too, so that a proposal in
which a person works is not overwritten either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

import yaml

from towpath.core.contract_changes import Comparison
from towpath.core.errors import BadInput, TowpathError, Unwritable
from towpath.project import contract_file
from towpath.stages.init_contract import proposed

NOTE = ".towpath-draft.json"
PROPOSED = ".proposed"
CONTRACT = ".odcs.yaml"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Files that were written, those proposed beside one that is there, and those the draft says nothing new of.

    `waiting`: earlier proposals that lie there still, of files that this draft says nothing new of. `change`: what the
    proposed contract changes, when one is proposed; `why_not` when that could not be told.
    """

    written: tuple[str, ...] = ()
    proposed: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    change: Comparison | None = None
    why_not: str = ""


@dataclass(frozen=True, kw_only=True)
class _Proposal:
    """A proposal's text, and the draft that it stands for."""

    text: str
    draft: str


@dataclass(frozen=True, kw_only=True)
class _Note:
    """By a file's place: the draft that the person has, and what is proposed to them."""

    drafted: Mapping[str, str] = field(default_factory=dict)
    proposed: Mapping[str, _Proposal] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Step:
    """What is to become of one file. `has`: the draft that the person has of it then."""

    place: str
    does: Literal["write", "propose", "nothing"]
    text: str = ""
    draft: str = ""
    has: str | None = None
    change: Comparison | None = None
    why_not: str = ""


def keep(folder: Path, files: Mapping[str, str], *, as_of: date) -> Kept:
    """Write the files that are not there, and propose those that differ from what is there and from the last draft.

    `as_of`: the day on which a proposed contract would come.

    Raises `BadInput` for a proposal that a person has edited and for a link out of the folder, before anything is
    written, and `Unwritable`.
    """
    try:
        note = _noted(folder)
        steps = [_step(folder, place, text, note, as_of) for place, text in files.items()]
        for step in steps:
            _require_free(folder, step, note)
        # First of all: a draft that is broken off can then be drafted again.
        _write(folder / NOTE, _noting(note, [step for step in steps if step.does == "write"]))
        for step in steps:
            if step.does == "write":
                _write(folder / step.place, step.text)
            elif step.does == "propose":
                _write(folder / (step.place + PROPOSED), step.text)
        _write(folder / NOTE, _noting(note, steps))
        return _told(folder, steps, note)
    except OSError as error:
        raise Unwritable(
            f"The project cannot be written into {folder}: {error.strerror}.",
            value=str(folder),
            hint="Name another folder.",
        ) from error


def require_project(folder: Path, name: str, *, contract: str) -> None:
    """Raises `BadInput` for a folder of something else than a project, or of a project of another table.

    `contract`: the place of the table's contract.
    """
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
    here = {file.name for file in (folder / contract).parent.glob(f"*{CONTRACT}")}
    here |= {Path(place).name for place in _noted(folder).drafted if place.endswith(CONTRACT)}
    if here and Path(contract).name not in here:
        tables = sorted(file.removesuffix(CONTRACT) for file in here)
        raise BadInput(
            f"{folder} is a project of the table {' and '.join(tables)}, not of "
            f"{Path(contract).name.removesuffix(CONTRACT)}: a table is called as its file is.",
            value=Path(contract).name.removesuffix(CONTRACT),
            valid=tables,
            hint="Name the file as the table is called, or name another folder.",
        )


def _step(folder: Path, place: str, text: str, note: _Note, as_of: date) -> _Step:
    file, before, last = folder / place, note.drafted.get(place), note.proposed.get(place)
    if not file.exists():
        return _Step(place=place, does="write", text=text, draft=text, has=text)
    here = file.read_bytes()
    if last is not None and here == last.text.encode():
        before = last.draft
    if text == before or here == text.encode():
        return _Step(place=place, does="nothing", has=text)
    if not place.endswith(CONTRACT):
        return _Step(place=place, does="propose", text=text, draft=text, has=before)
    return _contract(file, place, text, before, as_of)


def _contract(file: Path, place: str, text: str, before: str | None, as_of: date) -> _Step:
    """A contract that cannot be compared is proposed as drafted."""
    try:
        now, theirs = contract_file(file)
        earlier = yaml.safe_load(before) if before else None
        found = proposed(now, theirs, before=earlier, drafted=yaml.safe_load(text), as_of=as_of)
    except TowpathError as error:
        why_not = f"{file.name} as it is cannot be compared: {error}"
        return _Step(place=place, does="propose", text=text, draft=text, has=before, why_not=why_not)
    if found is None:
        return _Step(place=place, does="nothing", has=text)
    return _Step(place=place, does="propose", text=found[0], draft=text, has=before, change=found[1])


def _require_free(folder: Path, step: _Step, note: _Note) -> None:
    """That what is to be written lands in the folder, and on nothing that a person wrote."""
    names = [NOTE, step.place, step.place + PROPOSED]
    for name in names if step.does != "nothing" else names[:1]:
        file = folder / name
        if (file.is_symlink() and (name != step.place or not file.exists())) or not (
            file.parent.resolve().is_relative_to(folder.resolve())
        ):
            raise BadInput(
                f"{file} is a link, or lies behind one: what is drafted may land outside of {folder}.",
                value=str(file),
                hint="Put a file or folder in the link's place, or remove the link.",
            )
    proposal = folder / (step.place + PROPOSED)
    if step.does != "propose" or not proposal.exists():
        return
    last = note.proposed.get(step.place)
    if proposal.read_bytes() not in {step.text.encode(), last.text.encode() if last else None}:
        raise BadInput(
            f"{proposal} is not as it was proposed: somebody works in it, and a newer proposal would overwrite that.",
            value=str(proposal),
            hint=f"Move it over {folder / step.place} to take it over, or move it away, and draft again.",
        )


def _told(folder: Path, steps: Sequence[_Step], note: _Note) -> Kept:
    def places(does: str) -> list[str]:
        return [step.place for step in steps if step.does == does]

    gone = [name for name in note.drafted if name not in {step.place for step in steps} and (folder / name).is_file()]
    same = [*places("nothing"), *gone]
    return Kept(
        written=tuple(places("write")),
        proposed=tuple(place + PROPOSED for place in places("propose")),
        same=tuple(same),
        waiting=tuple(place + PROPOSED for place in same if (folder / (place + PROPOSED)).is_file()),
        change=next((step.change for step in steps if step.change is not None), None),
        why_not=next((step.why_not for step in steps if step.why_not), ""),
    )


def _write(file: Path, text: str) -> None:
    """Whole or not at all: half a draft would be taken for a person's edit."""
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_name(f".{file.name}.part")
    half.unlink(missing_ok=True)
    half.write_text(text, encoding="utf-8")
    half.replace(file)


def _noting(note: _Note, steps: Sequence[_Step]) -> str:
    """The note after these steps; files of earlier drafts that this one does not have stay noted."""
    drafted, proposals = dict(note.drafted), dict(note.proposed)
    for step in steps:
        if step.has is not None:
            drafted[step.place] = step.has
        if step.does == "propose":
            proposals[step.place] = _Proposal(text=step.text, draft=step.draft)
    told = {"drafted": drafted, "proposed": {place: asdict(one) for place, one in proposals.items()}}
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def _noted(folder: Path) -> _Note:
    """What is noted; nothing where there is no note, or none that can be read."""
    try:
        found: Any = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        return _Note(
            drafted={str(place): str(text) for place, text in found["drafted"].items()},
            proposed={str(place): _Proposal(**one) for place, one in found.get("proposed", {}).items()},
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return _Note()
