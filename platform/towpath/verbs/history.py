"""The ledger as a person asks for it: the candidates, how far each came, and what was decided on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from towpath.core.approvals import Standing
from towpath.core.emergencies import Broken
from towpath.core.evidence import Candidate, Entry, Finding, Outcome, Record, RecordKind, Severity
from towpath.core.gates import GATES, Stage
from towpath.ports import Ledger
from towpath.stages.agreed import standing
from towpath.stages.verdict import broken_glass
from towpath.stages.work import champion


@dataclass(frozen=True, kw_only=True)
class Reached:
    """A candidate that nothing was built upon yet: its last entry's record, and the last decision on it."""

    candidate: Candidate
    record: Record
    decision: Record | None
    champion: bool
    standing: Standing | None = None

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
    """Candidates and incidents, newest first; the emergencies whose follow-up is missing."""

    candidates: tuple[Reached, ...]
    incidents: tuple[Record, ...]
    emergencies: tuple[Broken, ...] = ()


def read(ledger: Ledger, project: str | None = None, *, until: int | None = None) -> History:
    """The history of one project, or of all of them. `until`: as it was when that was the last record."""
    records = [record for record in ledger.records(project=project) if until is None or record.sequence <= until]
    entries = {record.digest: record for record in records if record.kind is RecordKind.ENTRY}
    parsed = {digest: record.entry() for digest, record in entries.items()}
    continued = {entry.previous for entry in parsed.values()}
    decisions = {str(record.body.get("digest")): record for record in records if record.kind is RecordKind.DECISION}
    before = until + 1 if until is not None else None
    current = {name: champion(ledger, name, before=before) for name in {record.project for record in records}}
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


def agreed(found: History, ledger: Ledger, *, now: datetime) -> History:
    """The history with how each candidate stands with those who must agree, and with emergencies that block."""
    projects = sorted({item.candidate.project for item in found.candidates})
    broken = (one for name in projects for one in broken_glass(ledger, name))
    candidates = (
        replace(item, standing=standing(ledger, item.candidate, item.decision, now=now)) for item in found.candidates
    )
    return replace(found, candidates=tuple(candidates), emergencies=tuple(one for one in broken if one.blocks))


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
