"""Keys as files: private ones that only their owner reads, and a folder of the public ones that are trusted.

    <folder>/ledger.key               the key that signs now, PKCS #8, mode 0600
    <folder>/trusted/<key id>.json    a public key, when it was added, and whether it was revoked

A server that only verifies is given the folder without `*.key`.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final, NoReturn

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from towpath.core import statement as statements
from towpath.core.errors import BadInput, IntegrityError, Misconfigured, NotFound, Unwritable
from towpath.ports import Purpose, Stamp, TrustedKey

_GATE: Final = "integrity.keys"
_BEGIN, _END = "-----BEGIN PUBLIC KEY-----\n", "-----END PUBLIC KEY-----\n"
_ECDSA: Final = ec.ECDSA(hashes.SHA256())
_Private = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
_Public = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey


class LocalKeys:
    """The port `Keys` over a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shelf = str(folder / "trusted")
        self._known: tuple[tuple[tuple[str, int], ...], Mapping[str, TrustedKey]] | None = None
        self._private: dict[Purpose, tuple[int, str, _Private]] = {}

    def ensure(self, *, at: datetime, purposes: Iterable[Purpose] = Purpose) -> None:
        """Make the keys of a new embedded installation: where no key of a purpose is known, neither own nor trusted."""
        for purpose in purposes:
            if not self._file(purpose).exists() and not self.trusted(purpose):
                self.rotate(purpose, at=at)

    def key_id(self, purpose: Purpose) -> str | None:
        return self._own(purpose)[0] if self._file(purpose).exists() else None

    def sign(self, purpose: Purpose, payload: bytes) -> tuple[str, bytes]:
        key_id, private = self._own(purpose)
        if isinstance(private, ed25519.Ed25519PrivateKey):
            return key_id, private.sign(payload)
        return key_id, private.sign(payload, _ECDSA)

    def private(self, purpose: Purpose) -> Path:
        self._own(purpose)
        return self._file(purpose)

    def stamp(self, statement: bytes) -> Stamp:
        key_id, signature = self.sign(Purpose.MODEL, statements.pae(statements.PAYLOAD_TYPE, statement))
        return Stamp(key_id=key_id, signature=signature, material=None)

    def vouched(self, stamp: Stamp, statement: bytes, *, at: datetime | None = None) -> NoReturn:  # noqa: ARG002
        """Nobody vouches for anybody here."""
        raise IntegrityError(
            "A model is signed by a certificate or an identity, and here nobody vouches for those.",
            gate=statements.GATE,
            value=stamp.key_id,
            hint="Name who does in TOWPATH_MODEL_TRUST, or attest it with a trusted key: towpath model attest.",
        )

    def trusted(self, purpose: Purpose) -> Mapping[str, TrustedKey]:
        return {key_id: key for key_id, key in self._read().items() if key.purpose is purpose}

    def verifies(self, purpose: Purpose, key_id: str, payload: bytes, signature: bytes) -> bool:
        key = self._read().get(key_id)
        return key is not None and key.purpose is purpose and self.made(key, payload, signature)

    def made(self, key: TrustedKey, payload: bytes, signature: bytes) -> bool:
        public = _public(key.pem, key.purpose)
        try:
            if isinstance(public, ed25519.Ed25519PublicKey):
                public.verify(signature, payload)
            else:
                public.verify(signature, payload, _ECDSA)
        except InvalidSignature:
            return False
        return True

    def rotate(self, purpose: Purpose, *, at: datetime) -> TrustedKey:
        private: _Private = (
            ed25519.Ed25519PrivateKey.generate()
            if purpose is Purpose.LEDGER
            else ec.generate_private_key(ec.SECP256R1())
        )
        pem = private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        key = TrustedKey(
            key_id=key_id_of(pem.decode()), purpose=purpose, pem=pem.decode(), added_at=at.isoformat(timespec="seconds")
        )
        # Trusted first: killed in between, a key is trusted that nobody has, not one in use that nobody trusts.
        self._write(key)
        _replace(
            self._file(purpose),
            private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )
        return key

    def trust(self, key: TrustedKey) -> TrustedKey:
        """Trust a key whose private half is elsewhere; or note that what is no key was revoked."""
        self._write(key)
        return key

    def revoke(self, key_id: str, *, at: datetime, after: int, reason: str) -> TrustedKey:
        found = self._read().get(key_id)
        if found is None:
            raise NotFound(f"There is no key {key_id!r}.", value=key_id, valid=sorted(self._read()))
        if found.revoked_at is not None:
            raise BadInput(f"Key {key_id} was revoked on {found.revoked_at}.", value=key_id)
        key = replace(found, revoked_at=at.isoformat(timespec="seconds"), revoked_after=after, reason=reason)
        self._write(key)
        return key

    def _file(self, purpose: Purpose) -> Path:
        return self._folder / f"{purpose}.key"

    def _own(self, purpose: Purpose) -> tuple[str, _Private]:
        """The private key and its id, read again when its file is another."""
        file = self._file(purpose)
        try:
            status = file.stat()
            known = self._private.get(purpose)
            if known is None or known[0] != status.st_mtime_ns:
                if status.st_mode & 0o077:
                    raise Misconfigured(
                        f"The private key {file} can be read by others.",
                        value=oct(status.st_mode & 0o777),
                        hint="Give it mode 600.",
                    )
                private = serialization.load_pem_private_key(file.read_bytes(), password=None)
                assert isinstance(private, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey)
                pem = private.public_key().public_bytes(
                    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                )
                known = (status.st_mtime_ns, key_id_of(pem.decode()), private)
                self._private[purpose] = known
        except FileNotFoundError as error:
            raise Misconfigured(
                f"This process has no {purpose} key: there is no {file}.",
                value=str(file),
                hint="Set TOWPATH_KEYS to the folder that has it, or leave the writing to a process that has one.",
            ) from error
        except (OSError, ValueError, AssertionError) as error:
            raise Misconfigured(f"The key {file} cannot be read: {error}.", value=str(file)) from error
        return known[1], known[2]

    def _read(self) -> Mapping[str, TrustedKey]:
        shelf = self._shelf
        try:
            state: tuple[tuple[str, int], ...] = ()
            # Asked once a signature: the plainest calls, since a path object costs as much as a signature.
            with suppress(FileNotFoundError), os.scandir(shelf) as found:
                state = tuple(sorted([(file.name, file.stat().st_mtime_ns) for file in found]))
            if self._known is None or self._known[0] != state:
                files = (Path(shelf, name) for name, _ in state if name.endswith(".json"))
                self._known = (state, {key.key_id: key for key in map(_trusted, files)})
        except OSError as error:
            raise Misconfigured(f"The trusted keys in {shelf} cannot be read: {error}.", value=shelf) from error
        return self._known[1]

    def _write(self, key: TrustedKey) -> None:
        value = {**asdict(key), "purpose": key.purpose.value}
        if not key.about:
            del value["about"]  # releases that do not know it read keys all the same
        text = json.dumps(value, indent=1, sort_keys=True)
        _replace(self._folder / "trusted" / f"{key.key_id}.json", text.encode())


