"""What every stage is given, and what all of them do: look whether the work is done, and write it down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import JsonValue

from towpath import __version__
from towpath.core import digest as digests
from towpath.core.errors import IntegrityError, NotFound
from towpath.core.evidence import Attachment, Candidate, Entry, Finding, Outcome, Record, RecordKind, Subject
from towpath.core.gates import Stage
from towpath.core.policy import Verdict
from towpath.path import ORDER, may_enter
from towpath.ports import (
    DataChecks,
    Draft,
    DriftReports,
    FeatureStore,
    Keys,
    Ledger,
    Models,
    Objects,
    Progress,
    PseudonymKeys,
    Runtimes,
    Sources,
    Transforms,
)
from towpath.project import Project
from towpath.stages.scratch import made
from towpath.stages.supply import Supply
from towpath.stages.waived import waived

_MEDIA = {".html": "text/html", ".json": "application/json", ".png": "image/png", ".md": "text/markdown"}


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The world, as the stages see it."""

    ledger: Ledger
    objects: Objects
    sources: Sources
    checks: DataChecks
    transforms: Transforms
    features: FeatureStore
    models: Models
    drift: DriftReports
    runtimes: Runtimes
    keys: Keys
    pseudonyms: PseudonymKeys
    supply: Supply


@dataclass(frozen=True, kw_only=True)
class Work:
    """One going along the path: a project, the time it is seen from, who goes, and the ports.

    `order` is the path that is gone: to a registered model, or to a monitoring report.
    """

    project: Project
    as_of: datetime
    actor: str
    ports: Ports
    progress: Progress
    state: Path
    order: tuple[Stage, ...] = ORDER

    @property
    def name(self) -> str:
        return self.project.charter.project

    def scratch(self) -> AbstractContextManager[Path]:
        """A folder that is gone afterwards."""
        return made(self.state / "scratch")

    def attach(self, *files: Path) -> tuple[Attachment, ...]:
        """Store files for people, by their own names."""
        return tuple(
            Attachment(
                name=file.name,
                digest=self.ports.objects.put(file),
                size=file.stat().st_size,
                media_type=_MEDIA.get(file.suffix, "application/octet-stream"),
            )
            for file in files
        )

    def store(self, kind: str, name: str, file: Path, *, rows: int | None = None) -> Subject:
        """Store a file that an entry speaks of."""
        return Subject(kind=kind, name=name, digest=self.ports.objects.put(file), rows=rows, size=file.stat().st_size)


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A stage that may be done: its key, and the entry if it was done before."""

    stage: Stage
    candidate: Candidate
    inputs: Mapping[str, str]
    key: str
    found: Entry | None


def begin(stage: Stage, candidate: Candidate, work: Work, inputs: Mapping[str, str]) -> Begun:
    """Check the order and look for the entry that the same inputs already have.

    An entry of which a stored file is gone or changed counts as not found, so that the stage makes the file again. (The
    files of `ingest` come from outside; it repairs them itself.)
    """
    enter(stage, candidate, work)
    full = {"towpath": __version__, **inputs}
    key = digests.of_json({"stage": stage.value, "project": work.name, "previous": candidate.digest, "inputs": full})
    record = work.ports.ledger.find(key)
    found = record.entry() if record is not None else None
    if found is not None:
        lost = [] if stage is Stage.INGEST else _lost(found, work)
        if lost:
            work.progress.step(f"again: {', '.join(lost)} is gone from the store, or changed")
            found = None
        else:
            work.progress.found()
    return Begun(stage=stage, candidate=candidate, inputs=full, key=key, found=found)


def enter(stage: Stage, candidate: Candidate, work: Work) -> None:
    """Raises `OutOfOrder` unless the stage may be done on the candidate now."""
    waivers = () if candidate.outcome is Outcome.PASS else waived(candidate, work.ports.ledger)
    may_enter(stage, candidate, order=work.order, waivers=waivers)


def _lost(entry: Entry, work: Work) -> list[str]:
    """The stored subjects and plots of an entry that can no longer be had. Pages are left out: no two are alike."""
    stored = {f"{item.kind} {item.name}": item.digest for item in entry.subjects if item.size is not None}
    stored |= {item.name: item.digest for item in entry.attachments if item.media_type == _MEDIA[".png"]}
    lost = []
    for name, digest in stored.items():
        try:
            work.ports.objects.fetch(digest)
        except (NotFound, IntegrityError):
            lost.append(name)
    return lost


def compose(
    begun: Begun,
    *,
    subjects: Sequence[Subject] = (),
    findings: Sequence[Finding],
    facts: Mapping[str, JsonValue] | None = None,
    notes: Mapping[str, JsonValue] | None = None,
    attachments: Sequence[Attachment] = (),
) -> Entry:
    """The entry that a stage will write."""
    return Entry(
        stage=begun.stage.value,
        project=begun.candidate.project,
        key=begun.key,
        previous=begun.candidate.digest,
        inputs=begun.inputs,
        subjects=tuple(sorted(subjects, key=lambda item: (item.kind, item.name))),
        findings=tuple(findings),
        facts=facts or {},
        notes=notes or {},
        attachments=tuple(attachments),
    )


def write(begun: Begun, entry: Entry, work: Work) -> Candidate:
    """Append the entry to the ledger and to the candidate. A second writer with the same key gets the first's entry."""
    grown = begun.candidate.append(entry)
    record = work.ports.ledger.append(
        Draft(
            kind=RecordKind.ENTRY,
            project=entry.project,
            candidate=grown.id,
            stage=entry.stage,
            key=entry.key,
            digest=entry.digest,
            body=entry.model_dump(mode="json"),
        ),
        actor=work.actor,
    )
    return begun.candidate.append(record.entry())


