"""A compiled tree ensemble as one file: the plan of the encoding and the trees, the same bytes every time."""

from __future__ import annotations

import zipfile
from pathlib import Path

from towpath.adapters import runtime_plan as plans
from towpath.adapters.runtime_plan import Plan
from towpath.core.errors import IntegrityError

_PLAN = "plan.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)


def write(file: Path, plan: Plan, trees: str, data: bytes) -> None:
    """Write an archive of the plan and the trees' bytes under the name `trees`."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in ((_PLAN, plans.dumps(plan).encode()), (trees, data)):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)


def read(file: Path, trees: str) -> tuple[Plan, bytes]:
    """What `write` wrote. Raises `IntegrityError` for any other file."""
    try:
        with zipfile.ZipFile(file) as archive:
            return plans.loads(archive.read(_PLAN).decode()), archive.read(trees)
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise damaged(file, error) from error


def damaged(file: Path, error: Exception | str) -> IntegrityError:
    """The error for a compiled file that cannot be used."""
    return IntegrityError(
        f"{file.name} is no compiled model that this version reads: {error}",
        gate="integrity.model",
        value=str(file),
        hint="Run the path again: register compiles the model anew.",
    )
