"""Every byte that a folder holds, also of what is compressed or encoded in its files: a search that misses nothing."""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import re
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq

_BASE64 = re.compile(rb"[A-Za-z0-9+/]{40,}={0,2}")


def places(root: Path, needles: Mapping[str, bytes], *, outside: Sequence[Path] = ()) -> dict[str, list[str]]:
    """Where each needle is, in any case of letters, by its name; files below `outside` are left out."""
    found: dict[str, list[str]] = {}
    for file in sorted(root.rglob("*")):
        if file.is_symlink() or not file.is_file() or any(file.is_relative_to(one) for one in outside):
            continue
        for place, data in contents(str(file.relative_to(root)), file.read_bytes(), file):
            lowered = data.lower()
            for name, needle in needles.items():
                if needle.lower() in lowered:
                    found.setdefault(name, []).append(place)
    return found


def contents(place: str, data: bytes, file: Path | None = None) -> Iterator[tuple[str, bytes]]:
    """The bytes, and what they hold when they are unpacked, however deep."""
    yield place, data
    if data.startswith(b"PAR1"):
        table = pq.read_table(io.BytesIO(data))
        yield f"{place}|metadata", str(pq.read_metadata(io.BytesIO(data)).to_dict()).encode()
        for name in table.column_names:
            yield f"{place}|{name}", "\n".join(str(one) for one in table[name].to_pylist()).encode()
    elif data.startswith(b"SQLite format 3\0") and file is not None:
        yield from _cells(place, file)
    elif data.startswith(b"PK\x03\x04") and zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield from contents(f"{place}|{name}", archive.read(name))
    elif data.startswith(b"\x1f\x8b"):
        yield from contents(f"{place}|gzip", gzip.decompress(data))
    else:
        for match in _BASE64.finditer(data):
            yield from _decoded(f"{place}|base64 at {match.start()}", match[0])


def _decoded(place: str, text: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        data = base64.b64decode(text[: len(text) // 4 * 4])
        yield place, data
        if data[:1] == b"\x78":
            yield f"{place}|zlib", zlib.decompress(data)
        elif data[:2] == b"\x1f\x8b":
            yield f"{place}|gzip", gzip.decompress(data)
    except (binascii.Error, zlib.error, EOFError, gzip.BadGzipFile):
        return


def _cells(place: str, file: Path) -> Iterator[tuple[str, bytes]]:
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        connection.text_factory = bytes
        names = [row[0].decode() for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            for row in connection.execute(f'SELECT * FROM "{name}"'):
                for cell in row:
                    if isinstance(cell, bytes):
                        yield from contents(f"{place}|{name}", cell)
                    elif cell is not None:
                        yield f"{place}|{name}", str(cell).encode()
    connection.close()
