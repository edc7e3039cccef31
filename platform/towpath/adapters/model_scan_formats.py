"""The formats that are let in, by name and by content. What is not on the list is refused, whatever it is."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from towpath.adapters import model_scan_archives as archives
from towpath.adapters import model_scan_graphs as graphs
from towpath.adapters import model_scan_sniff as sniff
from towpath.adapters import model_scan_texts as texts

MOST_FILES: Final = 10_000
MOST_BYTES: Final = 8 << 30
LARGEST_GRAPH: Final = 2 << 30  # the limit of Protocol Buffers
DEEPEST: Final = 16
_CHEAPER: Final = "cheaper-"
_TEXTS: Final[Mapping[str, Callable[[bytes], str | None]]] = {
    ".txt": texts.plain,
    ".md": texts.plain,
    ".yaml": texts.settings,
    ".yml": texts.settings,
    ".json": texts.structured,
}
_NAMED: Final[Mapping[str, Callable[[bytes], str | None]]] = {
    "MLmodel": texts.metadata,
    "registered_model_meta": texts.settings,
}
_SKOPS, _ONNX, _COMPILED = ".skops", ".onnx", {".trees", ".treelite"}
ALLOWED: Final = (*_NAMED, *(f"*{suffix}" for suffix in (*_TEXTS, _SKOPS, _ONNX, *sorted(_COMPILED))))


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A file that is refused, and why. `harmful`: a scanner is not to open it either."""

    file: str
    what: str
    harmful: bool = False


Types = Callable[[Path], Sequence[str]]
"""The types of a skops file that nobody reviewed, found without making any of them."""


def problems(path: Path, *, types: Types) -> tuple[int, list[Problem]]:
    """How many files a folder (or file) holds, and those that are refused."""
    found: list[Problem] = []
    count = total = 0
    for name, file, problem in _files(path):
        count += 1
        if problem is not None:
            found.append(Problem(file=name, what=problem, harmful=True))
            continue
        total += file.stat().st_size
        if count > MOST_FILES or total > MOST_BYTES:
            found.append(Problem(file=path.name, what="more files, or larger ones, than a model has", harmful=True))
            break
        found += _file(name, file, types)
    if not count:
        found.append(Problem(file=path.name, what="there is no file in it"))
    return count, found


def _files(path: Path) -> Iterator[tuple[str, Path, str | None]]:
    """Every entry that is no folder by its name in the folder, and what is wrong with it if it is no plain file."""
    waiting = [(path, path.name if not path.is_dir() else "", 0)]
    while waiting:
        here, name, depth = waiting.pop()
        mode = os.lstat(here).st_mode
        if stat.S_ISDIR(mode) and depth <= DEEPEST:
            waiting += [(inner, f"{name}/{inner.name}".lstrip("/"), depth + 1) for inner in sorted(here.iterdir())]
        elif stat.S_ISREG(mode):
            yield name, here, None
        else:
            what = "a link" if stat.S_ISLNK(mode) else "nested too deep" if stat.S_ISDIR(mode) else "no plain file"
            yield name, here, what


def _file(name: str, file: Path, types: Types) -> list[Problem]:
    suffix = file.suffix or f".{file.name.removeprefix(_CHEAPER)}"
    check = _NAMED.get(file.name) or _TEXTS.get(suffix)
    try:
        if check is not None:
            with file.open("rb") as stream:
                what = check(stream.read(texts.LARGEST + 1))
        elif suffix == _ONNX:
            what = _graph(file)
        elif suffix == _SKOPS or suffix in _COMPILED:
            what = _archive(file, suffix, types)
        else:
            what = _unknown(file)
    except archives.Refused as error:
        return [Problem(file=name, what=str(error), harmful=error.harmful)]
    except OSError as error:
        return [Problem(file=name, what=f"it cannot be read: {error.strerror}", harmful=True)]
    return [] if what is None else [Problem(file=name, what=what)]


def _graph(file: Path) -> str | None:
    if file.stat().st_size > LARGEST_GRAPH:
        return "an ONNX file of more than 2 GB"
    data = file.read_bytes()
    found = sniff.kind(data[: sniff.HEAD])
    return f"a {found}, not ONNX" if found is not None else graphs.wrong(data)


def _archive(file: Path, suffix: str, types: Types) -> str | None:
    with file.open("rb") as stream:
        found = sniff.kind(stream.read(sniff.HEAD))
        if found != sniff.ZIP:
            return f"a {found or 'file of unknown format'}, not {suffix.removeprefix('.')}"
        (archives.skops if suffix == _SKOPS else archives.compiled)(stream, file.stat().st_size)
    unknown = list(types(file)) if suffix == _SKOPS else []
    return f"it holds types that nobody reviewed: {', '.join(sorted(unknown)[:5])}" if unknown else None


def _unknown(file: Path) -> str:
    with file.open("rb") as stream:
        found = sniff.kind(stream.read(sniff.HEAD))
    return f"a {found}" if found is not None else "of a format that is not on the list"
