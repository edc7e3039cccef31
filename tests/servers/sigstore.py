"""A small Sigstore for the tests, on the loopback address: Fulcio, its certificate transparency log, and Rekor (v1).

The cryptography is the real one: it verifies the identity token against its issuer's published keys and the request
against its own key, has a root and an intermediate authority (RFC 5280), logs precertificates (RFC 6962), verifies each
envelope that it logs, and answers with an inclusion proof, a signed checkpoint and a signed entry timestamp. What it is
not: durable, fast, or a log that anybody watches.
"""

from __future__ import annotations

import base64
import json
import struct
import threading
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from joserfc import jwt
from joserfc.jwk import KeySet

from servers.oidc import OidcServer

_SCTS = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_ISSUER_V1 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ISSUER_V2 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_SHA256 = ec.ECDSA(hashes.SHA256())
_AUDIENCE = "sigstore"
_ALIVE = timedelta(minutes=10)
WORKFLOW = "acme/models/.github/workflows/release.yml@refs/heads/main"


@dataclass(kw_only=True)
class Sigstore:
    """A deployment. `late`: by how much Rekor's clock is ahead of Fulcio's."""

    oidc: OidcServer
    late: timedelta = timedelta()
    ca: _Authority = field(default_factory=lambda: _Authority.made())  # noqa: PLW0108 - it is defined below
    ct_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    log_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    leaves: list[bytes] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """Every request, in order: who only verifies makes none."""
    server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def start(self) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        assert self.server is not None
        self.server.shutdown()
        self.server.server_close()

    def token(self, workflow: str = WORKFLOW, **claims: Any) -> str:
        """The identity token that the provider gives a run of a workflow."""
        now = int(datetime.now(UTC).timestamp())
        said = {"iss": self.oidc.issuer, "aud": _AUDIENCE, "sub": "repo:acme/models", "iat": now, "exp": now + 600}
        return self.oidc.signed(**{**said, "job_workflow_ref": workflow, **claims})

    def identity(self, workflow: str = WORKFLOW) -> str:
        """The identity that a certificate of that workflow's run names."""
        return f"{self.oidc.issuer}/{workflow}"

    def configured(self, file: Path) -> Path:
        """The deployment's ClientTrustConfig."""
        file.write_text(json.dumps(self._config(), indent=1))
        return file

    def certified(self, body: dict[str, Any], token: str) -> dict[str, Any]:
        """Fulcio: a certificate of ten minutes for a key that the token's bearer proves to have."""
        with urllib.request.urlopen(f"{self.oidc.issuer}/jwks", timeout=10) as answer:
            keys = KeySet.import_key_set(json.load(answer))
        claims = jwt.decode(token, keys, algorithms=["RS256", "PS256", "ES256", "EdDSA"]).claims
        now = datetime.now(UTC)
        if claims["iss"] != self.oidc.issuer or claims["aud"] != _AUDIENCE or claims["exp"] < now.timestamp():
            raise ValueError("the token is of another issuer, for another audience, or expired")
        request = x509.load_pem_x509_csr(base64.b64decode(body["certificateSigningRequest"]))
        if not request.is_signature_valid:
            raise ValueError("the request is not signed by its key")
        made = self._leaf(request.public_key(), claims, now)
        chain = [made, self.ca.intermediate, self.ca.root]
        return {"signedCertificateEmbeddedSct": {"chain": {"certificates": [_pem(one) for one in chain]}}}

    def logged(self, body: dict[str, Any]) -> dict[str, Any]:
        """Rekor: an entry of the type `dsse`, version 0.0.1, once its signature is good."""
        proposed = body["spec"]["proposedContent"]
        envelope = json.loads(proposed["envelope"])
        payload, (signature,) = base64.b64decode(envelope["payload"]), envelope["signatures"]
        kind, (verifier,) = envelope["payloadType"].encode(), proposed["verifiers"]
        public = x509.load_pem_x509_certificate(base64.b64decode(verifier)).public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
        public.verify(base64.b64decode(signature["sig"]), signed, _SHA256)
        spec = {
            "envelopeHash": {"algorithm": "sha256", "value": sha256(proposed["envelope"].encode()).hexdigest()},
            "payloadHash": {"algorithm": "sha256", "value": sha256(payload).hexdigest()},
            "signatures": [{"signature": signature["sig"], "verifier": verifier}],
        }
        leaf = rfc8785.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})
        index = len(self.leaves)
        self.leaves.append(leaf)
        entry: dict[str, Any] = {
            "body": base64.b64encode(leaf).decode(),
            "integratedTime": int((datetime.now(UTC) + self.late).timestamp()),
            "logID": _key_id(self.log_key).hex(),
            "logIndex": index,
        }
        promise = self.log_key.sign(rfc8785.dumps(entry), _SHA256)
        entry["verification"] = {
            "signedEntryTimestamp": base64.b64encode(promise).decode(),
            "inclusionProof": {
                "logIndex": index,
                "treeSize": len(self.leaves),
                "rootHash": _root(self.leaves).hex(),
                "hashes": [one.hex() for one in _path(index, self.leaves)],
                "checkpoint": self._checkpoint(),
            },
        }
        return {uuid.uuid4().hex: entry}

    def _leaf(self, public: Any, claims: dict[str, Any], now: datetime) -> x509.Certificate:
        issuer = claims["iss"].encode()
        name: x509.GeneralName = (
            x509.UniformResourceIdentifier(f"{claims['iss']}/{claims['job_workflow_ref']}")
            if "job_workflow_ref" in claims
            else x509.RFC822Name(claims["email"])
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.ca.intermediate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(seconds=1))
            .not_valid_after(now + _ALIVE)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.ca.intermediate_key.public_key()),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(x509.UnrecognizedExtension(_ISSUER_V1, issuer), critical=False)
            .add_extension(
                x509.UnrecognizedExtension(_ISSUER_V2, b"\x0c" + bytes([len(issuer)]) + issuer), critical=False
            )
        )
        before = builder.sign(self.ca.intermediate_key, hashes.SHA256())
        stamps = x509.UnrecognizedExtension(_SCTS, self._stamp(before.tbs_certificate_bytes, now))
        return builder.add_extension(stamps, critical=False).sign(self.ca.intermediate_key, hashes.SHA256())

    def _stamp(self, certificate: bytes, now: datetime) -> bytes:
        """The list of one signed certificate timestamp (RFC 6962, 3.2 and 3.3), as the extension holds it."""
        milliseconds = int(now.timestamp() * 1000)
        issuer = _key_id(self.ca.intermediate_key)
        said = struct.pack("!BBQH", 0, 0, milliseconds, 1) + issuer + len(certificate).to_bytes(3) + certificate
        signature = self.ct_key.sign(said + b"\0\0", _SHA256)
        stamp = struct.pack("!B32sQHBBH", 0, _key_id(self.ct_key), milliseconds, 0, 4, 3, len(signature)) + signature
        listed = struct.pack("!HH", len(stamp) + 2, len(stamp)) + stamp
        assert len(listed) < 256
        return b"\x04" + (bytes([len(listed)]) if len(listed) < 128 else bytes([0x81, len(listed)])) + listed

    def _checkpoint(self) -> str:
        text = f"sigstore.test - 1\n{len(self.leaves)}\n{base64.b64encode(_root(self.leaves)).decode()}\n"
        signature = _key_id(self.log_key)[:4] + self.log_key.sign(text.encode(), _SHA256)
        return f"{text}\n\N{EM DASH} sigstore.test {base64.b64encode(signature).decode()}\n"

    def _config(self) -> dict[str, Any]:
        since = {"start": "2020-01-01T00:00:00Z"}

        def service(url: str) -> dict[str, Any]:
            return {"url": url, "majorApiVersion": 1, "validFor": since, "operator": "test"}

        def log(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
            raw = base64.b64encode(_spki(key)).decode()
            return {
                "baseUrl": self.url,
                "hashAlgorithm": "SHA2_256",
                "publicKey": {"rawBytes": raw, "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": since},
                "logId": {"keyId": base64.b64encode(_key_id(key)).decode()},
            }

        chain = [{"rawBytes": base64.b64encode(_der(one)).decode()} for one in (self.ca.intermediate, self.ca.root)]
        return {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [log(self.log_key)],
                "certificateAuthorities": [
                    {
                        "subject": {"organization": "test", "commonName": "fulcio"},
                        "uri": self.url,
                        "certChain": {"certificates": chain},
                        "validFor": since,
                    }
                ],
                "ctlogs": [log(self.ct_key)],
                "timestampAuthorities": [],
            },
            "signingConfig": {
                "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                "caUrls": [service(self.url)],
                "oidcUrls": [service(self.oidc.issuer)],
                "rekorTlogUrls": [service(self.url)],
                "rekorTlogConfig": {"selector": "ANY"},
                "tsaUrls": [],
                "tsaConfig": {"selector": "ANY"},
            },
        }


