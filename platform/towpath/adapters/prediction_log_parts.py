"""Merged files of the prediction log, and which files they replace.

A merged file holds the rows of several files of one day. Its footer lists them, its *parts*, by name and size, and its
column `part` says of each row which one it came from. So a part counts once however many files hold it: a reader takes
it from one of them. Nothing has to be locked, and whenever a merger is killed the log that it leaves reads the same.

A merged file lies in a tier above those of its parts: `<project>/predictions-1/<day>/<owner>-<n>-<mark>.parquet`, and
so on up to `-3`; tier 0 is what was shipped. Rows only move upward, and the file above is there before those below are
removed. Hence whoever lists the tiers from 0 upward, one after the other, misses no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from towpath.adapters.prediction_log_places import Stored
from towpath.core import digest as digests
from towpath.core.errors import IntegrityError

KINDS = ("predictions", "labels")
TIERS = (0, 1, 2, 3)
PART = "part"
_PARTS = b"towpath.parts"
_SHIPPED = 4  # parts of a shipped file's name; a file that no gateway wrote lies one folder deeper


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A shipped file that lives on in a merged one: its name as it was, and its size."""

    name: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the rows of a shipped file lie now: in itself, or as that part of a merged one."""

    size: int
    stored: Stored
    part: int | None


def folder(project: str, kind: str, tier: int) -> str:
    """Where the days of a tier lie."""
    return f"{project}/{kind}-{tier}" if tier else f"{project}/{kind}"


def day_of(name: str) -> str:
    return name.split("/")[2]


def tier_of(name: str) -> int:
    """The tier of a file of the log, by its name."""
    _, _, tier = name.split("/")[1].partition("-")
    return int(tier or 0)


def owner_of(name: str) -> str | None:
    """The worker that wrote a file, or whose files it merges; None for what no gateway wrote."""
    parts = name.split("/")
    return parts[3].rsplit("-", 2)[0] if len(parts) == _SHIPPED else None


def merged_name(parts: Sequence[Part], *, tier: int, owner: str) -> str:
    """The name of a merged file of those parts, the same for whoever merges them."""
    project, kind, day, first = min(part.name for part in parts).split("/")
    number = first.rsplit("-", 2)[1]
    mark = digests.short(digests.of_json([[part.name, part.size] for part in parts]))
    return f"{folder(project, kind, tier)}/{day}/{owner}-{number}-{mark}.parquet"


def described(schema: pa.Schema, parts: Sequence[Part]) -> pa.Schema:
    """The schema of a merged file of shipped files with that schema."""
    extended = schema.append(pa.field(PART, pa.int32(), nullable=False))
    return extended.with_metadata({_PARTS: msgspec.json.encode(list(parts))})


def parts_of(file: Path, stored: Stored) -> tuple[Part, ...]:
    """The parts of a merged file, as its footer lists them.

    Raises `IntegrityError` when it lists none, and `FileNotFoundError` when the file is gone.
    """
    try:
        metadata = pq.read_schema(file).metadata or {}
        return tuple(msgspec.json.decode(metadata[_PARTS], type=list[Part]))
    except (KeyError, msgspec.DecodeError, pa.ArrowInvalid) as error:
        raise IntegrityError(
            f"{stored.name} of the prediction log is no merged file: {error}.",
            value=stored.name,
            hint="Restore the file: it holds rows that are nowhere else.",
        ) from error


def sources(shipped: Iterable[Stored], merged: Mapping[Stored, Sequence[Part]]) -> dict[str, Source]:
    """Where to read every shipped file's rows, each once.

    The highest tier that holds it: the file below may be gone in a moment. A shipped file of another size than the
    part of its name came anew, and is read itself.
    """
    found: dict[str, Source] = {}
    for stored in sorted(merged, key=lambda stored: (-tier_of(stored.name), stored.name)):
        for number, part in enumerate(merged[stored]):
            found.setdefault(part.name, Source(size=part.size, stored=stored, part=number))
    for stored in shipped:
        held = found.get(stored.name)
        if held is None or held.size != stored.size:
            found[stored.name] = Source(size=stored.size, stored=stored, part=None)
    return found
