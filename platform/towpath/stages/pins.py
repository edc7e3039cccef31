"""What a model can be made again from, stored with it: the code, the features' definitions, the declaration, the lock.

The train stage writes these objects as its subjects of kind `pinned`; `stages.reproduce` reads them. Each is a function
of what the entry's key covers, so that a stage that is killed and repeated still writes the same entry. What the
machine happened to be is a note instead: another machine may repeat a stage, and the entry is the same.
"""

from __future__ import annotations

import io
import json
import os
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from threadpoolctl import threadpool_info

from towpath.core import digest as digests
from towpath.core.errors import BadInput
from towpath.core.evidence import Candidate, Subject
from towpath.core.gates import Stage
from towpath.project import environment
from towpath.stages.work import Work

KIND: Final = "pinned"
CODE, REPOSITORY, DECLARATION, LIBRARIES = "code", "feature_repo", "declaration", "libraries"
SECTIONS: Final = ("training", "features")
"""The charter's sections that a model is made by."""
VERSION: Final = "1"
"""Of what is pinned. Part of the train stage's key: a project that was trained before is trained once more."""


def pin(candidate: Candidate, inputs: Mapping[str, str], work: Work) -> list[Subject]:
    """Store what the training stands on, as subjects. `inputs` are the train entry's.

    Raises `BadInput` when the project's files are no longer those whose digest the entry has.
    """
    project = work.project
    repository = candidate.entry(Stage.FEATURIZE).subject("code", REPOSITORY).digest
    with work.scratch() as folder:
        files = {
            CODE: archive(project.folder, project.code_files, folder / "code.tar", digest=inputs["code"]),
            REPOSITORY: archive(
                project.repository, project.repository_files, folder / "feature_repo.tar", digest=repository
            ),
            DECLARATION: _json(declaration(work), folder / "declaration.json"),
            LIBRARIES: _json(dict(environment()), folder / "libraries.json"),
        }
        return [work.store(KIND, name, file) for name, file in files.items()]


def declaration(work: Work) -> dict[str, Any]:
    """The charter's sections that a model is made by, as their digests in the entry's key are made."""
    return work.project.charter.model_dump(mode="json", by_alias=True, include=set(SECTIONS))


def machine() -> dict[str, str]:
    """What floating-point results can depend on beside the code: processor, libraries in C, number of threads.

    Asked after training, when those libraries are loaded. NumPy and SciPy each bring a BLAS of their own.
    """
    found = {
        "system": platform.system(),
        "processor": platform.machine(),
        "libc": " ".join(platform.libc_ver()).strip(),
        "cpus": str(os.cpu_count() or 0),
    }
    for one in threadpool_info():
        told = [one["internal_api"], one.get("version"), one.get("architecture"), f"{one['num_threads']} threads"]
        found[f"{Path(one['filepath']).parent.name}/{one['prefix']}"] = " ".join(str(item) for item in told if item)
    return dict(sorted(found.items()))


def archived(file: Path) -> dict[str, bytes]:
    """The files of an archive by name. Raises `BadInput` for a file that is none."""
    try:
        with tarfile.open(file) as archive:
            members = [tarfile.data_filter(member, ".") for member in archive.getmembers()]
            return {member.name: stream.read() for member in members if (stream := archive.extractfile(member))}
    except tarfile.TarError as error:
        raise BadInput(f"{file} is no archive: {error}.", value=str(file)) from error


def contents_digest(files: Mapping[str, bytes]) -> str:
    """The digest that `digest.of_tree` gives of a folder with these files."""
    return digests.of_json({name: digests.of_bytes(files[name]) for name in sorted(files)})


def archive(folder: Path, names: Sequence[str], target: Path, *, digest: str) -> Path:
    """An archive whose bytes depend on the files' names and bytes alone; not compressed, for compressors differ.

    Raises `BadInput` when their digest is not the one given, or one is gone.
    """
    try:
        files = {name: (folder / name).read_bytes() for name in sorted(names)}
    except FileNotFoundError:
        files = {}
    if contents_digest(files) != digest:
        raise BadInput(
            f"Files of {folder} changed while the path was running.",
            value=str(folder),
            hint="Run it again when nobody edits them.",
        )
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    return target


def _json(document: Any, target: Path) -> Path:
    """In Python's own form, for RFC 8785 writes 1.0 as 1, and a parameter's type is its meaning."""
    target.write_text(json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False), encoding="utf-8")
    return target
