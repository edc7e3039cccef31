"""What several folders of tests need alike is built once in a run of the tests, by whichever process needs it first."""

from __future__ import annotations

import fcntl
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

_Made = TypeVar("_Made")


def once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], _Made]) -> _Made:
    """What `build` made in a folder of that name, for all processes of this run. Nobody writes into the folder."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder = root / f"built-{name}"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = folder / "built.pickle"
        if not told.exists():
            told.write_bytes(pickle.dumps(build(folder / "built")))
        return pickle.loads(told.read_bytes())  # type: ignore[no-any-return]
