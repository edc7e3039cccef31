"""Spark as an engine of data checks: Great Expectations counts in its execution engine, over the Parquet files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from towpath.adapters.great_expectations_engines import Opened
from towpath.adapters.spark_parquet import escaped, read_parquet
from towpath.adapters.spark_session import SparkMaster, spark_session
from towpath.core.checks_schema import Found
from towpath.core.checks_sql import Dialect
from towpath.core.promises import LogicalType

ZONED = "timestamp"
UNSIGNED = "unsigned long"  # Spark has none, and reads it as a decimal
# What DuckDB calls the types that no contract can ask for, so that both engines' findings read the same.
_NATIVE = {"binary": "blob", "void": "null"}


@dataclass(frozen=True, kw_only=True)
class _Frames(Opened):
    """`frames`: by table, its Spark DataFrame."""

    frames: Mapping[str, Any]

    def batch(self, table: str) -> Any:
        asset = self.source.add_dataframe_asset(name=table)
        return asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": self.frames[table]})


@dataclass(frozen=True, kw_only=True)
class Spark:
    """The Parquet files, as views of a Spark session. On a cluster its workers must see the files at the same paths."""

    master: SparkMaster = field(default_factory=SparkMaster)
    dialect: ClassVar[Dialect] = Dialect.SPARK
    schema: ClassVar[str] = ""
    types: ClassVar[Mapping[LogicalType, frozenset[str]]] = {
        LogicalType.STRING: frozenset({"string"}),
        LogicalType.INTEGER: frozenset({"byte", "short", "integer", "long", UNSIGNED}),
        LogicalType.NUMBER: frozenset({"float", "double", "decimal"}),
        LogicalType.BOOLEAN: frozenset({"boolean"}),
        LogicalType.DATE: frozenset({"date"}),
        LogicalType.TIME: frozenset({"time"}),
        LogicalType.TIMESTAMP: frozenset({ZONED, "timestamp_ntz"}),
        LogicalType.OBJECT: frozenset({"struct", "map", "variant"}),
        LogicalType.ARRAY: frozenset({"array"}),
    }

    @contextmanager
    def opened(self, context: Any, tables: Mapping[str, Path], *, scratch: Path) -> Iterator[Opened]:
        del scratch  # its workers have their own
        with spark_session(self.master) as session, warnings.catch_warnings():
            # Great Expectations passes itself an argument that it deprecates.
            warnings.simplefilter("ignore", DeprecationWarning)
            frames = {name: read_parquet(session, [file], what=f"table {name!r}") for name, file in tables.items()}
            for name, frame in frames.items():
                frame.createOrReplaceTempView(escaped(name))
            # Without persisting: the files are read again for each question, and memory stays bounded.
            source = context.data_sources.add_spark(name="spark", persist=False)
            # Great Expectations would take the process's first session, which does not see these views.
            source._spark = session
            yield _Frames(
                source=source,
                columns={name: _columns(self, frame, tables[name]) for name, frame in frames.items()},
                frames=frames,
            )


def _columns(engine: Spark, frame: Any, file: Path) -> dict[str, Found]:
    """A table's columns; each is looked at once to see whether it has any value."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyspark.sql import functions as sql

    stored = {field.name: field.type for field in pq.read_schema(file)}
    counts = [sql.count(sql.col(escaped(name))) for name in frame.columns]
    rows, *filled = frame.agg(sql.count(sql.lit(1)), *counts).first()
    found = {}
    for column, count in zip(frame.schema.fields, filled, strict=True):
        unsigned = pa.types.is_uint64(stored.get(column.name, pa.null()))
        native = UNSIGNED if unsigned else column.dataType.typeName().partition("(")[0]
        found[column.name] = _found(engine, column.name, native, empty=bool(rows) and not count)
    return found


def _found(engine: Spark, name: str, native: str, *, empty: bool) -> Found:
    kind = next((kind for kind, natives in engine.types.items() if native in natives), None)
    zoned = native == ZONED if kind is LogicalType.TIMESTAMP else None
    return Found(name=name, kind=kind, native=_NATIVE.get(native, native), zoned=zoned, empty=empty)
