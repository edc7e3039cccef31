"""One walk of a project at a time in a state folder: a second one waits for the first, and then finds its entries."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(state: Path, project: str, *, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold the project's lock in the state folder; `waiting` hears that another walk has it.

    The kernel's lock: it needs no server, and is gone with a process that is killed. Two walks on different machines
    share no state folder and meet in the ledger, where the first entry of a key stays.
    """
    with (state / f"{project}.lock").open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting(f"another run of {project} is under way in {state}; waiting for its end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
