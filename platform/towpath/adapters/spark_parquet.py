"""Parquet files as Spark DataFrames, with times as the files say: in a zone or in none, in whole microseconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from towpath.adapters.spark_session import local_path
from towpath.core.errors import BadInput

FILE, LINE = "_towpath_file", "_towpath_line"


def read_parquet(session: Any, files: Sequence[Path], *, what: str, located: bool = False, up: bool = False) -> Any:
    """The rows of the files. Raises `BadInput` for what Spark cannot read.

    `what` names the table for people. `located` adds each row's file and its number there, and takes files of before a
    column was added, with nulls in it; else the files have one schema. Nanoseconds are cut to microseconds, downwards,
    or `up`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyspark.errors import PySparkException
    from pyspark.sql import functions as sql

    try:
        frame = session.read.option("mergeSchema", located and len(files) > 1).parquet(*map(local_path, files))
        if located:
            place = (sql.col("_metadata.file_path").alias(FILE), sql.col("_metadata.row_index").alias(LINE))
            frame = frame.select("*", *place)
        known = frame.dtypes
    except PySparkException as error:
        reason = (error.getMessage() or type(error).__name__).strip().splitlines()[0]
        raise BadInput(
            f"Spark cannot read {what}: {reason}",
            value=str(files[0]),
            hint="Cast that column at ingestion, or use DuckDB.",
        ) from error
    schemas = map(pq.read_schema, reversed(files) if located else files[:1])
    types = {field.name: field.type for schema in schemas for field in schema}
    for name, kind in known:
        stored = types.get(name, pa.null())
        if not pa.types.is_timestamp(stored):
            continue
        if kind == "bigint":
            frame = frame.withColumn(name, _microseconds(name, up=up).cast("timestamp"))
        if stored.tz is None and kind != "timestamp_ntz":  # INT96 says nothing of zones
            frame = frame.withColumn(name, sql.col(escaped(name)).cast("timestamp_ntz"))
    return frame


def escaped(name: str) -> str:
    """A column's or view's name in Spark's SQL."""
    return f"`{name.replace('`', '``')}`"


def _microseconds(name: str, *, up: bool) -> Any:
    """A time from nanoseconds since 1970, in whole numbers: a double has not all their digits."""
    from pyspark.sql import functions as sql

    column = escaped(name)
    whole = f"({column} - pmod({column}, 1000L)) div 1000"
    if up:
        whole = f"-((-{column} - pmod(-{column}, 1000L)) div 1000)"
    return sql.timestamp_micros(sql.expr(whole))
