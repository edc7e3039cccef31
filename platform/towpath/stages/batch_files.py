"""Tables read and written block by block: Parquet and CSV, by the file's ending, with the model's inputs checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from towpath.core.errors import BadInput, NotFound, Problems, TowpathError

BLOCK = 8_192
ENDINGS = (".parquet", ".csv")
_KEYS = "Every model input has to be in the file, or the keys that its features are looked up by."


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """An open table: its schema, its rows where the file says how many, and its blocks."""

    schema: pa.Schema
    rows: int | None
    blocks: Iterator[pa.Table]


def open_blocks(source: Path, *, columns: Sequence[str], types: Mapping[str, str]) -> Blocks:
    """The table of a file. Raises `NotFound`, and `BadInput` or `Problems` for what the model cannot be given."""
    found = _opened(source, types)
    _check(found.schema, source, columns, types)
    return Blocks(schema=found.schema, rows=found.rows, blocks=_guarded(found.blocks, source))


def columns_of(source: Path) -> list[str]:
    """The names of a file's columns. Raises `NotFound` and `BadInput`."""
    return list(_opened(source, {}).schema.names)


def read(source: Path, *, types: Mapping[str, str]) -> pa.Table:
    """The whole table of a file. Raises `NotFound` and `BadInput`."""
    found = _opened(source, types)
    _check(found.schema, source, (), {})
    return pa.concat_tables([found.schema.empty_table(), *_guarded(found.blocks, source)])


def _opened(source: Path, types: Mapping[str, str]) -> Blocks:
    if not source.is_file():
        raise NotFound(f"There is no file {source}.", value=str(source))
    ending = _ending(source)
    try:
        return _parquet(source) if ending == ".parquet" else _csv(source, types)
    except pa.ArrowInvalid as error:
        raise _unreadable(source, error) from error


def _ending(file: Path) -> str:
    if file.suffix.lower() not in ENDINGS:
        raise BadInput(f"{file} is neither Parquet nor CSV by its name.", value=file.suffix, valid=ENDINGS)
    return file.suffix.lower()


def _parquet(source: Path) -> Blocks:
    opened = pq.ParquetFile(source)
    schema = opened.schema_arrow
    blocks = (pa.Table.from_batches([batch], schema=schema) for batch in opened.iter_batches(batch_size=BLOCK))
    return Blocks(schema=schema, rows=opened.metadata.num_rows, blocks=blocks)


def _csv(source: Path, types: Mapping[str, str]) -> Blocks:
    """A model's text stays text and its numbers are read as such, whatever the first rows look like."""
    with source.open(encoding="utf-8") as stream:
        if not stream.readline().strip():
            raise BadInput(f"{source} is empty.", value=str(source), hint="It needs a line of column names.")
    kinds = {name: pa.string() if kind == "text" else pa.float64() for name, kind in types.items()}
    convert = pc.ConvertOptions(
        column_types={name: pa.bool_() if types[name] == "bool" else kind for name, kind in kinds.items()},
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        null_values=[""],
    )
    opened = pc.open_csv(source, convert_options=convert)
    blocks = (
        pa.Table.from_batches([part], schema=opened.schema)
        for batch in opened
        for part in (batch.slice(begin, BLOCK) for begin in range(0, batch.num_rows, BLOCK))
    )
    return Blocks(schema=opened.schema, rows=None, blocks=blocks)


def _guarded(blocks: Iterator[pa.Table], source: Path) -> Iterator[pa.Table]:
    try:
        yield from blocks
    except pa.ArrowInvalid as error:
        raise _unreadable(source, error) from error


def _unreadable(source: Path, error: Exception) -> BadInput:
    return BadInput(f"{source} cannot be read: {error}", value=str(source), hint="Mend the file, or name another.")


def _check(schema: pa.Schema, source: Path, columns: Sequence[str], types: Mapping[str, str]) -> None:
    problems: list[TowpathError] = []
    doubled = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if doubled:
        problems.append(BadInput(f"{source} has columns of the same name: {', '.join(doubled)}.", value=doubled))
    missing = [name for name in columns if name not in schema.names]
    if missing:
        problems.append(
            BadInput(f"{source} lacks {', '.join(missing)}.", value=missing, valid=schema.names, hint=_KEYS)
        )
    for name in columns:
        if name not in missing and name not in doubled and not _fits(schema.field(name).type, types[name]):
            wanted = "text" if types[name] == "text" else "a number"
            problems.append(
                BadInput(
                    f"Column {name} of {source} is {schema.field(name).type}; the model takes {wanted}.", value=name
                )
            )
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise Problems(problems)


def _fits(kind: pa.DataType, wanted: str) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_null(kind):
        return True
    if wanted == "text":
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


@contextmanager
def open_target(file: Path, schema: pa.Schema, *, like: Path) -> Iterator[Callable[[pa.Table], None]]:
    """A function that writes one block after the other, in the format of `like`'s ending."""
    if _ending(like) == ".parquet":
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            yield writer.write_table
    else:
        with pc.CSVWriter(file, schema) as writer:
            yield writer.write_table
