"""Asked of sources and of the checks of their tables, and how one sample drifted from another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from towpath.core.contract import Contract
from towpath.core.evidence import Finding
from towpath.core.masking import Masking
from towpath.core.profile import TableProfile


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A source's table as it was: one Parquet file with its rows."""

    file: Path
    rows: int
    columns: Mapping[str, str]  # name -> Arrow type


class Sources(Protocol):
    """Reads a source into one Parquet file."""

    def snapshot(
        self,
        uri: str,
        *,
        base: Path,
        target: Path,
        until: tuple[str, datetime] | None,
        masking: Masking | None = None,
    ) -> Snapshot:
        """Snapshot the rows of `uri` into `target`, those with `until[0] < until[1]` when given (UTC).

        With `masking` no value of a masked column is written to `target`, and none is told in an error.
        """
        ...

    def fingerprint(self, uri: str, *, base: Path) -> str | None:
        """A digest that changes with the source's content, without reading it as a table; None when there is none."""
        ...


class TableProfiles(Protocol):
    """Measures a table, a Parquet file of any size, where it lies."""

    def profile(self, file: Path) -> TableProfile:
        """Its columns and what their values are."""
        ...

    def distinct(self, file: Path, columns: Sequence[str]) -> int:
        """How many different rows there are of these columns alone, exactly; nulls count as a value."""
        ...

    def quantile(self, file: Path, column: str, *, share: float) -> int:
        """The time (microseconds since 1970, UTC) up to which that share of the rows lies."""
        ...

    def sample(self, file: Path, *, rows: int, target: Path) -> None:
        """Write about so many rows, spread evenly over the file, to `target`; the same ones every time."""
        ...


@dataclass(frozen=True, kw_only=True)
class TableChecked:
    """One table after its checks: the rows that hold (`accepted`) and those that do not, each with its reasons."""

    accepted: Path
    rows: int
    quarantine: Path | None
    quarantined: int


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What the checks of all contracts found."""

    findings: tuple[Finding, ...]
    tables: Mapping[str, TableChecked]
    page: Path  # HTML, for people
    raw: Path  # the engine's own result, JSON


class DataChecks(Protocol):
    """Runs what contracts say against tables, where the data lies."""

    def run(
        self, tables: Mapping[str, Path], contracts: Sequence[Contract], *, as_of: datetime, folder: Path
    ) -> CheckReport:
        """Check the Parquet files named by table; write accepted and quarantined rows and the reports into `folder`."""
        ...


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """Distances between a reference and a current sample, by column, and a page for people."""

    distances: Mapping[str, float]
    drifted: tuple[str, ...]
    method: Mapping[str, str]
    page: Path


class DriftReports(Protocol):
    """Compares two Parquet files column by column."""

    def compare(self, reference: Path, current: Path, *, columns: Sequence[str], folder: Path) -> DriftReport: ...
