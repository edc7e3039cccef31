"""Certificates of keys that sign models, and the chains that vouch for them. Nothing is fetched: no OCSP, no CRL.

model-signing proves a chain at the time at which its first certificate began, so that with it a certificate never
expires; and it takes any certificate that may sign anything, such as a web server's. Here a chain is proven at the time
at which the signature was recorded; the certificate must be a signer's, made for signing code, and no authority between
it and the root may be for other uses alone.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID
from pydantic import JsonValue

from towpath.core.errors import IntegrityError, Misconfigured
from towpath.core.statement import GATE

_LONGEST: Final = 8
_CHAIN: Final = "x509CertificateChain"
_BIT_STRING, _SEQUENCE = 0x03, 0x30  # tags of DER (X.690)
_CURVES: Final = (
    ec.SECP256R1,
    ec.SECP384R1,
    ec.SECP521R1,
    ec.SECP256K1,
    ec.BrainpoolP256R1,
    ec.BrainpoolP384R1,
    ec.BrainpoolP512R1,
)


def fingerprint(certificate: x509.Certificate) -> str:
    """The first 32 hex digits of a certificate's SHA-256 fingerprint."""
    return certificate.fingerprint(hashes.SHA256()).hex()[:32]


def fingerprints(certificate: x509.Certificate) -> tuple[str, ...]:
    """Its fingerprint, and those of its twins: all that a revocation of it has to be looked for under.

    A fingerprint covers the authority's signature, and of an ECDSA signature (r, s) anybody can make (r, n - s), which
    is as good: so a revoked certificate would come back under another fingerprint. The order n is that of the
    authority's curve, which the certificate does not name; a twin by another order is nobody's certificate.
    """
    try:
        r, s = decode_dss_signature(certificate.signature)
    except ValueError:  # RSA and EdDSA: no second signature can be made of the first
        return (fingerprint(certificate),)
    twins = {encode_dss_signature(r, curve.group_order - s) for curve in _CURVES if s < curve.group_order}
    others = (sha256(_with(certificate, signature)).hexdigest()[:32] for signature in twins)
    return (fingerprint(certificate), *others)


def pem_of(certificate: x509.Certificate) -> str:
    """PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def public_pem(certificate: x509.Certificate) -> str:
    """The certificate's public key, in PEM."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return certificate.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def read(file: Path) -> list[x509.Certificate]:
    """The certificate of the key that signs, and those behind it. Raises `Misconfigured`."""
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError, x509.InvalidVersion) as error:
        raise Misconfigured(f"{file} holds no certificate in PEM: {error}.", value=str(file)) from error


def roots_of(text: str, file: Path) -> list[tuple[str, str, str]]:
    """The fingerprint, the PEM and the name of each root. Raises `Misconfigured` for what is no authority's own."""
    try:
        found = x509.load_pem_x509_certificates(text.encode())
        for one in found:
            authority = one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
            if not authority or one.issuer != one.subject:
                raise ValueError(f"{one.subject.rfc4514_string()} is not the root of an authority")
            one.verify_directly_issued_by(one)
    except Exception as error:  # the library says it in many classes
        raise Misconfigured(
            f"TOWPATH_MODEL_TRUST: {file} holds no root certificates: {str(error) or type(error).__name__}.",
            value=str(file),
            hint="Name the root of the authority, in PEM; those between it and the signer come with the signature.",
        ) from error
    return [(fingerprint(one), pem_of(one), one.subject.rfc4514_string()) for one in found]


def material(chain: list[x509.Certificate]) -> dict[str, JsonValue]:
    """The verification material of a signature by the first certificate's key."""
    raw = [base64.b64encode(one.public_bytes(serialization.Encoding.DER)).decode() for one in chain]
    return {_CHAIN: {"certificates": [{"rawBytes": one} for one in raw]}, "tlogEntries": []}


def holds_chain(given: Mapping[str, JsonValue]) -> bool:
    """Whether verification material is of this kind."""
    return _CHAIN in given


def proven(given: Mapping[str, JsonValue], *, roots: str, at: datetime) -> list[x509.Certificate]:
    """The chain, from the signer's certificate to a trusted root, all good at that time.

    Raises `IntegrityError`, and nothing else whatever is in there: who may not sign may still write.
    """
    try:
        return _proven(given, roots=roots, at=at)
    except IntegrityError:
        raise
    except Exception as error:  # the libraries say it in many classes
        raise IntegrityError(
            f"A signature's certificates cannot be read: {' '.join(str(error).split()) or type(error).__name__}.",
            gate=GATE,
        ) from error


