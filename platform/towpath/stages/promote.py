"""promote: the decision on a candidate, taken from the ledger alone and written there before anything else moves."""

from __future__ import annotations

from datetime import datetime

from towpath.core import digest as digests
from towpath.core.errors import Denied
from towpath.core.evidence import Candidate, RecordKind
from towpath.core.gates import Stage
from towpath.core.policy import Decision, Verdict
from towpath.ports import Draft
from towpath.stages.succession import crown, show
from towpath.stages.train import trained
from towpath.stages.verdict import Ruled, again, head_of, reasoned, rule
from towpath.stages.work import ChampionRecord, Work, champion


def promote(candidate: Candidate, work: Work, *, reason: str, now: datetime, emergency: str | None = None) -> Decision:
    """Decide on the candidate, write the decision, and move the champion alias when it is PROMOTE.

    A refusal is written too. Raises `IntegrityError` when the ledger or the stored model is not what was written, and
    `Denied` without a reason, with a clock behind the record, or when the charter wants a rollout. Promoting the
    champion again changes nothing. `emergency`: one that two persons confirmed; it goes past a rollout.
    """
    reasoned(reason, "A promotion")
    return again(lambda: _once(candidate, work, reason=reason, now=now, emergency=emergency))


def _once(candidate: Candidate, work: Work, *, reason: str, now: datetime, emergency: str | None) -> Decision:
    ledger = work.ports.ledger
    head_of(ledger, now)
    current = champion(ledger, work.name)
    if current is not None and current.candidate.digest == candidate.digest:
        show(work.ports.models, current)
        return Decision.model_validate({key: current.decision.body[key] for key in Decision.model_fields})
    if current is not None and work.project.charter.rollout is not None and emergency is None:
        raise Denied(
            f"The charter of {work.name} declares a rollout: a challenger earns its traffic step by step.",
            value=candidate.id,
            hint=f'Start it: towpath rollout start {candidate.id} --reason "…".',
        )
    found = rule(ledger, candidate, now=now, charter=work.project.charter_digest, emergency=emergency)
    if found.decision.verdict is not Verdict.PROMOTE:
        _refuse(candidate, work, found, reason)
        return found.decision
    with work.scratch() as folder:
        work.ports.models.verified(trained(candidate.entry(Stage.TRAIN)), target=folder)
    record = ledger.append(
        crown(found.decision, candidate, found.current, reason=reason, governance=found.governance),
        actor=work.actor,
        behind=found.head.hash,
    )
    if record.body["digest"] != candidate.digest:
        raise Denied(
            f"{record.actor} promoted {record.candidate} meanwhile; the champion is no longer the one decided against.",
            value=candidate.id,
            hint="Run the path again, so that the candidate is compared with the new champion.",
        )
    show(work.ports.models, ChampionRecord(decision=record, candidate=candidate))
    return found.decision


def _refuse(candidate: Candidate, work: Work, found: Ruled, reason: str) -> None:
    """Write down that it was not promoted, and why not."""
    trained_ = Stage.TRAIN in candidate.stages
    body = {
        **found.decision.model_dump(mode="json"),
        "reason": reason,
        "champion_before": found.current.candidate.digest if found.current else None,
        "model": candidate.entry(Stage.TRAIN).subject("model").digest if trained_ else None,
        "governance": found.governance,
    }
    work.ports.ledger.append(
        Draft(
            kind=RecordKind.DECISION,
            project=work.name,
            candidate=candidate.id,
            stage=Stage.PROMOTE.value,
            key=None,
            digest=digests.of_json(body),
            body=body,
        ),
        actor=work.actor,
        behind=found.head.hash,
    )
