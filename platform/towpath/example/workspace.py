"""The example as a project folder of one's own: the template copied, the landing zone filled."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from towpath.core.errors import Unwritable
from towpath.example.landing import land

TEMPLATE = Path(__file__).parent / "project"
FIRST = datetime(2013, 4, 1, tzinfo=UTC)  # the champion: made from January to March
AS_OF = datetime(2013, 6, 1, tzinfo=UTC)  # the challenger: made from January to May
SERVED = datetime(2013, 7, 1, tzinfo=UTC)  # June's flights are the canary's traffic
WATCHED = datetime(2013, 8, 1, tzinfo=UTC)  # July's flights are what monitoring looks at


def lay(folder: Path, *, told: Callable[[str], None]) -> tuple[str, ...]:
    """Make `folder` a copy of the example, with its data; returns files that differ from the template and were kept.

    Files that are there are never overwritten: someone may have edited them. `told` hears what is being done.
    """
    kept = []
    try:
        for source in _files(TEMPLATE):
            target = folder / source.relative_to(TEMPLATE)
            if target.is_file():
                if target.read_bytes() != source.read_bytes():
                    kept.append(target.relative_to(folder).as_posix())
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    except OSError as error:
        raise Unwritable(
            f"The example cannot be laid out in {folder}: {error.strerror}.",
            value=str(folder),
            hint="Name another folder: --folder.",
        ) from error

    def landed(done: int, total: int) -> None:
        if done % 10 == 0 or done == total:
            told(f"landing zone: {done} of {total} files")

    land(folder / "landing", progress=landed)
    return tuple(kept)


def _files(folder: Path) -> list[Path]:
    """Every file below, through links to folders: in a checkout the feature repository is one."""
    found = [
        Path(root) / name
        for root, _, names in os.walk(folder, followlinks=True)
        for name in names
        if "__pycache__" not in root
    ]
    return sorted(found)
