"""Which files a path, folder or glob names, and what is wrong with the choice of them."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from towpath.core.digest import of_file, of_json
from towpath.core.errors import BadInput


class Format(StrEnum):
    """The formats that are read, by file extension."""

    CSV = ".csv"
    PARQUET = ".parquet"


class QuotingRows(BadInput):
    """An error whose text may quote values of the rows: not to be told of a table with masked columns."""


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """A file to read: where it lies, its name for people, and its place within the source, which orders the files."""

    path: Path
    name: str
    place: str


def find_files(uri: str, base: Path) -> list[DataFile]:
    """The files of a path, folder (with its subfolders) or glob relative to `base`, in the order of their place.

    Hidden files and those beginning with `_` (markers of other tools) do not count. Raises `BadInput`.
    """
    path = base / uri
    if path.is_dir():
        files = _data_files(path.rglob("*"), root=path, base=base)
    elif path.exists():
        files = [DataFile(path=path, name=_name(path, base), place=path.name)]
    elif glob.has_magic(uri):
        found = (Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207 the glob may be absolute
        files = _data_files(found, root=_literal_part(path), base=base)
    else:
        raise _missing(uri, path, base)
    kept = chosen(files, name=uri)
    for file in kept:
        _require_readable(file)
    return kept


def chosen(files: Sequence[DataFile], *, name: str) -> list[DataFile]:
    """The files to read of those found, in order; raises `BadInput` unless they are all of one format."""
    kept = sorted(files, key=lambda file: file.place)
    if not kept:
        raise BadInput(
            f"There is no file to read in {name!r}.",
            value=name,
            valid=Format,
            hint="Give a file, a folder or a glob with files.",
        )
    formats: dict[str, DataFile] = {}
    for file in kept:
        suffix = file.path.suffix.lower()
        if suffix not in set(Format):
            raise BadInput(
                f"{file.name} is not of a format that can be read ({suffix or 'no extension'}).",
                value=file.name,
                valid=Format,
                hint="Convert it, move it away, or name the files to read with a glob such as folder/*.csv.",
            )
        formats.setdefault(suffix, file)
        _refuse_partitions(file)
    if len(formats) > 1:
        raise BadInput(
            f"{name} mixes formats: {', '.join(sorted(file.name for file in formats.values()))}.",
            value=name,
            hint="Name the files of one format, for instance with a glob such as folder/*.csv.",
        )
    return kept


def is_data(place: str) -> bool:
    """Whether no part of the path is hidden or a marker of another tool (`_SUCCESS`)."""
    return not any(part.startswith((".", "_")) for part in PurePosixPath(place).parts)


def files_fingerprint(files: Sequence[DataFile]) -> str:
    """A digest over the files' places and their digests."""
    return of_json({file.place: of_file(file.path) for file in files})


def near(name: str, names: Sequence[str]) -> list[str]:
    """Those of `names` that a misspelt `name` may mean; at most five."""
    return difflib.get_close_matches(name, names, n=5, cutoff=0.5)


def _data_files(paths: Iterable[Path], *, root: Path, base: Path) -> list[DataFile]:
    files = [DataFile(path=p, name=_name(p, base), place=p.relative_to(root).as_posix()) for p in paths if p.is_file()]
    return [file for file in files if is_data(file.place)]


def _require_readable(file: DataFile) -> None:
    try:
        file.path.open("rb").close()
    except OSError as error:
        raise BadInput(
            f"{file.name} cannot be opened: {error.strerror}.",
            value=file.name,
            hint="Give this user the right to read it.",
        ) from error


def _refuse_partitions(file: DataFile) -> None:
    folders = [part for part in PurePosixPath(file.place).parent.parts if "=" in part]
    if folders:
        raise BadInput(
            f"{file.name} lies in a partition folder ({folders[0]}): its value is not in the file and would be lost.",
            value=file.name,
            hint="Write the data with its partition columns, or name one partition's folder.",
        )


def _literal_part(path: Path) -> Path:
    parts = path.parts
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])


def _missing(uri: str, path: Path, base: Path) -> BadInput:
    folder = next(parent for parent in path.parents if parent.is_dir())
    missing = path.relative_to(folder).parts[0]
    alike = near(missing, [entry.name for entry in folder.iterdir()])
    meant = f" Did you mean {' or '.join(alike)}?" if alike else ""
    return BadInput(
        f"There is no file or folder {uri!r}: {folder} has no {missing!r}.{meant}",
        value=uri,
        hint=f"Paths are relative to {base}.",
    )


def _name(file: Path, base: Path) -> str:
    return file.relative_to(base).as_posix() if file.is_relative_to(base) else str(file)