def key_id_of(pem: str) -> str:
    """The first 32 hex digits of the SHA-256 of the public key's DER form. Raises `ValueError`: another form of PEM."""
    return sha256(_der(pem)).hexdigest()[:32]


def _der(pem: str) -> bytes:
    """The DER form of a public key in PEM (RFC 7468), of text that is nothing but one key, written the one way.

    OpenSSL takes a millisecond to make its first key of a kind, and whoever proves one signature needs one key. So the
    files are held to their names by their bytes; and these bytes are what `_public` makes the key of.
    """
    body = pem.removeprefix(_BEGIN).removesuffix(_END)
    der = base64.b64decode(body.replace("\n", ""), validate=True)
    text = base64.b64encode(der).decode()
    lines = (text[place : place + 64] + "\n" for place in range(0, len(text), 64))
    if pem != _BEGIN + "".join(lines) + _END:
        raise ValueError("it is not one public key in PEM, as keys are written here")
    return der


@cache
def _public(pem: str, purpose: Purpose) -> _Public:
    """Raises `IntegrityError` for what is no key of that purpose."""
    try:
        found = serialization.load_der_public_key(_der(pem))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IntegrityError(f"A trusted {purpose} key is none: {error}.", gate=_GATE) from error
    if isinstance(found, ed25519.Ed25519PublicKey) and purpose is Purpose.LEDGER:
        return found
    if isinstance(found, ec.EllipticCurvePublicKey) and purpose is Purpose.MODEL:
        return found
    raise IntegrityError(f"A trusted {purpose} key is of another kind: {type(found).__name__}.", gate=_GATE)


def _trusted(file: Path) -> TrustedKey:
    """Raises `IntegrityError` for a file that holds no key, or another than its name says."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        key = TrustedKey(**{**value, "purpose": Purpose(value["purpose"])})
        # Who only vouched for keys has none here, and stands here once it is revoked: it can but refuse.
        none = not key.pem and key.revoked_at is not None
        genuine = (key.key_id if none else key_id_of(key.pem)) == key.key_id == file.stem
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise IntegrityError(f"{file} holds no trusted key: {error}.", gate=_GATE, value=str(file)) from error
    if not genuine:
        raise IntegrityError(f"{file} holds another key than its name says.", gate=_GATE, value=str(file))
    return key


def _replace(file: Path, data: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    try:
        for folder in (file.parent.parent, file.parent):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=file.parent)  # mode 0600
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(file)
    except OSError as error:
        raise Unwritable(f"The key file {file} cannot be written: {error.strerror}.", value=str(file)) from error
