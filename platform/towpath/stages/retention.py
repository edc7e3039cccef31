"""retention: removing stored files that nothing needs any more. The record itself is never shortened.

What is kept: everything that a champion ever stood on, a candidate of a rollout that is not over, a held project or
candidate, and whatever is younger than the limit. What is left are objects that old refused or superseded candidates
alone refer to, and old days of the prediction log. Each removal is written down before it is done, so that what is
missing later is known to have been removed, and by whom.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from towpath.core import digest as digests
from towpath.core.errors import Conflict
from towpath.core.evidence import Entry, Record, RecordKind
from towpath.core.policy import Verdict
from towpath.core.rollout import FINAL
from towpath.ports import Draft, Ledger, Objects
from towpath.stages.holds import Hold, standing
from towpath.stages.rollout_row import decided, rollout_of
from towpath.stages.succession import require_whole

STAGE: Final = "retention"
_KEPT_KINDS: Final = {"contract", "charter", "code", "environment", "pinned"}
"""Small, and evidence of what was declared: never removed. Attachments (reports, cards) are not either."""
_TRIES: Final = 5


class LoggedDays(Protocol):
    """The prediction log, by day."""

    def days(self, project: str) -> Sequence[str]:
        """The days (YYYY-MM-DD) of which anything is stored."""
        ...

    def remove(self, project: str, day: str) -> int:
        """Remove what is stored of a day; how many files that were."""
        ...


@dataclass(frozen=True, kw_only=True)
class Removal:
    """Something that may go: an object by its digest, or a day of a project's prediction log."""

    project: str
    what: str
    """`object` or `predictions`."""
    kind: str
    name: str
    subject: str
    """The object's digest, or the day."""
    candidates: tuple[str, ...]
    size: int | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What may go, and which holds keep something from going."""

    before: datetime
    removals: tuple[Removal, ...]
    holds: tuple[Hold, ...]


def plan(ledger: Ledger, objects: Objects, log: LoggedDays, *, before: datetime) -> Plan:
    """What may go of what was written before that time. Raises `IntegrityError` for a ledger that is not whole."""
    require_whole(ledger.verify())
    return _planned(list(ledger.records()), objects, log, before=before)


def apply(ledger: Ledger, objects: Objects, log: LoggedDays, *, before: datetime, actor: str) -> tuple[Record, ...]:
    """Remove what may go, and write down each; whoever places a hold meanwhile is heard before the next removal."""
    require_whole(ledger.verify())
    written: list[Record] = []
    for removal in _planned(list(ledger.records()), objects, log, before=before).removals:
        record = _allowed(ledger, objects, log, removal, before=before, actor=actor)
        if record is None:
            continue
        written.append(record)
        if removal.what == "object":
            objects.remove(removal.subject)
        else:
            log.remove(removal.project, removal.subject)
    return tuple(written)


def removed(records: Iterable[Record]) -> Mapping[str, Record]:
    """The record of each removal by what was removed: a digest, or `project/day`. The last one, where it came back."""
    found: dict[str, Record] = {}
    for record in records:
        if record.kind is RecordKind.HOLD and record.stage == STAGE:
            body: Any = record.body
            subject = str(body["subject"])
            found[subject if body["what"] == "object" else f"{record.project}/{subject}"] = record
    return found


def _allowed(
    ledger: Ledger, objects: Objects, log: LoggedDays, removal: Removal, *, before: datetime, actor: str
) -> Record | None:
    """The record of a removal, written behind the very record by which it was allowed; None when it no longer is."""
    for _ in range(_TRIES):
        records = list(ledger.records())
        if removal not in _planned(records, objects, log, before=before, only=removal).removals:
            return None
        try:
            return ledger.append(_draft(removal, before), actor=actor, behind=records[-1].hash)
        except Conflict:
            continue
    raise Conflict("The record kept moving on.", hint="Try again later.")


def _planned(
    records: Sequence[Record], objects: Objects, log: LoggedDays, *, before: datetime, only: Removal | None = None
) -> Plan:
    entries = {record.digest: record for record in records if record.kind is RecordKind.ENTRY}
    holds = standing(records)
    kept = _chains(entries, _roots(records, entries, holds, before))
    needed = {item for digest in kept for item in _objects(entries[digest].entry(), every=True)}
    found: dict[str, Removal] = {}
    for digest, record in entries.items():
        if digest in kept:
            continue
        entry = record.entry()
        for subject in entry.subjects:
            gone = subject.kind in _KEPT_KINDS or subject.digest in needed or not objects.has(subject.digest)
            if gone or (only is not None and subject.digest != only.subject):
                continue
            before_it = found[subject.digest].candidates if subject.digest in found else ()
            found[subject.digest] = Removal(
                project=entry.project,
                what="object",
                kind=subject.kind,
                name=subject.name,
                subject=subject.digest,
                candidates=(*before_it, record.candidate),
                size=subject.size,
            )
    days = _days(records, log, holds, before) if only is None or only.what == "predictions" else ()
    return Plan(before=before, removals=(*found.values(), *days), holds=holds)


def _roots(
    records: Sequence[Record], entries: Mapping[str, Record], holds: Sequence[Hold], before: datetime
) -> set[str]:
    """Digests of the entries that are kept together with all that they stand on."""
    projects = {hold.project for hold in holds if hold.digest is None}
    found = {hold.digest for hold in holds if hold.digest is not None}
    found |= {digest for digest, record in entries.items() if record.at >= before or record.project in projects}
    for record in records:
        if record.kind is not RecordKind.DECISION:
            continue
        if record.body.get("verdict") in (Verdict.PROMOTE, Verdict.ROLLBACK):
            found.add(str(record.body["digest"]))
    for decision in _open(records):
        found |= {decision.champion.digest, decision.challenger.digest}
    return {digest for digest in found if digest in entries}


def _open(records: Sequence[Record]) -> list[Any]:
    """The last decision of every rollout that is not over."""
    last = {rollout: record for record in records if (rollout := rollout_of(record)) is not None}
    return [decision for record in last.values() if (decision := decided(record)).to_state not in FINAL]


def _chains(entries: Mapping[str, Record], roots: set[str]) -> set[str]:
    """The entries of the chains that end in these."""
    found: set[str] = set()
    for root in roots:
        digest: str | None = root
        while digest is not None and digest in entries and digest not in found:
            found.add(digest)
            digest = entries[digest].entry().previous
    return found


def _objects(entry: Entry, *, every: bool) -> set[str]:
    attached = {item.digest for item in entry.attachments} if every else set()
    return {subject.digest for subject in entry.subjects} | attached


def _days(records: Sequence[Record], log: LoggedDays, holds: Sequence[Hold], before: datetime) -> tuple[Removal, ...]:
    """Days of the log that lie wholly before the limit, of projects without a hold or a rollout that is not over."""
    held = {hold.project for hold in holds}
    busy = {decision.inputs.before.project for decision in _open(records)}
    projects = sorted({record.project for record in records if record.kind is RecordKind.ENTRY} - held - busy)
    return tuple(
        Removal(
            project=project,
            what="predictions",
            kind="predictions",
            name=project,
            subject=day,
            candidates=(),
            size=None,
        )
        for project in projects
        for day in log.days(project)
        if day < f"{before:%Y-%m-%d}"
    )


def _draft(removal: Removal, before: datetime) -> Draft:
    body = {
        "act": "remove",
        "what": removal.what,
        "kind": removal.kind,
        "name": removal.name,
        "subject": removal.subject,
        "candidates": list(removal.candidates),
        "before": before.isoformat(),
    }
    return Draft(
        kind=RecordKind.HOLD,
        project=removal.project,
        candidate=removal.candidates[0] if removal.candidates else "",
        stage=STAGE,
        key=None,
        digest=digests.of_json(body),
        body=body,
    )
