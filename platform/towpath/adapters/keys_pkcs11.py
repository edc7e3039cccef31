"""Keys whose model key is on a PKCS #11 token. The ledger's stays a file: it signs every record, and with Ed25519.

The token makes and keeps the private key, and nothing here makes one there. It is trusted by `rotate`, which is
recorded: a key that somebody can merely name in a setting signs nothing that loads.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from towpath.adapters.keys_local import LocalKeys, key_id_of
from towpath.adapters.keys_pkcs11_token import Opened, opened, pin_of
from towpath.core import statement as statements
from towpath.core.errors import BadInput, Misconfigured
from towpath.core.pkcs11 import KeyUri
from towpath.ports import Certified, Identified, Purpose, Stamp, TokenKey, TrustedKey


class TokenKeys:
    """The port `Keys`: `local` keeps the ledger's key and all that is trusted. `pin`: the environment's.

    `certified`: a certificate speaks for the key, which needs no trust of its own then.
    """

    def __init__(self, local: LocalKeys, uri: KeyUri, *, pin: str | None, certified: bool = False) -> None:
        self._local = local
        self._uri = uri
        self._pin = pin
        self._certified = certified

    def key_id(self, purpose: Purpose) -> str | None:
        if purpose is not Purpose.MODEL:
            return self._local.key_id(purpose)
        with opened(self._token()) as key:
            return key_id_of(key.pem)

    def sign(self, purpose: Purpose, payload: bytes) -> tuple[str, bytes]:
        if purpose is not Purpose.MODEL:
            return self._local.sign(purpose, payload)
        with opened(self._token()) as key:
            return self._trusted(key), key.sign(payload)

    def private(self, purpose: Purpose) -> Path | TokenKey:
        if purpose is not Purpose.MODEL:
            return self._local.private(purpose)
        token = self._token()
        with opened(token) as key:
            self._trusted(key)
        return token

    def stamp(self, statement: bytes) -> Stamp:
        key_id, signature = self.sign(Purpose.MODEL, statements.pae(statements.PAYLOAD_TYPE, statement))
        return Stamp(key_id=key_id, signature=signature, material=None)

    def vouched(self, stamp: Stamp, statement: bytes, *, at: datetime | None = None) -> Certified | Identified:
        return self._local.vouched(stamp, statement, at=at)

    def trusted(self, purpose: Purpose) -> Mapping[str, TrustedKey]:
        return self._local.trusted(purpose)

    def verifies(self, purpose: Purpose, key_id: str, payload: bytes, signature: bytes) -> bool:
        return self._local.verifies(purpose, key_id, payload, signature)

    def made(self, key: TrustedKey, payload: bytes, signature: bytes) -> bool:
        return self._local.made(key, payload, signature)

    def rotate(self, purpose: Purpose, *, at: datetime) -> TrustedKey:
        """Trust the key that the setting names now, once it has proven that it signs."""
        if purpose is not Purpose.MODEL:
            return self._local.rotate(purpose, at=at)
        with opened(self._token()) as key:
            key_id = key_id_of(key.pem)
            if key_id in self.trusted(purpose):
                raise BadInput(
                    f"TOWPATH_MODEL_KEY names key {key_id}, which is known already.",
                    value=key_id,
                    hint="Make a new key on the token, name it in TOWPATH_MODEL_KEY, and rotate then.",
                )
            text = secrets.token_bytes(32)
            made = TrustedKey(key_id=key_id, purpose=purpose, pem=key.pem, added_at=at.isoformat(timespec="seconds"))
            if not self.made(made, text, key.sign(text)):
                raise Misconfigured(
                    f"The public key at {self._uri.text()} is not that of the private one.",
                    value=key_id,
                    hint="Name the key by its id as well, or remove the public key that does not belong to it.",
                )
        return self._local.trust(made)

    def revoke(self, key_id: str, *, at: datetime, after: int, reason: str) -> TrustedKey:
        return self._local.revoke(key_id, at=at, after=after, reason=reason)

    def _token(self) -> TokenKey:
        return TokenKey(uri=self._uri, pin=pin_of(self._uri, self._pin))

    def _trusted(self, key: Opened) -> str:
        key_id = key_id_of(key.pem)
        found = self.trusted(Purpose.MODEL).get(key_id)
        if found is None and self._certified:
            return key_id
        if found is None or found.revoked_at is not None:
            why, first = ("nobody trusts", "") if found is None else ("was revoked", "Name another in the setting. ")
            raise Misconfigured(
                f"TOWPATH_MODEL_KEY names key {key_id}, which {why}.",
                value=key_id,
                valid=sorted(key_id for key_id, known in self.trusted(Purpose.MODEL).items() if not known.revoked_at),
                hint=f"{first}A platform admin has a new key of the token trusted: `towpath key rotate model`.",
            )
        return key_id
