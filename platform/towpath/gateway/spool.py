"""The prediction log's first stop: JSON lines appended to a file of the worker's own.

Lines are handed to the kernel just before their answers are, so killing the process loses no answered request's line.
Nothing is kept in memory. Finished files (`<n>.jsonl`) are shipped by the parent process; `<n>.open` is still being
written.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from pathlib import Path

from towpath.gateway.metrics import Metrics

OPEN, FINISHED, LOCK = ".open", ".jsonl", "lock"
_MOST_BYTES = 8 << 20  # of one file
_MOST_SECONDS = 1.0
_MOST_SPOOLED = 1 << 30  # of a worker's files that nobody ships: beyond, lines are lost and counted
_log = logging.getLogger(__name__)


class Spool:
    """A worker's spool folder, locked for as long as the process lives. Only for the thread of its event loop."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop, metrics: Metrics) -> None:
        self._lock = _taken(folder)
        self._folder = folder
        self._loop = loop
        self._metrics = metrics
        self._number = 0
        self._handle: int | None = None
        self._written = 0
        self._timer: asyncio.TimerHandle | None = None
        self._full = False

    def write(self, *lines: bytes) -> bool:
        """Append lines (without their ends). False when one is lost: counted, and never the request's trouble."""
        if self._full or (self._handle is None and not self._open()):
            self._metrics.log_lost.inc(len(lines))
            return False
        assert self._handle is not None
        data = b"\n".join((*lines, b""))
        try:
            written = os.write(self._handle, data)
        except OSError as error:
            _log.warning("prediction log: %s", error.strerror)
            written = 0
        self._written += written
        kept = len(lines) if written == len(data) else data.count(b"\n", 0, written)
        self._metrics.log_lines.inc(kept)
        if kept < len(lines):  # the disk is full: a torn line is set aside when the file is shipped
            self._metrics.log_lost.inc(len(lines) - kept)
            self.rotate()
            return False
        if self._written >= _MOST_BYTES:
            self.rotate()
        return True

    def rotate(self) -> None:
        """Finish the file, so that it can be shipped."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._handle is None:
            return
        os.close(self._handle)
        self._handle = None
        file = self._folder / f"{self._number:08d}{OPEN}"
        try:
            file.rename(file.with_suffix(FINISHED))
        except OSError as error:  # the parent ships what is left over when we end
            _log.warning("prediction log: %s cannot be finished: %s", file.name, error.strerror)
        self._look_at_room()

    def close(self) -> None:
        self.rotate()
        os.close(self._lock)

    def _open(self) -> bool:
        self._number += 1
        file = self._folder / f"{self._number:08d}{OPEN}"
        try:
            self._handle = os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        except OSError as error:
            _log.warning("prediction log: %s", error.strerror)
            return False
        self._written = 0
        self._timer = self._loop.call_later(_MOST_SECONDS, self.rotate)
        return True

    def _look_at_room(self) -> None:
        """Whether the shipping keeps up."""
        try:
            spooled = sum(entry.stat().st_size for entry in os.scandir(self._folder))
        except OSError:
            spooled = 0
        if (spooled > _MOST_SPOOLED) is not self._full:
            self._full = spooled > _MOST_SPOOLED
            _log.warning("prediction log: %s bytes wait to be shipped", spooled)
        if self._full:
            self._timer = self._loop.call_later(_MOST_SECONDS, self._look_at_room)


def locks(handle: int, folder: Path) -> bool:
    """Whether the open file is still the folder's lock, and not one that was removed together with its folder."""
    try:
        return os.path.samestat(os.fstat(handle), (folder / LOCK).stat())
    except OSError:
        return False


def _taken(folder: Path) -> int:
    """The folder, made, and its lock; a gateway that looks for orphans may remove a folder before it is locked."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        except FileNotFoundError:
            continue
        fcntl.flock(handle, fcntl.LOCK_EX)
        if locks(handle, folder):
            return handle
        os.close(handle)
