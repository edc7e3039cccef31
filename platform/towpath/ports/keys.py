"""Asked of the keys that sign, and of those that are trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from towpath.core.masking import PseudonymKey
from towpath.core.pkcs11 import KeyUri


class Purpose(StrEnum):
    """What a key signs. A key of one purpose verifies nothing of another."""

    LEDGER = "ledger"
    """Records and checkpoints: Ed25519."""
    MODEL = "model"
    """Models and statements about candidates: ECDSA on P-256, as OpenSSF model signing has it."""


@dataclass(frozen=True, kw_only=True)
class TrustedKey:
    """A public key that is trusted, or was until it was revoked.

    `key_id`: the first 32 hex digits of the SHA-256 of its DER form (SubjectPublicKeyInfo). `revoked_after`: the
    ledger's last sequence number when it was revoked; what it signed behind that counts for nothing.
    """

    key_id: str
    purpose: Purpose
    pem: str
    added_at: str
    revoked_at: str | None = None
    revoked_after: int | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class TokenKey:
    """A private key that does not leave its PKCS #11 token, and the PIN that lets it be used."""

    uri: KeyUri
    pin: str = field(repr=False)


class Keys(Protocol):
    """Private keys that this process may use, and the public keys that are trusted."""

    def key_id(self, purpose: Purpose) -> str | None:
        """The id of the key that signs now; None where this process has none."""
        ...

    def sign(self, purpose: Purpose, payload: bytes) -> tuple[str, bytes]:
        """The key's id and its signature over the payload. Raises `Misconfigured` where this process has no key."""
        ...

    def private(self, purpose: Purpose) -> Path | TokenKey:
        """The private key for libraries that sign themselves: a PEM file (PKCS #8), or a key on a token.

        Raises `Misconfigured`.
        """
        ...

    def trusted(self, purpose: Purpose) -> Mapping[str, TrustedKey]:
        """Every key that is or was trusted, by id."""
        ...

    def verifies(self, purpose: Purpose, key_id: str, payload: bytes, signature: bytes) -> bool:
        """Whether that key is known and made that signature. Revocation is the caller's question."""
        ...

    def made(self, key: TrustedKey, payload: bytes, signature: bytes) -> bool:
        """Whether that key made that signature. Raises `IntegrityError` for a key that is none of its purpose."""
        ...

    def rotate(self, purpose: Purpose, *, at: datetime) -> TrustedKey:
        """Make a new key, which signs from now on; the old one stays trusted for what it signed."""
        ...

    def revoke(self, key_id: str, *, at: datetime, after: int, reason: str) -> TrustedKey:
        """Trust a key no longer. Raises `NotFound`."""
        ...


class PseudonymKeys(Protocol):
    """The secret keys of pseudonyms, by name and version. They are kept apart from the data, and nowhere recorded."""

    @property
    def made_at_first_use(self) -> bool:
        """Whether this installation makes a key that nobody made yet: one person's own, not a shared one."""
        ...

    def current(self, name: str) -> PseudonymKey | None:
        """The newest version of a key; None where there is none. Raises `Misconfigured` for a file that is no key."""
        ...

    def rotate(self, name: str, *, above: int = 0) -> PseudonymKey:
        """Make a key's next version, beyond `above`; the old ones stay until somebody removes their files."""
        ...
