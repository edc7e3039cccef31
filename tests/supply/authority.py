"""A certificate authority of the tests: a root, what it certifies, and keys that it certifies to sign models."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CODE = ExtendedKeyUsageOID.CODE_SIGNING
SERVER = ExtendedKeyUsageOID.SERVER_AUTH


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True, kw_only=True)
class Authority:
    """An authority by its own certificate and key; `above`: what lies between it and its root, the nearest first."""

    name: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    above: tuple[x509.Certificate, ...] = field(default=())

    @classmethod
    def root(cls, name: str, *, curve: ec.EllipticCurve | None = None, **options: Any) -> Authority:
        key = ec.generate_private_key(curve or ec.SECP256R1())
        options = {"since": timedelta(days=-10), **options}
        return cls(name=name, key=key, certificate=_made(name, key.public_key(), name, key, ca=True, **options))

    def below(self, name: str, **options: Any) -> Authority:
        """An intermediate authority."""
        key = p256()
        made = _made(name, key.public_key(), self.name, self.key, ca=True, **options)
        return Authority(name=name, key=key, certificate=made, above=(made, *self.above))

    def certify(self, public: ec.EllipticCurvePublicKey, name: str = "releases", **options: Any) -> x509.Certificate:
        return _made(name, public, self.name, self.key, **options)

    def write(self, file: Path) -> Path:
        """Its own certificate, to be trusted."""
        file.write_bytes(pem(self.certificate))
        return file


def chained(*certificates: x509.Certificate) -> bytes:
    return b"".join(map(pem, certificates))


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def _made(
    name: str,
    public: ec.EllipticCurvePublicKey,
    issuer: str,
    by: ec.EllipticCurvePrivateKey,
    *,
    ca: bool = False,
    uses: tuple[x509.ObjectIdentifier, ...] | None = None,
    signs: bool | None = None,
    path_length: int | None = None,
    more: tuple[x509.ExtensionType, ...] = (),
    since: timedelta = timedelta(minutes=-1),
    until: timedelta = timedelta(days=30),
) -> x509.Certificate:
    """`uses` and `signs`: by default what an authority, or a signer, has. `more`: critical extensions."""
    now, uses = datetime.now(UTC), uses if uses is not None else () if ca else (CODE,)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + since)
        .not_valid_after(now + until)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        .add_extension(
            x509.KeyUsage(
                **usage,
                digital_signature=signs if signs is not None else not ca,
                key_cert_sign=ca,
                crl_sign=ca,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    )
    if uses:
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    for extension in more:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(by, hashes.SHA256())


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