def candidate_of(ledger: Ledger, project: str, tip: str) -> Candidate:
    """The candidate that ends in the entry with digest `tip`, read from the ledger entry by entry."""
    chain: list[Entry] = []
    digest: str | None = tip
    while digest is not None:
        chain.append(_entry(ledger, project, digest))
        digest = chain[-1].previous
    candidate = Candidate(project=project)
    for entry in reversed(chain):
        candidate = candidate.append(entry)
    return candidate


def _entry(ledger: Ledger, project: str, digest: str) -> Entry:
    named = f"{project}-{digests.short(digest)}"  # the candidate that ends in it, as its record says
    for record in ledger.records(project=project, candidate=named, kind=RecordKind.ENTRY):
        if record.digest == digest:
            return record.entry()
    raise _missing(project, digest)


def candidates(ledger: Ledger, project: str) -> tuple[Candidate, ...]:
    """Every candidate of a project, one for each entry that it ends in, in the ledger's order; read in one go.

    Raises as `candidate_of` does.
    """
    found: dict[str | None, Candidate] = {None: Candidate(project=project)}
    for record in ledger.records(project=project, kind=RecordKind.ENTRY):
        entry = record.entry()
        if entry.previous not in found:
            raise _missing(project, entry.previous)
        found[record.digest] = found[entry.previous].append(entry)
    return tuple(found.values())[1:]


def _missing(project: str, digest: str | None) -> NotFound:
    return NotFound(
        f"The ledger holds no entry {digest} of project {project}.",
        value=digest,
        hint="`towpath status` lists the candidates.",
    )


def candidate_from(ledger: Ledger, project: str, name: str) -> Candidate:
    """The candidate that a person names: its id, or the beginning of its digest with or without the project."""
    digits = name.removeprefix("sha256:").removeprefix(f"{project}-")
    found = [
        record
        for record in ledger.records(project=project, kind=RecordKind.ENTRY)
        if len(digits) >= 4 and record.digest.removeprefix(digests.PREFIX).startswith(digits)
    ]
    if len(found) != 1:
        raise NotFound(
            f"{name!r} names {'no' if not found else 'more than one'} candidate of project {project}.",
            value=name,
            valid=[record.candidate for record in found],
            hint="`towpath status` lists them; give at least 4 digits.",
        )
    return candidate_of(ledger, project, found[0].digest)


@dataclass(frozen=True, kw_only=True)
class ChampionRecord:
    """The champion by the ledger: the decision that made it, and the candidate it was."""

    decision: Record
    candidate: Candidate


def crowning(ledger: Ledger, project: str) -> Iterator[Record]:
    """The decisions that made a champion, in their order: promotions, and the rollbacks that undid one."""
    for record in ledger.records(project=project, kind=RecordKind.DECISION):
        if record.body.get("verdict") in (Verdict.PROMOTE, Verdict.ROLLBACK):
            yield record


def champion(ledger: Ledger, project: str, *, before: int | None = None) -> ChampionRecord | None:
    """The candidate that the last decision (before that sequence number) made champion; MLflow's alias has no say."""
    last: Record | None = None
    for record in crowning(ledger, project):
        if before is None or record.sequence < before:
            last = record
    if last is None:
        return None
    return ChampionRecord(decision=last, candidate=candidate_of(ledger, project, str(last.body["digest"])))
