"""The files of a prediction log in DuckDB, read as they come: a look reads only what is new since the last one.

Everything that is asked of the tables depends on what the files hold and not on when they were read, so a process that
begins anew, or reads on another machine, finds the same.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from towpath.adapters.prediction_log_parts import (
    KINDS,
    TIERS,
    Part,
    Source,
    day_of,
    folder,
    owner_of,
    parts_of,
    sources,
)
from towpath.adapters.prediction_log_places import Place, Stored
from towpath.core import digest as digests
from towpath.core.errors import IntegrityError, Unreachable

_TABLES = """
CREATE TABLE log (
    file INTEGER, instant BIGINT, request VARCHAR, row_number INTEGER, step INTEGER, weight INTEGER, arm VARCHAR,
    unit VARCHAR, key VARCHAR, prediction DOUBLE, latency_ms DOUBLE, failed BOOLEAN, stood_in BOOLEAN,
    predicted VARCHAR, probabilities MAP(VARCHAR, DOUBLE)
);
CREATE TABLE heard (file INTEGER, worker VARCHAR, instant BIGINT, rollout VARCHAR);
CREATE TABLE labels (
    file INTEGER, instant BIGINT, request VARCHAR, row_number INTEGER, key VARCHAR, label TINYINT, class VARCHAR
);
"""
_MEMORY = "1GB"  # beyond it DuckDB spills to its temporary folder
_BATCH = 500  # files read by one statement


_ROUNDS = 10  # of a refresh during which files go, as they do while they are merged


class _Moved(Exception):
    """A file is not where it was listed a moment ago."""


@dataclass(kw_only=True)
class _Read:
    """A shipped file whose rows are in the tables, and where they were last seen to lie."""

    number: int
    source: Source


class Reader:
    """Rows of a project whose `column` (rollout or model) is `value`, and the project's labels, from a day on."""

    def __init__(self, place: Place, project: str, *, column: str, value: str, since: datetime) -> None:
        self._place = place
        self._project = project
        self._column = column
        self._value = value
        self._since = (since - timedelta(hours=1)).date()  # gateways' clocks may differ
        self._files: dict[str, _Read] = {}  # by the name that they were shipped under
        self._merged: dict[Stored, tuple[Part, ...]] = {}
        self._numbers = 0
        self.version = 0
        """Grows whenever something was read anew."""
        config = {
            "TimeZone": "UTC",
            "autoinstall_known_extensions": "false",
            # made when it is needed, and removed with the connection, by DuckDB
            "temp_directory": str(Path(tempfile.gettempdir()) / f"towpath-evidence-{uuid.uuid4().hex}"),
            "memory_limit": _MEMORY,
        }
        self._database = duckdb.connect(":memory:", config=config)
        self._database.execute(_TABLES)

    @property
    def watermark(self) -> str:
        """What was read, as text: how many shipped files, and a digest of their names and sizes in order of the names.

        It stays what it is when files are merged.
        """
        listed = "".join(f"{name} {self._files[name].source.size}\n" for name in sorted(self._files))
        return f"{len(self._files)} files {digests.short(digests.of_bytes(listed.encode()))}"

    @property
    def classed(self) -> bool:
        """Whether the rows are a multiclass model's, as far as they were answered."""
        return bool(self.ask("SELECT count(predicted) FROM log")[0][0])

    def refresh(self, today: date) -> None:
        """Read files that are new or have changed, of the days up to tomorrow.

        Raises `Unreachable`, `Misconfigured` and `IntegrityError` for a file that is not as the log writes them.
        """
        for _ in range(_ROUNDS):
            try:
                self._update(self._listed(today))
            except _Moved:
                continue
            return
        raise Unreachable(
            f"Files of the prediction log of {self._project} went away each of {_ROUNDS} times that they were read.",
            value=self._project,
            hint="Try again.",
        )

    def ask(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query over `log`, `heard` and `labels`."""
        rows: list[tuple[Any, ...]] = self._database.execute(statement, list(values)).fetchall()
        return rows

    def close(self) -> None:
        self._database.close()

    def _listed(self, today: date) -> dict[str, Source]:
        """Where the rows of every shipped file lie. Tiers from below: rows only move upward."""
        first, last = f"{self._since:%Y-%m-%d}", f"{today + timedelta(days=1):%Y-%m-%d}"
        shipped: list[Stored] = []
        merged: list[Stored] = []
        for kind in KINDS:
            for tier in TIERS:
                found = self._place.list(folder(self._project, kind, tier), since=first)
                (merged if tier else shipped).extend(one for one in found if first <= day_of(one.name) <= last)
        self._merged = {one: self._merged.get(one) or self._parts(one) for one in merged}
        return sources(shipped, self._merged)

    def _parts(self, stored: Stored) -> tuple[Part, ...]:
        path = self._local(stored)
        try:
            return parts_of(path, stored)
        except FileNotFoundError as error:
            raise _Moved from error

    def _local(self, stored: Stored) -> Path:
        path = self._place.local(stored)
        if path is None:
            raise _Moved
        return path

    def _update(self, found: Mapping[str, Source]) -> None:
        gone = [name for name, read in self._files.items() if name not in found or _changed(read.source, found[name])]
        for name in gone:
            read = self._files.pop(name)
            for table in ("log", "heard", "labels"):
                self._database.execute(f"DELETE FROM {table} WHERE file = ?", [read.number])
        fresh = [name for name in found if name not in self._files]
        self.version += bool(gone or fresh)
        for name, read in self._files.items():
            if read.source.part is None and found[name].part is not None:
                self._place.forget(read.source.stored)
            read.source = found[name]
        for kind in KINDS:
            for merged in (False, True):
                some = [
                    name
                    for name in fresh
                    if name.startswith(f"{self._project}/{kind}/") and (found[name].part is not None) is merged
                ]
                for start in range(0, len(some), _BATCH):
                    self._read(kind, {name: found[name] for name in some[start : start + _BATCH]}, merged=merged)

    def _read(self, kind: str, some: Mapping[str, Source], *, merged: bool) -> None:
        """Rows of shipped files, all of them lying in merged files or all in themselves."""
        paths = {stored: str(self._local(stored)) for stored in dict.fromkeys(one.stored for one in some.values())}
        numbers = range(self._numbers + 1, self._numbers + 1 + len(some))
        files = pa.table(
            {
                "path": [paths[one.stored] for one in some.values()],
                "part": pa.array([one.part for one in some.values()], pa.int32()),
                "file": pa.array(numbers, pa.int32()),
                "worker": pa.array([owner_of(name) for name in some], pa.string()),
            }
        )
        statements: list[tuple[str, dict[str, object]]] = [(_READ_LABELS, {})]
        if kind == "predictions":
            statements = [(_READ_HEARD, {}), (_READ_LOG, {"value": self._value})]
        self._database.register("files", files)
        self._database.begin()
        try:
            for rows, alike in self._alike(kind, list(paths.values())):
                for statement, values in statements:
                    text = statement.format(column=self._column, rows=rows, same=_SAME_PART if merged else "")
                    self._database.execute(text, {"paths": alike, **values})
            self._database.commit()
        except (duckdb.IOException, duckdb.InvalidInputException, duckdb.BinderException, duckdb.DataError) as error:
            self._database.rollback()
            if not all(Path(path).is_file() for path in paths.values()):
                raise _Moved from error
            raise IntegrityError(
                f"A file of the prediction log of {self._project} cannot be read: {error}",
                value=self._project,
                hint="Remove the file, or restore it: what is missing is not judged.",
            ) from error
        self._numbers += len(some)
        self._files |= {
            name: _Read(number=number, source=source)
            for number, (name, source) in zip(numbers, some.items(), strict=True)
        }

    def _alike(self, kind: str, paths: list[str]) -> list[tuple[str, list[str]]]:
        """How to read files that have columns of classes, and those of before there were classes, each by themselves:
        whichever of its other columns a file lacks, that is an error and no null."""
        found = self.ask(_CLASSED, [paths])
        several = {path for (path,) in found}
        both = [
            (_ROWS, [path for path in paths if path in several]),
            (_WITHOUT_CLASSES[kind], [path for path in paths if path not in several]),
        ]
        return [(rows, alike) for rows, alike in both if alike]


_SAME_PART = "AND files.part = log.part"
_CLASSED = "SELECT DISTINCT file_name FROM parquet_schema(?) WHERE name IN ('predicted', 'probabilities', 'class')"
_ROWS = "read_parquet($paths, filename = true)"
_WITHOUT_CLASSES = {
    "predictions": f"(SELECT *, NULL::VARCHAR AS predicted, NULL::MAP(VARCHAR, DOUBLE) AS probabilities FROM {_ROWS})",
    "labels": f"(SELECT *, NULL::VARCHAR AS class FROM {_ROWS})",
}
_READ_HEARD = """
INSERT INTO heard
SELECT file, any_value(worker), max(epoch_us("at")), arg_max(coalesce(rollout, ''), "at")
FROM {rows} AS log JOIN files ON files.path = log.filename {same}
GROUP BY file
"""
_READ_LOG = """
INSERT INTO log
SELECT file, epoch_us("at"), request, "row", step, weight, arm, unit, key,
    CASE WHEN isfinite(prediction) THEN prediction END, latency_ms,
    error IS NOT NULL OR fallback IS NOT NULL, fallback IS NOT NULL, predicted,
    CASE WHEN len(list_filter(map_values(probabilities), lambda one: coalesce(isfinite(one), false)))
        = greatest(cardinality(probabilities), 1) THEN probabilities END
FROM {rows} AS log JOIN files ON files.path = log.filename {same}
WHERE {column} = $value
"""
_READ_LABELS = """
INSERT INTO labels
SELECT file, epoch_us("at"), request, "row", key, label, class
FROM {rows} AS log JOIN files ON files.path = log.filename {same}
WHERE label IS NOT NULL OR class IS NOT NULL
"""


def _changed(before: Source, now: Source) -> bool:
    """Whether the rows may be others: what was merged meanwhile is the same, a file that was stored anew may not be."""
    anew = now.part is None and before.part is None and before.stored.mark != now.stored.mark
    return anew or before.size != now.size
