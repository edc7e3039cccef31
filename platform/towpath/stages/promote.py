"""promote: the decision on a candidate, taken from the ledger alone and written there before anything else moves."""

from __future__ import annotations

from datetime import datetime

from towpath.core import digest as digests
from towpath.core.errors import Denied
from towpath.core.evidence import Candidate, RecordKind
from towpath.core.gates import Stage
from towpath.core.policy import Decision, Policy, Verdict, decide
from towpath.ports import Draft
from towpath.stages.succession import champions, require_whole, show, succession
from towpath.stages.train import trained
from towpath.stages.work import ChampionRecord, Work, champion


def promote(candidate: Candidate, work: Work, *, reason: str, now: datetime) -> Decision:
    """Decide on the candidate, write the decision, and move the champion alias when it is PROMOTE.

    A refusal is written too. Raises `IntegrityError` when the ledger or the stored model is not what was written, and
    `Denied` without a reason, or when the charter wants a rollout. Promoting the champion again changes nothing.
    """
    if len(reason.split()) < 2:
        raise Denied("A promotion needs a reason.", value=reason, hint='Say why, in a few words: --reason "…".')
    require_whole(work.ports.ledger.verify())
    current = champion(work.ports.ledger, work.name)
    if current is not None and current.candidate.digest == candidate.digest:
        show(work.ports.models, current)
        return Decision.model_validate({key: current.decision.body[key] for key in Decision.model_fields})
    if current is not None and work.project.charter.rollout is not None:
        raise Denied(
            f"The charter of {work.name} declares a rollout: a challenger earns its traffic step by step.",
            value=candidate.id,
            hint=f'Start it: towpath rollout start {candidate.id} --by "…" --reason "…".',
        )
    decision = decide(Policy(), candidate, champions=champions(work.ports.ledger, work.name), now=now)
    if decision.verdict is Verdict.PROMOTE:
        with work.scratch() as folder:
            work.ports.models.verified(trained(candidate.entry(Stage.TRAIN)), target=folder)
    body = {
        **decision.model_dump(mode="json"),
        "reason": reason,
        "champion_before": current.candidate.digest if current else None,
        "model": candidate.entry(Stage.TRAIN).subject("model").digest if Stage.TRAIN in candidate.stages else None,
    }
    promoting = decision.verdict is Verdict.PROMOTE
    record = work.ports.ledger.append(
        Draft(
            kind=RecordKind.DECISION,
            project=work.name,
            candidate=candidate.id,
            stage=Stage.PROMOTE.value,
            key=succession(work.name, current) if promoting else None,
            digest=digests.of_json(body),
            body=body,
        ),
        actor=work.actor,
    )
    if record.body["digest"] != candidate.digest:
        raise Denied(
            f"{record.actor} promoted {record.candidate} meanwhile; the champion is no longer the one decided against.",
            value=candidate.id,
            hint="Run the path again, so that the candidate is compared with the new champion.",
        )
    if promoting:
        show(work.ports.models, ChampionRecord(decision=record, candidate=candidate))
    return decision
