"""A folder with sources for a test, and what snapshots of them hold."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from towpath.adapters.sources import UriSources
from towpath.core.errors import BadInput
from towpath.ports import Snapshot

FLIGHTS = "carrier,flight,dep_delay,time_hour\nUA,1545,2,2013-01-01T10:00:00Z\nAA,1141,NA,2013-01-01T11:00:00Z\n"


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Writes files below a folder and snapshots what a URI names there."""

    base: Path

    def write(self, name: str, text: str | bytes) -> None:
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    def table(self, name: str, columns: dict[str, Any]) -> None:
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)

    def snapshot(self, uri: str, *, until: tuple[str, datetime] | None = None, target: str = "t.parquet") -> Snapshot:
        return UriSources().snapshot(uri, base=self.base, target=self.base.parent / "out" / target, until=until)

    def rows(self, uri: str, *, until: tuple[str, datetime] | None = None) -> list[dict[str, Any]]:
        return rows_of(self.snapshot(uri, until=until))

    def refusal(self, uri: str, *, until: tuple[str, datetime] | None = None) -> str:
        with pytest.raises(BadInput) as caught:
            self.snapshot(uri, until=until)
        out = self.base.parent / "out"
        assert not out.exists() or not list(out.iterdir()), "a refused snapshot leaves nothing"
        return str(caught.value)


def rows_of(snapshot: Snapshot) -> list[dict[str, Any]]:
    table = pq.read_table(snapshot.file)
    assert table.num_rows == snapshot.rows
    assert {field.name: str(field.type) for field in table.schema} == snapshot.columns
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def bytes_of(snapshot: Snapshot) -> str:
    return hashlib.sha256(snapshot.file.read_bytes()).hexdigest()


def naive(*parts: int) -> datetime:
    """A time without a zone."""
    return datetime(*parts, tzinfo=UTC).replace(tzinfo=None)  # type: ignore[arg-type, misc]
