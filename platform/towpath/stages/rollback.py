"""rollback: an earlier champion becomes champion again, in one decision; a rollout that is open ends with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from towpath.core.errors import Denied
from towpath.core.evidence import Candidate, Record
from towpath.core.policy import Decision, Verdict
from towpath.core.rollout import Phase, Rollout
from towpath.core.rollout_decision import Command, Order
from towpath.core.rollout_orders import obey
from towpath.core.signatory import eyes, submitters
from towpath.stages.canary import CanaryPorts, code_digest
from towpath.stages.succession import crown, line, require_whole
from towpath.stages.waived import entries_of
from towpath.stages.work import ChampionRecord, candidate_of, champion, crowning


@dataclass(frozen=True, kw_only=True)
class RolledBack:
    """The decision, who is champion now, who was, and the rollout that ended with it."""

    record: Record
    champion: Candidate
    before: Candidate
    rollout: Rollout | None


def rollback(
    project: str, ports: CanaryPorts, *, to: Candidate | None, author: str, reason: str, now: datetime
) -> RolledBack:
    """Make an earlier champion the champion: `to`, or the one that stood before the present one.

    Needs the ledger's database alone. Raises `Denied` when there is no such champion, to a submitter of one that was
    rolled back since, without an author or a reason,
    or when another decision came first; `IntegrityError` when the ledger is not what was written.
    """
    if len(reason.split()) < 2:
        raise Denied("A rollback needs a reason.", value=reason, hint='Say why, in a few words: --reason "…".')
    require_whole(ports.ledger.verify())
    current = champion(ports.ledger, project)
    if current is None:
        raise Denied(f"Project {project} has no champion.", value=project, hint="`towpath promote` makes the first.")
    target = _target(project, ports, current, to, author)
    decision = Decision(
        verdict=Verdict.ROLLBACK, candidate=target.id, digest=target.digest, reasons=(f"ordered by {author}",)
    )
    open_ = ports.rollouts.open(project)
    if open_ is None:
        # Under the key of the succession, the first decision stays: what comes back may be another's.
        record = ports.ledger.append(crown(decision, target, current, reason=reason, governance=None), actor=author)
        if record.body["digest"] != target.digest:
            raise Denied(f"{record.actor} made {record.candidate} the champion meanwhile.", value=record.candidate)
        return RolledBack(record=record, champion=target, before=current.candidate, rollout=None)
    back = open_.phase is Phase.BAKING and target.digest == open_.champion.digest
    command = Command(order=Order.ROLLBACK if back else Order.SUPERSEDE, author=author, reason=reason)
    after, ended = obey(open_, command, now)
    written = ended.model_copy(update={"code_digest": code_digest()})
    draft = crown(decision, target, current, reason=reason, governance=None, rollout=written.body)
    written_record = ports.rollouts.advance(open_, after, draft, actor=author)
    assert written_record is not None  # a draft was given
    return RolledBack(record=written_record, champion=target, before=current.candidate, rollout=after)


def _target(project: str, ports: CanaryPorts, current: ChampionRecord, to: Candidate | None, author: str) -> Candidate:
    standing = [str(record.body["digest"]) for record in line(ports.ledger, project)]
    if to is None:
        if len(standing) < 2:
            raise Denied(
                f"No champion of {project} stands before {current.candidate.id}.",
                value=current.candidate.id,
                valid=_names(ports, project, current),
                hint="Name one with --to CANDIDATE. An open rollout is ended by `towpath rollout rollback`.",
            )
        return candidate_of(ports.ledger, project, standing[-2])
    if to.digest == current.candidate.digest:
        raise Denied(f"{to.id} is the champion already.", value=to.id, valid=_names(ports, project, current))
    if to.digest not in {record.body["digest"] for record in crowning(ports.ledger, project)}:
        raise Denied(
            f"{to.id} was never champion of {project}.",
            value=to.id,
            valid=_names(ports, project, current),
            hint="A candidate that never was is promoted, not rolled back to.",
        )
    by = {eyes(person) for person in submitters(entries_of(ports.ledger, to))}
    if to.digest not in standing and eyes(author) in by:  # others took it away; to bring it back takes four eyes
        raise Denied(
            f"{author} submitted {to.id}, which was rolled back since, and cannot bring it back alone.",
            value=author,
            hint="Somebody else may, who did not submit it; or it is promoted again.",
        )
    return to


def _names(ports: CanaryPorts, project: str, current: ChampionRecord) -> list[str]:
    """Everybody who was champion, but the present one."""
    names = dict.fromkeys(record.candidate for record in crowning(ports.ledger, project))
    return [name for name in names if name != current.candidate.id]
