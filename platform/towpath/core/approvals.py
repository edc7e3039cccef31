"""Approvals: which of them count for a candidate, which do not and why, and what is still missing. Pure.

An approval is somebody's word for one digest. It counts while it stands: not withdrawn, not expired, and given by a
person who is no submitter, in a role that the candidate's own frozen terms ask for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from towpath.core import digest as digests
from towpath.core.evidence import Candidate, Record
from towpath.core.governance import Requirement
from towpath.core.identity import Role
from towpath.core.signatory import Signatory, eyes, submitters, unfit, unproven
from towpath.core.terms import Terms, terms
from towpath.core.weakening import weakened

UNKNOWN: Final = (
    "it is not known which approvals it needs: no terms were frozen with it at registration; run the path again"
)
UNCOMPARED: Final = "the champion was registered without frozen terms, so nothing shows that none was weakened"


class Act(StrEnum):
    """What somebody did about a candidate."""

    APPROVE = "approve"
    WITHDRAW = "withdraw"


class Approval(Signatory):
    """The body of an approval's record. `policy_change`: the person knows that the policy is weakened, and agrees."""

    act: Act
    candidate: str
    digest: str
    reason: str
    expires: datetime
    policy_change: bool = False


class Given(BaseModel):
    """An approval with its place in the ledger. `why`: the reason for which it does not count; empty when it does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sequence: int
    record: str
    """Hash of the ledger's record."""
    at: datetime
    until: datetime
    """When it expires."""
    person: str
    account: str
    roles: tuple[Role, ...]
    reason: str
    policy_change: bool
    why: str = ""


class Standing(BaseModel):
    """How a candidate stands with those who must agree to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requirement: Requirement | None
    """None where it is not known: then nothing is enough."""
    weakened: tuple[str, ...]
    """What the candidate's terms ask less than the present champion's, each in a sentence."""
    counted: tuple[Given, ...]
    discounted: tuple[Given, ...]
    missing: tuple[str, ...]
    """What it still needs, each in a sentence."""

    @property
    def met(self) -> bool:
        return self.requirement is not None and not self.missing

    @property
    def needed(self) -> int:
        """How many persons must agree."""
        return (self.requirement.count if self.requirement else 0) + bool(self.weakened)


def approval_key(digest: str, person: str, number: int) -> str:
    """The key of a person's act number `number` (from 0) on one candidate: no act is written twice, none replayed."""
    return digests.of_json({"approve": digest, "person": eyes(person), "n": number})


def standing(
    candidate: Candidate,
    *,
    entries: Sequence[Record],
    approvals: Sequence[Record],
    champion: Candidate | None,
    now: datetime,
) -> Standing:
    """How the candidate stands at `now`.

    `entries`: the records of its chain. `approvals`: the project's approval records in order. `champion`: whom its
    terms are compared with; None when there is none.
    """
    frozen = terms(candidate)
    required = frozen.governance if frozen is not None else None
    softer = _weakened(frozen, champion, candidate)
    asked = _Asked(candidate=candidate, required=required, by=submitters(entries), softer=bool(softer), now=now)
    found = _given(asked, approvals)
    counted = tuple(one for one in found if not one.why)
    return Standing(
        requirement=required,
        weakened=softer,
        counted=counted,
        discounted=tuple(one for one in found if one.why),
        missing=_missing(required, softer, counted),
    )


def acts(candidate: Candidate, approvals: Sequence[Record], person: str) -> int:
    """How many acts on this very digest the person has in the ledger: the number of the next one."""
    count = 0
    for record in approvals:
        said = _read(record)
        if said is not None and eyes(said.person) == eyes(person):
            count += _placed(said, record, candidate, count)
    return count


def _read(record: Record) -> Approval | None:
    try:
        return Approval.model_validate(record.body)
    except ValidationError:
        return None


def _placed(said: Approval, record: Record, candidate: Candidate, place: int) -> bool:
    """Whether a record stands at the place of a person's act number `place` on this digest, whoever wrote it there."""
    return said.digest == candidate.digest and record.key == approval_key(said.digest, said.person, place)


