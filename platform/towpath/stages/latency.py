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
    """A row counts once it is known, or once it is late; it is in a window by the time at which it happened."""
    assert one.bound is not None
    bound, now = one.bound // _MICRO, int(as_of.timestamp() * 1_000_000)
    found = dict.fromkeys(one.windows, (0, 0))
    with pq.ParquetFile(file) as parquet:
        schema = parquet.schema_arrow
        if not all(_is_time(schema, name) for name in (one.column, one.known_at)):
            return {}  # the schema's own gate says so
        for batch in parquet.iter_batches(columns=[one.column, one.known_at]):
            happened, known = (_micros(batch.column(name)) for name in (one.column, one.known_at))
            known = pc.if_else(pc.less_equal(known, now), known, None)
            took = pc.subtract(pc.coalesce(known, pa.scalar(now)), happened)
            held = pc.and_(pc.is_valid(known), pc.less_equal(took, bound))
            counts = pc.or_(pc.is_valid(known), pc.greater(took, bound))
            for span in found:
                recent = pc.and_(pc.greater(happened, now - span // _MICRO), pc.less_equal(happened, now))
                inside = pc.and_(recent, counts)
                good, total = (int(pc.sum(mask).as_py() or 0) for mask in (pc.and_(inside, held), inside))
                found[span] = (found[span][0] + good, found[span][1] + total)
    return found


def _is_time(schema: pa.Schema, name: str) -> bool:
    return name in schema.names and bool(pa.types.is_timestamp(schema.field(name).type))


def _micros(column: pa.Array) -> pa.Array:
    """Microseconds since 1970; a time without a zone is UTC."""
    return column.cast(pa.timestamp("us", tz=column.type.tz), safe=False).cast(pa.int64())
