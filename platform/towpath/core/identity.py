"""Who acts: a person or a service, as a credential proved, with the roles that were granted by project.

A person is who somebody is, whatever account they use: two accounts with one person are one pair of eyes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

EVERY_PROJECT: Final = "*"
"""A grant for every project, those to come included."""


class Role(StrEnum):
    """What somebody is to a project."""

    VIEWER = "viewer"
    DATA_SCIENTIST = "data-scientist"
    RELEASE_MANAGER = "release-manager"
    PLATFORM_ADMIN = "platform-admin"
    AUDITOR = "auditor"
    AUTOMATION = "automation"


class Kind(StrEnum):
    """Whether somebody stands behind the credential, or a program."""

    PERSON = "person"
    SERVICE = "service"


class Proof(StrEnum):
    """How it is known who acts."""

    CLAIMED = "claimed"
    """Somebody with the right to write the embedded files says so: a name, and no more."""
    TOKEN = "token"
    """A local token, made by `towpath token create`."""
    OIDC = "oidc"
    """A token of the organisation's OpenID provider."""


class Identity(BaseModel):
    """Who acts. `person` is what the ledger names as the actor, and what four eyes are counted by.

    `account` is the name under which the credential is known, `credential` its id (of a token), `issued_by` the person
    who made the credential, where that is known, `issuers` those who made the credential that it was made with, and so
    on. `grants`: roles by project, `EVERY_PROJECT` for all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    person: str = Field(min_length=1)
    account: str = Field(min_length=1)
    kind: Kind
    proof: Proof
    credential: str = ""
    issued_by: str | None = None
    issuers: tuple[str, ...] = ()
    grants: Mapping[str, frozenset[Role]]

    @model_validator(mode="after")
    def _services_are_automation(self) -> Self:
        """A program decides nothing: it can be automation, or look on."""
        granted = {role for roles in self.grants.values() for role in roles}
        if self.kind is Kind.SERVICE and (extra := granted - {Role.AUTOMATION, Role.VIEWER}):
            raise ValueError(f"a service cannot be {', '.join(sorted(extra))}; valid: automation, viewer")
        return self

    def roles(self, project: str) -> frozenset[Role]:
        """The roles in a project; `EVERY_PROJECT` asks for those that hold everywhere."""
        return self.grants.get(project, frozenset()) | self.grants.get(EVERY_PROJECT, frozenset())

    @property
    def via(self) -> str:
        """How the record says it was known who acts: `token:3f2a… (ada-admin)`, `claimed`."""
        named = f"{self.proof}:{self.credential}" if self.credential else str(self.proof)
        return named if self.account == self.person else f"{named} ({self.account})"


def claimed(name: str) -> Identity:
    """Whoever may write the embedded files, under the name that they give: everything is theirs already."""
    return Identity(
        person=name,
        account=name,
        kind=Kind.PERSON,
        proof=Proof.CLAIMED,
        grants={EVERY_PROJECT: frozenset(role for role in Role)},
    )
