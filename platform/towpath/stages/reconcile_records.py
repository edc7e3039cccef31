"""What the ledger holds of differences: each once while it stands, and once more when it comes again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from towpath.core import digest as digests
from towpath.core.evidence import Finding, Incident, Outcome, Record, RecordKind
from towpath.core.gates import Stage
from towpath.core.reconciliation_values import Drift
from towpath.ports import Draft, Ledger

DONE: Final = "reconcile.done"
PUT_BACK: Final = "put back"
TOGETHER: Final = timedelta(seconds=10)
"""A difference whose putting back another reconciler recorded so short a time ago is the same one."""

Identity = tuple[str, str, str, str]


@dataclass(frozen=True, kw_only=True)
class Noted:
    """The last record of a difference, and whether the difference had ended with it."""

    record: Record
    drift: Drift
    ended: bool


def noted(ledger: Ledger, project: str) -> dict[Identity, Noted]:
    """The last record of every difference that was ever found in the project."""
    found: dict[Identity, Noted] = {}
    for record in ledger.records(project=project, kind=RecordKind.INCIDENT):
        findings = Incident.model_validate(record.body).findings
        if len(findings) == 2 and findings[1].code == DONE:
            what, done = findings
            drift = Drift(code=what.code, subject=what.subject, wanted=what.bound, found=str(what.measured))
            found[drift.identity] = Noted(record=record, drift=drift, ended=done.outcome is Outcome.PASS)
    return found


@dataclass(frozen=True, kw_only=True)
class Pen:
    """Who writes, of which candidate's project, at what time; `right`: when all was last seen as decided."""

    ledger: Ledger
    project: str
    candidate: str
    actor: str
    now: datetime
    right: datetime | None = None

    def note(self, drift: Drift, done: str, before: Mapping[Identity, Noted]) -> Record | None:
        """Record a difference and what is done about it; None while it is recorded already."""
        last = before.get(drift.identity)
        if last is not None and (not last.ended or (done == PUT_BACK and self.now - last.record.at < TOGETHER)):
            return None
        since = f"since {self.right:%Y-%m-%d %H:%M:%S} UTC" if self.right else "before it was first looked at"
        known = "; ".join(part for part in (drift.known, since) if part)
        what = self._finding(drift, Outcome.FAIL, f"{drift.says}; moved {since}", known)
        return self._append(what, done, last)

    def end(self, standing: Noted, done: str) -> Record | None:
        """Record that a difference is no more."""
        drift = standing.drift
        what = self._finding(drift, Outcome.PASS, f"{drift.subject} is {drift.wanted} again, as decided", "")
        return self._append(what, done, standing)

    def _finding(self, drift: Drift, outcome: Outcome, reason: str, source: str) -> Finding:
        return Finding(
            code=drift.code,
            outcome=outcome,
            subject=drift.subject,
            measured=drift.found,
            bound=drift.wanted,
            source=source,
            reason=reason,
        )

    def _append(self, what: Finding, done: str, last: Noted | None) -> Record | None:
        """None when another process recorded the same first."""
        ended = done == PUT_BACK or what.outcome is Outcome.PASS
        closing = Finding(code=DONE, outcome=Outcome.PASS if ended else Outcome.FAIL, subject=what.subject, reason=done)
        body = Incident(
            project=self.project, candidate=self.candidate, stage=Stage.PROMOTE.value, findings=(what, closing)
        ).model_dump(mode="json")
        identity = [what.code, what.subject, what.bound, str(what.measured)]
        after = last.record.hash if last else None
        key = digests.of_json({"reconcile": self.project, "drift": identity, "ended": ended, "after": after})
        if self.ledger.find(key) is not None:
            return None
        return self.ledger.append(
            Draft(
                kind=RecordKind.INCIDENT,
                project=self.project,
                candidate=self.candidate,
                stage=Stage.PROMOTE.value,
                key=key,
                digest=digests.of_json(body),
                body=body,
            ),
            actor=self.actor,
        )
