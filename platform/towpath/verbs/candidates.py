"""Reading: projects, candidates, what each stage found, who agreed, the model card."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field, JsonValue

from towpath.core.access import Action
from towpath.core.errors import NotFound
from towpath.core.evidence import Candidate, Entry, Incident, Record, RecordKind
from towpath.stages.agreed import agreed
from towpath.stages.agreed import document as standing_document
from towpath.verbs import history, pages
from towpath.verbs.desk import Desk
from towpath.verbs.history import Reached
from towpath.verbs.verb import Document, Page, Request, Verb

CARD: Final = "model_card.md"
"""The attachment that is the model card."""
_MOST: Final = 500


class ListProjects(Request):
    """Which projects there are."""


class ProjectRow(Document):
    """A project as the ledger knows it."""

    project: str
    champion: str | None = Field(description="The candidate that serves.")
    rollout: str | None = Field(description="The rollout that is open.")


class Projects(Document):
    """Those that may be read."""

    projects: list[ProjectRow]


def list_projects(_: ListProjects, desk: Desk) -> Projects:
    """Each project with its champion and its open rollout."""
    from towpath.stages.work import champion

    rows = []
    for name in desk.projects():
        current, rollout = champion(desk.ledger, name), desk.rollouts.open(name)
        rows.append(
            ProjectRow(
                project=name,
                champion=current.candidate.id if current is not None else None,
                rollout=rollout.rollout_id if rollout is not None else None,
            )
        )
    return Projects(projects=rows)


class AskStatus(Request):
    """Of one project, or of all that may be read."""

    project: str | None = Field(default=None, max_length=200)


class CandidateRow(Document):
    """A candidate that nothing was built upon yet."""

    candidate: str
    digest: str | None
    project: str
    stage: str
    outcome: str
    as_of: str
    version: str | None
    champion: bool
    decision: str | None
    at: str
    actor: str
    refused_by: list[str]
    approvals: dict[str, JsonValue] | None = Field(description="How it stands with those who must agree.")


class IncidentRow(Document):
    """Something that must be known."""

    sequence: int
    candidate: str
    stage: str
    at: str
    findings: list[dict[str, JsonValue]]


class Status(Document):
    """Candidates and incidents, newest first, and the emergencies whose follow-up is missing."""

    project: str | None
    candidates: list[CandidateRow]
    incidents: list[IncidentRow]
    emergencies: list[dict[str, JsonValue]]


def ask_status(asked: AskStatus, desk: Desk) -> Status:
    """Every candidate of an embedded ledger; over the API at most the newest 500 (`candidates` has pages)."""
    if asked.project is not None:
        known(asked.project, desk)
    found = history.agreed(history.read(desk.ledger, asked.project), desk.ledger, now=desk.now)
    limit = _MOST if desk.served else None
    return Status(
        project=asked.project,
        candidates=[row(item) for item in found.candidates if desk.reads(item.candidate.project)][:limit],
        incidents=[_incident(record) for record in found.incidents if desk.reads(record.project)][:limit],
        emergencies=[
            one.model_dump(mode="json") for one in found.emergencies if desk.reads(one.candidate.rpartition("-")[0])
        ],
    )


class ListCandidates(Page):
    """The candidates of a project, newest first."""

    project: str = Field(max_length=200)


class Candidates(Document):
    """A page of them."""

    candidates: list[CandidateRow]
    next: str | None = Field(description="Cursor of the next page; none behind the last.")


def list_candidates(asked: ListCandidates, desk: Desk) -> Candidates:
    """As the record was when the first page was asked for: what is appended meanwhile moves no page."""
    known(asked.project, desk)
    of, head = pages.listing("candidates", {"project": asked.project}), desk.ledger.head()
    until = head.sequence if head is not None else 0
    cursor = (
        pages.read(asked.cursor, of) if asked.cursor is not None else pages.Cursor(at=until + 1, until=until, of=of)
    )
    found = history.read(desk.ledger, asked.project, until=cursor.until).candidates
    rest = [item for item in found if item.record.sequence < cursor.at]
    page = rest[: asked.limit]
    shown = history.agreed(history.History(candidates=tuple(page), incidents=()), desk.ledger, now=desk.now)
    more = len(rest) > len(page)
    at = page[-1].record.sequence if page else 0
    return Candidates(
        candidates=[row(item) for item in shown.candidates],
        next=pages.Cursor(at=at, until=cursor.until, of=of).text if more else None,
    )


class ShowCandidate(Request):
    """A candidate by its id or by at least 4 digits of its digest; one stage of it, or all."""

    candidate: str = Field(max_length=200)
    stage: str | None = Field(default=None, max_length=40)


class Shown(Document):
    """A candidate: what each stage found, what was decided on it, and who agreed."""

    candidate: str
    digest: str | None
    project: str
    outcome: str
    refused: list[dict[str, JsonValue]]
    decisions: list[Record]
    entries: list[dict[str, JsonValue]]
    approvals: dict[str, JsonValue] | None
    waivers: list[dict[str, JsonValue]]
    emergencies: list[dict[str, JsonValue]]


def show_candidate(asked: ShowCandidate, desk: Desk) -> Shown:
    """Everything that the record says of it."""
    ledger, candidate = desk.ledger, desk.candidate(asked.candidate)
    entries = (candidate.entry(asked.stage),) if asked.stage is not None else candidate.entries
    records = {record.digest: record for record in ledger.records(project=candidate.project, kind=RecordKind.ENTRY)}
    decisions = [
        record
        for record in ledger.records(project=candidate.project, kind=RecordKind.DECISION)
        if record.body.get("digest") == candidate.digest
    ]
    said = agreed(ledger, candidate, decisions[-1] if decisions else None, now=desk.now)
    return Shown(
        candidate=candidate.id,
        digest=candidate.digest,
        project=candidate.project,
        outcome=candidate.outcome.value,
        refused=[history.refusal(item) for item in history.failed(candidate.findings)],
        decisions=decisions,
        entries=[_entry(entry, records[entry.digest]) for entry in entries],
        **said.document,
    )


class AskModelCard(Request):
    """A candidate by its id or by at least 4 digits of its digest."""

    candidate: str = Field(max_length=200)


class ModelCard(Document):
    """The model card that was written when the candidate was registered."""

    candidate: str
    digest: str = Field(description="Of the card's file, as the candidate's evidence has it.")
    markdown: str


def ask_model_card(asked: AskModelCard, desk: Desk) -> ModelCard:
    """Raises `NotFound` for a candidate that has none, and `IntegrityError` where its file is not what was written."""
    from towpath import wiring

    candidate = desk.candidate(asked.candidate)
    cards = [item for entry in candidate.entries for item in entry.attachments if item.name == CARD]
    if not cards:
        raise NotFound(
            f"Candidate {candidate.id} has no model card.",
            value=candidate.id,
            hint="It is written when a candidate is registered.",
        )
    file = wiring.open_objects(desk.office.settings).fetch(cards[-1].digest)
    return ModelCard(candidate=candidate.id, digest=cards[-1].digest, markdown=file.read_text(encoding="utf-8"))


def known(project: str, desk: Desk) -> str:
    """The project, which the ledger holds something of. Raises `NotFound`."""
    there = desk.projects()
    if project not in there:
        raise NotFound(f"The ledger has no project {project!r}.", value=project, valid=there)
    return project


def row(item: Reached) -> CandidateRow:
    """A candidate in a list."""
    return CandidateRow(
        candidate=item.candidate.id,
        digest=item.candidate.digest,
        project=item.candidate.project,
        stage=item.record.stage,
        outcome=item.candidate.outcome.value,
        as_of=item.as_of,
        version=item.version,
        champion=item.champion,
        decision=str(item.decision.body["verdict"]) if item.decision and "verdict" in item.decision.body else None,
        at=item.record.at.isoformat(),
        actor=item.record.actor,
        refused_by=sorted({finding.code for finding in history.failed(item.candidate.findings)}),
        approvals=standing_document(item.standing),
    )


def in_project(asked: Any, _: Desk) -> str:
    """The project that the request names."""
    return str(asked.project)


def of_candidate(asked: Any, desk: Desk) -> str:
    """The project of the candidate that the request names."""
    found: Candidate = desk.candidate(asked.candidate)
    return found.project


def _incident(record: Record) -> IncidentRow:
    incident = Incident.model_validate(record.body)
    return IncidentRow(
        sequence=record.sequence,
        candidate=record.candidate,
        stage=record.stage,
        at=record.at.isoformat(),
        findings=[finding.model_dump(mode="json") for finding in incident.findings],
    )


def _entry(entry: Entry, record: Record) -> dict[str, Any]:
    return {
        **entry.model_dump(mode="json"),
        "digest": entry.digest,
        "outcome": entry.outcome.value,
        "sequence": record.sequence,
        "at": record.at.isoformat(),
        "actor": record.actor,
    }


PROJECTS: Final = Verb(
    name="projects",
    about="List the projects, each with its champion and its open rollout.",
    action=None,
    request=ListProjects,
    answer=Projects,
    perform=list_projects,
    path="/v1/projects",
    changes=False,
)
STATUS: Final = Verb(
    name="status",
    about="List a project's candidates and incidents, and the emergencies whose follow-up is missing.",
    action=Action.READ,
    request=AskStatus,
    answer=Status,
    perform=ask_status,
    project=in_project,
    path="/v1/projects/{project}/status",
    changes=False,
)
CANDIDATES: Final = Verb(
    name="candidates",
    about="List a project's candidates, newest first, a page at a time.",
    action=Action.READ,
    request=ListCandidates,
    answer=Candidates,
    perform=list_candidates,
    project=in_project,
    path="/v1/projects/{project}/candidates",
    changes=False,
)
SHOW: Final = Verb(
    name="show",
    about="Show a candidate: why it was refused, what each stage found, what was decided, and who agreed.",
    action=Action.READ,
    request=ShowCandidate,
    answer=Shown,
    perform=show_candidate,
    project=of_candidate,
    path="/v1/candidates/{candidate}",
    changes=False,
)
MODEL_CARD: Final = Verb(
    name="model-card",
    about="The model card of a registered candidate.",
    action=Action.READ,
    request=AskModelCard,
    answer=ModelCard,
    perform=ask_model_card,
    project=of_candidate,
    path="/v1/candidates/{candidate}/model-card",
    changes=False,
)
VERBS: Final = (
    PROJECTS,
    STATUS,
    CANDIDATES,
    SHOW,
    MODEL_CARD,
)
