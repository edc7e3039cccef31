"""Asked of the record: the ledger, the rollouts in its database, the evidence of a rollout, and stored files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from towpath.core.evidence import Record, RecordKind
from towpath.core.looks import Look
from towpath.core.rollout import Rollout, Telemetry
from towpath.core.rollout_policy import RolloutPolicy
from towpath.core.tampering import Tampering


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A record to be written: everything but its place in the chain, its time and its author.

    `key` names the work; a second draft with the same key is not written, the first record is returned.
    """

    kind: RecordKind
    project: str
    candidate: str
    stage: str
    key: str | None
    digest: str
    body: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A record that is not as it was written: its place, and what is wrong with it."""

    sequence: int
    what: str
    kind: Tampering | None = None


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of reading the whole chain. `head` is the hash of the last record (None when empty).

    `faults`: all that is wrong, row by row. `verdict`: the first bad record and what was done to it; None when whole.
    `signed`: how many records have a signature by a trusted key, which was checked.
    """

    records: int
    head: str | None
    faults: tuple[Fault, ...]
    verdict: Fault | None = None
    signed: int = 0

    @property
    def whole(self) -> bool:
        return not self.faults


class Ledger(Protocol):
    """The append-only, hash-chained record."""

    def append(self, draft: Draft, *, actor: str, behind: str | None = None) -> Record:
        """Write a record, or return the one already written under the draft's key.

        `behind`: the hash of the record that must be the last one; raises `Conflict`, and writes nothing, when it is
        not. So what was decided on the record as read is written only while that is still the whole record.
        """
        ...

    def head(self) -> Record | None:
        """The last record. Its sequence and hash, noted elsewhere, show later whether the end was cut off."""
        ...

    def find(self, key: str) -> Record | None:
        """The record written under that key."""
        ...

    def records(
        self,
        *,
        project: str | None = None,
        candidate: str | None = None,
        kind: RecordKind | None = None,
        after: int = 0,
    ) -> Iterator[Record]:
        """Records in order of their sequence, those beyond `after`."""
        ...

    def require_written(self, record: Record) -> None:
        """Raises `IntegrityError` unless a record that was read is, by itself, what was written here: every field.

        Enough for whoever relies on what one record says, its time among it. Only `verify` shows whether records before
        or behind it are gone, and whether one without a signature stands behind one with.
        """
        ...

    def verify(self, *, trusting: timedelta | None = None) -> Verification:
        """Recompute every hash, the chain and the signatures.

        `trusting`: for how long after a verification of everything what it found whole is taken for whole still; then
        only its last record and those behind it are looked at.
        """
        ...

    def close(self) -> None:
        """Give back the connections."""
        ...


class Rollouts(Protocol):
    """The rollouts, in the ledger's database: at most one of a project is open."""

    def open(self, project: str) -> Rollout | None:
        """The project's rollout that is in no final phase."""
        ...

    def get(self, rollout_id: str) -> Rollout:
        """Raises `NotFound`."""
        ...

    def history(self, project: str) -> tuple[Rollout, ...]:
        """Every rollout of the project, the newest first."""
        ...

    def create(self, rollout: Rollout, draft: Draft, *, actor: str, behind: str | None = None) -> Record:
        """Begin a rollout, row and record in one transaction. Raises `Denied` while another of the project is open.

        `behind`: as of `Ledger.append`.
        """
        ...

    def advance(
        self, before: Rollout, after: Rollout, draft: Draft | None, *, actor: str, behind: str | None = None
    ) -> Record | None:
        """Replace `before` by `after`, row and record in one transaction.

        Raises `Denied`, and writes nothing, when the generation is no longer that of `before`, or when a record has the
        draft's key already. The lease stays what it is. `behind`: as of `Ledger.append`.
        """
        ...

    def renew(self, rollout_id: str, generation: int, until: datetime) -> bool:
        """Extend the lease of that generation, never shorten it; False when the rollout has moved on."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What the champion's recent log says, as far as a policy's guardrails ask: from its first request to its last.

    `thresholds`: of each guardrail with `championP99`, by name: the 99th percentile of single predictions. `rates`: as
    `towpath.core.rollout_power` wants them: of a rate or exceedance the share of bad units, of a mean the standard
    deviation over units of the capped mean. What nothing is known of is left out of both.
    """

    since: datetime
    until: datetime
    requests: int
    units: int  # distinct ones; requests where the policy names no unit
    thresholds: Mapping[str, float]
    rates: Mapping[str, float]


class Evidence(Protocol):
    """What the prediction log and the labels say. Needs no service but the log's own store."""

    def look(self, rollout: Rollout) -> Look:
        """The evidence since the rollout's start, cumulative: a unit counts in the stratum of its assignment.

        Strata are by (step, weight), weight 0 left out: mirrored requests are no assignment. The same log gives the
        same look; a log that grew gives another watermark. Counts of bad units do not fall below those judged before.
        """
        ...

    def telemetry(self, rollout: Rollout) -> Telemetry:
        """Whether the gateways are heard and hold the rollout, and what the shadow has seen."""
        ...

    def baseline(self, project: str, *, model: str, policy: RolloutPolicy, since: datetime) -> Baseline | None:
        """What the log says of the model with that digest, as champion, since then; None when it says nothing."""
        ...

    def close(self) -> None:
        """Forget what was read."""
        ...


class Objects(Protocol):
    """A content-addressed store of files."""

    def put(self, file: Path) -> str:
        """Store the file's bytes (a second time does nothing) and return their digest."""
        ...

    def fetch(self, digest: str) -> Path:
        """A local, read-only file with exactly those bytes.

        Raises `NotFound` when there is none and `IntegrityError` when the stored bytes have another digest.
        """
        ...

    def has(self, digest: str) -> bool: ...

    def remove(self, digest: str) -> bool:
        """Remove an object for good; whether there was one. What is removed, `towpath.stages.retention` decides."""
        ...
