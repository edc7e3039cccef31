"""Asked of whoever knows who acts: local tokens, and an OpenID provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from towpath.core.identity import EVERY_PROJECT, Identity, Kind, Proof, Role


@dataclass(frozen=True, kw_only=True)
class TokenGrant:
    """What a new local token shall say: whose it is, under which account, and what it may."""

    person: str
    account: str
    kind: Kind
    grants: Mapping[str, frozenset[Role]]
    expires_at: datetime

    @property
    def administers(self) -> bool:
        """Whether who holds it can make other tokens: a person with platform-admin in every project."""
        return self.kind is Kind.PERSON and Role.PLATFORM_ADMIN in self.grants.get(EVERY_PROJECT, frozenset())


@dataclass(frozen=True, kw_only=True)
class Token(TokenGrant):
    """A local token as the installation knows it. The secret is known to nobody but who was given it."""

    token_id: str
    issued_by: str
    created_at: datetime
    revoked_at: datetime | None = None

    def identity(self) -> Identity:
        """Who acts with it."""
        return Identity(
            person=self.person,
            account=self.account,
            kind=self.kind,
            proof=Proof.TOKEN,
            credential=self.token_id,
            issued_by=self.issued_by,
            grants=self.grants,
        )


class Tokens(Protocol):
    """The local tokens of an installation, in the ledger's database. Making or revoking one is a record of its own."""

    def any(self) -> bool:
        """Whether one was ever made, be it revoked or expired since. From then on a name alone does nothing."""
        ...

    def now(self) -> datetime:
        """The time by which credentials expire: the clock's, or the last record's where that is later."""
        ...

    def create(self, wanted: TokenGrant, *, by: Identity, provider: bool = False) -> tuple[Token, str]:
        """Make a token; returns it, and the text that proves it, which nobody can look up again.

        `provider`: whether people can be known by an OpenID provider too. Else the first token must be a person's with
        platform-admin everywhere: raises `Denied`. Raises `Unauthenticated` when `by` is a name that was only claimed,
        and the installation asks for proof.
        """
        ...

    def identify(self, text: str) -> Identity:
        """Who holds that token. Raises `Unauthenticated` for one that is unknown, revoked, expired or changed."""
        ...

    def all(self) -> tuple[Token, ...]:
        """Every token that was ever made, the oldest first."""
        ...

    def revoke(self, token_id: str, *, by: Identity, reason: str, provider: bool = False) -> Token:
        """Let a token prove nothing any more; one that is revoked already stays as it is.

        Raises `NotFound`, and `Denied` for the last token of a platform admin where no `provider` knows another.
        """
        ...

    def close(self) -> None: ...


class IdentityProvider(Protocol):
    """The organisation's OpenID provider."""

    def identify(self, token: str, *, now: datetime) -> Identity:
        """Who the provider says holds that token, with the roles that their groups have here.

        Raises `Unauthenticated`, with the check that failed and without the token, and `Unreachable` while the
        provider is down and its keys are not known.
        """
        ...
