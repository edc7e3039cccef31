"""access: who acts, and whether they may. Every way in, command line or API, asks here and nowhere else.

An installation is open until its first token is made or an OpenID provider is named: until then, whoever may write its
files acts under the name that they claim, for nothing could stop them. From then on it is closed: without proof nobody
changes anything.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from towpath.core import access
from towpath.core import digest as digests
from towpath.core.access import Action
from towpath.core.errors import Denied, Forbidden, Unauthenticated
from towpath.core.evidence import RecordKind
from towpath.core.identity import EVERY_PROJECT, Identity, claimed
from towpath.ports import Draft, IdentityProvider, Ledger, Tokens

STAGE: Final = "access"
LOCAL: Final = "tp_"
"""What a local token begins with. Everything else is the provider's to judge."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Doors:
    """What proof an installation takes. `tokens` is None where there is no database that could hold any."""

    tokens: Tokens | None
    provider: IdentityProvider | None = None
    server: bool = False
    """It is served to others: then nobody is believed without proof, not even before the first token."""

    @property
    def closed(self) -> bool:
        """Whether every change needs proof of who makes it."""
        return self.server or self.provider is not None or (self.tokens is not None and self.tokens.any())


def identify(doors: Doors, token: str | None, *, claim: str | None = None, now: datetime) -> Identity:
    """Who acts: by the token, or in an open installation by the name that is claimed.

    With a token, `claim` may only repeat its person. Raises `Unauthenticated`, which says what failed and never the
    token; `Denied` for another's name, and where nobody says who acts; `Unreachable` while the provider is down.
    """
    try:
        if token is not None:
            return _repeated(_proven(doors, token, now), claim)
        if doors.closed:
            raise Unauthenticated(
                "This installation asks for proof of who acts, and none was given.",
                hint="Set TOWPATH_TOKEN to your token; a platform admin makes one: towpath token create.",
            )
    except Unauthenticated as error:
        # Never to the ledger: else anybody could fill it.
        _logger.info("refused: not authenticated: %s", error.message)
        raise
    if claim is None or not claim.strip():
        raise Denied(
            "A decision needs a person's name.", hint='Say who decides: --by "Ada Lovelace", or set TOWPATH_ACTOR.'
        )
    return claimed(claim.strip())


def authorize(
    identity: Identity, action: Action, ledger: Ledger, *, project: str = EVERY_PROJECT, now: datetime
) -> None:
    """Raises `Forbidden`, and records the refusal, unless the identity may do that in that project.

    The same refusal is recorded once an hour: whoever holds a token of the least role cannot fill the ledger with them.
    """
    try:
        access.require(identity, action, project)
    except Forbidden as error:
        _logger.info("refused: person=%s via=%s action=%s project=%s", identity.person, identity.via, action, project)
        ledger.append(_refusal(identity, action, project, error, now), actor=identity.person)
        raise


def _proven(doors: Doors, token: str, now: datetime) -> Identity:
    if token.startswith(LOCAL):
        if doors.tokens is None:
            raise Unauthenticated("The token is none of this installation's.", hint="No token was ever made here.")
        return doors.tokens.identify(token)
    if doors.provider is None:
        raise Unauthenticated(
            "The token is none of this installation's, and no OpenID provider is named whose it could be.",
            hint="Set TOWPATH_OIDC_ISSUER, or take a token that `towpath token create` made.",
        )
    # A clock that was set back revives no token: it cannot be earlier than the last record.
    return doors.provider.identify(token, now=now if doors.tokens is None else max(now, doors.tokens.now()))


def _repeated(identity: Identity, claim: str | None) -> Identity:
    if claim is None or claim.strip() == identity.person:
        return identity
    raise Denied(
        f"The token is that of {identity.person}, and another name is given.",
        value=claim,
        valid=[identity.person],
        hint="Leave --by out: the token says who acts.",
    )


def _refusal(identity: Identity, action: Action, project: str, error: Forbidden, now: datetime) -> Draft:
    body = {"refused": action.value, "project": project, "reason": error.message, "via": identity.via}
    hour = now.strftime("%Y-%m-%dT%H")
    return Draft(
        kind=RecordKind.ACCESS,
        project=project,
        candidate="",
        stage=STAGE,
        key=digests.of_json({**body, "person": identity.person, "hour": hour}),
        digest=digests.of_json(body),
        body=body,
    )