@dataclass(frozen=True, kw_only=True)
class _Authority:
    root: x509.Certificate
    intermediate: x509.Certificate
    intermediate_key: ec.EllipticCurvePrivateKey

    @classmethod
    def made(cls) -> _Authority:
        root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root = _ca("root", root_key, "root", root_key)
        return cls(root=root, intermediate=_ca("intermediate", key, "root", root_key), intermediate_key=key)


def _ca(name: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    public, parent, now = key.public_key(), by.public_key(), datetime.now(UTC)
    usage = _usage(key_cert_sign=True, crl_sign=True)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(parent), critical=False)
        .sign(by, hashes.SHA256())
    )


def _name(name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "test"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )


def _usage(**given: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    rest = ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: given.get(name, False) for name in (*names, *rest)})


def _root(leaves: list[bytes]) -> bytes:
    """The Merkle tree hash (RFC 6962, 2.1)."""
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0]).digest()
    half = _half(len(leaves))
    return sha256(b"\1" + _root(leaves[:half]) + _root(leaves[half:])).digest()


def _path(index: int, leaves: list[bytes]) -> list[bytes]:
    """The Merkle audit path (RFC 6962, 2.1.1)."""
    if len(leaves) == 1:
        return []
    half = _half(len(leaves))
    if index < half:
        return [*_path(index, leaves[:half]), _root(leaves[half:])]
    return [*_path(index - half, leaves[half:]), _root(leaves[:half])]


def _half(size: int) -> int:
    return 1 << ((size - 1).bit_length() - 1)


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.DER, form)


def _key_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return sha256(_spki(key)).digest()


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _handler(deployment: Sigstore) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            deployment.asked.append(self.path)
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                if self.path == "/api/v2/signingCert":
                    bearer = self.headers["Authorization"].removeprefix("Bearer ")
                    found = deployment.certified(body, bearer)
                elif self.path == "/api/v1/log/entries":
                    found = deployment.logged(body)
                else:
                    raise ValueError(f"there is no {self.path}")
            except Exception as error:
                self._answer(400, {"code": 400, "message": f"{type(error).__name__}: {error}"})
            else:
                self._answer(201, found)

        def _answer(self, status: int, document: dict[str, Any]) -> None:
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    return Handler


@pytest.fixture(scope="session")
def sigstore(oidc_server: OidcServer) -> Iterator[Sigstore]:
    """A deployment that runs as long as the tests."""
    server = Sigstore(oidc=oidc_server)
    server.start()
    yield server
    server.stop()
