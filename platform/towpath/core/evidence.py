"""Candidate, entry and finding: the evidence that travels from raw data to a promoted model.

Entries form chains as commits do: each holds the digest of the one before, and a candidate is named by its last. Two
candidates that share their first stages share those entries; nothing is computed twice.

What an entry *found* is digested; what happened to *be so* while it was written (time, actor, run identifiers, files
whose bytes differ from run to run) is only recorded. A stage that is killed and repeated therefore yields the same
digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from towpath.core import digest as digests
from towpath.core.errors import IntegrityError, OutOfOrder


class Outcome(StrEnum):
    """How a check ended. Only PASS opens a gate."""

    PASS = "PASS"
    INCONCLUSIVE = "INCONCLUSIVE"
    FAIL = "FAIL"
    ERROR = "ERROR"


_WORSE = [Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL, Outcome.ERROR]


class Severity(StrEnum):
    """Whether a finding may close a gate. A warning is shown and recorded, and closes nothing."""

    ERROR = "error"
    WARNING = "warning"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Finding(_Value):
    """One check: what was measured, against which bound, on how much, and why it ended as it did.

    `measured`, `bound` and `interval` are in `unit`. `volatile` marks a measurement that differs from run to run (a
    latency): its `measured`, `interval` and `reason` are recorded but not digested.
    """

    code: str
    outcome: Outcome
    severity: Severity = Severity.ERROR
    subject: str = ""
    measured: float | int | str | None = None
    bound: str = ""
    unit: str = ""
    interval: tuple[float, float] | None = None
    sample_size: int | None = None
    source: str = ""
    reason: str
    volatile: bool = False

    def digestible(self) -> dict[str, Any]:
        hidden = {"measured", "interval", "reason"} if self.volatile else set()
        return self.model_dump(mode="json", exclude=hidden, exclude_defaults=True)


class Subject(_Value):
    """A thing that an entry speaks of, by digest: a dataset, contract, feature set, code, environment or model."""

    kind: str
    name: str
    digest: str
    rows: int | None = None
    size: int | None = None


class Attachment(_Value):
    """A file kept beside an entry for people (report, plot, page). Found by its digest in the object store."""

    name: str
    digest: str
    size: int
    media_type: str


def worst(findings: Iterable[Finding]) -> Outcome:
    """The worst outcome of the findings that may close a gate; none at all is INCONCLUSIVE."""
    outcomes = [finding.outcome for finding in findings if finding.severity is Severity.ERROR]
    return max(outcomes, key=_WORSE.index, default=Outcome.INCONCLUSIVE)


class Entry(_Value):
    """What one stage wrote.

    `key` is the digest of everything the stage works from; two entries with one key are the same entry. `facts` are
    figures that are the same on every run; `notes` and `attachments` are not digested.
    """

    stage: str
    project: str
    key: str
    previous: str | None
    inputs: Mapping[str, str]
    subjects: tuple[Subject, ...] = ()
    findings: tuple[Finding, ...] = ()
    facts: Mapping[str, JsonValue] = Field(default_factory=dict)
    notes: Mapping[str, JsonValue] = Field(default_factory=dict)
    attachments: tuple[Attachment, ...] = ()

    @cached_property
    def digest(self) -> str:
        """Fields at their defaults are left out, so that a field that is added later changes no digest of today."""
        body = self.model_dump(mode="json", include={"stage", "project", "key", "previous", "inputs", "facts"})
        body["subjects"] = [subject.model_dump(mode="json", exclude_defaults=True) for subject in self.subjects]
        body["findings"] = [finding.digestible() for finding in self.findings]
        return digests.of_json(body)

    @property
    def outcome(self) -> Outcome:
        return worst(self.findings)

    def subject(self, kind: str, name: str | None = None) -> Subject:
        """The one subject of that kind (and name)."""
        found = [item for item in self.subjects if item.kind == kind and name in (None, item.name)]
        if len(found) != 1:
            raise OutOfOrder(
                f"Entry {self.stage} {digests.short(self.digest)} has {len(found)} subjects of kind {kind!r}"
                + (f" named {name!r}." if name else "."),
                valid=sorted({f"{item.kind}/{item.name}" for item in self.subjects}),
            )
        return found[0]

    def subjects_of(self, kind: str) -> dict[str, Subject]:
        """Every subject of a kind, by name."""
        return {item.name: item for item in self.subjects if item.kind == kind}


class Candidate(_Value):
    """What travels along the path: ordered entries, each holding the digest of the one before."""

    project: str
    entries: tuple[Entry, ...] = ()

    @property
    def id(self) -> str:
        """`<project>-<12 digits of its digest>`; it changes with every entry, as the candidate does."""
        return f"{self.project}-{digests.short(self.digest) if self.digest else 'new'}"

    @property
    def digest(self) -> str | None:
        """Digest of the whole chain: that of its last entry. None before the first."""
        return self.entries[-1].digest if self.entries else None

    @property
    def outcome(self) -> Outcome:
        """The worst outcome of its entries; INCONCLUSIVE when there is none."""
        return max((entry.outcome for entry in self.entries), key=_WORSE.index, default=Outcome.INCONCLUSIVE)

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(entry.stage for entry in self.entries)

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(finding for entry in self.entries for finding in entry.findings)

    def entry(self, stage: str) -> Entry:
        for item in self.entries:
            if item.stage == stage:
                return item
        raise OutOfOrder(
            f"Candidate {self.id} has no entry of stage {str(stage)!r}.",
            value=stage,
            valid=self.stages,
            hint="Run the stages before it.",
        )

    def append(self, entry: Entry) -> Self:
        """The candidate with one entry more. Refuses one of another project or one that does not follow the last."""
        if entry.project != self.project:
            raise OutOfOrder(
                f"Entry {entry.stage} belongs to {entry.project}, not to {self.project}.", value=entry.project
            )
        if entry.previous != self.digest:
            raise OutOfOrder(
                f"Entry {entry.stage} follows {entry.previous}, but the last entry of {self.id} is {self.digest}.",
                value=entry.previous,
            )
        if entry.stage in self.stages:
            raise OutOfOrder(f"Candidate {self.id} already has an entry of stage {entry.stage!r}.", value=entry.stage)
        return self.model_copy(update={"entries": (*self.entries, entry)})


class RecordKind(StrEnum):
    """What a ledger record holds."""

    ENTRY = "entry"
    DECISION = "decision"
    INCIDENT = "incident"
    APPROVAL = "approval"
    """Somebody's word for one candidate's digest, or its withdrawal."""
    WAIVER = "waiver"
    """Somebody's word that one finding shall not stop one candidate, or its withdrawal."""
    EMERGENCY = "emergency"
    """Breaking the glass: opened by one person, confirmed by another, and what was written about it afterwards."""
    ATTESTATION = "attestation"
    """Signed statements about a candidate: what its digest is made of, who signed its model."""
    ACCESS = "access"
    """Tokens, keys and grants as they were made and revoked, and what was refused to whom."""
    HOLD = "hold"
    """A legal hold, placed or released."""


