"""Who is champion: promoting, rolling back, and showing it in MLflow."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from towpath.core.access import Action
from towpath.core.errors import BadInput, NotFound, TowpathError
from towpath.stages.promote import promote as decide
from towpath.stages.rollback import rollback as roll_back
from towpath.stages.succession import mirror
from towpath.stages.work import champion
from towpath.verbs.approvals import NAMED, REASON
from towpath.verbs.candidates import in_project, known, of_candidate
from towpath.verbs.desk import Desk
from towpath.verbs.verb import Document, Request, Verb


class Promote(Request):
    """Make a candidate the champion, if every gate was asked and allows it."""

    candidate: str = NAMED
    reason: str = REASON


class Promoted(Document):
    """The decision, which is recorded either way. `already`: it was the champion, and nothing changed."""

    verdict: str
    candidate: str
    digest: str | None
    reasons: list[str]
    waived: list[str]
    by: str
    reason: str
    already: bool


class Rollback(Request):
    """Make an earlier champion the champion again. `to`: which; the one before the present one when left out."""

    project: str = Field(max_length=200)
    reason: str = REASON
    to: str | None = Field(default=None, max_length=200)


class RolledBack(Document):
    """Who is champion now. `mlflow`: `shown`, or why it does not show it yet. `rollout`: one that ended with it."""

    project: str
    champion: str
    before: str
    record: int
    rollout: str | None
    rollout_phase: str | None
    mlflow: str
    by: str
    reason: str


def promote(asked: Promote, desk: Desk) -> Promoted:
    """With the charter as it is now where its folder is at hand, else by what was frozen with the candidate."""
    candidate, here = desk.candidate(asked.candidate), desk.here
    if here is not None and here.charter.project != candidate.project:
        raise BadInput(
            f"Candidate {candidate.id} belongs to project {candidate.project}, and {here.folder} is "
            f"{here.charter.project}.",
            value=str(here.folder),
            hint="Name the project's folder: --project DIR.",
        )
    current = champion(desk.ledger, candidate.project)
    decision = decide(candidate, desk.promoting(candidate.project), reason=asked.reason, now=desk.now)
    by, reason, already = desk.identity.person, asked.reason, False
    if current is not None and current.candidate.digest == candidate.digest:
        by, reason, already = current.decision.actor, str(current.decision.body.get("reason", "")), True
    return Promoted(**decision.model_dump(mode="json"), by=by, reason=reason, already=already)


def rollback(asked: Rollback, desk: Desk) -> RolledBack:
    """Needs the ledger's database alone; MLflow is shown it when it answers."""
    from towpath import wiring

    project = known(asked.project, desk)
    with desk.canary() as ports:
        done = roll_back(
            project,
            ports,
            to=desk.candidate(asked.to) if asked.to is not None else None,
            author=desk.identity.person,
            reason=asked.reason,
            now=desk.now,
        )
    try:
        mirror(desk.ledger, lambda: wiring.open_models(desk.office.settings), project)
        fault = ""
    except TowpathError as error:
        fault = error.message
    return RolledBack(
        project=project,
        champion=done.champion.id,
        before=done.before.id,
        record=done.record.sequence,
        rollout=done.rollout.rollout_id if done.rollout else None,
        rollout_phase=done.rollout.phase.value if done.rollout else None,
        mlflow=fault or "shown",
        by=desk.identity.person,
        reason=asked.reason,
    )


class Mirror(Request):
    """Of a project's champion."""

    project: str = Field(max_length=200)


class Mirrored(Document):
    """What MLflow shows now. `decision`: the hash of the record that made it the champion."""

    project: str
    champion: str
    decision: str


def mirror_champion(asked: Mirror, desk: Desk) -> Mirrored:
    """Raises `NotFound` for a project without a champion."""
    from towpath import wiring

    project = known(asked.project, desk)
    decision = mirror(desk.ledger, lambda: wiring.open_models(desk.office.settings), project)
    if decision is None:
        raise NotFound(f"Project {project} has no champion.", value=project, hint="`towpath promote` makes the first.")
    return Mirrored(project=project, champion=decision.candidate, decision=decision.hash)


PROMOTE: Final = Verb(
    name="promote",
    about="Make a candidate the champion, if every gate allows it; the decision is recorded either way.",
    action=Action.PROMOTE,
    request=Promote,
    answer=Promoted,
    perform=promote,
    project=of_candidate,
    path="/v1/candidates/{candidate}/promote",
)
ROLLBACK: Final = Verb(
    name="rollback",
    about="Make an earlier champion the champion again; a rollout that is open ends with it.",
    action=Action.ROLLBACK,
    request=Rollback,
    answer=RolledBack,
    perform=rollback,
    project=in_project,
    path="/v1/projects/{project}/rollback",
)
ROLLOUT_MIRROR: Final = Verb(
    name="rollout-mirror",
    about="Let MLflow show the champion that the ledger has.",
    action=Action.RECONCILE,
    request=Mirror,
    answer=Mirrored,
    perform=mirror_champion,
    project=in_project,
    path="/v1/projects/{project}/rollout/mirror",
)
VERBS: Final = (
    ROLLOUT_MIRROR,
    PROMOTE,
    ROLLBACK,
)
