"""Asked of the keys that sign, and of those that are trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from towpath.core.keyless import Keyless
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
    ledger's last sequence number when it was revoked; what it signed behind that counts for nothing. `about`: what it
    is where it is no key but vouches for some: a certificate authority (`pem` is its root's, and the id is of the
    certificate's DER form), or an identity with its issuer (no `pem`). Such an entry signs nothing itself.
    """

    key_id: str
    purpose: Purpose
    pem: str
    added_at: str
    revoked_at: str | None = None
    revoked_after: int | None = None
    reason: str = ""
    about: str = ""


@dataclass(frozen=True, kw_only=True)
class TokenKey:
    """A private key that does not leave its PKCS #11 token, and the PIN that lets it be used."""

    uri: KeyUri
    pin: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class CertifiedKey:
    """A private key, and the PEM file of its certificate, first, and of those between it and its authority."""

    key: Path | TokenKey
    certificate: Path


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """A signature over an in-toto statement in a DSSE envelope.

    `material`: what a Sigstore bundle calls its verification material, in JSON: the certificates, and the log's entry;
    None where a key that is trusted itself signed. `key_id`: who signed, as the signature claims.
    """

    key_id: str
    signature: bytes
    material: Mapping[str, JsonValue] | None = None


@dataclass(frozen=True, kw_only=True)
class Certified:
    """Whoever has the key of a certificate that a trusted authority's chain vouches for.

    `key_id`: the first 32 hex digits of the certificate's SHA-256 fingerprint. `subject`: its name (RFC 4514); `roots`:
    the trusted authorities' certificates, in PEM.
    """

    key_id: str
    subject: str
    roots: str


@dataclass(frozen=True, kw_only=True)
class Identified:
    """An identity that its issuer vouches for, by Sigstore. `config`: the deployment's ClientTrustConfig, in JSON.

    `key_id`: the first 32 hex digits of the digest of the identity and its issuer. `certificate`: that of the
    certificate of this one signature, which is as long as a `Certified`'s.
    """

    key_id: str
    identity: str
    issuer: str
    config: str
    certificate: str


Signatory = TrustedKey | Certified | Identified
"""Who signed, once it is known that they are trusted."""


class Keys(Protocol):
    """Private keys that this process may use, and the public keys that are trusted."""

    def key_id(self, purpose: Purpose) -> str | None:
        """The id of the key that signs now; None where this process has none."""
        ...

    def sign(self, purpose: Purpose, payload: bytes) -> tuple[str, bytes]:
        """The key's id and its signature over the payload. Raises `Misconfigured` where this process has no key."""
        ...

    def private(self, purpose: Purpose) -> Path | TokenKey | CertifiedKey | Keyless:
        """What libraries that sign themselves sign with: a PEM file (PKCS #8), a key on a token, either with its
        certificate, or an identity. Raises `Misconfigured`.
        """
        ...

    def stamp(self, statement: bytes) -> Stamp:
        """Sign an in-toto statement as whoever signs models. Raises `Misconfigured` where this process cannot."""
        ...

    def vouched(self, stamp: Stamp, statement: bytes, *, at: datetime | None = None) -> Certified | Identified:
        """Who made that signature over that statement at that time, by default now, by its verification material.

        Asks no network. Raises `IntegrityError` for a signature that is not theirs, and for anybody whom no trusted
        authority or identity vouches for, or who was revoked.
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
