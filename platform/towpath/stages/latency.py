"""How many rows became known in time: counted as the rows pass by, in batches, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from towpath.core.slo import Counts, Promised

_MICRO: Final = timedelta(microseconds=1)


def measured(promises: Sequence[Promised], tables: Mapping[str, Path], *, as_of: datetime) -> dict[str, Any]:
    """By promise, the counts of each of its windows as JSON: seconds, rows that held, rows."""
    return {
        one.name: [[span.total_seconds(), *count] for span, count in _counted(one, tables[one.table], as_of).items()]
        for one in promises
        if one.kind == "latency" and not one.why and one.table in tables
    }


def read(recorded: object) -> Counts:
    """The counts that `measured` recorded."""
    rows: Any = recorded
    return {timedelta(seconds=seconds): (good, total) for seconds, good, total in rows}


def _counted(one: Promised, file: Path, as_of: datetime) -> Counts:
    """A row counts once it is decided: when it became known in time, or else when it was late.

    It is in a window by that moment, so rows that come late burn the budget as they do, however long the promise is.
    """
    assert one.bound is not None
    bound, now = one.bound // _MICRO, int(as_of.timestamp() * 1_000_000)
    found = dict.fromkeys(one.windows, (0, 0))
    with pq.ParquetFile(file) as parquet:
        schema = parquet.schema_arrow
        if not all(_is_time(schema, name) for name in (one.column, one.known_at)):
            return {}  # the schema's own gate says so
        for batch in parquet.iter_batches(columns=[one.column, one.known_at]):
            happened, known = (_micros(batch.column(name)) for name in (one.column, one.known_at))
            due = pc.add(happened, bound)
            held = pc.fill_null(pc.less_equal(known, due), fill_value=False)
            decided = pc.if_else(held, pc.max_element_wise(happened, known), pc.add(due, 1))
            for span in found:
                inside = pc.and_(pc.greater(decided, now - span // _MICRO), pc.less_equal(decided, now))
                good, total = (int(pc.sum(mask).as_py() or 0) for mask in (pc.and_(inside, held), inside))
                found[span] = (found[span][0] + good, found[span][1] + total)
    return found


def _is_time(schema: pa.Schema, name: str) -> bool:
    return name in schema.names and bool(pa.types.is_timestamp(schema.field(name).type))


def _micros(column: pa.Array) -> pa.Array:
    """Microseconds since 1970; a time without a zone is UTC."""
    return column.cast(pa.timestamp("us", tz=column.type.tz), safe=False).cast(pa.int64())
