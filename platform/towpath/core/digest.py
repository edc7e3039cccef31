"""Digests: SHA-256 over bytes, and over JSON in the canonical form of RFC 8785, so that any implementation of that
specification recomputes ours."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import rfc8785

PREFIX = "sha256:"
_CHUNK = 1 << 20


def of_bytes(data: bytes) -> str:
    """`sha256:<64 hex digits>` of the bytes."""
    return PREFIX + hashlib.sha256(data).hexdigest()


def of_json(value: Any) -> str:
    """Digest of a JSON value in canonical form (RFC 8785). NaN, infinity and integers beyond 2**53 are refused."""
    return of_bytes(rfc8785.dumps(value))


def of_file(path: Path) -> str:
    """Digest of a file's bytes, read in chunks of 1 MiB."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return PREFIX + digest.hexdigest()


def of_tree(folder: Path, *, names: list[str] | None = None) -> str:
    """Digest of a folder: the canonical JSON of its sorted relative file names with each file's digest."""
    if names is None:
        names = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    return of_json({name: of_file(folder / name) for name in sorted(names)})


def short(digest: str) -> str:
    """The first 12 hex digits, for people."""
    return digest.removeprefix(PREFIX)[:12]
