"""Breaking the glass: two persons promote what still lacks approvals, and write afterwards why. Pure.

Opened by one, confirmed by another, used for one promotion, and then open in the other sense: until somebody has
written the follow-up, nothing else of the project is promoted and no rollout starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from towpath.core import digest as digests
from towpath.core.evidence import Candidate, Record
from towpath.core.identity import Role
from towpath.core.signatory import Signatory, eyes, involved, unfit, unproven

ROLES: Final = (Role.RELEASE_MANAGER, Role.PLATFORM_ADMIN)
VALID: Final = timedelta(hours=24)
"""How long after its opening an emergency can be confirmed and used."""


class EmergencyAct(StrEnum):
    """What somebody did about an emergency."""

    OPEN = "open"
    CONFIRM = "confirm"
    FOLLOW_UP = "follow-up"


class Emergency(Signatory):
    """The body of an emergency's record. `report`: the follow-up's text; empty in the others."""

    act: EmergencyAct
    emergency: str
    candidate: str
    digest: str
    reason: str
    report: str = ""


class Said(BaseModel):
    """One act of an emergency, with its place in the ledger."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sequence: int
    at: datetime
    who: Signatory
    text: str


class Broken(BaseModel):
    """An emergency as the records tell it. `used`: the sequence of the decision that it let through."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    emergency: str
    candidate: str
    digest: str
    opened: Said
    confirmed: Said | None = None
    used: int | None = None
    followed_up: Said | None = None

    @property
    def blocks(self) -> bool:
        """Whether it lets nothing else through, because its follow-up is not written."""
        return self.used is not None and self.followed_up is None

    @property
    def state(self) -> str:
        if self.followed_up is not None:
            return "followed up"
        if self.used is not None:
            return "follow-up missing"
        return "opened" if self.confirmed is None else "confirmed"


def emergency_key(emergency: str, act: EmergencyAct) -> str:
    """The key of an act: an emergency is opened, confirmed and followed up once."""
    return digests.of_json({"emergency": emergency, "act": act.value})


def emergency_id(project: str, known: Sequence[Broken]) -> str:
    """The name of the project's next emergency."""
    return f"{project}-e{len(known) + 1}"


def emergencies(records: Sequence[Record], decisions: Sequence[Record]) -> tuple[Broken, ...]:
    """Every emergency of a project, in order, from its records and from the decisions that made a champion.

    A record that is nobody's proven word, or not under the key of its act, is passed over.
    """
    found: dict[str, Broken] = {}
    for record in records:
        said = _read(record)
        if said is None or unproven(said, record.actor) or record.key != emergency_key(said.emergency, said.act):
            continue
        one = Said(
            sequence=record.sequence,
            at=record.at,
            who=Signatory.model_validate({name: getattr(said, name) for name in Signatory.model_fields}),
            text=said.report or said.reason,
        )
        before = found.get(said.emergency)
        if said.act is EmergencyAct.OPEN:
            opened = Broken(emergency=said.emergency, candidate=said.candidate, digest=said.digest, opened=one)
            found.setdefault(said.emergency, opened)
        elif before is not None and before.digest == said.digest:
            what = "confirmed" if said.act is EmergencyAct.CONFIRM else "followed_up"
            found[said.emergency] = before.model_copy(update={what: one})
    for record in decisions:
        governance = record.body.get("governance")
        name = str(governance.get("emergency")) if isinstance(governance, dict) else ""
        if name in found and found[name].used is None:
            found[name] = found[name].model_copy(update={"used": record.sequence})
    return tuple(found.values())


def unfit_to_open(who: Signatory, author: str) -> str | None:
    """Why somebody may not open an emergency."""
    return unfit(who, author, roles=ROLES, by=())


def unfit_to_confirm(who: Signatory, author: str, opened: Signatory, by: frozenset[str]) -> str | None:
    """Why somebody may not confirm what `opened` opened for a candidate that `by` submitted."""
    if (why := unfit(who, author, roles=ROLES, by=())) is not None:
        return why
    if (why := involved(who, (opened.person,), what="opened it")) is not None:
        return why
    if eyes(who.person) in {eyes(person) for person in (opened.issued_by, *opened.issuers) if person is not None}:
        return f"the token of {opened.person}, who opened it, was made by {who.person}"
    if involved(who, by) is not None and involved(opened, by) is not None:
        return "both submitted it, or hold tokens made by who did; one of the two must not have"
    return None


def faults(broken: Broken, candidate: Candidate, by: frozenset[str], now: datetime) -> tuple[str, ...]:
    """Why an emergency lets this candidate through no gate, each in a sentence; nothing when it does."""
    found = []
    if broken.digest != candidate.digest:
        found.append(f"emergency {broken.emergency} is for {broken.candidate}")
    if (why := unfit_to_open(broken.opened.who, broken.opened.who.person)) is not None:
        found.append(f"emergency {broken.emergency} was not opened as it must be: {why}")
    if broken.confirmed is None:
        found.append(f"emergency {broken.emergency} is not confirmed by a second person")
    else:
        second = broken.confirmed.who
        if (why := unfit_to_confirm(second, second.person, broken.opened.who, by)) is not None:
            found.append(f"emergency {broken.emergency} is not confirmed as it must be: {why}")
    if now - broken.opened.at > VALID:
        found.append(f"emergency {broken.emergency} was opened more than 24 hours ago; open another")
    if broken.used is not None:
        found.append(f"emergency {broken.emergency} was used already, in record {broken.used}")
    return tuple(found)


def _read(record: Record) -> Emergency | None:
    try:
        return Emergency.model_validate(record.body)
    except ValidationError:
        return None
