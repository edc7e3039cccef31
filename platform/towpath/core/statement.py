"""Signed statements about a candidate: what is stated, how it is enveloped, and whether it is about this candidate.

The statement is an in-toto Statement v1, the envelope DSSE 1.0 (secure-systems-lab/dsse, protocol.md): the signature is
over the payload's type and its bytes. Nothing of a payload is read before its signature was found good. msgspec
reads both, not pydantic: whatever serves a model proves its statement first, and that must cost next to nothing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct, field
from pydantic import JsonValue

from towpath.core import digest as digests
from towpath.core.errors import IntegrityError
from towpath.core.evidence import Candidate
from towpath.core.gates import Stage

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://towpath.dev/candidate/v1"
GATE: Final = "integrity.attestation"


class Signature(Struct, frozen=True, forbid_unknown_fields=True):
    """One signature of an envelope, base64, and the id of its key."""

    keyid: str
    sig: str


class Envelope(Struct, frozen=True, forbid_unknown_fields=True):
    """A DSSE envelope. The payload is base64. Ours have one signature."""

    payload: str
    payload_type: str = field(name="payloadType")
    signatures: Annotated[tuple[Signature, ...], Meta(min_length=1, max_length=1)]


class Sha256(Struct, frozen=True, forbid_unknown_fields=True):
    """A digest set of one digest: 64 hex digits."""

    sha256: str


class Resource(Struct, frozen=True, forbid_unknown_fields=True):
    """A subject by name and digest."""

    name: str
    digest: Sha256


class Statement(Struct, frozen=True, forbid_unknown_fields=True):
    """An in-toto statement about a candidate."""

    type: Literal["https://in-toto.io/Statement/v1"] = field(name="_type")
    subject: tuple[Resource, ...]
    predicate_type: Literal["https://towpath.dev/candidate/v1"] = field(name="predicateType")
    predicate: dict[str, Any]

    @property
    def digests(self) -> dict[str, str]:
        """The subjects' digests by name, as this project writes digests."""
        return {item.name: digests.PREFIX + item.digest.sha256 for item in self.subject}


_DECODE: Final = msgspec.json.Decoder(Statement).decode
msgspec.json.Decoder(Envelope)  # msgspec learns a type at its first use: here, not before the first model


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What must be stated of a candidate before anything of it is read: digests of its parts by name, and its stages.

    The parts: `candidate`, `model` (its payload), `saved` (the saved folder), `charter`, `runtime/<name>` for each
    compiled file.
    """

    project: str
    candidate: str
    digest: str
    subjects: Mapping[str, str]
    stages: Mapping[str, str]
    requirement: JsonValue = None

    def predicate(self, *, model_signature: str) -> dict[str, JsonValue]:
        """The statement's predicate. `model_signature`: digest of the OpenSSF signature of the model's files."""
        return {
            "project": self.project,
            "candidate": self.candidate,
            "stages": dict(self.stages),
            "requirement": self.requirement,
            "modelSignature": model_signature,
        }


def claims(candidate: Candidate) -> Claims:
    """What must be stated of a registered candidate. Raises `OutOfOrder` for one that is not."""
    train, register = candidate.entry(Stage.TRAIN), candidate.entry(Stage.REGISTER)
    charter: Any = register.facts.get("charter")
    subjects = {
        "candidate": str(candidate.digest),
        "model": train.subject("model").digest,
        "saved": str(train.notes["artifact_digest"]),
        "charter": register.subject("charter").digest,
        **{f"runtime/{name}": item.digest for name, item in register.subjects_of("runtime").items()},
    }
    return Claims(
        project=candidate.project,
        candidate=candidate.id,
        digest=str(candidate.digest),
        subjects=subjects,
        stages={entry.stage: entry.digest for entry in candidate.entries},
        requirement=charter.get("governance") if isinstance(charter, dict) else None,
    )


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding of DSSE: what is signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def envelope(payload: bytes, *, key_id: str, signature: bytes) -> dict[str, JsonValue]:
    """The envelope as JSON."""
    return {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": key_id, "sig": base64.b64encode(signature).decode()}],
    }


def unwrapped(document: object) -> tuple[str, bytes, bytes]:
    """The key's id, the signature and the payload of an envelope, not verified. Raises `IntegrityError`."""
    try:
        found = msgspec.convert(document, Envelope)
        payload = binascii.a2b_base64(found.payload, strict_mode=True)
        signature = binascii.a2b_base64(found.signatures[0].sig, strict_mode=True)
    except (msgspec.ValidationError, binascii.Error, ValueError) as error:
        raise IntegrityError("An attestation holds no DSSE envelope.", gate=GATE) from error
    if found.payload_type != PAYLOAD_TYPE:
        raise IntegrityError("An attestation's payload is of another type.", gate=GATE, value=found.payload_type)
    return found.signatures[0].keyid, signature, payload


def opened(bundle: object) -> tuple[str, bytes, bytes, Mapping[str, JsonValue] | None]:
    """The key's id if it is said, the signature, the payload and the verification material of a Sigstore bundle, not
    verified; no material of one that a mere key signed. Raises `IntegrityError`.
    """
    given: Any = bundle if isinstance(bundle, Mapping) else {}
    material, wrapped = given.get("verificationMaterial"), given.get("dsseEnvelope")
    if not isinstance(material, Mapping) or not isinstance(wrapped, Mapping):
        raise IntegrityError("A signature is no Sigstore bundle.", gate=GATE)
    signatures = wrapped.get("signatures")
    if not isinstance(signatures, list):
        raise IntegrityError("A Sigstore bundle has no list of signatures.", gate=GATE)
    named = [{"keyid": "", **one} if isinstance(one, Mapping) else one for one in signatures]
    key_id, signature, payload = unwrapped({**wrapped, "signatures": named})
    return key_id, signature, payload, None if "publicKey" in material else material


def parsed(payload: bytes) -> Statement:
    """The statement of a payload whose signature is good. Raises `IntegrityError`."""
    try:
        return _DECODE(payload)
    except (msgspec.MsgspecError, ValueError) as error:
        raise IntegrityError("An attestation's payload is no statement about a candidate.", gate=GATE) from error


def disagreement(statement: Statement, wanted: Claims) -> str | None:
    """In what the statement is not about this candidate as it is recorded; None when it is, in every part."""
    stated = statement.digests
    if len(stated) != len(statement.subject):
        return "it names a subject twice"
    if stated != wanted.subjects:
        names = sorted(stated.keys() | wanted.subjects.keys())
        name = next(name for name in names if stated.get(name) != wanted.subjects.get(name))
        return f"of {name} it states {_said(stated.get(name))}, and {_said(wanted.subjects.get(name))} is recorded"
    said: Any = statement.predicate
    for key, value in (("project", wanted.project), ("candidate", wanted.candidate), ("stages", dict(wanted.stages))):
        if said.get(key) != value:
            return f"its {key} is another"
    if said.get("requirement") != wanted.requirement:
        return "its requirement is another"
    return None


def _said(digest: str | None) -> str:
    return "nothing" if digest is None else digests.short(digest)
