"""What everything that opens traffic does: read the head, verify, gather the case, decide, write behind that head.

Whoever approves, withdraws, waives or promotes meanwhile moves the head; then nothing is written, and all is looked at
again. So no decision stands on a record that was no longer the whole record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from towpath.core.approvals import Standing, standing
from towpath.core.contract_held import contracts_of
from towpath.core.emergencies import Broken, emergencies, faults
from towpath.core.errors import Conflict, Denied, NotFound
from towpath.core.evidence import Candidate, Record, RecordKind
from towpath.core.policy import Case, Decision, Policy, decide
from towpath.core.signatory import submitters
from towpath.core.waivers import in_force
from towpath.ports import Ledger
from towpath.stages.succession import require_whole
from towpath.stages.waived import entries_of
from towpath.stages.work import ChampionRecord, candidate_of, champion, crowning

BEHIND: Final = timedelta(seconds=60)
"""How far a clock may be behind the ledger's last record."""
_ATTEMPTS: Final = 5

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Ruled:
    """A decision with what it was decided on. `head`: the last record then; it must still be when it is written."""

    decision: Decision
    case: Case
    current: ChampionRecord | None
    head: Record

    @property
    def governance(self) -> dict[str, Any]:
        """What the decision's record says of those who agreed, so that it can be proved again."""
        return governance(self.case)


def governance(case: Case) -> dict[str, Any]:
    """The part `governance` of a decision's body."""
    found = case.standing
    return {
        "requirement": found.requirement.model_dump(mode="json") if found.requirement else None,
        "weakened": list(found.weakened),
        "approvals": [one.record for one in found.counted],
        "emergency": case.emergency,
        "decided_at": case.now.isoformat(),
    }


def again(attempt: Callable[[], T]) -> T:
    """Do it, and again while the record moves on in between. Raises `Conflict` after the fifth time."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return attempt()
        except Conflict:
            continue
    return attempt()


def head_of(ledger: Ledger, now: datetime) -> tuple[Record, datetime]:
    """The last record of a ledger that is whole, and the time that counts: the clock's, never before the record's.

    Raises `IntegrityError`, and `Denied` when the clock is more than a minute behind the record.
    """
    head = ledger.head()
    require_whole(ledger.verify())
    if head is None:
        raise NotFound("The ledger is empty: nothing was run yet.", hint="Run the path: `towpath run`.")
    if head.at - now > BEHIND:
        raise Denied(
            f"The clock is behind the record: it says {now:%Y-%m-%d %H:%M:%S} UTC, and the ledger's last record is of "
            f"{head.at:%Y-%m-%d %H:%M:%S} UTC.",
            value=now.isoformat(),
            hint="Set the clock right; what has expired would count again.",
        )
    return head, max(now, head.at)


def rule(
    ledger: Ledger, candidate: Candidate, *, now: datetime, charter: str | None = None, emergency: str | None = None
) -> Ruled:
    """Decide on a candidate from the whole record. `charter`: the digest of the project's charter as it is now."""
    head, moment = head_of(ledger, now)
    current = champion(ledger, candidate.project)
    case = gathered(ledger, candidate, now=moment, charter=charter, emergency=emergency)
    return Ruled(decision=decide(Policy(), candidate, case), case=case, current=current, head=head)


def gathered(
    ledger: Ledger,
    candidate: Candidate,
    *,
    now: datetime,
    charter: str | None = None,
    emergency: str | None = None,
    before: int | None = None,
) -> Case:
    """Everything that the record says about a candidate, as of a sequence number or now."""
    entries = entries_of(ledger, candidate)
    crowned = list(_until(crowning(ledger, candidate.project), before))
    broken = emergencies(list(_kind(ledger, candidate, RecordKind.EMERGENCY, before)), crowned)
    invoked = next((one for one in broken if one.emergency == emergency), None)
    rival = _rival(ledger, crowned)
    former = candidate.digest in {record.body["digest"] for record in crowned}
    return Case(
        standing=_standing(ledger, candidate, entries, rival, now, before),
        champions=tuple(str(record.body["model"]) for record in crowned),
        contracts=contracts_of(rival) if rival is not None and not former else {},
        waivers=in_force(
            candidate, entries=entries, waivers=list(_kind(ledger, candidate, RecordKind.WAIVER, before)), now=now
        ),
        evidence_at=max((record.at for record in entries), default=now),
        charter=charter,
        unwritten=tuple(one.emergency for one in broken if one.blocks),
        emergency=emergency,
        emergency_faults=_faults(emergency, invoked, candidate, submitters(entries), now),
        now=now,
    )


def standing_of(ledger: Ledger, candidate: Candidate, *, now: datetime, before: int | None = None) -> Standing:
    """How a candidate stands with those who must agree, as of a sequence number or now."""
    crowned = list(_until(crowning(ledger, candidate.project), before))
    return _standing(ledger, candidate, entries_of(ledger, candidate), _rival(ledger, crowned), now, before)


def broken_glass(ledger: Ledger, project: str) -> tuple[Broken, ...]:
    """Every emergency of a project, in order."""
    records = list(ledger.records(project=project, kind=RecordKind.EMERGENCY))
    return emergencies(records, list(crowning(ledger, project))) if records else ()


def _rival(ledger: Ledger, crowned: list[Record]) -> Candidate | None:
    """The champion by those decisions."""
    return candidate_of(ledger, crowned[-1].project, str(crowned[-1].body["digest"])) if crowned else None


def _standing(
    ledger: Ledger,
    candidate: Candidate,
    entries: tuple[Record, ...],
    rival: Candidate | None,
    now: datetime,
    before: int | None,
) -> Standing:
    approvals = list(_kind(ledger, candidate, RecordKind.APPROVAL, before))
    return standing(candidate, entries=entries, approvals=approvals, champion=rival, now=now)


def _faults(
    name: str | None, found: Broken | None, candidate: Candidate, by: frozenset[str], now: datetime
) -> tuple[str, ...]:
    if name is None:
        return ()
    return (f"there is no emergency {name}",) if found is None else faults(found, candidate, by, now)


def _kind(ledger: Ledger, candidate: Candidate, kind: RecordKind, before: int | None) -> Iterator[Record]:
    return _until(ledger.records(project=candidate.project, kind=kind), before)


def _until(records: Iterator[Record], before: int | None) -> Iterator[Record]:
    for record in records:
        if before is not None and record.sequence >= before:
            return
        yield record


def reasoned(reason: str, what: str) -> None:
    """Raises `Denied` unless a reason has at least two words."""
    if len(reason.split()) < 2:
        raise Denied(f"{what} needs a reason.", value=reason, hint='Say why, in a few words: --reason "…".')
