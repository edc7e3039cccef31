"""promote: the decision on a candidate, taken from the ledger alone and written there before anything else moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from towpath.core import digest as digests
from towpath.core.errors import Denied
from towpath.core.evidence import Candidate, RecordKind
from towpath.core.gates import Stage
from towpath.core.policy import Decision, Verdict
from towpath.core.terms import terms
from towpath.ports import Draft, Keys, Ledger, Models
from towpath.stages import scratch
from towpath.stages.attested import require_attested
from towpath.stages.succession import crown, show
from towpath.stages.tracked import trained
from towpath.stages.verdict import Ruled, again, head_of, reasoned, rule
from towpath.stages.work import ChampionRecord, Work, champion


@dataclass(frozen=True, kw_only=True)
class Promoting:
    """What a promotion takes, and nothing of the project's folder.

    `charter`: digest of the project's charter as it is now; None where nothing shows it. `rollout`: whether that
    charter declares one; None: whatever was frozen with the candidate says so. `models` is asked for when it is needed.
    `keys`: those by which its model must be attested; None where attestations cannot be told.
    """

    project: str
    ledger: Ledger
    models: Callable[[], Models]
    actor: str
    scratch: Path
    charter: str | None = None
    rollout: bool | None = None
    keys: Keys | None = None

    @classmethod
    def of(cls, work: Work | Promoting) -> Self | Promoting:
        """Of somebody who goes the path, in the project's folder."""
        if isinstance(work, Promoting):
            return work
        return cls(
            project=work.name,
            ledger=work.ports.ledger,
            models=lambda: work.ports.models,
            actor=work.actor,
            scratch=work.state / "scratch",
            charter=work.project.charter_digest,
            rollout=work.project.charter.rollout is not None,
            keys=work.ports.keys,
        )

    def rolls_out(self, candidate: Candidate) -> bool:
        """Whether the candidate earns its traffic step by step."""
        if self.rollout is not None:
            return self.rollout
        frozen = terms(candidate)
        return frozen is not None and frozen.rollout is not None


def promote(
    candidate: Candidate, work: Work | Promoting, *, reason: str, now: datetime, emergency: str | None = None
) -> Decision:
    """Decide on the candidate, write the decision, and move the champion alias when it is PROMOTE.

    A refusal is written too. Raises `IntegrityError` when the ledger or the stored model is not what was written, or no
    trusted key states what it is, and `Denied` without a reason, with a clock behind the record, or when the charter
    wants a rollout. Promoting the champion again changes nothing. `emergency`: one that two persons confirmed; it goes
    past a rollout.
    """
    reasoned(reason, "A promotion")
    return again(lambda: _once(candidate, Promoting.of(work), reason=reason, now=now, emergency=emergency))


def _once(candidate: Candidate, work: Promoting, *, reason: str, now: datetime, emergency: str | None) -> Decision:
    ledger = work.ledger
    head_of(ledger, now)
    current = champion(ledger, work.project)
    if current is not None and current.candidate.digest == candidate.digest:
        show(work.models(), current)
        return Decision.model_validate({key: current.decision.body[key] for key in Decision.model_fields})
    if current is not None and work.rolls_out(candidate) and emergency is None:
        raise Denied(
            f"The charter of {work.project} declares a rollout: a challenger earns its traffic step by step.",
            value=candidate.id,
            hint=f'Start it: towpath rollout start {candidate.id} --reason "…".',
        )
    found = rule(ledger, candidate, now=now, charter=work.charter, emergency=emergency)
    if found.decision.verdict is not Verdict.PROMOTE:
        _refuse(candidate, work, found, reason)
        return found.decision
    if work.keys is not None:  # else it would be champion, and no gateway would load it
        require_attested(ledger, work.keys, candidate)
    with scratch.made(work.scratch) as folder:
        work.models().verified(trained(candidate.entry(Stage.TRAIN)), target=folder)
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
    show(work.models(), ChampionRecord(decision=record, candidate=candidate))
    return found.decision


def _refuse(candidate: Candidate, work: Promoting, found: Ruled, reason: str) -> None:
    """Write down that it was not promoted, and why not."""
    trained_ = Stage.TRAIN in candidate.stages
    body = {
        **found.decision.model_dump(mode="json"),
        "reason": reason,
        "champion_before": found.current.candidate.digest if found.current else None,
        "model": candidate.entry(Stage.TRAIN).subject("model").digest if trained_ else None,
        "governance": found.governance,
    }
    work.ledger.append(
        Draft(
            kind=RecordKind.DECISION,
            project=work.project,
            candidate=candidate.id,
            stage=Stage.PROMOTE.value,
            key=None,
            digest=digests.of_json(body),
            body=body,
        ),
        actor=work.actor,
        behind=found.head.hash,
    )
