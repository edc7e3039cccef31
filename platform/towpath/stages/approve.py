"""approve: a person's word for one candidate's digest, and its withdrawal. Both are records; nothing is erased."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from towpath.core import digest as digests
from towpath.core.access import Action, require
from towpath.core.approvals import UNKNOWN, Act, Standing, acts, approval_key
from towpath.core.errors import Conflict, Denied
from towpath.core.evidence import Candidate, Record, RecordKind
from towpath.core.gates import Stage
from towpath.core.governance import Requirement
from towpath.core.identity import Identity, Role
from towpath.core.signatory import Signatory, eyes, signed, submitters, unfit, unproven
from towpath.ports import Draft, Ledger
from towpath.stages.verdict import again, head_of, reasoned, standing_of
from towpath.stages.waived import entries_of

STAGE: Final = "approve"


@dataclass(frozen=True, kw_only=True)
class Approved:
    """What somebody did, and how the candidate stands now. `again`: it stood already, and nothing was written."""

    record: Record
    standing: Standing
    again: bool = False


def approve(
    candidate: Candidate,
    identity: Identity,
    ledger: Ledger,
    *,
    reason: str,
    now: datetime,
    policy_change: bool = False,
) -> Approved:
    """Agree to a registered candidate, for as long as its own terms let an approval hold.

    Raises `Forbidden` for a role that may not, and `Denied` for a word that would not count: of a submitter, of a name
    that is only claimed, on evidence that is too old, or without a reason.
    """
    require(identity, Action.APPROVE, candidate.project)
    reasoned(reason, "An approval")
    return again(lambda: _approve(candidate, identity, ledger, reason, now, policy_change))


def withdraw(candidate: Candidate, identity: Identity, ledger: Ledger, *, reason: str, now: datetime) -> Approved:
    """Take one's own approval back. A rollout that stands on it ends. Raises `Denied` when there is none."""
    require(identity, Action.WITHDRAW, candidate.project)
    reasoned(reason, "A withdrawal")
    return again(lambda: _withdraw(candidate, identity, ledger, reason, now))


def _approve(
    candidate: Candidate, identity: Identity, ledger: Ledger, reason: str, now: datetime, policy_change: bool
) -> Approved:
    head, moment = head_of(ledger, now)
    standing = standing_of(ledger, candidate, now=moment)
    required = _required(candidate, standing)
    _require_fit(candidate, identity, ledger, standing, required, policy_change)
    _require_fresh(candidate, ledger, required, moment)
    mine = [one for one in standing.counted if eyes(one.person) == eyes(identity.person)]
    if mine and mine[-1].policy_change == policy_change:
        found = next(ledger.records(after=mine[-1].sequence - 1))
        return Approved(record=found, standing=standing, again=True)
    until = moment + timedelta(seconds=required.expires_seconds)
    said = word(candidate, identity, ledger, act=Act.APPROVE, reason=reason, expires=until, policy_change=policy_change)
    record = _written(ledger, said, identity, behind=head.hash)
    return Approved(record=record, standing=standing_of(ledger, candidate, now=max(moment, record.at)))


def _withdraw(candidate: Candidate, identity: Identity, ledger: Ledger, reason: str, now: datetime) -> Approved:
    head, moment = head_of(ledger, now)
    standing = standing_of(ledger, candidate, now=moment)
    if not any(eyes(one.person) == eyes(identity.person) for one in standing.counted):
        raise Denied(
            f"No approval of {candidate.id} by {identity.person} counts; there is nothing to take back.",
            value=candidate.id,
            valid=[one.person for one in standing.counted],
            hint=f"`towpath show {candidate.id}` lists the approvals.",
        )
    who = Signatory.model_validate(signed(identity, candidate.project))
    if (why := unproven(who, identity.person)) is not None:
        raise Denied(f"{identity.person} cannot withdraw an approval: {why}.", value=identity.person)
    said = word(candidate, identity, ledger, act=Act.WITHDRAW, reason=reason, expires=moment)
    record = _written(ledger, said, identity, behind=head.hash)
    return Approved(record=record, standing=standing_of(ledger, candidate, now=max(moment, record.at)))


