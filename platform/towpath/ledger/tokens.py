"""Local tokens, in the ledger's database: who they stand for, and the hash of the secret that proves it.

A token is `tp_<id>_<secret>`, the secret 256 random bits: too many to be guessed, so that one SHA-256 without salt is
hash enough. Making and revoking one is a row and a ledger record in one transaction; the record holds neither secret
nor hash. Where records are signed, a row is sealed with the same key: whoever may write the database and has no key
cannot make a token, nor give one another secret or other roles; a revocation holds as long as its record does.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, Self

from pydantic import ValidationError
from sqlalchemy import Connection, RowMapping, insert, select, update

from towpath.core import digest as digests
from towpath.core.errors import BadInput, Denied, IntegrityError, NotFound, TowpathError, Unauthenticated
from towpath.core.evidence import Record, RecordKind
from towpath.core.grants import granted, written
from towpath.core.identity import EVERY_PROJECT, Identity, Kind, Proof, Role
from towpath.ledger import chain, schema
from towpath.ledger.canonical import canonical, parse, stamp
from towpath.ledger.engine import Database, connect
from towpath.ledger.signing import Pen
from towpath.ledger.sql import keyed, write
from towpath.ledger.table import records, tokens
from towpath.ports import Draft, Keys, Purpose, Token, TokenGrant

STAGE: Final = "access"
_FORM: Final = re.compile(r"tp_(?P<id>[0-9a-f]{12})_(?P<secret>[0-9a-f]{64})")
_SEALED: Final = (
    *("token_id", "secret_sha256", "person", "account", "kind", "grants", "issued_by", "created_at", "expires_at"),
)
_NOBODY: Final = "0" * 64  # what the secret of an unknown token is compared with, so that it takes as long
_WITH: Final = re.compile(r"token:(?P<id>[0-9a-f]{12})(?: |$)")  # how a record's `via` names a token
_ANOTHER: Final = "Ask a platform admin for another: towpath token create."


class SqlTokens:
    """The tokens of an installation. Raises what `SqlLedger` raises."""

    def __init__(self, database: Database, pen: Pen, *, owns: bool = True) -> None:
        self._database = database
        self._pen = pen
        self._owns = owns

    @classmethod
    def at(cls, url: str, *, clock: Callable[[], datetime], keys: Keys | None = None) -> Self:
        """The tokens in the ledger's database at that URL. `clock` and `keys` are as of `SqlLedger.open`."""
        database = connect(url)
        try:
            schema.upgrade(database)
        except BaseException:
            database.engine.dispose()
            raise
        return cls(database, Pen(clock=clock, keys=keys))

    def close(self) -> None:
        """Give back every connection."""
        if self._owns:
            self._database.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def any(self) -> bool:
        """Whether one was ever made, be it revoked or expired since."""
        with self._database.reading() as connection:
            return _any(connection)

    def now(self) -> datetime:
        """The clock's time, or the last record's where that is later: setting a clock back revives no credential."""
        with self._database.reading() as connection:
            return self._now(connection)

    def all(self) -> tuple[Token, ...]:
        """Every token that was ever made, the oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(select(tokens).order_by(tokens.c.created_at, tokens.c.token_id)).mappings()
            return tuple(_token(row) for row in rows)

    def create(self, wanted: TokenGrant, *, by: Identity, provider: bool = False) -> tuple[Token, str]:
        """Make a token, row and record in one transaction; see `towpath.ports.Tokens`.

        Raises `BadInput` for a service with a person's role, no role at all, or a time of expiry that is over.
        """
        token_id, secret = secrets.token_hex(6), secrets.token_hex(32)
        with self._database.writing() as connection:
            made = _any(connection)
            if by.proof is Proof.CLAIMED and (made or provider):
                raise Unauthenticated(
                    "This installation asks for proof of who acts, and a name is none.",
                    hint="Set TOWPATH_TOKEN to the token of a platform admin.",
                )
            if not made and not provider:
                _require_admin(wanted)
            token = _checked(wanted, token_id, by=by, now=self._now(connection))
            row = _row(token, secret)
            connection.execute(insert(tokens), {**row, "revoked_at": None, **self._seal(row)})
            body = {"act": "token-create", "token": token_id, **_told(token)}
            write(connection, _draft(body), actor=by.person, pen=self._speaking(by))
        return token, f"tp_{token_id}_{secret}"

    def revoke(self, token_id: str, *, by: Identity, reason: str, provider: bool = False) -> Token:
        """Let a token prove nothing any more, row and record in one transaction; see `towpath.ports.Tokens`.

        Raises `BadInput` without a reason.
        """
        if len(reason.split()) < 2:
            raise BadInput("Revoking a token needs a reason.", value=reason, hint='Say why: --reason "…".')
        with self._database.writing() as connection:
            row = _row_of(connection, token_id)
            if row is None:
                raise NotFound(
                    f"There is no token {token_id}.",
                    value=token_id,
                    valid=connection.execute(select(tokens.c.token_id).order_by(tokens.c.created_at)).scalars().all(),
                    hint="`towpath token list` lists them, by their id and never with their secret.",
                )
            if keyed(connection, _revocation(token_id)) is None:
                if not provider:
                    self._require_another_admin(connection, token_id)
                body = {"act": "token-revoke", "token": token_id, "person": row["person"], "reason": reason}
                draft = _draft(body, key=_revocation(token_id))
                record = write(connection, draft, actor=by.person, pen=self._speaking(by))
                mine = (tokens.c.token_id == token_id) & tokens.c.revoked_at.is_(None)
                connection.execute(update(tokens).where(mine), {"revoked_at": stamp(record.at)})
            found = _row_of(connection, token_id)
        assert found is not None
        return _token(found)

    def identify(self, text: str) -> Identity:
        """Who holds that token. Raises `Unauthenticated`, never with the token in it."""
        form = _FORM.fullmatch(text)
        if form is None:
            raise Unauthenticated(
                "What is given as a token has not the form of one: tp_, 12 digits, _ and 64 digits.", hint=_ANOTHER
            )
        with self._database.reading() as connection:
            row = _row_of(connection, form["id"])
            revoked = keyed(connection, _revocation(form["id"]))
            made = keyed(connection, _creation(form["id"]))
            issuers = tuple(_issuers(connection, made))
            now = self._now(connection)
        known = row["secret_sha256"] if row is not None else _NOBODY
        same = hmac.compare_digest(_hashed(form["secret"]).encode(), str(known).encode())
        if row is None or not same:
            raise Unauthenticated("The token is none of this installation's.", hint=_ANOTHER)
        self._require_sealed(row, made)
        token = _token(row)
        if revoked is not None or token.revoked_at is not None:
            raise Unauthenticated(f"Token {token.token_id} was revoked.", value=token.token_id, hint=_ANOTHER)
        if now >= token.expires_at:
            raise Unauthenticated(
                f"Token {token.token_id} expired on {token.expires_at:%Y-%m-%d %H:%M} UTC.",
                value=token.token_id,
                hint=_ANOTHER,
            )
        return token.identity().model_copy(update={"issuers": issuers})

    def _require_another_admin(self, connection: Connection, token_id: str) -> None:
        now = self._now(connection)
        rows = connection.execute(select(tokens).where(tokens.c.revoked_at.is_(None))).mappings()
        admins = {token.token_id for token in map(_token, rows) if token.administers and now < token.expires_at}
        if admins == {token_id}:
            raise Denied(
                "This is the last token of a platform admin: without it nobody could make another.",
                value=token_id,
                hint="Make another first (towpath token create … --role platform-admin), then revoke this one.",
            )

    def _now(self, connection: Connection) -> datetime:
        newest = select(records.c.at).order_by(records.c.sequence.desc()).limit(1)
        at = connection.execute(newest).scalar_one_or_none()
        now = self._pen.clock()
        return now if at is None else max(now, datetime.fromisoformat(at))

    def _speaking(self, by: Identity) -> Pen:
        return Pen(clock=self._pen.clock, keys=self._pen.keys, via=by.via)

    def _seal(self, row: dict[str, Any]) -> dict[str, Any]:
        keys = self._pen.keys
        if keys is None:
            return {"signer": None, "signature": None}
        signer, signature = keys.sign(Purpose.LEDGER, _payload(row))
        return {"signer": signer, "signature": base64.b64encode(signature).decode("ascii")}

    def _require_sealed(self, row: RowMapping, made: Record | None) -> None:
        """Raises `Unauthenticated` for a row that was not written with a trusted key, or without any record of it.

        A process without keys can tell nothing of it, as it can of no record.
        """
        keys = self._pen.keys
        whole = made is not None
        if keys is not None and whole:
            key_id = str(row["signer"])
            key = keys.trusted(Purpose.LEDGER).get(key_id)
            ended = key.revoked_after if key is not None else None
            whole = (
                made is not None
                and (ended is None or made.sequence <= ended)
                and key is not None
                and keys.verifies(Purpose.LEDGER, key_id, _payload(row), _decoded(row["signature"]))
            )
        if not whole:
            raise Unauthenticated(
                f"Token {row['token_id']} was changed or put into the database by hand: its seal is not ours.",
                value=row["token_id"],
                hint="Find out who may write the ledger's database, and revoke the token.",
            )


def _issuers(connection: Connection, made: Record | None) -> Iterator[str]:
    """Who made the token that a token was made with, and so on, to the first."""
    while made is not None and (named := _WITH.match(made.via or "")) is not None:
        made = keyed(connection, _creation(named["id"]))
        if made is not None:
            yield str(made.body["issued_by"])


def _any(connection: Connection) -> bool:
    """By a row, or by the record of one: who deletes every row does not make a name enough again."""
    if connection.execute(select(tokens.c.token_id).limit(1)).first() is not None:
        return True
    mine = (records.c.kind == RecordKind.ACCESS.value) & (records.c.project == EVERY_PROJECT)
    bodies = connection.execute(select(records.c.body).where(mine)).scalars()
    return any(parse(body).get("act") == "token-create" for body in bodies)


def _row_of(connection: Connection, token_id: str) -> RowMapping | None:
    return connection.execute(select(tokens).where(tokens.c.token_id == token_id)).mappings().one_or_none()


def _require_admin(wanted: TokenGrant) -> None:
    """The first token ends the time when a name was enough: without an admin nobody could make the second."""
    if wanted.administers:
        return
    raise Denied(
        "The first token of an installation must be a person's with platform-admin in every project: from then on "
        "every change needs a token, and nobody else could make another.",
        value=", ".join(written(wanted.grants)),
        valid=[Role.PLATFORM_ADMIN],
        hint="towpath token create --person NAME --role platform-admin --out FILE",
    )


def _checked(wanted: TokenGrant, token_id: str, *, by: Identity, now: datetime) -> Token:
    if not any(wanted.grants.values()):
        raise BadInput("A token without a role may do nothing.", valid=list(Role), hint="Give --role ROLE[@PROJECT].")
    if wanted.expires_at <= now:
        raise BadInput("The token would have expired before it is made.", value=wanted.expires_at.isoformat())
    token = Token(
        token_id=token_id,
        person=wanted.person.strip(),
        account=wanted.account.strip(),
        kind=wanted.kind,
        grants=wanted.grants,
        issued_by=by.person,
        created_at=now,
        expires_at=wanted.expires_at,
    )
    try:
        token.identity()
    except ValidationError as error:
        raise BadInput(f"No such token can be made: {_gist(error)}.", value=wanted.person) from error
    return token


def _gist(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    return f"{place}: {said}" if place else said


def _told(token: Token) -> dict[str, Any]:
    """What the record says of a token."""
    return {
        "person": token.person,
        "account": token.account,
        "kind": token.kind.value,
        "grants": written(token.grants),
        "issued_by": token.issued_by,
        "expires": stamp(token.expires_at),
    }


def _row(token: Token, secret: str) -> dict[str, Any]:
    return {
        "token_id": token.token_id,
        "secret_sha256": _hashed(secret),
        "person": token.person,
        "account": token.account,
        "kind": token.kind.value,
        "grants": canonical(written(token.grants)),
        "issued_by": token.issued_by,
        "created_at": stamp(token.created_at),
        "expires_at": stamp(token.expires_at),
    }


def _token(row: RowMapping) -> Token:
    """Raises `IntegrityError` when the row holds no token."""
    revoked = row["revoked_at"]
    try:
        return Token(
            token_id=row["token_id"],
            person=row["person"],
            account=row["account"],
            kind=Kind(row["kind"]),
            grants=granted(parse(row["grants"])),
            issued_by=row["issued_by"],
            created_at=datetime.fromisoformat(row["created_at"]),
            expires_at=datetime.fromisoformat(row["expires_at"]),
            revoked_at=None if revoked is None else datetime.fromisoformat(revoked),
        )
    except (ValueError, TypeError, TowpathError) as error:
        raise IntegrityError(
            f"The row of token {row['token_id']} holds no token.",
            gate=chain.GATE,
            value=row["token_id"],
            hint="Someone changed the database. Restore it from its backup.",
        ) from error


def _payload(row: RowMapping | dict[str, Any]) -> bytes:
    """The bytes that seal a row: canonical JSON (RFC 8785) of `{"token": {…}}`, which no record's signature covers."""
    return canonical({"token": {name: row[name] for name in _SEALED}}).encode("utf-8")


def _decoded(signature: object) -> bytes:
    try:
        return base64.b64decode(str(signature), validate=True)
    except ValueError:
        return b""


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


def _creation(token_id: str) -> str:
    return digests.of_json({"token": token_id, "act": "create"})


def _revocation(token_id: str) -> str:
    return digests.of_json({"token": token_id, "act": "revoke"})


def _draft(body: dict[str, Any], *, key: str | None = None) -> Draft:
    return Draft(
        kind=RecordKind.ACCESS,
        project=EVERY_PROJECT,
        candidate="",
        stage=STAGE,
        key=key or _creation(str(body["token"])),
        digest=digests.of_json(body),
        body=body,
    )
