"""Which chains of certificates vouch for a signer, and which do not, whatever somebody makes of theirs. No model."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.x509.oid import NameOID
from OpenSSL import crypto

from supply.authority import CODE, SERVER, Authority, fingerprint, p256
from towpath.adapters.keys_certificates import material
from towpath.adapters.keys_local import LocalKeys
from towpath.adapters.keys_trust import Trust
from towpath.adapters.keys_vouched import VouchedKeys
from towpath.core import statement as statements
from towpath.core.errors import IntegrityError
from towpath.ports import Stamp

STATEMENT = b'{"a": "statement"}'
UNKNOWN = tuple(x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.2.3.4.{last}"), b"\x05\x00") for last in (5, 6))
ONLY_ACME = x509.NameConstraints(
    [x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Acme")]))], None
)
NAMES = x509.SubjectAlternativeName([x509.DNSName("ab")])


def now() -> datetime:
    return datetime.now(UTC)


def trusting(folder: Path, *roots: Authority) -> VouchedKeys:
    """The keys of a gateway that trusts these authorities and has no key in its folder."""
    names = [root.write(folder / f"{number}.pem").name for number, root in enumerate(roots)]
    (folder / "trust.yaml").write_text(json.dumps({"authorities": names}))
    local = LocalKeys(folder / "keys")
    return VouchedKeys(local, local, trust=Trust(folder / "trust.yaml"), clock=now)


def stamped(key: ec.EllipticCurvePrivateKey, *chain: x509.Certificate) -> Stamp:
    """The statement, signed by that key, with that chain beside it."""
    text = statements.pae(statements.PAYLOAD_TYPE, STATEMENT)
    signature = key.sign(text, ec.ECDSA(hashes.SHA256()))
    return Stamp(key_id=fingerprint(chain[0])[:32], signature=signature, material=material(list(chain)))


def twin(certificate: x509.Certificate, order: int) -> x509.Certificate:
    """The same certificate with the other signature that its authority's key makes good."""
    r, s = decode_dss_signature(certificate.signature)
    other = encode_dss_signature(r, order - s)
    whole = certificate.public_bytes(serialization.Encoding.DER)
    body = whole[4 : len(whole) - len(_bits(certificate.signature))] + _bits(other)
    return x509.load_der_x509_certificate(b"\x30\x82" + len(body).to_bytes(2) + body)


def _bits(signature: bytes) -> bytes:
    size = len(signature) + 1
    return bytes([3, size, 0] if size < 128 else [3, 0x81, size, 0]) + signature


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_a_revoked_certificate_does_not_come_back_under_another_fingerprint(
    tmp_path: Path, curve: ec.EllipticCurve
) -> None:
    root, key = Authority.root("Acme", curve=curve), p256()
    keys, certificate = trusting(tmp_path, root), root.certify(key.public_key())
    other = twin(certificate, curve.group_order)
    assert fingerprint(other) != fingerprint(certificate)
    assert keys.vouched(stamped(key, other), STATEMENT).key_id == fingerprint(other)[:32]
    keys.revoke(fingerprint(certificate)[:32], at=now(), after=1, reason="a stolen laptop")
    for one in (certificate, other):
        with pytest.raises(IntegrityError, match="was revoked"):
            keys.vouched(stamped(key, one), STATEMENT)


def test_neither_does_one_between(tmp_path: Path) -> None:
    root, key = Authority.root("Acme"), p256()
    middle = root.below("Issuing")
    keys, certificate = trusting(tmp_path, root), middle.certify(key.public_key())
    other = twin(middle.certificate, root.key.curve.group_order)
    keys.revoke(fingerprint(middle.certificate)[:32], at=now(), after=1, reason="it was broken into")
    for one in (middle.certificate, other):
        with pytest.raises(IntegrityError, match="was revoked"):
            keys.vouched(stamped(key, certificate, one), STATEMENT)


@pytest.mark.parametrize(
    ("options", "before", "after"),
    [
        ({"more": UNKNOWN}, "2a030405", "2a030406"),  # an extension twice
        ({"more": (NAMES,)}, "300482026162", "3004a3023000"),  # a name of a kind that nobody uses (x400Address)
        ({}, "a003020102", "a003020105"),  # of a version that there is not
        ({}, "2a8648ce3d030107", "2a8648ce3d030177"),  # its key is of a curve that there is not
        ({"uses": (SERVER,)}, b"releases".hex(), b"\xff\xfe\xff\xfeases".hex()),  # its name is no text
        ({"more": (NAMES,)}, "551d11", "551d13"),  # names where a constraint is to stand
    ],
)
def test_a_certificate_that_cannot_be_read_is_refused(
    tmp_path: Path, options: dict[str, Any], before: str, after: str
) -> None:
    """Any other error would keep a gateway from what it does about models that prove themselves no more."""
    root, key = Authority.root("Acme"), p256()
    certificate = root.certify(key.public_key(), **options)
    raw = certificate.public_bytes(serialization.Encoding.DER).hex()
    assert before in raw
    der = base64.b64encode(bytes.fromhex(raw.replace(before, after))).decode()
    stamp = replace(stamped(key, certificate), material={"x509CertificateChain": {"certificates": [{"rawBytes": der}]}})
    with pytest.raises(IntegrityError, match=r"cannot be read|counts for nothing"):
        trusting(tmp_path, root).vouched(stamp, STATEMENT)


@pytest.mark.parametrize(
    ("above", "own", "why"),
    [
        ({}, {"ca": True, "uses": (CODE,), "signs": True}, "of an authority, not of a signer"),
        ({"uses": (SERVER,)}, {}, "not for signing code"),
        ({"path_length": 0}, {}, "path length"),
        ({"more": (ONLY_ACME,)}, {}, "permitted subtree"),
        ({}, {"more": UNKNOWN[:1]}, "critical extension"),
        ({"until": timedelta(minutes=-1), "since": timedelta(minutes=-2)}, {}, "has expired"),
    ],
)
def test_what_an_authority_limited_itself_to_is_held_to(
    tmp_path: Path, above: dict[str, Any], own: dict[str, Any], why: str
) -> None:
    root, key = Authority.root("Acme"), p256()
    issuing = root.below("Issuing", **above)
    if above.get("path_length") == 0:
        issuing = issuing.below("Deeper")
    keys, certificate = trusting(tmp_path, root), issuing.certify(key.public_key(), **own)
    with pytest.raises(IntegrityError, match=why):
        keys.vouched(stamped(key, certificate, *issuing.above), STATEMENT)


def test_an_authority_for_signing_code_among_others_vouches(tmp_path: Path) -> None:
    root, key = Authority.root("Acme"), p256()
    issuing = root.below("Issuing", uses=(SERVER, CODE), path_length=0)
    certificate = issuing.certify(key.public_key(), uses=(SERVER, CODE))
    found = trusting(tmp_path, root).vouched(stamped(key, certificate, *issuing.above), STATEMENT)
    assert found.key_id == fingerprint(certificate)[:32]


def test_a_certificate_signed_over_a_broken_digest_vouches_for_nothing(tmp_path: Path) -> None:
    root, key = Authority.root("Acme"), p256()
    made = crypto.X509.from_cryptography(root.certify(key.public_key()))
    made.sign(crypto.PKey.from_cryptography_key(root.key), "sha1")
    with pytest.raises(IntegrityError, match="signed with sha1"):
        trusting(tmp_path, root).vouched(stamped(key, made.to_cryptography()), STATEMENT)
