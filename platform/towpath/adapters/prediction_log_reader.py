"""The files of a prediction log in DuckDB, read as they come: a look reads only what is new since the last one.

Everything that is asked of the tables depends on what the files hold and not on when they were read, so a process that
begins anew, or reads on another machine, finds the same.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from towpath.adapters.prediction_log_places import Place, Stored
from towpath.core import digest as digests
from towpath.core.errors import IntegrityError

_TABLES = """
CREATE TABLE log (
    file INTEGER, instant BIGINT, request VARCHAR, row_number INTEGER, step INTEGER, weight INTEGER, arm VARCHAR,
    unit VARCHAR, key VARCHAR, prediction DOUBLE, latency_ms DOUBLE, failed BOOLEAN, stood_in BOOLEAN
);
CREATE TABLE heard (file INTEGER, worker VARCHAR, instant BIGINT, rollout VARCHAR);
CREATE TABLE labels (file INTEGER, instant BIGINT, request VARCHAR, row_number INTEGER, key VARCHAR, label TINYINT);
"""
_MEMORY = "1GB"  # beyond it DuckDB spills to its temporary folder
_BATCH = 500  # files read by one statement


@dataclass(frozen=True, kw_only=True)
class _File:
    number: int
    stored: Stored


class Reader:
    """Rows of a project whose `column` (rollout or model) is `value`, and the project's labels, from a day on."""

    def __init__(self, place: Place, project: str, *, column: str, value: str, since: datetime) -> None:
        self._place = place
        self._project = project
        self._column = column
        self._value = value
        self._since = (since - timedelta(hours=1)).date()  # gateways' clocks may differ
        self._files: dict[str, _File] = {}
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
        """What was read, as text: how many files, and a digest of their names and sizes in the order of the names."""
        listed = "".join(f"{name} {self._files[name].stored.size}\n" for name in sorted(self._files))
        return f"{len(self._files)} files {digests.short(digests.of_bytes(listed.encode()))}"

    def refresh(self, today: date) -> None:
        """Read files that are new or have changed, of the days up to tomorrow.

        Raises `Unreachable`, `Misconfigured` and `IntegrityError` for a file that is not as the log writes them.
        """
        found = {stored.name: stored for kind in ("predictions", "labels") for stored in self._listed(kind, today)}
        gone = [
            file
            for name, file in self._files.items()
            if name not in found or (found[name].mark, found[name].size) != (file.stored.mark, file.stored.size)
        ]
        for file in gone:
            for table in ("log", "heard", "labels"):
                self._database.execute(f"DELETE FROM {table} WHERE file = ?", [file.number])
            del self._files[file.stored.name]
        fresh = [stored for name, stored in found.items() if name not in self._files]
        self.version += bool(gone or fresh)
        for kind in ("predictions", "labels"):
            some = [stored for stored in fresh if stored.name.startswith(f"{self._project}/{kind}/")]
            for start in range(0, len(some), _BATCH):
                self._read(kind, some[start : start + _BATCH])

    def ask(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query over `log`, `heard` and `labels`."""
        rows: list[tuple[Any, ...]] = self._database.execute(statement, list(values)).fetchall()
        return rows

    def close(self) -> None:
        self._database.close()

    def _listed(self, kind: str, today: date) -> Iterator[Stored]:
        for day in _days(self._since, today + timedelta(days=1)):
            yield from self._place.list(f"{self._project}/{kind}/{day:%Y-%m-%d}")

    def _read(self, kind: str, stored: Iterable[Stored]) -> None:
        local: list[tuple[_File, Path]] = []
        for one in stored:
            path = self._place.local(one)
            if path is None:
                continue  # removed since it was listed; the next look does not see it
            self._numbers += 1
            local.append((_File(number=self._numbers, stored=one), path))
        if not local:
            return
        self._database.execute("CREATE OR REPLACE TEMP TABLE files (path VARCHAR, file INTEGER, worker VARCHAR)")
        self._database.executemany(
            "INSERT INTO files VALUES (?, ?, ?)",
            [(str(path), file.number, _worker(file.stored.name)) for file, path in local],
        )
        paths = [str(path) for _, path in local]
        try:
            if kind == "labels":
                self._database.execute(_READ_LABELS, {"paths": paths})
            else:
                self._database.execute(_READ_HEARD, {"paths": paths})
                self._database.execute(_READ_LOG.format(column=self._column), {"paths": paths, "value": self._value})
        except (duckdb.IOException, duckdb.InvalidInputException, duckdb.BinderException) as error:
            raise IntegrityError(
                f"A file of the prediction log of {self._project} cannot be read: {error}",
                value=self._project,
                hint="Remove the file, or restore it: what is missing is not judged.",
            ) from error
        self._files |= {file.stored.name: file for file, _ in local}


_READ_HEARD = """
INSERT INTO heard
SELECT file, any_value(worker), max(epoch_us("at")), arg_max(coalesce(rollout, ''), "at")
FROM read_parquet($paths, filename = true) AS log JOIN files ON files.path = log.filename
GROUP BY file
"""
_READ_LOG = """
INSERT INTO log
SELECT file, epoch_us("at"), request, "row", step, weight, arm, unit, key,
    CASE WHEN isfinite(prediction) THEN prediction END, latency_ms,
    error IS NOT NULL OR fallback IS NOT NULL, fallback IS NOT NULL
FROM read_parquet($paths, filename = true) AS log JOIN files ON files.path = log.filename
WHERE {column} = $value
"""
_READ_LABELS = """
INSERT INTO labels
SELECT file, epoch_us("at"), request, "row", key, label
FROM read_parquet($paths, filename = true) AS log JOIN files ON files.path = log.filename
"""


def _days(first: date, last: date) -> Iterator[date]:
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def _worker(name: str) -> str | None:
    """The worker of `<project>/predictions/<day>/<worker>-<n>-<mark>.parquet`; None for what no gateway wrote."""
    parts = name.split("/")
    return parts[3].rsplit("-", 2)[0] if len(parts) == 4 else None