def _required(candidate: Candidate, standing: Standing) -> Requirement:
    if Stage.REGISTER not in candidate.stages:
        raise Denied(
            f"{candidate.id} is not registered; there is nothing to approve yet.",
            value=candidate.id,
            hint="Go the path to its end: `towpath run`. An approval is for the digest of all of its entries.",
        )
    if standing.requirement is None:
        raise Denied(f"{candidate.id} cannot be approved: {UNKNOWN}.", value=candidate.id)
    return standing.requirement


def _require_fit(
    candidate: Candidate,
    identity: Identity,
    ledger: Ledger,
    standing: Standing,
    required: Requirement,
    policy_change: bool,
) -> None:
    """Raises `Denied` for a word that would not count."""
    if policy_change and not standing.weakened:
        raise Denied(
            f"{candidate.id} weakens nothing of the champion's policy.",
            value=candidate.id,
            hint="Leave --policy-change out.",
        )
    if policy_change and Role.PLATFORM_ADMIN not in identity.roles(candidate.project):
        raise Denied(
            f"{identity.person} may not agree to a weaker policy: it takes a platform-admin.",
            value=identity.person,
            valid=[Role.PLATFORM_ADMIN.value],
        )
    who = Signatory.model_validate(signed(identity, candidate.project))
    roles = {*required.roles, *({Role.PLATFORM_ADMIN} if policy_change else ())}
    by = submitters(entries_of(ledger, candidate))
    if (why := unfit(who, identity.person, roles=roles, by=by)) is not None:
        raise Denied(
            f"{identity.person} cannot approve {candidate.id}: {why}.",
            value=identity.person,
            hint="It takes another person, who acts with a token or a login of their own: `towpath token create`.",
        )


def _require_fresh(candidate: Candidate, ledger: Ledger, required: Requirement, now: datetime) -> None:
    newest = max(record.at for record in entries_of(ledger, candidate))
    longest = timedelta(seconds=required.evidence_seconds)
    if now - newest > longest:
        raise Denied(
            f"{candidate.id} cannot be approved: its newest evidence is {(now - newest).days} days old, and "
            f"governance.evidence allows {longest.days}.",
            value=candidate.id,
            hint="Run the path again.",
        )


def _written(ledger: Ledger, said: Draft, identity: Identity, *, behind: str) -> Record:
    record = ledger.append(said, actor=identity.person, behind=behind)
    if (record.digest, eyes(record.actor)) != (said.digest, eyes(identity.person)):
        raise Conflict(
            f"Record {record.sequence}, which {record.actor} wrote, stands where this would stand.",
            value=record.sequence,
            hint="Find out who writes to the ledger in another's name.",
        )
    return record


def word(
    candidate: Candidate,
    identity: Identity,
    ledger: Ledger,
    *,
    act: Act,
    reason: str,
    expires: datetime,
    policy_change: bool = False,
) -> Draft:
    """The record of somebody's word, whoever it is: whether it counts is asked where it is read, every time."""
    body = {
        **Signatory.model_validate(signed(identity, candidate.project)).model_dump(mode="json"),
        "act": act.value,
        "candidate": candidate.id,
        "digest": candidate.digest,
        "reason": reason,
        "expires": expires.isoformat(),
        "policy_change": policy_change,
    }
    earlier = list(ledger.records(project=candidate.project, kind=RecordKind.APPROVAL))
    return Draft(
        kind=RecordKind.APPROVAL,
        project=candidate.project,
        candidate=candidate.id,
        stage=STAGE,
        key=approval_key(str(candidate.digest), identity.person, acts(candidate, earlier, identity.person)),
        digest=digests.of_json(body),
        body=body,
    )
