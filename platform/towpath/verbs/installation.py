"""The installation: who asks, what the gates ask, tokens and keys."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Final

from pydantic import Field

from towpath.core.access import Action, permits
from towpath.core.declaration import Duration
from towpath.core.errors import BadInput
from towpath.core.gates import GATES, Gate, gate
from towpath.core.grants import granted, written
from towpath.core.identity import Identity, Kind
from towpath.core.masking import KEY_NAME
from towpath.ports import Purpose, Token, TokenGrant, TrustedKey
from towpath.stages import keys as keyring
from towpath.stages import masks
from towpath.stages.access import Doors
from towpath.verbs.approvals import REASON
from towpath.verbs.desk import Desk
from towpath.verbs.verb import Document, Request, Verb

LONGEST: Final = timedelta(days=366)
"""The longest that a token holds."""


class AskWho(Request):
    """Who a request is taken to be from."""


class Who(Document):
    """Who asks, how that is known, and what they may do in which project."""

    person: str
    account: str
    kind: str
    proof: str
    via: str
    credential: str
    issued_by: str | None
    grants: list[str]
    installation: str
    may: dict[str, list[str]]


class AskGates(Request):
    """One gate, or all."""

    code: str | None = Field(default=None, max_length=200)


class GateAsked(Document):
    """What a gate asks, at which stage, and what to do when it refuses."""

    code: str
    stage: str
    asks: str
    mend: str
    required: bool


class Gates(Document):
    """In the order of the path."""

    gates: list[GateAsked]


class CreateToken(Request):
    """Whose token, and what it may. `grants`: `ROLE` for every project, or `ROLE@PROJECT`."""

    person: str = Field(min_length=1, max_length=200)
    account: str | None = Field(default=None, min_length=1, max_length=200)
    kind: Kind = Kind.PERSON
    grants: list[str] = Field(min_length=1, max_length=200)
    expires: Duration = Field(default=timedelta(days=90), description="At most 366d.")


class TokenRow(Document):
    """A token; its secret is not kept."""

    id: str
    person: str
    account: str
    kind: str
    grants: list[str]
    issued_by: str
    created_at: str
    expires_at: str
    revoked_at: str | None
    state: str


class TokenMade(TokenRow):
    """A token with its secret, shown this once. `first`: from now on every change needs one.

    `token` is null in an answer that is given again for an Idempotency-Key: it is not kept.
    """

    token: str | None
    first: bool


class ListTokens(Request):
    """All that were ever made."""


class TokenList(Document):
    """The oldest first. `provider`: whether people can be known by an OpenID provider too."""

    tokens: list[TokenRow]
    provider: bool


class RevokeToken(Request):
    """Let a token prove nothing any more."""

    token: str = Field(max_length=200, description="Its id, not its text.")
    reason: str = REASON


class RotateKey(Request):
    """Make a new key, which signs from now on."""

    purpose: Purpose


class RotatePseudonyms(Request):
    """Make a key's next version, or its first. `name`: as contracts write it."""

    name: str = Field(max_length=40, pattern=KEY_NAME.pattern)


class PseudonymsRotated(Document):
    """The version that gives pseudonyms from the next ingestion on; the key itself is never told."""

    name: str
    version: int
    key_id: str


class RevokeKey(Request):
    """Trust a key no longer. `key`: its id or at least 8 digits of it, or a certificate's SHA-256 fingerprint."""

    key: str = Field(max_length=200)
    reason: str = REASON


class KeyRow(Document):
    """A public key that is or was trusted, or who vouches for keys (`about`). `signs`: it is the one that signs now."""

    key_id: str
    purpose: str
    pem: str
    added_at: str
    revoked_at: str | None
    revoked_after: int | None
    reason: str
    about: str = ""
    signs: bool


class ListKeys(Request):
    """All that are or were trusted."""


class KeyList(Document):
    """By purpose, the oldest first."""

    keys: list[KeyRow]


