"""Tables without rows, with the columns and types that a contract promises: transforms can be tried on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from towpath.core.contract import Column, Contract, LogicalType

_ARROW: Final[Mapping[LogicalType, pa.DataType]] = {
    LogicalType.STRING: pa.string(),
    LogicalType.DATE: pa.date32(),
    LogicalType.TIME: pa.time64("us"),
    LogicalType.NUMBER: pa.float64(),
    LogicalType.INTEGER: pa.int64(),
    LogicalType.BOOLEAN: pa.bool_(),
    LogicalType.OBJECT: pa.string(),
    LogicalType.ARRAY: pa.string(),
}


def write(file: Path, contract: Contract, table: str, *, without: str | None = None) -> Path:
    """Write one table of a contract as Parquet, all its columns or all but one."""
    columns = [column for column in contract.tables[table].columns.values() if column.name != without]
    pq.write_table(pa.schema([pa.field(column.name, _type(column)) for column in columns]).empty_table(), file)
    return file


def _type(column: Column) -> pa.DataType:
    if column.logical_type is LogicalType.TIMESTAMP:
        return pa.timestamp("us", tz=None if column.timezone is False else "UTC")
    return _ARROW[column.logical_type]