class Incident(_Value):
    """Something that must be known and is no stage's entry: stored bytes that changed, an alias moved by hand."""

    project: str
    candidate: str
    stage: str
    findings: tuple[Finding, ...]


class Record(_Value):
    """One row of the ledger: a body, who wrote it and when, and its place in the chain.

    `hash` is the digest of every other field but the signature, `previous` the hash of the record before (None for the
    first). `candidate` is the id of the candidate spoken of; of an entry, that of the candidate which ends in it.
    `via`: how it was known who acts (`Identity.via`). `signer`: id of the key whose `signature` (base64) covers actor,
    hash and via; records from before there were keys have neither.
    """

    sequence: int
    previous: str | None
    hash: str
    kind: RecordKind
    project: str
    candidate: str
    stage: str
    key: str | None
    digest: str
    at: datetime
    actor: str
    body: Mapping[str, JsonValue]
    via: str | None = None
    signer: str | None = None
    signature: str | None = None

    def entry(self) -> Entry:
        """The entry that the record holds. Raises `IntegrityError` when it is not the one whose digest was recorded."""
        entry = Entry.model_validate(self.body)
        if entry.digest != self.digest:
            raise IntegrityError(
                f"Record {self.sequence} of the ledger, entry {self.stage} of {self.candidate}, is not what was "
                f"written: its digest is {digests.short(entry.digest)}, and {digests.short(self.digest)} was recorded.",
                gate="integrity.ledger",
                value=str(self.sequence),
                hint="Someone changed the database. `towpath ledger verify` names every bad record.",
            )
        return entry
