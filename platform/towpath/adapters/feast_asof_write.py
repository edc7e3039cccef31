"""Rows that Feast hands over, written to a source's Parquet files or to a log's folder: whole or not at all.

A folder gets a new file, under a hidden name until it is complete. A single file is written anew beside itself, batch
by batch, and then replaced; writers of one file wait for each other.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from feast.infra.offline_stores.file_source import FileLoggingDestination, FileSource

from towpath.adapters.feast_asof_sources import PUSHED, files_of, local_path
from towpath.core.errors import BadInput, DeclarationError

_BATCH_ROWS = 131_072


def append_rows(source: FileSource, table: pa.Table, *, view: str, repo_path: Path | None) -> None:
    """Add rows to a source's files. Their columns go by the view's names or by the stored ones.

    Raises `BadInput` for rows that do not fit the source, `NotFound` and `DeclarationError` for the source.
    """
    files = files_of(source, repo_path)
    rows = _as_stored(table, _newest_schema(files), source, view)
    path = local_path(source.path, repo_path)
    if path.is_file():
        _rewrite(path, rows)
    else:
        _write_part(path, rows.schema, rows.to_batches())


def append_log(destination: FileLoggingDestination, data: pa.Table | Path, *, repo_path: Path | None) -> None:
    """Add served features to the folder of a feature service's log. `data` may be a file or a folder of Parquet."""
    if destination.partition_by:
        raise DeclarationError(
            f"The log of served features is to be partitioned by {destination.partition_by}, which is not done here.",
            value=str(destination.partition_by),
            hint="Leave partition_by off the FileLoggingDestination; each write is a file of its own.",
        )
    folder = local_path(destination.path, repo_path)
    folder.mkdir(parents=True, exist_ok=True)
    rows = data if isinstance(data, pa.Table) else ds.dataset(data, format="parquet")
    _write_part(folder, rows.schema, rows.to_batches())


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A hidden path beside `target`, which takes its place once the block has ended without an error."""
    unfinished = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        yield unfinished
        with unfinished.open("rb") as stream:
            os.fsync(stream.fileno())  # or a machine that stops may leave an empty file in the old one's place
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A hidden folder beside `target`, which takes its place once the block has ended without an error."""
    unfinished = target.with_name(f".{target.name}.{uuid4().hex}")
    unfinished.mkdir()
    try:
        yield unfinished
        if target.exists():
            before = target.with_name(f"{unfinished.name}.before")
            target.rename(before)
            try:
                unfinished.rename(target)
            except OSError:
                before.rename(target)
                raise
            shutil.rmtree(before) if before.is_dir() else before.unlink()
        else:
            unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write_part(folder: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch] | Sequence[pa.RecordBatch]) -> None:
    # by name it stands after every part that was written before
    name = f"{PUSHED}{time.time_ns():020d}-{uuid4().hex[:8]}.parquet"
    with whole_file(folder / name) as unfinished, pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)


def _rewrite(path: Path, rows: pa.Table) -> None:
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stored = pq.ParquetFile(path)
        with (
            stored,
            whole_file(path) as unfinished,
            pq.ParquetWriter(unfinished, stored.schema_arrow, compression="zstd") as writer,
        ):
            for batch in stored.iter_batches(batch_size=_BATCH_ROWS):
                writer.write_batch(batch)
            writer.write_table(rows.cast(stored.schema_arrow))


def _newest_schema(files: Sequence[str]) -> pa.Schema:
    """That of the last file, unless the files beside those written through here have more columns by now."""
    others = [file for file in files if not Path(file).name.startswith(PUSHED)]
    last, *other = [pq.read_schema(file).remove_metadata() for file in (files[-1], *others[-1:])]
    return other[0] if other and set(last.names) < set(other[0].names) else last


def _as_stored(table: pa.Table, schema: pa.Schema, source: FileSource, view: str) -> pa.Table:
    """The rows with the stored names, order and types; times that are finer go up, as they do when they are read."""
    stored = _stored_names(source, schema.names)
    table = table.rename_columns([stored.get(name, name) for name in table.column_names])
    missing = [name for name in schema.names if name not in table.column_names]
    strange = [name for name in table.column_names if name not in schema.names]
    if missing or strange:
        raise BadInput(
            f"The rows for feature view {view!r} do not have the columns of its source: missing {missing}, "
            f"unexpected {strange}.",
            value=missing or strange,
            valid=schema.names,
        )
    times = [source.timestamp_field, source.created_timestamp_column]
    for name in {stored.get(name, name) for name in times if name}:
        column = table[name]
        if column.null_count:
            raise BadInput(
                f"{column.null_count} of the rows for feature view {view!r} have no {name}, so they could never count.",
                value=name,
                hint="Say of every row when it held and when it was known.",
            )
        table = table.set_column(table.column_names.index(name), name, _coarse(column, schema.field(name).type))
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, ValueError) as error:
        raise BadInput(
            f"The rows for feature view {view!r} do not have the types of its source: {error}",
            hint=f"The source has {', '.join(f'{field.name} {field.type}' for field in schema)}.",
        ) from error


def _stored_names(source: FileSource, names: Sequence[str]) -> Mapping[str, str]:
    """Feast renames columns by the source's field mapping before it hands rows over; this is the way back."""
    return {mapped: name for name, mapped in source.field_mapping.items() if name in names}


def _coarse(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if not pa.types.is_timestamp(column.type) or not pa.types.is_timestamp(wanted):
        return column
    units = {"s": "second", "ms": "millisecond", "us": "microsecond", "ns": "nanosecond"}
    return pc.ceil_temporal(column, unit=units[wanted.unit])
