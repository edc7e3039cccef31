"""Labels that come as a table: what became of rows that were predicted, by the key of the row."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from towpath.adapters.prediction_log_parts import TIERS, folder
from towpath.adapters.prediction_log_places import Place
from towpath.adapters.prediction_log_tables import CLASSED_LABELS, LABELS
from towpath.core import digest as digests
from towpath.core.errors import BadInput

SOURCE = "batch"
_UNLABELLED = 5  # example values that an error shows


@dataclass(frozen=True, kw_only=True)
class Joined:
    """What a table of labels held: keys with a label, and how many of them no prediction has borne yet.

    `left_out`: rows without a key or without a label. `repeated`: rows whose key came before, in the table; the first
    counts. `already`: the same labels were there, and nothing was written.
    """

    labels: int
    unknown: int
    left_out: int
    repeated: int
    already: bool


class LabelTables:
    """Writes tables of labels to the log. All labels are kept: a prediction that is shipped later finds its own."""

    def __init__(self, place: Place, *, clock: Callable[[], datetime]) -> None:
        self._place = place
        self._clock = clock

    def join_labels(self, project: str, file: Path, *, key: str, label: str, classes: bool = False) -> Joined:
        """Store the labels of a Parquet file. The same labels a second time are the same object, and nothing changes.

        `classes`: the project's model is multiclass, and any text or whole number is a label. Raises `BadInput` for a
        column that is not there, labels other than 0 and 1 (or of another kind), or a table without any label.
        """
        with tempfile.TemporaryDirectory(prefix="towpath-labels-") as folder:
            config = {"TimeZone": "UTC", "autoinstall_known_extensions": "false", "temp_directory": folder}
            database = duckdb.connect(":memory:", config=config)
            try:
                rows = _read(database, file, key=key, label=label, classes=classes)
                found: pa.Table = database.sql("SELECT key, label FROM labels ORDER BY key").to_arrow_table()
                if not found.num_rows:
                    raise BadInput(
                        f"{file.name} holds no label: no row has both {key!r} and {label!r}.", value=file.name
                    )
                unknown = self._unknown(database, project)
            finally:
                database.close()
            name = f"{SOURCE}/{digests.short(_digest(found))}.parquet"
            already = any(stored.name.endswith(f"/{name}") for stored in self._place.list(f"{project}/labels"))
            if not already:
                now = self._clock().astimezone(UTC)
                target = Path(folder) / "labels.parquet"
                pq.write_table(_labels(found, now, classes=classes), target, compression="zstd")
                self._place.put(target, f"{project}/labels/{now:%Y-%m-%d}/{name}")
        total, complete = rows
        return Joined(
            labels=found.num_rows,
            unknown=unknown,
            left_out=total - complete,
            repeated=complete - found.num_rows,
            already=already,
        )

    def _unknown(self, database: duckdb.DuckDBPyConnection, project: str) -> int:
        """Keys of the table that no prediction bears."""
        database.execute("CREATE TEMP TABLE known (key VARCHAR)")
        while True:
            found = [stored for tier in TIERS for stored in self._place.list(folder(project, "predictions", tier))]
            paths = [str(path) for path in map(self._place.local, found) if path is not None]
            try:
                if paths:
                    database.execute(
                        "INSERT INTO known SELECT DISTINCT key FROM read_parquet($paths) WHERE key IS NOT NULL",
                        {"paths": paths},
                    )
                break
            except duckdb.IOException:
                if all(Path(path).is_file() for path in paths):
                    raise
                # some were merged meanwhile: where they are now, the next listing says
        count = database.execute("SELECT count(*) FROM labels ANTI JOIN known USING (key)").fetchall()
        return int(count[0][0])


_NUMBER = """CASE lower({said}) WHEN '1' THEN 1 WHEN '1.0' THEN 1 WHEN 'true' THEN 1
WHEN '0' THEN 0 WHEN '0.0' THEN 0 WHEN 'false' THEN 0 END"""
_CLASS = "nullif({said}, '')"
# a gap in a column makes its whole numbers floats, and a database's may be decimals
_WHOLE = "CASE WHEN isfinite({label}) AND {label} = floor({label}) THEN TRY_CAST({label} AS BIGINT)::VARCHAR END"


def _read(database: duckdb.DuckDBPyConnection, file: Path, *, key: str, label: str, classes: bool) -> tuple[int, int]:
    """Make `labels`, one row a key, the first of the file; how many rows the file has, and how many are complete."""
    schema = pq.read_schema(file)
    for column in (key, label):
        if column not in schema.names:
            raise BadInput(f"The labels have no column {column!r}.", value=column, valid=schema.names)
    quoted_key, quoted_label = _quoted(key), _quoted(label)
    kind = schema.field(label).type
    named = _WHOLE if pa.types.is_floating(kind) or pa.types.is_decimal(kind) else _CLASS
    meant = (named if classes else _NUMBER).format(said=f"{quoted_label}::VARCHAR", label=quoted_label)
    database.execute(
        f"CREATE TEMP TABLE given AS SELECT {quoted_key}::VARCHAR AS key, {quoted_label}::VARCHAR AS said, "
        f"{meant} AS label, file_row_number AS number "
        "FROM read_parquet($file, file_row_number = true)",
        {"file": str(file)},
    )
    wrong = database.execute(
        "SELECT said, count(*) FROM given WHERE said IS NOT NULL AND label IS NULL GROUP BY said ORDER BY 2 DESC, 1"
    ).fetchall()
    if wrong:
        shown = ", ".join(repr(said) for said, _ in wrong[:_UNLABELLED])
        told = "no text and no whole number" if classes else "neither 0 nor 1"
        raise BadInput(
            f"{sum(count for _, count in wrong):,} labels in {label!r} are {told}: {shown}.",
            value=wrong[0][0],
            valid=["text", "a whole number"] if classes else [0, 1],
            hint="Leave a label empty until it is known.",
        )
    database.execute(
        "CREATE TEMP TABLE labels AS SELECT key, arg_min(label, number) AS label FROM given "
        "WHERE key IS NOT NULL AND label IS NOT NULL GROUP BY key"
    )
    total, complete = database.execute(
        "SELECT count(*), count(*) FILTER (key IS NOT NULL AND label IS NOT NULL) FROM given"
    ).fetchall()[0]
    return total, complete


def _labels(found: pa.Table, at: datetime, *, classes: bool) -> pa.Table:
    count = found.num_rows
    schema = CLASSED_LABELS if classes else LABELS
    columns = {
        "request": pa.nulls(count, pa.string()),
        "row": pa.array([0] * count, pa.int32()),
        "at": pa.array([at] * count, LABELS.field("at").type),
        "key": found["key"],
        "label": pa.nulls(count, pa.int8()) if classes else found["label"].cast(pa.int8()),
        "class": found["label"],
        "source": pa.array([SOURCE] * count, pa.string()),
    }
    return pa.table([columns[field.name] for field in schema], schema=schema)


def _digest(found: pa.Table) -> str:
    return digests.of_json([found["key"].to_pylist(), found["label"].to_pylist()])


def _quoted(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
