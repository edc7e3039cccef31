"""attested: the proof that everything asks for before it loads a model: a trusted key states what the candidate is.

The statement names the candidate's digest and those of its model, saved folder, compiled files and charter. Files are
compared with these digests when they are fetched; so what is loaded is, byte for byte, what was signed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from towpath.core import digest as digests
from towpath.core import statement as statements
from towpath.core.errors import IntegrityError, Misconfigured
from towpath.core.evidence import Candidate, Record, RecordKind
from towpath.core.statement import GATE, Claims
from towpath.ports import Certified, Identified, Keys, Ledger, Purpose, Stamp, TrustedKey
from towpath.ports.keys import Signatory


@dataclass(frozen=True, kw_only=True)
class Attested:
    """The proof that a trusted key states a candidate's digests. Only `require_attested` makes it."""

    candidate: str
    subjects: Mapping[str, str]
    signatory: Signatory
    model_signature: str
    record: str
    at: datetime

    @property
    def key_id(self) -> str:
        """The id of the key, of the certificate or of the identity that signed."""
        return self.signatory.key_id

    @property
    def signer(self) -> str:
        """Who signed, in words."""
        return named(self.signatory)

    @property
    def certificate(self) -> str | None:
        """The fingerprint by which this one statement's certificate is revoked; None where a trusted key signed."""
        match self.signatory:
            case Certified(key_id=fingerprint) | Identified(certificate=fingerprint):
                return fingerprint
            case TrustedKey():
                return None

    def require(self, name: str, digest: str) -> None:
        """Raises `IntegrityError` unless that part of the candidate has that digest."""
        if self.subjects.get(name) != digest:
            raise IntegrityError(
                f"The attestation of {self.candidate} states no {name} with digest {digests.short(digest)}.",
                gate=GATE,
                value=digest,
                hint="Do not load it: nobody signed these bytes for this candidate.",
            )


def attestations(ledger: Ledger, claims: Claims) -> list[Record]:
    """The attestations written of a candidate, the newest first; what they are worth is not asked."""
    found = ledger.records(project=claims.project, candidate=claims.candidate, kind=RecordKind.ATTESTATION)
    return list(found)[::-1]


def require_attested(ledger: Ledger, keys: Keys, of: Candidate | Claims, *, known: Sequence[Record] = ()) -> Attested:
    """The newest attestation that holds: signed by a trusted key that is not revoked, about exactly this candidate.

    `known`: attestations that whoever follows the ledger has read already, the newest first; it is asked for others
    only when none of them holds. The ledger need not be verified before: a record whose time counts is, by itself.
    Raises `IntegrityError` (`integrity.attestation`; `integrity.ledger` for a changed record) that says what is wrong
    with the newest, or `Misconfigured` where it cannot be asked who vouches for it.
    """
    claims = of if isinstance(of, Claims) else statements.claims(of)
    first: IntegrityError | Misconfigured | None = None
    for record in _each(known, ledger, claims):
        try:
            return _proven(record, ledger, keys, claims)
        except (IntegrityError, Misconfigured) as error:
            first = first or error
    if first is not None:
        raise first
    raise IntegrityError(
        f"{claims.candidate} has no attestation: nobody signed what it is.",
        gate=GATE,
        value=claims.candidate,
        hint=f"A platform admin can sign what was registered: `towpath model attest {claims.candidate}`.",
    )


def _each(known: Sequence[Record], ledger: Ledger, claims: Claims) -> Iterator[Record]:
    yield from known
    yield from attestations(ledger, claims)


def _proven(record: Record, ledger: Ledger, keys: Keys, claims: Claims) -> Attested:
    """Nothing of the payload is read before its signature is good."""
    key_id, signature, payload = statements.unwrapped(record.body.get("envelope"))
    material: Any = record.body.get("verification_material")
    if material is None:
        who: Signatory = _key(key_id, signature, payload, keys, claims)
    else:
        if not isinstance(material, Mapping):
            raise IntegrityError("An attestation's verification material is none.", gate=GATE)
        # A certificate counts where it was good when the ledger wrote this down, so the time must be the ledger's.
        ledger.require_written(record)
        who = keys.vouched(Stamp(key_id=key_id, signature=signature, material=material), payload, at=record.at)
        if who.key_id != key_id:
            raise untrusted(key_id, claims.candidate, revoked=False)
    statement = statements.parsed(payload)
    bundle: Any = statement.predicate.get("modelSignature")
    other = statements.disagreement(statement, claims)
    if other is None and bundle != record.body.get("model_signature"):
        other = "it names another signature of the model"
    if other is not None:
        raise IntegrityError(
            f"The attestation of {claims.candidate} is about something else: {other}.",
            gate=GATE,
            value=claims.candidate,
            hint="A statement about one candidate proves nothing of another. Find out who wrote it.",
        )
    return Attested(
        candidate=claims.candidate,
        subjects=claims.subjects,
        signatory=who,
        model_signature=str(bundle),
        record=record.hash,
        at=record.at,
    )


def _key(key_id: str, signature: bytes, payload: bytes, keys: Keys, claims: Claims) -> TrustedKey:
    key = keys.trusted(Purpose.MODEL).get(key_id)
    if key is None or key.revoked_at is not None:
        raise untrusted(key_id, claims.candidate, revoked=key is not None)
    if not keys.made(key, statements.pae(statements.PAYLOAD_TYPE, payload), signature):
        raise IntegrityError(
            f"The attestation of {claims.candidate} is not signed by key {key_id}, as it says.",
            gate=GATE,
            value=key_id,
            hint="It was changed after it was signed, or never signed. Find out who wrote it.",
        )
    return key


def named(signatory: Signatory) -> str:
    """A signer in words: a key, a certificate with its name, or an identity with its issuer."""
    match signatory:
        case Certified():
            return f"certificate {signatory.key_id} of {signatory.subject}"
        case Identified():
            return f"{signatory.identity}, as {signatory.issuer} says"
        case TrustedKey():
            return f"key {signatory.key_id}"


def untrusted(key_id: str, what: str, *, revoked: bool) -> IntegrityError:
    """The error for a signature by a key that counts for nothing."""
    return IntegrityError(
        f"The signature of {what} is by key {key_id}, which {'was revoked' if revoked else 'nobody trusts'}.",
        gate=GATE,
        value=key_id,
        hint="`towpath key list` shows the keys; a platform admin attests anew: `towpath model attest CANDIDATE`.",
    )
