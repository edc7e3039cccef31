"""Who agreed, proved again from the record: of the decision that made a champion, and of a rollout that is under way.

A decision only says that it was right. Whoever serves by it looks at the approvals themselves, as they stood when it
was taken: a decision that was written by anything but `promote`, a rollout or an emergency proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from towpath.core import digest as digests
from towpath.core.approvals import Standing
from towpath.core.errors import Denied
from towpath.core.evidence import Candidate, Record
from towpath.core.policy import Verdict
from towpath.ports import Ledger
from towpath.stages.verdict import BEHIND, gathered, standing_of
from towpath.stages.work import candidate_of, crowning

if TYPE_CHECKING:
    from towpath.core.rollout import Rollout


def decision_key(rollout_id: str, generation: int) -> str:
    """The key of a rollout's decision."""
    return digests.of_json({"rollout": rollout_id, "generation": generation})


def require_crowned(ledger: Ledger, record: Record) -> None:
    """Raises `Denied` unless the decision that made a champion proves itself: who had to agree had agreed then.

    One that brought an earlier champion back is proved by the decision that made it the champion the first time.
    """
    if record.body.get("verdict") == Verdict.ROLLBACK:
        record = _first_crowned(ledger, record)
    candidate = candidate_of(ledger, record.project, str(record.body["digest"]))
    said = _governance(record, candidate)
    rollout = record.body.get("rollout")
    if isinstance(rollout, Mapping):
        start = _start(ledger, str(rollout.get("rollout_id")), candidate)
        _require(candidate, standing_of(ledger, candidate, now=_decided(ledger, start), before=record.sequence), said)
        return
    now, name = _decided(ledger, record), said.get("emergency")
    case = gathered(ledger, candidate, now=now, emergency=None if name is None else str(name), before=record.sequence)
    if case.emergency is not None:
        if case.emergency_faults:
            _refuse(candidate, case.emergency_faults[0])
        return
    _require(candidate, case.standing, said)


def agreed(ledger: Ledger, rollout: Rollout) -> dict[str, Any]:
    """Who agreed to a rollout's challenger, as a decision's record says it.

    Raises `Denied` when the rollout was never started by a decision, or when not enough of those who agreed then stand
    by it now. An approval that expires after the start holds for this rollout; one that is withdrawn does not.
    """
    candidate = candidate_of(ledger, rollout.project, rollout.challenger.digest)
    start = _start(ledger, rollout.rollout_id, candidate)
    moment = _decided(ledger, start)
    found = standing_of(ledger, candidate, now=moment)
    _require(candidate, found, {})
    return {
        "requirement": found.requirement.model_dump(mode="json") if found.requirement else None,
        "weakened": list(found.weakened),
        "approvals": [one.record for one in found.counted],
        "emergency": None,
        "decided_at": moment.isoformat(),
    }


def _first_crowned(ledger: Ledger, back: Record) -> Record:
    """The last promotion, before a rollback, of whom it brought back."""
    found = None
    for record in crowning(ledger, back.project):
        same = record.body["digest"] == back.body["digest"] and record.body["verdict"] == Verdict.PROMOTE
        if record.sequence < back.sequence and same:
            found = record
    if found is None:
        raise Denied(
            f"Record {back.sequence} takes {back.project} back to {back.candidate}, which was never promoted.",
            value=back.candidate,
            hint="Someone wrote it by hand. `towpath rollback` takes back to an earlier champion.",
        )
    return found


def _start(ledger: Ledger, rollout_id: str, candidate: Candidate) -> Record:
    found = ledger.find(decision_key(rollout_id, 0))
    if found is None or found.candidate != candidate.id or found.project != candidate.project:
        raise Denied(
            f"No decision started rollout {rollout_id} of {candidate.id}.",
            value=rollout_id,
            hint="Someone wrote its row by hand. `towpath rollout start` starts one.",
        )
    return found


def _governance(record: Record, candidate: Candidate) -> Mapping[str, Any]:
    said = record.body.get("governance")
    if not isinstance(said, Mapping):
        _refuse(candidate, f"record {record.sequence} names nobody who agreed")
    return said


def _decided(ledger: Ledger, record: Record) -> datetime:
    """When a decision was taken: between the record before it and itself, or it is made up."""
    candidate = candidate_of(ledger, record.project, _digest(record))
    before = next(ledger.records(after=record.sequence - 2), record)
    try:
        moment = datetime.fromisoformat(str(_governance(record, candidate).get("decided_at")))
        possible = before.at <= moment <= record.at + BEHIND
    except (ValueError, TypeError):
        possible = False
    if not possible:
        _refuse(candidate, f"record {record.sequence} says that it was decided at a time at which it was not")
    return moment


def _digest(record: Record) -> str:
    rollout: Any = record.body.get("rollout")
    return str(rollout["challenger"]["digest"] if isinstance(rollout, Mapping) else record.body["digest"])


def _require(candidate: Candidate, found: Standing, said: Mapping[str, Any]) -> None:
    if not found.met:
        void = [f"{one.person}'s approval does not count: {one.why}" for one in found.discounted]
        _refuse(candidate, "; ".join([*found.missing, *void]))
    cited = set(said.get("approvals") or ())
    if unknown := cited - {one.record for one in found.counted}:
        _refuse(candidate, f"an approval that its decision cites does not count: {digests.short(min(unknown))}")


def _refuse(candidate: Candidate, why: str) -> NoReturn:
    raise Denied(
        f"{candidate.id} may not serve: {why}.",
        value=candidate.id,
        hint=f"`towpath show {candidate.id}` says who approved it, and what it lacks.",
    )
