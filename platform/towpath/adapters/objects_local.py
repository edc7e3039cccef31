"""Content-addressed objects in a folder: `root/ab/cdef…`, each read-only and named by the SHA-256 of its bytes."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from towpath.core.digest import PREFIX, of_file, short
from towpath.core.errors import BadInput, IntegrityError, Misconfigured, NotFound, Unwritable

_DIGEST = re.compile(re.escape(PREFIX) + r"[0-9a-f]{64}")
_CHUNK = 1 << 20
_READ_ONLY = 0o444
_ABANDONED_SECONDS = 3600


def relative_name(digest: str) -> str:
    """Where an object lies: `ab/cdef…` for `sha256:abcdef…`. Raises `BadInput` for anything but a SHA-256 digest."""
    if not _DIGEST.fullmatch(digest):
        raise BadInput(
            f"{digest!r} is not a digest.", value=digest, hint=f"A digest is '{PREFIX}' and 64 lower-case hex digits."
        )
    name = digest.removeprefix(PREFIX)
    return f"{name[:2]}/{name[2:]}"


class LocalObjects:
    """The `Objects` port over a folder. An object appears under its name whole or not at all."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, file: Path) -> str:
        """Store the file's bytes and return their digest; a stored object whose bytes have changed is replaced.

        Raises `BadInput` when there is no such file or it changes meanwhile, `Unwritable` when the folder refuses it.
        """
        digest = _digest_of_input(file)
        target = self._root / relative_name(digest)
        with _writing(self._root):
            self._sweep()
            if not _same(target, digest, size=file.stat().st_size):
                self._write(file, digest)
        return digest

    def fetch(self, digest: str) -> Path:
        """The object's own file, read-only, its digest verified now.

        Raises `NotFound` and, when the bytes are no longer those recorded, `IntegrityError`.
        """
        target = self._root / relative_name(digest)
        try:
            found = of_file(target)
        except FileNotFoundError as error:
            raise _not_found(digest, str(self._root)) from error
        except OSError as error:
            raise Misconfigured(
                f"Cannot read the object {target}: {error.strerror}.",
                value=str(target),
                hint="Give this user the right to read the object folder.",
            ) from error
        if found != digest:
            raise tampered(digest, found, where=str(target))
        return target

    def has(self, digest: str) -> bool:
        """Whether an object of that name is stored. Its bytes are verified by `fetch`, not here."""
        return (self._root / relative_name(digest)).is_file()

    def remove(self, digest: str) -> bool:
        """Remove an object for good; whether there was one."""
        there = self.has(digest)
        self.drop(digest)
        return there

    def drop(self, digest: str) -> None:
        """Remove an object that can be had again from elsewhere (a cache's copy); nothing when there is none."""
        with _writing(self._root):
            (self._root / relative_name(digest)).unlink(missing_ok=True)

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """An empty temporary file on the objects' file system, gone afterwards unless `adopt` took it."""
        with _writing(self._root):
            folder = self._root / ".incoming"
            folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=folder)
            os.close(handle)
        try:
            with _writing(self._root):
                yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def adopt(self, temporary: Path, digest: str) -> Path:
        """Give a file from `incoming`, whose bytes are known to have that digest, its name."""
        target = self._root / relative_name(digest)
        with _writing(self._root):
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("rb") as stream:
                os.fchmod(stream.fileno(), _READ_ONLY)
                os.fsync(stream.fileno())
            temporary.replace(target)
            _sync_folder(target.parent)
            _sync_folder(self._root)
        return target

    def _write(self, file: Path, digest: str) -> None:
        with self.incoming() as temporary:
            copied = _copy(file, temporary)
            if copied != digest:
                raise BadInput(
                    f"{file} changed while it was being stored.",
                    value=str(file),
                    hint="Store it again when nothing writes to it any more.",
                )
            self.adopt(temporary, digest)

    def _sweep(self) -> None:
        """Remove what killed writers left. Age tells them from living ones, whose files are written to all the time."""
        limit = time.time() - _ABANDONED_SECONDS
        for leftover in (self._root / ".incoming").glob("*"):
            try:
                if leftover.stat().st_mtime < limit:
                    leftover.unlink()
            except FileNotFoundError:
                continue  # another process swept it


def tampered(expected: str, found: str, *, where: str) -> IntegrityError:
    """The error for stored bytes that are not those recorded."""
    return IntegrityError(
        f"The stored bytes at {where} have changed: expected {expected}, found {found}.",
        gate="integrity.data",
        value=found,
        valid=(expected,),
        hint="Do not use them. Storing the original file again, or restoring a backup, repairs the object.",
    )


def _not_found(digest: str, where: str) -> NotFound:
    return NotFound(
        f"No object {short(digest)} ({digest}) in {where}.",
        value=digest,
        hint="Run the stage that makes it again, or point the object store at the place it was stored in.",
    )


def _digest_of_input(file: Path) -> str:
    try:
        return of_file(file)
    except OSError as error:
        raise BadInput(
            f"Cannot read {file} to store it: {error.strerror}.",
            value=str(file),
            hint="Give the path of a readable file.",
        ) from error


def _same(target: Path, digest: str, *, size: int) -> bool:
    try:
        return target.stat().st_size == size and of_file(target) == digest
    except FileNotFoundError:
        return False


def _copy(file: Path, target: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as source, target.open("wb") as copy:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            copy.write(chunk)
    return PREFIX + digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unwritable(
            f"Cannot write to the object folder {root}: {error.strerror}.",
            value=str(root),
            hint="Free space on its disk, or give this user the right to write there, or choose another folder.",
        ) from error
