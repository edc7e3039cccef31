"""Where the prediction log lies: a folder or a bucket. A file appears under its name whole or not at all."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from towpath.adapters.s3_client import Bucket, S3Settings
from towpath.core.errors import DeclarationError, Unreachable, Unwritable

_ABANDONED_SECONDS = 3600
_INCOMING = ".incoming"


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A file of the log: its name below the root, with slashes, its size, and a mark that changes with its content."""

    name: str
    size: int
    mark: str


class Place(Protocol):
    """A root of named files."""

    def put(self, file: Path, name: str) -> None:
        """Store the file's bytes under the name; what lay there is replaced."""
        ...

    def list(self, folder: str, *, since: str = "") -> list[Stored]:
        """The files below a folder, in the order of their names; of its own files and folders those from a name on."""
        ...

    def local(self, stored: Stored) -> Path | None:
        """A local file with the stored one's bytes; None when it is there no more."""
        ...

    def forget(self, stored: Stored) -> None:
        """Give back what a local copy takes, if one is kept."""
        ...

    def remove(self, stored: Stored) -> None:
        """Remove the file; one that is gone already is no error."""
        ...


def place(address: str, *, s3: S3Settings, cache: Path) -> Place:
    """The place that `settings.predictions` names. Raises `DeclarationError` for another scheme."""
    parts = urlsplit(address)
    if parts.scheme == "s3":
        return BucketPlace(parts.netloc, parts.path.strip("/"), settings=s3, cache=cache)
    if parts.scheme:
        raise DeclarationError(
            f"TOWPATH_PREDICTIONS has the scheme {parts.scheme!r}.",
            value=parts.scheme,
            valid=["s3://bucket/prefix", "a folder"],
        )
    return FolderPlace(Path(address))


class FolderPlace:
    """A folder. Files are written beside their place and renamed into it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, file: Path, name: str) -> None:
        target = self._root / name
        incoming = self._root / _INCOMING
        with writing(self._root):
            incoming.mkdir(parents=True, exist_ok=True)
            _sweep(incoming)
            handle, temporary = tempfile.mkstemp(dir=incoming)
            with os.fdopen(handle, "wb") as stream:
                stream.write(file.read_bytes())
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).chmod(0o644)
            _make(target.parent)
            Path(temporary).replace(target)
            sync_folder(target.parent)

    def list(self, folder: str, *, since: str = "") -> list[Stored]:
        return sorted(_walked(self._root / folder, folder, since), key=lambda item: item.name)

    def local(self, stored: Stored) -> Path | None:
        path = self._root / stored.name
        return path if path.is_file() else None

    def forget(self, stored: Stored) -> None:
        """There are no copies."""

    def remove(self, stored: Stored) -> None:
        with writing(self._root):
            (self._root / stored.name).unlink(missing_ok=True)


class BucketPlace:
    """`s3://bucket/prefix`, read through a local folder of fetched files."""

    def __init__(self, bucket: str, prefix: str, *, settings: S3Settings, cache: Path) -> None:
        self._bucket = Bucket(bucket, settings)
        self._prefix = f"{prefix}/" if prefix else ""
        self._cache = cache

    def put(self, file: Path, name: str) -> None:
        self._bucket.upload(file, self._prefix + name, metadata={})

    def list(self, folder: str, *, since: str = "") -> list[Stored]:
        begin = f"{self._prefix}{folder}/"
        found = self._bucket.objects(begin, after=begin + since if since else "")
        return [
            Stored(name=item.key.removeprefix(self._prefix), size=item.size, mark=item.etag)
            for item in found
            if item.key.endswith(".parquet")
        ]

    def local(self, stored: Stored) -> Path | None:
        """The cache's copy, fetched first when it is not there. Raises `Unreachable` for one that changes meanwhile."""
        target = self._cached(stored)
        with writing(self._cache):
            if target.is_file() and target.stat().st_size == stored.size:
                return target
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=target.parent)
            os.close(handle)
        fetched = Path(temporary)
        try:
            if not self._bucket.download(self._prefix + stored.name, fetched):
                return None
            if fetched.stat().st_size != stored.size:
                raise Unreachable(
                    f"s3://{self._bucket.name}/{self._prefix}{stored.name} changed while it was being read.",
                    value=stored.name,
                    hint="Try again.",
                )
            with writing(self._cache):
                fetched.replace(target)
        finally:
            fetched.unlink(missing_ok=True)
        return target

    def forget(self, stored: Stored) -> None:
        with writing(self._cache):
            self._cached(stored).unlink(missing_ok=True)

    def remove(self, stored: Stored) -> None:
        self._bucket.delete(self._prefix + stored.name)
        self.forget(stored)

    def _cached(self, stored: Stored) -> Path:
        return self._cache / f"{stored.name.removesuffix('.parquet')}-{stored.mark}.parquet"


def _walked(folder: Path, name: str, since: str = "") -> Iterator[Stored]:
    """The Parquet files below a folder. With `scandir`: there may be tens of thousands a day."""
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.name < since:
            continue
        if entry.is_dir():
            yield from _walked(Path(entry.path), f"{name}/{entry.name}")
        elif entry.name.endswith(".parquet"):
            try:
                about = entry.stat()
            except FileNotFoundError:
                continue
            yield Stored(name=f"{name}/{entry.name}", size=about.st_size, mark=f"{about.st_mtime_ns}-{about.st_ino}")


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Failures of the file system as `Unwritable`."""
    try:
        yield
    except OSError as error:
        raise Unwritable(
            f"Cannot write to {root}: {error.strerror}.",
            value=str(root),
            hint="Free space on its disk, or give this user the right to write there, or set TOWPATH_PREDICTIONS.",
        ) from error


def _make(folder: Path) -> None:
    """Make a folder and those above it so that they survive a power cut: files may be removed for what lies in it."""
    if folder.is_dir():
        return
    _make(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make sure that the folder's names survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(incoming: Path) -> None:
    """Remove what killed writers left; a living one's file is seconds old."""
    limit = time.time() - _ABANDONED_SECONDS
    for leftover in incoming.iterdir():
        try:
            if leftover.stat().st_mtime < limit:
                leftover.unlink()
        except FileNotFoundError:
            continue
