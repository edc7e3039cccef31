"""Zip archives, read within bounds and only when they are what they seem: skops files and compiled trees."""

from __future__ import annotations

import io
import re
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Final

from towpath.adapters import model_scan_arrays as arrays
from towpath.adapters import model_scan_graphs as graphs
from towpath.adapters import model_scan_sniff as sniff
from towpath.adapters import model_scan_texts as texts

MOST_MEMBERS: Final = 100_000
MOST_UNPACKED: Final = 4 << 30
MOST_RATIO: Final = 100  # unpacked to packed, of archives that unpack to more than `SMALL`
SMALL: Final = 64 << 20
_NESTED: Final = 512 << 20
_CHUNK: Final = 1 << 20
_SCHEMA, _PLAN = "schema.json", "plan.json"
_SKOPS: Final = re.compile(r"[\w-]+\.(npy|npz|bin)")
_TREES: Final = {"trees.onnx", "trees.treelite"}


class Refused(Exception):
    """Why an archive is not read. `harmful`: not even a scanner may open it."""

    def __init__(self, why: str, *, harmful: bool = False) -> None:
        super().__init__(why)
        self.harmful = harmful


@dataclass(frozen=True, kw_only=True)
class _Member:
    name: str
    content: bytes  # all of it, or its first `HEAD` bytes when `whole` is not asked for


def skops(stream: IO[bytes], size: int) -> None:
    """A skops file holds a schema and arrays without objects. Raises `Refused`."""
    with _opened(stream, size) as archive:
        names = set(archive.namelist())
        if _SCHEMA not in names:
            raise Refused(_foreign(names))
        for member in _members(archive, whole={_SCHEMA}):
            if member.name == _SCHEMA:
                _must(member.name, texts.structured(member.content) if member.content else "empty")
            elif not _SKOPS.fullmatch(member.name):
                raise Refused(f"it holds {member.name!r}, which is no part of a skops file")
            else:
                _array(member)


def compiled(stream: IO[bytes], size: int) -> None:
    """A compiled file of ours holds a plan and the trees. Raises `Refused`."""
    with _opened(stream, size) as archive:
        names = set(archive.namelist())
        if len(names) != 2 or _PLAN not in names or not names & _TREES:
            raise Refused(_foreign(names))
        for member in _members(archive, whole=names):
            if member.name == _PLAN:
                _must(member.name, texts.structured(member.content))
            elif member.name.endswith(".onnx"):
                _must(member.name, graphs.wrong(member.content))
            elif sniff.kind(member.content[: sniff.HEAD]) is not None:
                raise Refused(f"its trees are a {sniff.kind(member.content[: sniff.HEAD])}")


def _opened(stream: IO[bytes], size: int) -> zipfile.ZipFile:
    """The archive, once its directory is seen to be sound; nothing is unpacked for that."""
    try:
        archive = zipfile.ZipFile(stream)
        infos = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise Refused(f"it is no archive that can be read: {error}", harmful=True) from error
    stream.seek(0)
    begins = stream.read(4) == b"PK\x03\x04" and min((info.header_offset for info in infos), default=1) == 0
    stream.seek(max(0, size - 22))
    if not begins or not stream.read(4) == b"PK\x05\x06" or archive.comment:
        raise Refused("something stands before or behind the archive", harmful=True)
    _bounded(infos, size)
    for info in infos:
        _sound(info)
    if len({info.filename for info in infos}) != len(infos):
        raise Refused("it holds two members of one name", harmful=True)
    return archive


def _bounded(infos: list[zipfile.ZipInfo], size: int) -> None:
    unpacked, packed = sum(info.file_size for info in infos), sum(info.compress_size for info in infos)
    if len(infos) > MOST_MEMBERS:
        raise Refused(f"it has more than {MOST_MEMBERS:,} members", harmful=True)
    if unpacked > MOST_UNPACKED or (unpacked > SMALL and unpacked > MOST_RATIO * max(packed, 1)):
        raise Refused(f"it would unpack {size:,} bytes to {unpacked:,}", harmful=True)
    if packed > size:
        raise Refused("its members overlap", harmful=True)


def _sound(info: zipfile.ZipInfo) -> None:
    name = info.orig_filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name:
        raise Refused(f"its member {name!r} leads out of it", harmful=True)
    if stat.S_ISLNK(info.external_attr >> 16):
        raise Refused(f"its member {name!r} is a link", harmful=True)
    if info.flag_bits & 0x1:
        raise Refused(f"its member {name!r} is encrypted", harmful=True)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refused(f"its member {name!r} is packed in an unusual way", harmful=True)


def _members(archive: zipfile.ZipFile, *, whole: set[str]) -> Iterator[_Member]:
    """Every member, read to its end so that its size and checksum are proven; memory holds `HEAD` bytes of most."""
    for info in archive.infolist():
        if info.filename in whole and info.file_size > _NESTED:
            raise Refused(f"its member {info.filename!r} is too large", harmful=True)
        try:
            with archive.open(info) as stream:
                content = stream.read(info.file_size if info.filename in whole else sniff.HEAD)
                while stream.read(_CHUNK):
                    pass
        except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
            raise Refused(f"its member {info.filename!r} cannot be read: {error}", harmful=True) from error
        except Exception as error:  # zlib's own
            raise Refused(f"its member {info.filename!r} is damaged: {error}", harmful=True) from error
        yield _Member(name=info.filename, content=content)


def _array(member: _Member) -> None:
    """An array whose elements are plain, a sparse matrix of such, or bytes that are no pickle."""
    found = sniff.kind(member.content)
    if member.name.endswith(".npy"):
        _must(member.name, arrays.wrong(member.content))
    elif member.name.endswith(".npz") and found == sniff.ZIP:
        _nested(member)
    elif found is not None or member.name.endswith(".npz"):
        raise Refused(f"its member {member.name!r} is a {found or 'file of unknown format'}")


def _nested(member: _Member) -> None:
    if len(member.content) >= sniff.HEAD:
        raise Refused(f"its member {member.name!r} is an archive too large to look into")
    with _opened(io.BytesIO(member.content), len(member.content)) as archive:
        for inner in _members(archive, whole=set()):
            _must(f"{member.name}:{inner.name}", arrays.wrong(inner.content))


def _must(name: str, wrong: str | None) -> None:
    if wrong is not None:
        raise Refused(f"its member {name!r} is {wrong}")


def _foreign(names: set[str]) -> str:
    if any(name.endswith("data.pkl") for name in names):
        return "it is an archive of PyTorch, which holds pickles"
    if "config.json" in names and any(name.endswith(".h5") for name in names):
        return "it is an archive of Keras, which may hold code"
    return "it is an archive of unknown content"
