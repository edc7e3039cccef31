"""A candidate as a registration leaves it: every gate passed, and its digests stated with the installation's key."""

from __future__ import annotations

from rollout import house
from towpath.adapters.statements_intoto import InTotoStatements
from towpath.core import digest as digests
from towpath.core.evidence import Candidate, RecordKind, Subject
from towpath.core.gates import Stage
from towpath.core.statement import claims
from towpath.ports import Draft, Keys, Ledger


def attested(ledger: Ledger, keys: Keys, number: int) -> Candidate:
    """Of the small project with its rollout."""
    plain, charter = house.registered(ledger, number), house.declared()
    subject = Subject(kind="charter", name=house.PROJECT, digest=house.charter_digest(charter))
    grown = Candidate(project=house.PROJECT)
    for entry in plain.entries:
        changes: dict[str, object] = {"key": digests.of_json(["attested", entry.key]), "previous": grown.digest}
        if entry.stage == Stage.TRAIN:
            changes["notes"] = {**entry.notes, "artifact_digest": digests.of_json(["saved", number])}
        if entry.stage == Stage.REGISTER and not entry.subjects_of("charter"):
            changes["subjects"] = (*entry.subjects, subject)
        written = type(entry).model_validate({**entry.model_dump(), **changes})
        grown = grown.append(written)
        body = written.model_dump(mode="json")
        _append(ledger, grown, RecordKind.ENTRY, written.stage, written.key, written.digest, body)
    stated, _ = InTotoStatements().signed(claims(grown), model_signature=digests.of_json(number), keys=keys)
    body = {"envelope": stated, "model_signature": digests.of_json(number)}
    _append(ledger, grown, RecordKind.ATTESTATION, "register", None, digests.of_json(body), body)
    return grown


def _append(
    ledger: Ledger, candidate: Candidate, kind: RecordKind, stage: str, key: str | None, digest: str, body: object
) -> None:
    assert isinstance(body, dict)
    ledger.append(
        Draft(
            kind=kind,
            project=candidate.project,
            candidate=candidate.id,
            stage=stage,
            key=key,
            digest=digest,
            body=body,
        ),
        actor="tester",
    )
