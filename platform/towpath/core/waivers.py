"""Waivers in the record: which of them cover a finding of a candidate, which do not and why. Pure.

A waiver is bound to the digest of the candidate when it ended in a refused entry. The entries that follow stand on that
one, so it goes on covering the candidate that the path makes of it; another run of the path is another digest.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from towpath.core import digest as digests
from towpath.core.evidence import Candidate, Outcome, Record, Severity
from towpath.core.gates import GATES
from towpath.core.identity import Role
from towpath.core.policy import Waiver
from towpath.core.signatory import Signatory, submitters, unfit, unproven

ROLES: Final = (Role.RELEASE_MANAGER,)
LONGEST: Final = timedelta(days=90)
"""The longest that a waiver may hold."""


class WaiverAct(StrEnum):
    """What somebody did about a finding."""

    GRANT = "grant"
    WITHDRAW = "withdraw"


class Waived(Signatory):
    """The body of a waiver's record; `author` is its person."""

    act: WaiverAct
    candidate: str
    digest: str
    code: str
    subject: str = ""
    author: str
    reason: str
    expires: datetime


class Granted(BaseModel):
    """A waiver with its place in the ledger. `why`: the reason for which it covers nothing; empty when it does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sequence: int
    at: datetime
    code: str
    subject: str
    author: str
    reason: str
    expires: datetime
    why: str = ""


def waiver_key(digest: str, code: str, subject: str, number: int) -> str:
    """The key of act number `number` (from 0) on one finding of one candidate."""
    return digests.of_json({"waive": digest, "code": code, "subject": subject, "n": number})


def granted(
    candidate: Candidate, *, entries: Sequence[Record], waivers: Sequence[Record], now: datetime
) -> tuple[Granted, ...]:
    """Every waiver that was ever granted for this candidate, or for what it was before it had all its entries."""
    by = submitters(entries)
    found: list[Granted] = []
    places: dict[tuple[str, str, str], int] = {}
    for record in waivers:
        said = _read(record)
        if said is None or not _reaches(said, candidate):
            continue
        mark = (said.digest, said.code, said.subject)
        place = places.get(mark, 0)
        acts = record.key == waiver_key(*mark, place) and unproven(said, record.actor) is None
        if acts:
            places[mark] = place + 1
            found = [_superseded(one, said, record) for one in found]
        if said.act is WaiverAct.GRANT:
            why = _void(said, record, by, now) if acts else unproven(said, record.actor) or "it is a copy of another"
            found.append(_one(said, record, why))
    return tuple(found)


def in_force(
    candidate: Candidate, *, entries: Sequence[Record], waivers: Sequence[Record], now: datetime
) -> tuple[Waiver, ...]:
    """The waivers that cover findings of the candidate at `now`."""
    return tuple(
        Waiver(
            candidate=candidate.id,
            code=one.code,
            subject=one.subject,
            author=one.author,
            reason=one.reason,
            expires=one.expires,
        )
        for one in granted(candidate, entries=entries, waivers=waivers, now=now)
        if not one.why
    )


def covered(candidate: Candidate, waivers: Sequence[Waiver]) -> bool:
    """Whether each finding that closed a gate is covered. Nothing found at all is covered by nothing."""
    closed = [
        finding
        for finding in candidate.findings
        if finding.outcome is not Outcome.PASS and finding.severity is Severity.ERROR
    ]
    known = {(one.code, one.subject) for one in waivers if one.candidate == candidate.id}
    return all(entry.findings for entry in candidate.entries) and all(
        (finding.code, finding.subject) in known for finding in closed
    )


def acts(waivers: Sequence[Record], digest: str, code: str, subject: str) -> int:
    """How many acts on that finding of that candidate there are: the number of the next one."""
    count = 0
    for record in waivers:
        said = _read(record)
        mine = said is not None and unproven(said, record.actor) is None
        count += mine and record.key == waiver_key(digest, code, subject, count)
    return count


def _read(record: Record) -> Waived | None:
    try:
        return Waived.model_validate(record.body)
    except ValidationError:
        return None


def _reaches(said: Waived, candidate: Candidate) -> bool:
    """Whether the waived finding lies in what the candidate was when the waiver was granted."""
    known = [entry.digest for entry in candidate.entries]
    if said.digest not in known:
        return False
    within = candidate.entries[: known.index(said.digest) + 1]
    return any(finding.code == said.code for entry in within for finding in entry.findings)


def _void(said: Waived, record: Record, by: frozenset[str], now: datetime) -> str:
    if said.author != said.person:
        return f"it names {said.author} as its author, and is {said.person}'s"
    if (why := unfit(said, record.actor, roles=ROLES, by=by)) is not None:
        return why
    if said.code not in GATES or not GATES[said.code].waivable:
        return f"{said.code} is never waived"
    until = min(said.expires, record.at + LONGEST)
    return f"it expired on {until:%Y-%m-%d %H:%M} UTC" if now >= until else ""


def _superseded(one: Granted, said: Waived, record: Record) -> Granted:
    if one.why or (one.code, one.subject) != (said.code, said.subject):
        return one
    what = "withdrawn" if said.act is WaiverAct.WITHDRAW else "granted anew"
    return one.model_copy(update={"why": f"{said.person} has {what} it in record {record.sequence}"})


def _one(said: Waived, record: Record, why: str) -> Granted:
    return Granted(
        sequence=record.sequence,
        at=record.at,
        code=said.code,
        subject=said.subject,
        author=said.author,
        reason=said.reason,
        expires=min(said.expires, record.at + LONGEST),
        why=why,
    )
