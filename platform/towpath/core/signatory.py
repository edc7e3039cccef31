"""Who gave their word in a record, as their credential proved it then, and why it may count for nothing. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict

from towpath.core.evidence import Record
from towpath.core.identity import Identity, Kind, Proof, Role


class Signatory(BaseModel):
    """The person behind an approval, a waiver or an emergency: part of each such record's body.

    `roles`: those in the project at that time. `issued_by`: who made the credential, where that is known; `issuers`:
    who made the credential of that person, and so on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    person: str
    account: str
    kind: Kind
    proof: Proof
    credential: str = ""
    issued_by: str | None = None
    issuers: tuple[str, ...] = ()
    roles: tuple[Role, ...]


def signed(identity: Identity, project: str) -> dict[str, Any]:
    """The fields of a `Signatory`, of an identity that acts in a project."""
    return {
        "person": identity.person,
        "account": identity.account,
        "kind": identity.kind,
        "proof": identity.proof,
        "credential": identity.credential,
        "issued_by": identity.issued_by,
        "issuers": identity.issuers,
        "roles": tuple(sorted(identity.roles(project))),
    }


def eyes(person: str) -> str:
    """What two names of one person have in common: four eyes are counted by it, whatever the spelling of a name."""
    return " ".join(unicodedata.normalize("NFKC", person).casefold().split())


def submitters(entries: Iterable[Record]) -> frozenset[str]:
    """Everybody who wrote an entry of a candidate: none of them is a second pair of eyes."""
    return frozenset(record.actor for record in entries)


def unproven(who: Signatory, author: str) -> str | None:
    """Why it is not known that a person said this; `author` is the record's actor."""
    if eyes(who.person) != eyes(author):
        return f"the record is {author}'s, and speaks for {who.person}"
    if who.kind is not Kind.PERSON:
        return f"{who.person} is a program, which gives no word"
    if who.proof is Proof.CLAIMED:
        return f"the name {who.person} was only claimed, and proved by no token"
    return None


def involved(who: Signatory, by: Collection[str], *, what: str = "submitted it") -> str | None:
    """Why a person is no second pair of eyes beside those in `by`, who did `what`."""
    theirs = {eyes(person): person for person in by}
    if eyes(who.person) in theirs:
        return f"{who.person} {what}"
    if who.issued_by is not None and eyes(who.issued_by) in theirs:
        return f"the token of {who.person} was made by {who.issued_by}, who {what}"
    if behind := next((person for person in who.issuers if eyes(person) in theirs), None):
        return f"the token of {who.person} was made with one that was made by {behind}, who {what}"
    return None


def unfit(who: Signatory, author: str, *, roles: Collection[Role], by: Collection[str]) -> str | None:
    """Why a person's word does not count for a candidate that `by` submitted; None when it does."""
    if (why := unproven(who, author) or involved(who, by)) is not None:
        return why
    if not set(who.roles) & set(roles):
        had = ", ".join(sorted(who.roles)) or "no role"
        return f"it takes {' or '.join(sorted(roles))}, and {who.person} had {had}"
    return None
