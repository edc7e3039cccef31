"""A champion in a real ledger with as much evidence as a contract's readers need: its tables, contracts, inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from towpath import wiring
from towpath.core import digest as digests
from towpath.core.contract_held import CONTRACT
from towpath.core.evidence import Candidate, Entry, RecordKind, Subject
from towpath.core.policy import Verdict
from towpath.ports import Draft, Ledger
from towpath.settings import Settings

NOWHERE = "sha256:" + "0" * 64


@contextmanager
def ledger_of(settings: Settings) -> Iterator[Ledger]:
    ledger = wiring.open_ledger(settings)
    try:
        yield ledger
    finally:
        ledger.close()


def made(
    settings: Settings,
    project: str,
    contracts: Mapping[str, Path],
    *,
    number: int = 1,
    inputs: Sequence[str] = (),
    facts: Mapping[str, Any] | None = None,
    crown: bool = True,
) -> Candidate:
    """A registered model that was made by those contracts, by table; the champion unless told otherwise."""
    objects = wiring.open_objects(settings)
    tables = [Subject(kind="dataset", name=table, digest=NOWHERE) for table in contracts]
    texts = [Subject(kind="contract", name=table, digest=objects.put(file)) for table, file in contracts.items()]
    stages: list[tuple[str, dict[str, Any]]] = [
        ("ingest", {"subjects": tables}),
        ("validate", {"subjects": texts, "inputs": {f"{CONTRACT}{text.name}": text.digest for text in texts}}),
        ("featurize", {"facts": facts or {}}),
        ("train", {"facts": {"inputs": list(inputs)}}),
        ("evaluate", {}),
        ("register", {"notes": {"registered_model": project, "version": str(number)}}),
    ]
    return recorded(settings, project, stages, number=number, crown=crown)


def recorded(
    settings: Settings, project: str, stages: Sequence[tuple[str, dict[str, Any]]], *, number: int, crown: bool
) -> Candidate:
    """As `write`, in a ledger that is opened for it."""
    with ledger_of(settings) as ledger:
        return write(ledger, project, stages, number=number, crown=crown)


def write(
    ledger: Ledger, project: str, stages: Sequence[tuple[str, dict[str, Any]]], *, number: int, crown: bool
) -> Candidate:
    """Entries of those stages, one upon the other, and the decision that makes a champion of them."""
    candidate = Candidate(project=project)
    for stage, more in stages:
        key = f"sha256:{project}{number}{stage}"
        entry = Entry(stage=stage, project=project, key=key, previous=candidate.digest, **{"inputs": {}, **more})
        candidate = candidate.append(entry)
        body = entry.model_dump(mode="json")
        append(ledger, RecordKind.ENTRY, candidate, stage=stage, key=key, digest=entry.digest, body=body)
    if crown:
        body = {
            "verdict": Verdict.PROMOTE.value,
            "digest": candidate.digest,
            "candidate": candidate.id,
            "model": NOWHERE,
        }
        key = f"crown{project}{number}"
        append(
            ledger,
            RecordKind.DECISION,
            candidate,
            stage="promote",
            key=key,
            digest=digests.of_json(body),
            body=body,
        )
    return candidate


def append(ledger: Ledger, kind: RecordKind, candidate: Candidate, **draft: Any) -> None:
    """A record as a stage or a decision writes it."""
    ledger.append(Draft(kind=kind, project=candidate.project, candidate=candidate.id, **draft), actor="ada")
