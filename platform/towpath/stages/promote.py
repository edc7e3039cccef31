"""promote: the decision on a candidate, taken from the ledger alone and written there before anything else moves."""

from __future__ import annotations

from datetime import datetime

from towpath.core import digest as digests
from towpath.core import names
from towpath.core.errors import Denied, IntegrityError
from towpath.core.evidence import Candidate, Record, RecordKind
from towpath.core.gates import Stage
from towpath.core.policy import Decision, Policy, Verdict, decide
from towpath.ports import Draft, Verification
from towpath.stages.train import trained
from towpath.stages.work import ChampionRecord, Work, champion


def promote(candidate: Candidate, work: Work, *, reason: str, now: datetime) -> Decision:
    """Decide on the candidate, write the decision, and move the champion alias when it is PROMOTE.

    A refusal is written too. Raises `IntegrityError` when the ledger or the stored model is not what was written, and
    `Denied` without a reason. Promoting the champion again changes nothing.
    """
    if len(reason.split()) < 2:
        raise Denied("A promotion needs a reason.", value=reason, hint='Say why, in a few words: --reason "…".')
    require_whole(work.ports.ledger.verify())
    current = champion(work.ports.ledger, work.name)
    if current is not None and current.candidate.digest == candidate.digest:
        _mirror(candidate, work, current.decision)
        return Decision.model_validate({key: current.decision.body[key] for key in Decision.model_fields})
    decision = decide(Policy(), candidate, champions=_champions(work), now=now)
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
            key=_succession(work.name, current) if promoting else None,
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
        _mirror(candidate, work, record)
    return decision


def _champions(work: Work) -> tuple[str, ...]:
    """Model digests of every champion so far, the present one last."""
    decisions = work.ports.ledger.records(project=work.name, kind=RecordKind.DECISION)
    return tuple(str(record.body["model"]) for record in decisions if record.body["verdict"] == Verdict.PROMOTE)


def _succession(project: str, current: ChampionRecord | None) -> str:
    """A champion has one successor: two promotions that follow the same decision have the same key."""
    return digests.of_json({"promote": project, "after": current.decision.hash if current else None})


def require_whole(verification: Verification) -> None:
    """Raises `IntegrityError` that names the first bad record, unless the ledger is whole."""
    if verification.whole:
        return
    first = verification.faults[0]
    raise IntegrityError(
        f"The ledger is not as it was written: record {first.sequence}: {first.what}.",
        gate="integrity.ledger",
        value=str(first.sequence),
        hint="Nothing is promoted from a ledger that was changed. Restore it from its backup.",
    )


def _mirror(candidate: Candidate, work: Work, record: Record) -> None:
    """Let MLflow show what the ledger decided: alias and tags. Doing it twice changes nothing."""
    entry = candidate.entry(Stage.REGISTER)
    work.ports.models.promote(
        str(entry.notes["registered_model"]),
        str(entry.notes["version"]),
        alias=names.ALIAS_CHAMPION,
        tags={names.TAG_DECISION: record.hash, names.TAG_OUTCOME: Verdict.PROMOTE.value},
    )