def _weakened(frozen: Terms | None, champion: Candidate | None, candidate: Candidate) -> tuple[str, ...]:
    if frozen is None or champion is None or champion.digest == candidate.digest:
        return ()
    before = terms(champion)
    return (UNCOMPARED,) if before is None else weakened(before, frozen)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What every approval is held against."""

    candidate: Candidate
    required: Requirement | None
    by: frozenset[str]
    softer: bool
    now: datetime


def _given(asked: _Asked, approvals: Sequence[Record]) -> list[Given]:
    """Every approval of the candidate, or of what it was before it had all its entries, in order."""
    candidate = asked.candidate
    chain = {entry.digest for entry in candidate.entries}
    found: list[Given] = []
    seen: dict[str, int] = {}
    for record in approvals:
        if record.candidate != candidate.id and record.body.get("digest") not in chain:
            continue
        said = _read(record)
        if said is None:
            found.append(_unreadable(record))
            continue
        place = seen.get(eyes(said.person), 0)
        placed = _placed(said, record, candidate, place)
        seen[eyes(said.person)] = place + placed
        if placed and unproven(said, record.actor) is None:
            found = [_superseded(one, said, record) for one in found]
        if said.act is Act.APPROVE:
            until = _until(said, record, asked.required)
            found.append(_one(said, record, until, _void(asked, said, record, place, until)))
    return found


def _void(asked: _Asked, said: Approval, record: Record, place: int, until: datetime) -> str:
    """Why an approval does not count, by itself; empty when it does."""
    if said.digest != asked.candidate.digest:
        return f"it is for another digest, {digests.short(said.digest)}"
    roles = set(asked.required.roles) if asked.required else set()
    roles |= {Role.PLATFORM_ADMIN} if asked.softer and said.policy_change else set()
    if (why := unfit(said, record.actor, roles=roles, by=asked.by)) is not None:
        return why
    if record.key != approval_key(said.digest, said.person, place):
        return "it is a copy of another record: its key is not that of its place"
    return f"it expired on {until:%Y-%m-%d %H:%M} UTC" if asked.now >= until else ""


def _until(said: Approval, record: Record, required: Requirement | None) -> datetime:
    """When it ends: as it says, and never later than the candidate's terms allow."""
    longest = record.at + timedelta(seconds=required.expires_seconds) if required else said.expires
    return min(said.expires, longest)


def _superseded(one: Given, said: Approval, record: Record) -> Given:
    """An earlier approval of the same person ends with the person's next word."""
    if one.why or eyes(one.person) != eyes(said.person):
        return one
    what = "withdrawn" if said.act is Act.WITHDRAW else "given anew"
    return one.model_copy(update={"why": f"{one.person} has {what} it in record {record.sequence}"})


def _one(said: Approval, record: Record, until: datetime, why: str) -> Given:
    return Given(
        sequence=record.sequence,
        record=record.hash,
        at=record.at,
        until=until,
        person=said.person,
        account=said.account,
        roles=said.roles,
        reason=said.reason,
        policy_change=said.policy_change,
        why=why,
    )


def _unreadable(record: Record) -> Given:
    return Given(
        sequence=record.sequence,
        record=record.hash,
        at=record.at,
        until=record.at,
        person=record.actor,
        account=record.actor,
        roles=(),
        reason="",
        policy_change=False,
        why="it is no approval that can be read",
    )


def _missing(required: Requirement | None, softer: tuple[str, ...], counted: Sequence[Given]) -> tuple[str, ...]:
    if required is None:
        return (UNKNOWN,)
    ordinary = {eyes(one.person) for one in counted if set(one.roles) & set(required.roles)}
    admins = {eyes(one.person) for one in counted if one.policy_change and Role.PLATFORM_ADMIN in one.roles}
    found = []
    if len(ordinary) < required.count:
        what = "approval" if required.count == 1 else "approvals"
        roles = " or ".join(required.roles)
        found.append(
            f"it needs {required.count} {what} by {roles} (risk {required.risk.value}), and {len(ordinary)} count"
        )
    if softer and not admins:
        found.append(
            f"it weakens the policy ({'; '.join(softer)}), which takes one approval more, by a platform-admin who says "
            "so: towpath approve --policy-change"
        )
    elif softer and len(ordinary | admins) <= required.count:
        found.append(
            f"it weakens the policy, which takes {required.count + 1} persons, and {len(ordinary | admins)} count"
        )
    return tuple(found)
