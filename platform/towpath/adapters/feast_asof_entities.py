"""The entity rows that a caller asks with: which column is their time, which are keys, and what of them is joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from towpath.adapters import feast_asof_sql as sql
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


def read_entity_rows(entity_df: pd.DataFrame | str | None, keys: Sequence[str]) -> EntityRows:
    """The rows with their time and the key columns `keys`. Raises `BadInput`."""
    if not isinstance(entity_df, pd.DataFrame):
        raise BadInput(
            f"Entity rows of type {type(entity_df).__name__} cannot be joined.",
            value=type(entity_df).__name__,
            valid=["pandas.DataFrame"],
            hint="Run the SQL yourself, or list the entities and times, and hand over the DataFrame.",
        )
    time_column = _time_column(entity_df)
    missing = [key for key in keys if key not in entity_df.columns]
    if missing:
        raise BadInput(
            f"The entity rows lack the join keys {missing}.",
            value=missing,
            valid=map(str, entity_df.columns),
            hint="Add the columns, or map the keys with with_join_key_map.",
        )
    try:
        times = _utc(entity_df[time_column])
        table = pa.Table.from_pandas(entity_df, preserve_index=False)
    except (ValueError, TypeError, pa.ArrowException) as error:
        hint = "Give each column one type and its own name."
        raise BadInput(f"The entity rows cannot be read: {error}", hint=hint) from error
    if not pd.api.types.is_datetime64_any_dtype(entity_df[time_column]):
        table = table.set_column(table.column_names.index(time_column), time_column, pa.Array.from_pandas(times))
    at = pa.Array.from_pandas(times.dt.floor("us").dt.as_unit("us")).cast(pa.int64())
    key_columns = {key: f"key_{position}" for position, key in enumerate(keys)}
    joined = {sql.ROW: pa.array(range(len(table)), pa.int64()), sql.AT: at}
    joined |= {column: table.column(key) for key, column in key_columns.items()}
    known = at.drop_null()
    first, last = (pc.min_max(known)[end].as_py() for end in ("min", "max"))
    return EntityRows(
        table=table, joined=pa.table(joined), time_column=time_column, key_columns=key_columns, first=first, last=last
    )


def _time_column(entity_df: pd.DataFrame) -> str:
    if names.EVENT_TIME in entity_df.columns:
        return names.EVENT_TIME
    times = [name for name in entity_df.columns if pd.api.types.is_datetime64_any_dtype(entity_df[name])]
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
