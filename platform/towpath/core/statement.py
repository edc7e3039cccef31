"""Signed statements about a candidate: what is stated, how it is enveloped, and whether it is about this candidate.

The statement is an in-toto Statement v1, the envelope DSSE 1.0 (secure-systems-lab/dsse, protocol.md): the signature is
over the payload's type and its bytes. Nothing of a payload is read before its signature was found good.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from towpath.core import digest as digests
from towpath.core.errors import IntegrityError
from towpath.core.evidence import Candidate
from towpath.core.gates import Stage

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://towpath.dev/candidate/v1"
GATE: Final = "integrity.attestation"


class Signature(BaseModel):
    """One signature of an envelope, base64, and the id of its key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keyid: str
    sig: str


class Envelope(BaseModel):
    """A DSSE envelope. The payload is base64. Ours have one signature."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    payload_type: str = Field(alias="payloadType")
    payload: str
    signatures: tuple[Signature, ...] = Field(min_length=1, max_length=1)


class Resource(BaseModel):
    """A subject by name and SHA-256 (64 hex digits)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    digest: Mapping[Literal["sha256"], str]


class Statement(BaseModel):
    """An in-toto statement about a candidate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: tuple[Resource, ...]
    predicate_type: Literal["https://towpath.dev/candidate/v1"] = Field(alias="predicateType")
    predicate: Mapping[str, JsonValue]

    @property
    def digests(self) -> dict[str, str]:
        """The subjects' digests by name, as this project writes digests."""
        return {item.name: digests.PREFIX + item.digest["sha256"] for item in self.subject}


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
        found = Envelope.model_validate(document)
        payload = base64.b64decode(found.payload, validate=True)
        signature = base64.b64decode(found.signatures[0].sig, validate=True)
    except (ValidationError, binascii.Error, ValueError) as error:
        raise IntegrityError("An attestation holds no DSSE envelope.", gate=GATE) from error
    if found.payload_type != PAYLOAD_TYPE:
        raise IntegrityError("An attestation's payload is of another type.", gate=GATE, value=found.payload_type)
    return found.signatures[0].keyid, signature, payload


def parsed(payload: bytes) -> Statement:
    """The statement of a payload whose signature is good. Raises `IntegrityError`."""
    try:
        return Statement.model_validate(json.loads(payload))
    except (ValidationError, ValueError) as error:
        raise IntegrityError("An attestation's payload is no statement about a candidate.", gate=GATE) from error


def disagreement(statement: Statement, wanted: Claims) -> str | None:
    """In what the statement is not about this candidate as it is recorded; None when it is, in every part."""
    stated = statement.digests
    if len(stated) != len(statement.subject):
        return "it names a subject twice"
    for name in sorted(stated.keys() | wanted.subjects.keys()):
        if stated.get(name) != wanted.subjects.get(name):
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
