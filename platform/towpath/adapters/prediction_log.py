"""The prediction log: spool files of JSON lines become Parquet files in a folder or a bucket.

`<root>/<project>/predictions/<YYYY-MM-DD>/<worker>-<n>-<mark>.parquet` and the same under `labels`, the day being the
request's (UTC). A spool file always makes the same files of the same names, so shipping it again (after a kill between
storing and removing it) changes nothing. The mark is of its first line: another gateway's worker of the same name and
number has another one, and never replaces it. What no gateway wrote (`write`) lies in a folder `batch` below the day.
Gateways' files are merged later (`prediction_log_compaction`).
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from towpath.adapters import prediction_log_lines as lines
from towpath.adapters.prediction_log_places import Place, sync_folder, writing
from towpath.adapters.prediction_log_tables import REPEATED, tables
from towpath.core.errors import BadInput, NotFound

TORN = ".torn"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """What a spool file held: predicted rows, labels, and lines that could not be read and were set aside."""

    rows: int
    labels: int
    torn: int


class _Counted:
    """Counts lines as they go by, and keeps the torn ones."""

    def __init__(self) -> None:
        self.rows = 0
        self.labels = 0
        self.torn: list[bytes] = []

    def through(self, found: Iterable[lines.Lines]) -> Iterator[lines.Lines]:
        for some in found:
            self.rows += sum(len(line.rows) for line in some.predictions)
            self.labels += len(some.labels)
            self.torn += some.torn
            yield some

    @property
    def shipped(self) -> Shipped:
        return Shipped(rows=self.rows, labels=self.labels, torn=len(self.torn))


class PredictionLog:
    """The log's writer. One process a spool folder ships; readers see whole files only."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def ship(self, spool_file: Path) -> Shipped:
        """Store a finished spool file's lines (`<spool>/<worker>/<n>.jsonl`), then remove it.

        Lines that cannot be read go to `<n>.torn` beside it. Raises `NotFound` when there is no such file, and
        `Unreachable`, `Misconfigured` or `Unwritable` when the log cannot be stored: the spool file then stays.
        """
        try:
            content = spool_file.read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"There is no spool file {spool_file}.", value=str(spool_file)) from error
        mark = hashlib.sha256(content.partition(b"\n")[0]).hexdigest()[:8]
        counted = _Counted()
        self._store(
            counted.through(lines.read(content)), f"{_safe(spool_file.parent.name)}-{_safe(spool_file.stem)}-{mark}"
        )
        with writing(spool_file.parent):
            if counted.torn:
                _set_aside(counted.torn, spool_file.with_suffix(TORN))
            spool_file.unlink(missing_ok=True)
        return counted.shipped

    def write(self, rows: Sequence[Mapping[str, object]], *, name: str) -> Shipped:
        """Store lines of the spool's form under a name: the same name and lines are the same files.

        Raises `BadInput` for a line that is not of the form or a name that is none.
        """
        if not _NAME.fullmatch(name):
            raise BadInput(
                f"{name!r} cannot name a file of the prediction log.",
                value=name,
                hint="Use letters, digits, dots, underscores and hyphens.",
            )
        counted = _Counted()
        self._store(counted.through([lines.checked(rows)]), f"batch/{name}")
        return counted.shipped

    def _store(self, found: Iterable[lines.Lines], name: str) -> None:
        with tempfile.TemporaryDirectory(prefix="towpath-log-") as folder:
            file = Path(folder) / "part.parquet"
            for where, table in tables(found).items():
                _write(table, file)
                self._place.put(file, f"{where}/{name}.parquet")


def _write(table: pa.Table, file: Path) -> None:
    """The same bytes every time."""
    repeated = [name for name in REPEATED if name in table.column_names]
    pq.write_table(table, file, compression="zstd", use_dictionary=repeated)


def _set_aside(torn: Sequence[bytes], target: Path) -> None:
    """Written whole before the spool file goes; again, with the same bytes, after a kill in between."""
    temporary = target.with_suffix(f"{TORN}-{os.getpid()}")
    with temporary.open("wb") as stream:
        stream.writelines(line + b"\n" for line in torn)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(target)
    sync_folder(target.parent)


def _safe(part: str) -> str:
    """A folder's or file's name as a part of an object's name."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", part)
