"""The ledger as a person asks for it: the candidates, how far each came, and what was decided on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from towpath.core.evidence import Candidate, Entry, Finding, Outcome, Record, RecordKind, Severity
from towpath.core.gates import GATES, Stage
from towpath.ports import Ledger
from towpath.stages.work import champion


@dataclass(frozen=True, kw_only=True)
class Reached:
    """A candidate that nothing was built upon yet: its last entry's record, and the last decision on it."""

    candidate: Candidate
    record: Record
    decision: Record | None
    champion: bool

    @property
    def version(self) -> str | None:
        """The version in the model registry, once it has one."""
        entry = self.candidate.entries[-1]
        found = entry.notes.get("version") if entry.stage == Stage.REGISTER else None
        return None if found is None else str(found)

    @property
    def as_of(self) -> str:
        """The time from which it was seen, ISO 8601."""
        return str(self.candidate.entries[0].facts.get("as_of", ""))


@dataclass(frozen=True, kw_only=True)
class History:
    """Candidates and incidents, newest first."""

    candidates: tuple[Reached, ...]
    incidents: tuple[Record, ...]


def read(ledger: Ledger, project: str | None = None) -> History:
    """The history of one project, or of all of them."""
    records = list(ledger.records(project=project))
    entries = {record.digest: record for record in records if record.kind is RecordKind.ENTRY}
    parsed = {digest: record.entry() for digest, record in entries.items()}
    continued = {entry.previous for entry in parsed.values()}
    decisions = {str(record.body.get("digest")): record for record in records if record.kind is RecordKind.DECISION}
    current = {name: champion(ledger, name) for name in {record.project for record in records}}
    champions = {found.candidate.digest for found in current.values() if found is not None}
    reached = [
        Reached(
            candidate=_chain(parsed, digest, record.project),
            record=record,
            decision=decisions.get(digest),
            champion=digest in champions,
        )
        for digest, record in entries.items()
        if digest not in continued
    ]
    incidents = [record for record in records if record.kind is RecordKind.INCIDENT]
    return History(
        candidates=tuple(sorted(reached, key=lambda item: -item.record.sequence)),
        incidents=tuple(reversed(incidents)),
    )


def _chain(parsed: Mapping[str, Entry], tip: str, project: str) -> Candidate:
    chain: list[Entry] = []
    digest: str | None = tip
    while digest is not None:
        chain.append(parsed[digest])
        digest = chain[-1].previous
    return Candidate(project=project, entries=tuple(reversed(chain)))


def failed(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that close a gate."""
    return [item for item in findings if item.outcome is not Outcome.PASS and item.severity is Severity.ERROR]


def refusal(finding: Finding) -> dict[str, Any]:
    """A finding that closed a gate, with what to do about it, as JSON."""
    gate = GATES.get(finding.code)
    return {**finding.model_dump(mode="json"), "asks": gate.asks if gate else "", "mend": gate.mend if gate else ""}
