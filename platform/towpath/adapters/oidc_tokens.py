"""Bearer tokens of the organisation's OpenID provider: JWTs (RFC 7519), checked as RFC 8725 and RFC 9068 advise.

What is accepted is what is listed here; nothing is taken from the token on trust before its signature was checked, and
its header decides nothing but which of the provider's own keys is tried.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import jwt
from jwt.types import Options
from pydantic import ValidationError

from towpath.adapters.oidc_grants import GrantsFile, joined
from towpath.adapters.oidc_keys import ALGORITHMS, ProviderKeys
from towpath.core.errors import Unauthenticated
from towpath.core.identity import Identity, Kind, Proof, Role

LEEWAY: Final = 30.0
"""Seconds by which the provider's clock and ours may differ."""
_LARGEST: Final = 16_384
_LONGEST_NAME: Final = 200
_TYPES: Final = {"jwt", "at+jwt", "application/at+jwt"}
# The claims are checked here, all of them and against the caller's clock; the library checks the signature.
_OPTIONS: Final[Options] = {
    "verify_signature": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


class OidcTokens:
    """Who holds a token of the provider. `person`: the claim that names the person, whatever account they use."""

    def __init__(self, keys: ProviderKeys, *, issuer: str, audience: str, person: str, grants: GrantsFile) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._person = person
        self._grants = grants

    def identify(self, token: str, *, now: datetime) -> Identity:
        """Raises `Unauthenticated`, with the check that failed and never the token; `Unreachable` without any keys."""
        claims = self._signed(token)
        self._require_ours(claims)
        _require_now(claims, now)
        return self._identity(claims)

    def _signed(self, token: str) -> Mapping[str, Any]:
        """The claims of a token whose signature is the provider's."""
        if len(token) > _LARGEST:
            raise _refused("is longer than any that the provider makes")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise _refused("is no JSON Web Token") from error
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            raise Unauthenticated(
                "The token is not signed, or with an algorithm that is not accepted.", valid=sorted(ALGORITHMS)
            )
        if "crit" in header:
            raise _refused("asks for an extension that is not known here")
        if str(header.get("typ", "JWT")).lower() not in _TYPES:
            raise _refused("is of a type that is no proof of who acts")
        key = self._keys.key(header.get("kid"), algorithm)
        try:
            claims: dict[str, Any] = jwt.decode(token, key, algorithms=[algorithm], options=_OPTIONS)
        except jwt.InvalidSignatureError as error:
            raise _refused("has a signature that is not the provider's") from error
        except jwt.PyJWTError as error:
            raise _refused("cannot be read") from error
        return claims

    def _require_ours(self, claims: Mapping[str, Any]) -> None:
        if claims.get("iss") != self._issuer:
            raise Unauthenticated("The token was made by another issuer.", valid=[self._issuer])
        audience = claims.get("aud")
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            raise Unauthenticated(
                "The token is meant for another audience.",
                valid=[self._audience],
                hint="Ask the provider for a token whose audience is this one.",
            )

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        subject = _name(claims, "sub")
        service = self._service(claims, subject)
        person = service if service is not None else _name(claims, self._person)
        if service is None and self._person == "email" and claims.get("email_verified") is not True:
            raise _refused("names an e-mail address that the provider has not verified")
        account = claims.get("preferred_username")
        try:
            return Identity(
                person=person,
                account=account if service is None and _plain(account) else person if service else subject,
                kind=Kind.PERSON if service is None else Kind.SERVICE,
                proof=Proof.OIDC,
                credential=subject,
                grants=self._granted(claims, service),
            )
        except ValidationError as error:
            # A service that a group makes a release manager is a mistake in the groups, not one to be passed over.
            said = error.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
            raise _refused(f"stands for {person}, and {said}") from error

    def _service(self, claims: Mapping[str, Any], subject: str) -> str | None:
        """The client's id, where a program holds the token; None for a person."""
        client = next((claims[name] for name in ("client_id", "azp") if _plain(claims.get(name))), None)
        marked = self._grants.services.claim
        if marked is not None:
            return (client or subject) if _claim(claims, marked) == self._grants.services.value else None
        return subject if client == subject else None

    def _granted(self, claims: Mapping[str, Any], service: str | None) -> dict[str, frozenset[Role]]:
        groups = _claim(claims, self._grants.groups.claim)
        named = [groups] if isinstance(groups, str) else ([] if groups is None else groups)
        if not isinstance(named, list) or not all(isinstance(item, str) for item in named):
            raise _refused(f"has a claim {self._grants.groups.claim} that is no list of groups")
        found = [self._grants.groups.map[group] for group in named if group in self._grants.groups.map]
        if service is not None and service in self._grants.services.clients:
            found.append(self._grants.services.clients[service])
        return joined(found)


def _require_now(claims: Mapping[str, Any], now: datetime) -> None:
    """Raises `Unauthenticated` unless the token holds now. `exp` and `iat` must be there, `nbf` may."""
    instant = now.timestamp()
    if instant >= _moment(claims, "exp") + LEEWAY:
        raise Unauthenticated(
            f"The token expired at {_shown(_moment(claims, 'exp'))}.", hint="Log in again with the provider."
        )
    for name in ("iat", "nbf"):
        if (name == "iat" or name in claims) and _moment(claims, name) > instant + LEEWAY:
            raise Unauthenticated(
                f"The token holds from {_shown(_moment(claims, name))} only.",
                hint="Set this machine's clock, or the provider's.",
            )


def _moment(claims: Mapping[str, Any], name: str) -> float:
    """A time of the token, seconds since 1970."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > 1e11:
        raise _refused(f"has no time in its claim {name}")
    return float(value)


def _shown(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _name(claims: Mapping[str, Any], claim: str) -> str:
    value = _claim(claims, claim)
    if not _plain(value):
        raise _refused(f"has no name in its claim {claim}")
    return str(value)


def _plain(value: object) -> bool:
    """Whether it is a name: text on one line without blanks around it."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and value.isprintable() and value == value.strip()


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """A claim by its name, or by the dotted path to it in other claims."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _refused(what: str) -> Unauthenticated:
    return Unauthenticated(
        f"The token {what}.", hint="Log in again with the OpenID provider that this installation names."
    )
