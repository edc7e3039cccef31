"""Parquet files as rows."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from towpath.adapters.sources_files import DataFile, QuotingRows
from towpath.adapters.sources_writer import Rows, plain_schema
from towpath.core.errors import BadInput

_BATCH_ROWS = 1 << 16


def read_parquet(files: Sequence[DataFile], *, name: str) -> Rows:
    """The files' rows, one file after the other. Types may differ between files where one holds the other's values."""
    first, *others = [_schema(file) for file in files]
    schema = first
    for file, other in zip(files[1:], others, strict=True):
        schema = _joined(schema, other, first=files[0], file=file)
    return Rows(name=name, schema=schema, batches=_batches(files, schema.names))


def _schema(file: DataFile) -> pa.Schema:
    if file.path.stat().st_size == 0:
        raise BadInput(f"{file.name} is empty (0 bytes).", value=file.name, hint="Write the file again.")
    with _errors(file):
        return plain_schema(pq.read_schema(file.path), name=file.name)


def _joined(schema: pa.Schema, other: pa.Schema, *, first: DataFile, file: DataFile) -> pa.Schema:
    same_columns(first, schema.names, file, other.names)
    fields = []
    for field in schema:
        pair = [pa.schema([field]), pa.schema([other.field(field.name)])]
        try:
            fields.append(pa.unify_schemas(pair, promote_options="permissive").field(0))
        except pa.ArrowException as error:
            raise BadInput(
                f"Column {field.name!r} is {field.type} up to here and {other.field(field.name).type} in {file.name}.",
                value=field.name,
                hint="Write the files with one type for the column.",
            ) from error
    return pa.schema(fields)


def same_columns(first: DataFile, expected: Sequence[str], file: DataFile, found: Sequence[str]) -> None:
    """Raise `BadInput` unless both files have the same columns, in any order."""
    lacking = [column for column in expected if column not in found]
    extra = [column for column in found if column not in expected]
    if lacking or extra:
        differences = [
            *([f"lacks {', '.join(map(repr, lacking))}"] if lacking else []),
            *([f"adds {', '.join(map(repr, extra))}"] if extra else []),
        ]
        raise QuotingRows(
            f"{file.name} has other columns than {first.name}: it {' and '.join(differences)}.",
            value=file.name,
            valid=expected,
            hint="Files of one source need the same columns.",
        )


def _batches(files: Sequence[DataFile], columns: list[str]) -> Generator[pa.RecordBatch, None, None]:
    for file in files:
        with _errors(file), pq.ParquetFile(file.path) as parquet:
            for batch in parquet.iter_batches(batch_size=_BATCH_ROWS):
                yield batch.select(columns)


@contextmanager
def _errors(file: DataFile) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise BadInput(
            f"{file.name} cannot be read as Parquet: {error}.",
            value=file.name,
            hint="It is damaged, cut short or of another format: write it again.",
        ) from error
