"""From spool to store: finished files of the workers, and what workers that are gone have left behind."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from towpath.core.errors import TowpathError
from towpath.gateway.metrics import Metrics
from towpath.gateway.spool import FINISHED, LOCK, OPEN, locks

_SECONDS = 0.25
_ADOPT_EVERY = 20  # looks
_PATIENCE_SECONDS = 2.0  # after a failure
_NICE = 10  # answers come first where workers and this thread share a core
_log = logging.getLogger(__name__)


class Shipped(Protocol):
    """What a spool file held."""

    @property
    def rows(self) -> int: ...
    @property
    def labels(self) -> int: ...
    @property
    def torn(self) -> int: ...


class Shipper(threading.Thread):
    """Ships until it is stopped. `workers` says which spool folders are those of living workers of this gateway."""

    def __init__(
        self,
        root: Path,
        ship: Callable[[Path], Shipped],
        *,
        workers: Callable[[], set[str]],
        metrics: Metrics,
    ) -> None:
        super().__init__(name="towpath-ship", daemon=True)
        self._root = root
        self._ship = ship
        self._workers = workers
        self._metrics = metrics
        self._stop_asked = threading.Event()

    def run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        looks = 0
        while not self._stop_asked.wait(_SECONDS):
            well = self.look(adopt=looks % _ADOPT_EVERY == 0)
            looks += 1
            if not well:
                self._stop_asked.wait(_PATIENCE_SECONDS)

    def stop(self) -> None:
        """End the thread, and ship what is left, which the workers have finished by then."""
        self._stop_asked.set()
        if self.is_alive():
            self.join()
        self.look(adopt=True)

    def look(self, *, adopt: bool) -> bool:
        """Ship what is finished now; with `adopt` also what nobody writes any more. Whether all of it could be."""
        well = True
        living = self._workers()
        for name in sorted(living):
            well &= self._all_of(self._root / name)
        if adopt:
            for folder in self._orphans(living):
                well &= self._all_of(folder)
        return well

    def _all_of(self, folder: Path) -> bool:
        """Unless another gateway is at it, which may have seen sooner than we that our worker is gone."""
        with _shipped(folder) as ours:
            return not ours or self._files_of(folder)

    def _files_of(self, folder: Path) -> bool:
        files = sorted(folder.glob(f"*{FINISHED}"))
        self._metrics.log_waiting.set(len(files))
        for file in files:
            try:
                shipped = self._ship(file)
            except TowpathError as error:
                self._metrics.ship_failures.inc()
                _log.warning("%s is not shipped: %s", file, error)
                return False
            for kind, number in (("prediction", shipped.rows), ("label", shipped.labels), ("torn", shipped.torn)):
                self._metrics.log_shipped[kind].inc(number)
        self._metrics.log_waiting.set(0)
        return True

    def _orphans(self, living: set[str]) -> Iterator[Path]:
        """Spool folders whose worker is gone: locked while they are shipped, and removed once they are empty."""
        folders = [item for item in self._root.iterdir() if item.is_dir()] if self._root.is_dir() else []
        for folder in sorted(folders):
            if folder.name in living:
                continue
            with _locked(folder) as ours:
                if not ours:
                    continue
                for file in folder.glob(f"*{OPEN}"):
                    file.rename(file.with_suffix(FINISHED))
                yield folder
                _remove(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether nobody else holds the folder; it is ours meanwhile."""
    try:
        handle = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError:  # another gateway has just removed it
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield locks(handle, folder)
    finally:
        os.close(handle)


@contextmanager
def _shipped(folder: Path) -> Iterator[bool]:
    """Whether nobody else ships the folder, nor will meanwhile; that is apart from who writes to it."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # shipped, and removed
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    except OSError:  # a file system without such locks; shipping a file twice makes the same files of the same names
        yield True
    else:
        yield True
    finally:
        os.close(handle)


def _remove(folder: Path) -> None:
    """Remove an empty spool folder; one with torn lines or files that could not be shipped stays."""
    if [file.name for file in folder.iterdir()] == [LOCK]:
        (folder / LOCK).unlink()
        with suppress(OSError):  # another gateway looks for orphans too, and has just made a lock
            folder.rmdir()
