"""A key on a PKCS #11 token: a hardware security module, a smart card, SoftHSM. ECDSA on P-256 only.

A session lasts for one use. One thread of a process uses tokens at a time: who is logged in is a matter of the whole
process there, and model-signing, which logs in by itself, takes "already logged in" for a failure.
"""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from towpath.core.errors import Misconfigured
from towpath.core.pkcs11 import KeyUri
from towpath.ports import TokenKey

TURN: Final = threading.RLock()
"""Held by whoever uses a token."""
_POINT_BYTES: Final = 65
_P256: Final = bytes.fromhex("06082a8648ce3d030107")  # the object identifier of the curve, in DER
_PIN = "TOWPATH_MODEL_PIN"


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A key of an open session: what finds it, and its public half in PEM."""

    pem: str
    _session: Any = field(repr=False)
    _private: Any = field(repr=False)

    def sign(self, payload: bytes) -> bytes:
        """ECDSA over SHA-256 of the payload, in DER, as keys in files sign."""
        from hashlib import sha256

        import PyKCS11
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

        mechanism = PyKCS11.Mechanism(PyKCS11.CKM_ECDSA, None)
        both = bytes(self._session.sign(self._private, sha256(payload).digest(), mechanism))
        half = len(both) // 2
        return encode_dss_signature(int.from_bytes(both[:half]), int.from_bytes(both[half:]))


def pin_of(uri: KeyUri, given: str | None) -> str:
    """The PIN: that of the environment, or of the URI's file, which only its owner reads. Raises `Misconfigured`."""
    if given is not None:
        return given
    if uri.pin_file is None:
        raise Misconfigured(
            f"There is no PIN for the token of {uri.text()}.",
            value=uri.text(),
            hint=f"Set {_PIN}, or name a file that holds it in the URI: pin-source=file:/…",
        )
    file = Path(uri.pin_file)
    try:
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            raise Misconfigured(f"The PIN's file {file} can be read by others.", value=str(file), hint="Mode 600.")
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"The PIN's file {file} cannot be read: {error}.", value=str(file)) from error


@contextmanager
def opened(key: TokenKey) -> Iterator[Opened]:
    """The key, for as long as the session lasts. Raises `Misconfigured`, which says what is not there or not right."""
    pykcs11 = _library()
    module = key.uri.module
    if not Path(module).is_file():
        raise _wrong(key, f"there is no PKCS #11 module {module}")
    with TURN:
        try:
            library = pykcs11.PyKCS11Lib().load(module)
        except pykcs11.PyKCS11Error as error:
            raise _wrong(key, f"{module} is no PKCS #11 module that can be loaded ({error})") from error
        session = None
        try:
            session = library.openSession(_slot(library, key))
            _log_in(session, key)
            yield _found(session, key)
        except pykcs11.PyKCS11Error as error:
            raise _wrong(key, f"the token answers {error}") from error
        finally:
            if session is not None:
                session.closeSession()  # and with a process' last session ends its login


def _library() -> Any:
    try:
        import PyKCS11
    except ImportError as error:
        raise Misconfigured(
            "Keys on a token need the library PyKCS11, which is not installed.",
            value="PyKCS11",
            hint="pip install 'towpath[pkcs11]'",
        ) from error
    return PyKCS11


def _slot(library: Any, key: TokenKey) -> int:
    tokens: dict[int, str] = {
        slot: library.getTokenInfo(slot).label.rstrip(" \0") for slot in library.getSlotList(tokenPresent=True)
    }
    uri = key.uri
    found = [
        slot
        for slot, label in tokens.items()
        if (uri.slot is None or slot == uri.slot) and (uri.token is None or label == uri.token)
    ]
    if len(found) != 1:
        named = sorted(label for label in tokens.values() if label)
        raise _wrong(key, f"{'no' if not found else 'more than one'} token is called that", valid=named)
    return found[0]


def _log_in(session: Any, key: TokenKey) -> None:
    pykcs11 = _library()
    try:
        session.login(key.pin)
    except pykcs11.PyKCS11Error as error:
        if error.value in (pykcs11.CKR_PIN_INCORRECT, pykcs11.CKR_PIN_LEN_RANGE, pykcs11.CKR_PIN_INVALID):
            hint = f"It is that of {_PIN}, or of the URI's pin-source. Tokens lock themselves after some wrong ones."
            raise _wrong(key, "the PIN is wrong", hint=hint) from error
        if error.value == pykcs11.CKR_PIN_LOCKED:
            raise _wrong(key, "the PIN is locked", hint="The token's security officer can set a new one.") from error
        raise


def _found(session: Any, key: TokenKey) -> Opened:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    pykcs11 = _library()
    private = _only(session, key, pykcs11.CKO_PRIVATE_KEY, "private key")
    public = _only(session, key, pykcs11.CKO_PUBLIC_KEY, "public key")
    (kind,) = session.getAttributeValue(public, [pykcs11.CKA_KEY_TYPE])
    curve, point = None, b""
    if kind == pykcs11.CKK_EC:
        curve, point = map(bytes, session.getAttributeValue(public, [pykcs11.CKA_EC_PARAMS, pykcs11.CKA_EC_POINT]))
    if curve != _P256:
        raise _wrong(key, "the key is not of the curve P-256", hint="Models are signed with ECDSA on P-256.")
    # The attribute is a DER octet string around the point: 04, its length (65), the point. Some give the point alone.
    bare = point[2:] if len(point) == _POINT_BYTES + 2 else point
    try:
        found = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bare)
    except ValueError as error:
        raise _wrong(key, f"its public half is no point of the curve: {error}") from error
    pem = found.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Opened(pem=pem.decode(), _session=session, _private=private)


def _only(session: Any, key: TokenKey, kind: int, called: str) -> Any:
    pykcs11 = _library()
    template: list[tuple[int, Any]] = [(pykcs11.CKA_CLASS, kind)]
    if key.uri.label is not None:
        template.append((pykcs11.CKA_LABEL, key.uri.label))
    if key.uri.identity is not None:
        template.append((pykcs11.CKA_ID, tuple(key.uri.identity)))
    found = session.findObjects(template)
    if len(found) != 1:
        others = session.findObjects([(pykcs11.CKA_CLASS, kind)])
        labels = sorted({str(session.getAttributeValue(one, [pykcs11.CKA_LABEL])[0]) for one in others})
        raise _wrong(key, f"{'no' if not found else 'more than one'} {called} is called that", valid=labels)
    return found[0]


def _wrong(key: TokenKey, why: str, *, valid: list[str] | None = None, hint: str | None = None) -> Misconfigured:
    uri = key.uri.text()
    return Misconfigured(
        f"The model key {uri} cannot be used: {why}.",
        value=uri,
        valid=valid or (),
        hint=hint or "Set TOWPATH_MODEL_KEY to a key that is there, or unset it to sign with a key in a file.",
    )
