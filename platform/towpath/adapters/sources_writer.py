"""Writes rows as one Parquet file whose bytes depend on the rows alone."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from towpath.adapters.masking_arrow import Masked
from towpath.adapters.sources_files import QuotingRows
from towpath.core.errors import BadInput, Unwritable
from towpath.core.masking import Masking
from towpath.ports import Snapshot

_GROUP_ROWS = 1 << 17


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A table being read: its name for people, its columns, and its rows in order, in batches of any size.

    Batches have the schema's columns; their types may be narrower (they are cast without loss).
    """

    name: str
    schema: pa.Schema
    batches: Generator[pa.RecordBatch, None, None]


def write_snapshot(
    rows: Rows, target: Path, until: tuple[str, datetime] | None, masking: Masking | None = None
) -> Snapshot:
    """Write the rows (those before `until`) to `target`, whole or not at all.

    Timestamps with a zone are stored in UTC; those without are kept so, and read as UTC by `until`. Raises `BadInput`
    for a source without rows (none before `until` is for a gate to judge), doubled names,
    types that cannot be stored, an unknown `until` column or what cannot be masked; `Unwritable` when the target
    cannot be written. Masked values go no further than the batch they are read in.
    """
    with closing(rows.batches):
        schema = plain_schema(rows.schema, name=rows.name)
        masked = None if masking is None else Masked(masking, schema, name=rows.name)
        stored = schema if masked is None else masked.schema
        kept = None if until is None else _Until(column=until[0], instant=until[1], schema=schema, name=rows.name)
        with _target(target) as temporary:
            with pq.ParquetWriter(temporary, stored, version="2.6", compression="zstd") as writer:
                count = 0
                for group in _groups(rows, schema, kept, masked):
                    writer.write_table(group, row_group_size=_GROUP_ROWS)
                    count += group.num_rows
            if count == 0 and until is None:
                raise BadInput(f"{rows.name} has no rows.", value=rows.name, hint="Give a source with rows.")
            written = pq.read_schema(temporary)
    return Snapshot(file=target, rows=count, columns={field.name: str(field.type) for field in written})


def plain_schema(schema: pa.Schema, *, name: str) -> pa.Schema:
    """The columns as they are stored: no encodings (dictionary, large, view), zones in UTC, no metadata."""
    counts = Counter(column.casefold() for column in schema.names)
    doubled = sorted(column for column in schema.names if counts[column.casefold()] > 1)
    if doubled:
        raise QuotingRows(
            f"{name} has columns of one name: {', '.join(map(repr, doubled))}.",
            value=doubled[0],
            hint="Rename them; names that differ only in case count as one.",
        )
    return pa.schema([pa.field(field.name, _plain_type(field.type)) for field in schema])


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_timestamp(kind):
        # Parquet has no seconds
        return pa.timestamp("ms" if kind.unit == "s" else kind.unit, tz=None if kind.tz is None else "UTC")
    return kind


class _Until:
    """The filter `column < instant`; rows with no value there are not kept."""

    def __init__(self, *, column: str, instant: datetime, schema: pa.Schema, name: str) -> None:
        if column not in schema.names:
            raise BadInput(f"{name} has no column {column!r} to cut at.", value=column, valid=schema.names)
        kind = schema.field(column).type
        if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
            times = [f.name for f in schema if pa.types.is_timestamp(f.type) or pa.types.is_date(f.type)]
            raise BadInput(
                f"Column {column!r} of {name} is {kind}, not a date or a timestamp, so rows cannot be cut at a time.",
                value=column,
                valid=times,
            )
        self._column = column
        self._instant = to_utc(instant)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        values = batch.column(self._column)
        if pa.types.is_date(values.type):
            values = values.cast(pa.timestamp("us"))
        aware = values.type.tz is not None
        bound = pa.scalar(
            self._instant if aware else self._instant.replace(tzinfo=None), pa.timestamp("us", values.type.tz)
        )
        return batch.filter(pc.less(values, bound))


def to_utc(instant: datetime) -> datetime:
    """The instant in UTC; one without a zone is read as UTC."""
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _groups(rows: Rows, schema: pa.Schema, kept: _Until | None, masked: Masked | None) -> Iterator[pa.Table]:
    """The rows in tables of the same number of rows each and one chunk a column: both show in Parquet's bytes."""
    stored = schema if masked is None else masked.schema
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in rows.batches:
        fitted = _fit(batch, schema, name=rows.name)
        fitted = fitted if kept is None else kept(fitted)
        waiting.append(fitted if masked is None else masked(fitted))
        count += waiting[-1].num_rows
        while count >= _GROUP_ROWS:
            table = pa.Table.from_batches(waiting, schema=stored)
            yield table.slice(0, _GROUP_ROWS).combine_chunks()
            waiting = table.slice(_GROUP_ROWS).to_batches()
            count -= _GROUP_ROWS
    if count:
        yield pa.Table.from_batches(waiting, schema=stored).combine_chunks()


def _fit(batch: pa.RecordBatch, schema: pa.Schema, *, name: str) -> pa.RecordBatch:
    arrays = []
    for field in schema:
        try:
            arrays.append(batch.column(field.name).cast(field.type))
        except pa.ArrowException as error:
            raise QuotingRows(
                f"{name}: column {field.name!r} cannot be stored as {field.type} without loss: {error}.",
                value=field.name,
                hint="Make its type the same in all of the source.",
            ) from error
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


@contextmanager
def _target(target: Path) -> Iterator[Path]:
    """A temporary file beside the target that takes its name when all went well."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb") as stream:
                os.fchmod(stream.fileno(), 0o644)
                os.fsync(stream.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise Unwritable(
            f"Cannot write the snapshot {target}: {error.strerror or error}.",
            value=str(target),
            hint="Free space on its disk, or give this user the right to write there, or choose another folder.",
        ) from error
    except pa.ArrowNotImplementedError as error:
        raise BadInput(
            f"A column's type cannot be stored: {error}.", hint="Leave it out, or store it as text."
        ) from error
