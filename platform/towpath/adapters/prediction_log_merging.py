"""Which files of the prediction log are merged into which, and how a merged file is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from towpath.adapters.prediction_log_parts import PART, TIERS, Part, described, owner_of, sources
from towpath.adapters.prediction_log_places import Stored
from towpath.adapters.prediction_log_tables import (
    CLASSED_LABELS,
    CLASSED_PREDICTIONS,
    LABELS,
    PREDICTIONS,
    REPEATED,
)
from towpath.core.errors import IntegrityError

AT_ONCE = 60  # seconds of a minute, minutes of an hour
MOST_BYTES = 64 << 20  # of the files that are merged into one
_ROW_GROUP_BYTES = 64 << 20  # in memory
_ROW_GROUP_ROWS = 122_880
_DAY = "day"  # owner of what was merged when its day was over
_SCHEMAS = {"predictions": (PREDICTIONS, CLASSED_PREDICTIONS), "labels": (LABELS, CLASSED_LABELS)}
_OF_CLASSES = {name for plain, classed in _SCHEMAS.values() for name in classed.names if name not in plain.names}


@dataclass(frozen=True, kw_only=True)
class Group:
    """Files that become one, in that order, of a tier and an owner's name."""

    files: tuple[Stored, ...]
    tier: int
    owner: str


def lasting(tiers: Sequence[Sequence[Stored]]) -> Iterator[Group]:
    """Groups of a day that is not over: full ones, of one worker and one tier each.

    Files of a worker are shipped in their order, so that everybody who looks finds the same groups.
    """
    for tier in (0, 1):
        owned: dict[str, list[Stored]] = defaultdict(list)
        for stored in sorted(tiers[tier], key=lambda one: one.name):
            owned[owner_of(stored.name) or ""].append(stored)
        for owner, files in sorted(owned.items()):
            for some, full in _cut(files, AT_ONCE):
                if full and len(some) > 1:
                    yield Group(files=some, tier=tier + 1, owner=owner)


def ended(tiers: Sequence[Sequence[Stored]]) -> Iterator[Group]:
    """Groups of a day that is over: everything, whoever wrote it, that is not in the last tier."""
    files = sorted((one for tier in tiers[: TIERS[-1]] for one in tier), key=lambda one: one.name.rpartition("/")[2])
    for some, _ in _cut(files, None):
        if len(some) > 1:
            yield Group(files=some, tier=TIERS[-1], owner=_DAY)


def _cut(files: Sequence[Stored], most: int | None) -> Iterator[tuple[tuple[Stored, ...], bool]]:
    """Files in pieces of a size and number, and whether a piece is full."""
    some: list[Stored] = []
    for stored in files:
        some.append(stored)
        if len(some) == most or sum(one.size for one in some) >= MOST_BYTES:
            yield tuple(some), True
            some = []
    if some:
        yield tuple(some), False


def merge(files: Mapping[Stored, tuple[Path, Sequence[Part]]], target: Path) -> tuple[Part, ...]:
    """Write one file with the rows of many, a part that several hold taken from one of them; returns its parts.

    A row group at a time is in memory. Raises `FileNotFoundError` when a file is gone, and `IntegrityError` for one
    that is not as the log writes them.
    """
    held = {stored: parts for stored, (_, parts) in files.items()}
    chosen = {name: source.stored for name, source in sources((), held).items()}
    parts = {part.name: part for own in held.values() for part in own}
    numbers = {name: number for number, name in enumerate(parts)}
    kind = next(iter(parts)).split("/")[1]
    schema = described(_schema(kind, (path for path, _ in files.values())), list(parts.values()))
    repeated = [PART, *(name for name in REPEATED if name in schema.names)]
    with pq.ParquetWriter(target, schema, compression="zstd", use_dictionary=repeated) as writer:
        tables = (
            table
            for stored, (path, own) in files.items()
            for table in _tables(
                path, [numbers[part.name] if chosen[part.name] == stored else -1 for part in own], schema
            )
        )
        for table in _gathered(tables):
            writer.write_table(table)
    return tuple(parts.values())


def _schema(kind: str, paths: Iterable[Path]) -> pa.Schema:
    """The columns of the merged file: those of classes only where one of the files has them."""
    plain, classed = _SCHEMAS[kind]
    return classed if any(set(classed.names) <= _names(path) for path in paths) else plain


def _names(path: Path) -> set[str]:
    try:
        return set(pq.read_schema(path).names)
    except pa.ArrowInvalid as error:
        raise _unreadable(path, error) from error


def _tables(path: Path, numbers: Sequence[int], schema: pa.Schema) -> Iterator[pa.Table]:
    """A file's rows with the new numbers of their parts; rows of parts without one are left out."""
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                old = table[PART].to_numpy() if PART in table.column_names else np.zeros(table.num_rows, np.int32)
                new = np.asarray(numbers, np.int32)[old]
                columns = [pa.array(new) if field.name == PART else _column(table, field) for field in schema]
                yield pa.table(columns, schema=schema).filter(pa.array(new >= 0))
    except (pa.ArrowInvalid, KeyError, IndexError) as error:
        raise _unreadable(path, error) from error


def _column(table: pa.Table, field: pa.Field[Any]) -> Any:
    """Raises `KeyError` for a column that every file of the log has."""
    if field.name in _OF_CLASSES and field.name not in table.column_names:
        return pa.nulls(table.num_rows, field.type)
    return table[field.name].cast(field.type)


def _unreadable(path: Path, error: Exception) -> IntegrityError:
    return IntegrityError(
        f"{path.name} of the prediction log cannot be read: {error}",
        value=path.name,
        hint="Remove the file, or restore it: what is missing is not judged.",
    )


def _gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Small tables together, as large as a row group may be."""
    some: list[pa.Table] = []
    for table in tables:
        some.append(table)
        if sum(one.num_rows for one in some) >= _ROW_GROUP_ROWS or sum(one.nbytes for one in some) >= _ROW_GROUP_BYTES:
            yield pa.concat_tables(some)
            some = []
    if some:
        yield pa.concat_tables(some)