def subject_of(certificate: x509.Certificate) -> str:
    """Its name (RFC 4514)."""
    try:
        return certificate.subject.rfc4514_string() or "nobody"
    except ValueError:
        return "a name that cannot be read"


def _proven(given: Mapping[str, JsonValue], *, roots: str, at: datetime) -> list[x509.Certificate]:
    from OpenSSL import crypto

    chain = _chain(given)
    _require_signer(chain[0])
    store = crypto.X509Store()
    for root in x509.load_pem_x509_certificates(roots.encode()) if roots else ():
        store.add_cert(crypto.X509.from_cryptography(root))
    store.set_time(at.astimezone(UTC))  # it reads the clock on the wall
    first, *rest = map(crypto.X509.from_cryptography, chain)
    try:
        found = [one.to_cryptography() for one in crypto.X509StoreContext(store, first, rest).get_verified_chain()]
    except crypto.X509StoreContextError as error:
        raise _refused(f"{_named(chain[0])} is vouched for by nobody who is trusted: {error}", chain[0]) from error
    for one in found[:-1]:  # OpenSSL takes them; the root is trusted by its bytes, not its signature
        if isinstance(one.signature_hash_algorithm, hashes.SHA1 | hashes.MD5):
            raise _refused(f"{_named(one)} is signed with {one.signature_hash_algorithm.name}, which is broken", one)
    for between in found[1:-1]:  # OpenSSL does not hold an authority to the uses that its own certificate is for
        uses = _uses(between)
        if (
            uses is not None
            and not {ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & uses
        ):
            raise _refused(f"{_named(between)}, which vouches for it, is not for signing code (codeSigning)", between)
    return found


def signed(certificate: x509.Certificate, payload: bytes, signature: bytes) -> bool:
    """Whether the certificate's key made that signature (ECDSA on P-256, SHA-256)."""
    public: Any = certificate.public_key()
    try:
        public.verify(signature, payload, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _with(certificate: x509.Certificate, signature: bytes) -> bytes:
    """The certificate's DER form with that signature: a sequence of what is signed, the algorithm, a bit string."""
    whole, signed_part = certificate.public_bytes(serialization.Encoding.DER), certificate.tbs_certificate_bytes
    before = _der(_BIT_STRING, b"\0" + certificate.signature)
    content = whole[whole.index(signed_part) : -len(before)]
    return _der(_SEQUENCE, content + _der(_BIT_STRING, b"\0" + signature))


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    long = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, *([size] if size < 0x80 else [0x80 | len(long), *long])]) + content


def _chain(given: Mapping[str, JsonValue]) -> list[x509.Certificate]:
    try:
        listed: Any = given[_CHAIN]
        raw = [base64.b64decode(one["rawBytes"], validate=True) for one in listed["certificates"]]
        chain = [x509.load_der_x509_certificate(one) for one in raw[: _LONGEST + 1]]
    except (KeyError, TypeError) as error:
        raise IntegrityError("A signature's certificates are no list of them.", gate=GATE) from error
    if not 1 <= len(chain) <= _LONGEST:
        raise IntegrityError(f"A signature has no certificate, or more than {_LONGEST}.", gate=GATE, value=len(chain))
    return chain


def _require_signer(certificate: x509.Certificate) -> None:
    """Raises `IntegrityError` for a certificate that is for another use, or of another kind of key."""
    public = certificate.public_key()
    if ExtendedKeyUsageOID.CODE_SIGNING not in (_uses(certificate) or ()):
        raise _refused(f"{_named(certificate)} is not for signing code (codeSigning)", certificate)
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.KeyUsage) and not extension.value.digital_signature:
            raise _refused(f"{_named(certificate)} is not for signatures (digitalSignature)", certificate)
        if isinstance(extension.value, x509.BasicConstraints) and extension.value.ca:
            raise _refused(f"{_named(certificate)} is of an authority, not of a signer", certificate)
    if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name != "secp256r1":
        raise _refused(f"the key of {_named(certificate)} is not of the curve P-256", certificate)


def _uses(certificate: x509.Certificate) -> set[x509.ObjectIdentifier] | None:
    """What its extended key usage says that it is for; None where it says nothing."""
    try:
        return set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return None


def _named(certificate: x509.Certificate) -> str:
    return f"the certificate {fingerprint(certificate)} of {subject_of(certificate)}"


def _refused(why: str, certificate: x509.Certificate) -> IntegrityError:
    return IntegrityError(
        f"A signature counts for nothing: {why}.",
        gate=GATE,
        value=fingerprint(certificate),
        hint="`towpath key list` shows the trusted authorities. Have the model attested by who is certified by one.",
    )
