"""Folders for what is in the making, each locked for as long as the process lives that made it.

Who is killed leaves its folders behind. Whoever makes the next one removes them: the kernel has let go of a dead
process's locks, and of no other's. On a file system that cannot lock folders, what the dead left stays.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Scratch:
    """A folder of one's own. `lock` is a file descriptor; who inherits it keeps the folder too."""

    path: Path
    lock: int

    def remove(self) -> None:
        """Remove the folder with what is in it, once."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


def make(root: Path) -> Scratch:
    """A new folder below `root`, after removing there what belongs to nobody any more."""
    root.mkdir(parents=True, exist_ok=True)
    _sweep(root)
    while True:
        path = Path(tempfile.mkdtemp(dir=root))
        with suppress(FileNotFoundError):  # taken for a dead one's in the moment before it was locked
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            with suppress(OSError):  # a file system without such locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                return Scratch(path=path, lock=lock)
            os.close(lock)


@contextmanager
def made(root: Path) -> Iterator[Path]:
    """A new folder that is gone afterwards."""
    scratch = make(root)
    try:
        yield scratch.path
    finally:
        scratch.remove()


def _sweep(root: Path) -> None:
    for folder in root.iterdir():
        with suppress(OSError):  # no folder, removed by another just now, or held by the living
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
