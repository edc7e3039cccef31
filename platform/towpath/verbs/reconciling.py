"""What was moved by hand, put back or told by the server: what it can reach without the project's folder."""

from __future__ import annotations

from typing import Final

from pydantic import Field, JsonValue

from towpath.core.access import Action
from towpath.stages.reconcile import Reconciled, Reconciler
from towpath.verbs.candidates import in_project, known
from towpath.verbs.desk import Desk
from towpath.verbs.verb import Document, Request, Verb


class Reconcile(Request):
    """One look at a project's services."""

    project: str = Field(max_length=200)


class LookedAt(Document):
    """What differed and what was done about it. `standing`: what differs still. `says`: all of it in sentences."""

    project: str
    at: str
    differences: list[dict[str, JsonValue]]
    waiting: list[str]
    shown: list[str]
    ended: list[str]
    unseen: list[str]
    standing: int
    says: list[str]


def reconcile(asked: Reconcile, desk: Desk) -> LookedAt:
    """MLflow and the gateways; the feature store and Prefect are a worker's, who has the project's folder.

    Whether it is put back says what was frozen with the champion: there is no folder here to read a charter from.
    """
    from towpath import wiring

    project, who = known(asked.project, desk), desk.identity
    ports = wiring.open_reconcile(desk.office.settings, None, actor=who.person, via=who.via)
    try:
        return document(Reconciler(ports, project, None).look(desk.now))
    finally:
        ports.close()


def document(found: Reconciled) -> LookedAt:
    """A look as a document."""
    return LookedAt(
        project=found.project,
        at=found.at.isoformat(),
        differences=[
            {
                "code": one.drift.code,
                "subject": one.drift.subject,
                "wanted": str(one.drift.wanted),
                "found": str(one.drift.found),
                "done": one.done,
                "restored": one.restored,
                "record": one.record.sequence if one.record else None,
            }
            for one in found.treated
        ],
        waiting=[one.says for one in found.waiting],
        shown=[one.subject for one in found.shown],
        ended=[one.subject for one in found.ended],
        unseen=list(found.unseen),
        standing=len(found.standing),
        says=_sentences(found),
    )


def _sentences(found: Reconciled) -> list[str]:
    said = [f"{one.drift.says}: {one.done}." for one in found.treated]
    said += [f"{one.subject}: MLflow was not shown the last decision yet, and is now." for one in found.shown]
    said += [f"{one.subject} is as decided again." for one in found.ended]
    said += [f"{one.says}: it may be work under way, and counts when it stays." for one in found.waiting]
    return [*said, *(f"Not looked at: {one}" for one in found.unseen)]


RECONCILE: Final = Verb(
    name="reconcile",
    about="Put back, or tell, what was moved by hand.",
    action=Action.RECONCILE,
    request=Reconcile,
    answer=LookedAt,
    perform=reconcile,
    project=in_project,
    path="/v1/projects/{project}/reconcile",
)
VERBS: Final = (RECONCILE,)
