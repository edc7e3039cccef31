"""Stored files, written out under a name that a browser or a reader knows."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from towpath.core.errors import Unwritable
from towpath.core.evidence import Candidate
from towpath.ports import Objects


def report_folder(state: Path, candidate: Candidate) -> Path:
    """Where a candidate's reports are written out."""
    return state / "reports" / candidate.id


def save(objects: Objects, digest: str, target: Path) -> Path:
    """Copy the stored file to `target`, whole or not at all. Raises `Unwritable`, `NotFound` and `IntegrityError`."""
    source = objects.fetch(digest)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=target.parent) as scratch:
            copied = Path(shutil.copyfile(source, Path(scratch) / "file"))
            copied.replace(target)
    except OSError as error:
        raise Unwritable(
            f"{target} cannot be written: {error.strerror}.",
            value=str(target),
            hint="Name a file in a folder you may write to.",
        ) from error
    return target
