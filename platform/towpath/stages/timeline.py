"""timeline: what served at a time, by whose decision, on which evidence, and who had agreed. By the record alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from towpath.core.evidence import Outcome, Record, RecordKind
from towpath.core.gates import Stage
from towpath.core.policy import Verdict
from towpath.core.rollout import FINAL
from towpath.core.rollout_decision import RolloutDecision
from towpath.stages.rollout_row import decided, rollout_of

_CROWNS = (Verdict.PROMOTE, Verdict.ROLLBACK)


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Word(_Value):
    """A record by which somebody decided or agreed: its place, who, how they were known, when, and why."""

    record: int
    hash: str
    by: str
    via: str | None
    at: datetime
    what: str
    reason: str


class Evidence(_Value):
    """An entry of the candidate's chain."""

    record: int
    stage: str
    digest: str
    outcome: Outcome
    by: str
    at: datetime


class InForce(_Value):
    """The rollout that was under way: its weights as of its last decision."""

    rollout_id: str
    phase: str
    step: int
    weight: int
    """Of the challenger, in basis points of the units."""
    champion: str
    challenger: str
    decision: Word


class Served(_Value):
    """What served a project at a time. `candidate` is None when nothing did."""

    project: str
    at: datetime
    candidate: str | None = None
    digest: str | None = None
    model: str | None = None
    version: str | None = None
    decision: Word | None = None
    approvals: tuple[Word, ...] = ()
    emergency: str | None = None
    evidence: tuple[Evidence, ...] = ()
    rollout: InForce | None = None


def served(records: Iterable[Record], project: str, at: datetime) -> Served:
    """What the records say served the project at that time: those written until then, and no later one."""
    until = [record for record in records if record.project == project and record.at <= at]
    crowns = [
        record for record in until if record.kind is RecordKind.DECISION and record.body.get("verdict") in _CROWNS
    ]
    rollout = _rollout(until)
    if not crowns:
        return Served(project=project, at=at, rollout=rollout)
    last = crowns[-1]
    governance = _governance(crowns, last)
    evidence = _evidence(until, str(last.body["digest"]))
    return Served(
        project=project,
        at=at,
        candidate=last.candidate,
        digest=str(last.body["digest"]),
        model=None if last.body.get("model") is None else str(last.body["model"]),
        version=_version(until, evidence),
        decision=_word(last, str(last.body["verdict"])),
        approvals=_approvals(until, governance),
        emergency=governance.get("emergency"),
        evidence=evidence,
        rollout=rollout,
    )


def _governance(crowns: Sequence[Record], last: Record) -> dict[str, Any]:
    """Who agreed: as the decision cites it; of one that came back, the decision that made it champion before."""
    same = [record for record in crowns if record.body.get("digest") == last.body.get("digest")]
    found = next((record.body["governance"] for record in reversed(same) if record.body.get("governance")), None)
    return dict(found) if isinstance(found, dict) else {}


def _approvals(until: Sequence[Record], governance: dict[str, Any]) -> tuple[Word, ...]:
    cited = set(governance.get("approvals") or ())
    return tuple(_word(record, "approval") for record in until if record.hash in cited)


def _evidence(until: Sequence[Record], digest: str) -> tuple[Evidence, ...]:
    """The chain of the candidate that ends in that digest, its first entry first."""
    entries = {record.digest: record for record in until if record.kind is RecordKind.ENTRY}
    found: list[Evidence] = []
    following: str | None = digest
    while following is not None and (record := entries.pop(following, None)) is not None:
        entry = record.entry()
        found.append(
            Evidence(
                record=record.sequence,
                stage=record.stage,
                digest=record.digest,
                outcome=entry.outcome,
                by=record.actor,
                at=record.at,
            )
        )
        following = entry.previous
    return tuple(reversed(found))


def _version(until: Sequence[Record], evidence: Sequence[Evidence]) -> str | None:
    register = next((item.record for item in evidence if item.stage == Stage.REGISTER), None)
    notes = next((record.entry().notes for record in until if record.sequence == register), {})
    return None if notes.get("version") is None else str(notes["version"])


def _rollout(until: Sequence[Record]) -> InForce | None:
    """The last rollout that was decided on, unless that decision ended it."""
    record = next((one for one in reversed(until) if rollout_of(one) is not None), None)
    if record is None:
        return None
    decision: RolloutDecision = decided(record)
    if decision.to_state in FINAL:
        return None
    return InForce(
        rollout_id=decision.rollout_id,
        phase=decision.to_state.value,
        step=decision.step,
        weight=decision.weight_after,
        champion=decision.champion.candidate,
        challenger=decision.challenger.candidate,
        decision=_word(record, decision.verdict.value),
    )


def _word(record: Record, what: str) -> Word:
    return Word(
        record=record.sequence,
        hash=record.hash,
        by=record.actor,
        via=record.via,
        at=record.at,
        what=what,
        reason=str(record.body.get("reason", "")),
    )