def ask_who(_: AskWho, desk: Desk) -> Who:
    """As the credential says."""
    office = desk.office
    return who(desk.identity, closed=Doors(tokens=office.tokens, provider=office.provider).closed)


def who(identity: Identity, *, closed: bool) -> Who:
    """Somebody, in an installation that is closed or open."""
    return Who(
        person=identity.person,
        account=identity.account,
        kind=identity.kind.value,
        proof=identity.proof.value,
        via=identity.via,
        credential=identity.credential,
        issued_by=identity.issued_by,
        grants=written(identity.grants),
        installation="closed" if closed else "open",
        may=may(identity),
    )


def may(identity: Identity) -> dict[str, list[str]]:
    """What somebody may do, by project."""
    return {
        project: [action.value for action in Action if permits(identity, action, project)]
        for project in sorted(identity.grants)
    }


def ask_gates(asked: AskGates, _: Desk) -> Gates:
    """Raises `DeclarationError` for no gate."""
    chosen = [gate(asked.code)] if asked.code is not None else list(GATES.values())
    return Gates(gates=[_gate(one) for one in chosen])


def create_token(asked: CreateToken, desk: Desk) -> TokenMade:
    """Make one and show it, this once."""
    if not timedelta(0) < asked.expires <= LONGEST:
        raise BadInput(
            f"A token cannot hold for {asked.expires}.",
            value=str(asked.expires),
            valid=["1s to 366d"],
            hint="Make another before it ends: rotation is `towpath token create`, then `towpath token revoke`.",
        )
    office = desk.office
    first = not office.tokens.any()
    wanted = TokenGrant(
        person=asked.person,
        account=asked.account or asked.person,
        kind=asked.kind,
        grants=granted(asked.grants),
        expires_at=desk.now + asked.expires,
    )
    token, text = office.tokens.create(wanted, by=desk.identity, provider=office.provider is not None)
    return TokenMade(**_token(token, desk.now).model_dump(), token=text, first=first)


def list_tokens(_: ListTokens, desk: Desk) -> TokenList:
    """Whose each is, what it may, until when."""
    found = [_token(one, desk.now) for one in desk.office.tokens.all()]
    return TokenList(tokens=found, provider=desk.office.provider is not None)


def revoke_token(asked: RevokeToken, desk: Desk) -> TokenRow:
    """From the next request on."""
    office = desk.office
    revoked = office.tokens.revoke(
        asked.token, by=desk.identity, reason=asked.reason, provider=office.provider is not None
    )
    return _token(revoked, desk.now)


def list_keys(_: ListKeys, desk: Desk) -> KeyList:
    """Of every purpose."""
    keys = desk.office.keys
    found = [one for purpose in Purpose for one in keys.trusted(purpose).values()]
    found.sort(key=lambda one: (one.purpose, one.added_at))
    signing = {keys.key_id(purpose) for purpose in Purpose}
    return KeyList(keys=[_key(one, signs=one.key_id in signing) for one in found])


def rotate_key(asked: RotateKey, desk: Desk) -> KeyRow:
    """The old one stays trusted for what it signed."""
    made = keyring.rotate(desk.office.keys, desk.ledger, asked.purpose, actor=desk.identity.person, at=desk.now)
    return _key(made, signs=True)


def rotate_pseudonyms(asked: RotatePseudonyms, desk: Desk) -> PseudonymsRotated:
    """What is ingested from now on joins with nothing that was ingested before."""
    from towpath import wiring

    keys = wiring.open_pseudonym_keys(desk.office.settings)
    made = masks.rotate(keys, desk.ledger, asked.name, actor=desk.identity.person)
    return PseudonymsRotated(name=made.name, version=made.version, key_id=made.key_id)


