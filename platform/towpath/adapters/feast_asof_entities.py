"""The entity rows that a caller asks with: which column is their time, which are keys, and what of them is joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from towpath.adapters import feast_asof_sql as sql
from towpath.adapters.feast_asof_query import Limits, Query
from towpath.core import names
from towpath.core.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class EntityRows:
    """The caller's rows as Arrow, and the relation that is joined: position, time (microseconds), one column a key.

    `key_columns` gives for each of the caller's key columns its name in the relation; `first` and `last` bound the
    times, in microseconds since 1970, None when there are none.
    """

    table: pa.Table
    joined: pa.Table
    time_column: str
    key_columns: Mapping[str, str]
    first: int | None
    last: int | None


def read_entity_rows(entity_df: pd.DataFrame | str | None, keys: Sequence[str], limits: Limits) -> EntityRows:
    """The rows with their time and the key columns `keys`; text is SQL that DuckDB runs. Raises `BadInput`."""
    given = _of_sql(entity_df, limits) if isinstance(entity_df, str) else entity_df
    if not isinstance(given, pd.DataFrame | pa.Table):
        raise BadInput(
            f"Entity rows of type {type(given).__name__} cannot be joined.",
            value=type(given).__name__,
            valid=["pandas.DataFrame", "str: SQL that DuckDB runs"],
            hint="List the entities and times: SELECT * FROM read_parquet('rows.parquet'), say.",
        )
    columns = given.column_names if isinstance(given, pa.Table) else [*given.columns]
    time_column = _time_column(given)
    missing = [key for key in keys if key not in columns]
    if missing:
        raise BadInput(
            f"The entity rows lack the join keys {missing}.",
            value=missing,
            valid=map(str, columns),
            hint="Add the columns, or map the keys with with_join_key_map.",
        )
    try:
        stated = given[time_column].to_pandas() if isinstance(given, pa.Table) else given[time_column]
        times = _utc(stated)
        table = given if isinstance(given, pa.Table) else pa.Table.from_pandas(given, preserve_index=False)
    except (ValueError, TypeError, pa.ArrowException) as error:
        hint = "Give each column one type and its own name."
        raise BadInput(f"The entity rows cannot be read: {error}", hint=hint) from error
    if not pd.api.types.is_datetime64_any_dtype(stated):
        table = table.set_column(table.column_names.index(time_column), time_column, pa.Array.from_pandas(times))
    at = pa.Array.from_pandas(times.dt.floor("us").dt.as_unit("us")).cast(pa.int64())
    key_columns = {key: f"key_{position}" for position, key in enumerate(keys)}
    joined = {sql.ROW: pa.array(np.arange(len(table))), sql.AT: at}
    joined |= {column: table.column(key) for key, column in key_columns.items()}
    known = at.drop_null()
    first, last = (pc.min_max(known)[end].as_py() for end in ("min", "max"))
    return EntityRows(
        table=table, joined=pa.table(joined), time_column=time_column, key_columns=key_columns, first=first, last=last
    )


def _of_sql(text: str, limits: Limits) -> pa.Table:
    """What one SELECT gives. It can read what this process can; nothing else that SQL can do is done."""
    try:
        with duckdb.connect() as parser:
            kinds = [statement.type for statement in parser.extract_statements(text)]
        if kinds != [duckdb.StatementType.SELECT]:
            raise BadInput(f"it is {', '.join(kind.name for kind in kinds) or 'nothing'}, not one SELECT.")
        table = Query(text=text, limits=limits).run()
        twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
        if twice:
            raise BadInput(f"it gives the columns {twice} more than once.")
        return table
    except (duckdb.Error, BadInput) as error:
        raise BadInput(
            f"The SQL of the entity rows cannot be run: {error}",
            value=text,
            hint="It is DuckDB's SQL over local files: SELECT * FROM read_parquet('rows.parquet'), say.",
        ) from error


def _time_column(given: pd.DataFrame | pa.Table) -> str:
    if isinstance(given, pa.Table):
        columns = given.column_names
        times = [field.name for field in given.schema if pa.types.is_timestamp(field.type)]
    else:
        columns = [*given.columns]
        times = [name for name in columns if pd.api.types.is_datetime64_any_dtype(given[name])]
    if names.EVENT_TIME in columns:
        return names.EVENT_TIME
    if len(times) != 1:
        raise BadInput(
            f"The entity rows need one time column; they have {times or 'none'}.",
            value=times,
            hint=f"Name the time of each row {names.EVENT_TIME!r}.",
        )
    return str(times[0])


def _utc(times: pd.Series[Any]) -> pd.Series[Any]:
    aware: pd.Series[Any] = pd.to_datetime(times, utc=True)
    return aware