def revoke_key(asked: RevokeKey, desk: Desk) -> KeyRow:
    """Models that it signed are not loaded again until they are attested anew."""
    keys = desk.office.keys
    found = keyring.revoke(
        keys,
        desk.ledger,
        keyring.named(keys, asked.key),
        actor=desk.identity.person,
        at=desk.now,
        reason=asked.reason,
    )
    return _key(found, signs=False)


def _gate(one: Gate) -> GateAsked:
    return GateAsked(**{**asdict(one), "stage": one.stage.value})


def _token(token: Token, now: datetime) -> TokenRow:
    state = "revoked" if token.revoked_at is not None else "expired" if now >= token.expires_at else "holds"
    return TokenRow(
        id=token.token_id,
        person=token.person,
        account=token.account,
        kind=token.kind.value,
        grants=written(token.grants),
        issued_by=token.issued_by,
        created_at=token.created_at.isoformat(),
        expires_at=token.expires_at.isoformat(),
        revoked_at=token.revoked_at.isoformat() if token.revoked_at else None,
        state=state,
    )


def _key(one: TrustedKey, *, signs: bool) -> KeyRow:
    return KeyRow(**{**asdict(one), "purpose": one.purpose.value}, signs=signs)


WHOAMI: Final = Verb(
    name="whoami",
    about="Say who the request is taken to be from, how that is known, and what they may.",
    action=None,
    request=AskWho,
    answer=Who,
    perform=ask_who,
    path="/v1/whoami",
    changes=False,
)
ASK_GATES: Final = Verb(
    name="gates",
    about="Explain the gates.",
    action=None,
    request=AskGates,
    answer=Gates,
    perform=ask_gates,
    path="/v1/gates",
    changes=False,
)
TOKEN_CREATE: Final = Verb(
    name="token-create",
    about="Make a token, and show it this once.",
    action=Action.TOKEN_CREATE,
    request=CreateToken,
    answer=TokenMade,
    perform=create_token,
    path="/v1/tokens/create",
)
TOKEN_LIST: Final = Verb(
    name="token-list",
    about="List every token that was ever made, without secrets.",
    action=Action.TOKEN_LIST,
    request=ListTokens,
    answer=TokenList,
    perform=list_tokens,
    path="/v1/tokens",
    changes=False,
)
TOKEN_REVOKE: Final = Verb(
    name="token-revoke",
    about="Let a token prove nothing any more.",
    action=Action.TOKEN_REVOKE,
    request=RevokeToken,
    answer=TokenRow,
    perform=revoke_token,
    path="/v1/tokens/{token}/revoke",
)
KEY_LIST: Final = Verb(
    name="key-list",
    about="List the keys that are trusted, or were.",
    action=None,
    request=ListKeys,
    answer=KeyList,
    perform=list_keys,
    path="/v1/keys",
    changes=False,
)
KEY_ROTATE: Final = Verb(
    name="key-rotate",
    about="Make a new key, which signs from now on.",
    action=Action.KEY_ROTATE,
    request=RotateKey,
    answer=KeyRow,
    perform=rotate_key,
    path="/v1/keys/{purpose}/rotate",
)
KEY_PSEUDONYM: Final = Verb(
    name="key-pseudonym",
    about="Make the next version of a key of pseudonyms.",
    action=Action.KEY_ROTATE,
    request=RotatePseudonyms,
    answer=PseudonymsRotated,
    perform=rotate_pseudonyms,
    path="/v1/pseudonyms/{name}/rotate",
)
KEY_REVOKE: Final = Verb(
    name="key-revoke",
    about="Trust a key no longer.",
    action=Action.KEY_REVOKE,
    request=RevokeKey,
    answer=KeyRow,
    perform=revoke_key,
    path="/v1/keys/{key}/revoke",
)
VERBS: Final = (
    WHOAMI,
    ASK_GATES,
    TOKEN_CREATE,
    TOKEN_LIST,
    TOKEN_REVOKE,
    KEY_LIST,
    KEY_ROTATE,
    KEY_PSEUDONYM,
    KEY_REVOKE,
)
