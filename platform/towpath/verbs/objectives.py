"""How the promises of a project's data stand: what was measured, and what is left of their error budgets."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pydantic import Field

from towpath.core.access import Action
from towpath.core.evidence import Outcome, Severity
from towpath.core.slo import judged
from towpath.verbs.candidates import in_project, known
from towpath.verbs.desk import Desk
from towpath.verbs.verb import Document, Request, Verb


class AskObjectives(Request):
    """Of one project, at a time (UTC), or at that of its newest measurement."""

    project: str = Field(max_length=200)
    as_of: datetime | None = None


class ObjectiveRow(Document):
    """A promise as a service level objective. Times in hours, shares as fractions of 1."""

    slo: str = Field(description="Kind of the promise, table and column.")
    contract: str
    promise_hours: float | None = Field(description="What is promised; none where it cannot be measured.")
    objective: float = Field(description="The share of measurements or rows that shall hold.")
    window_hours: float
    good: int
    total: int
    budget_left: float | None = Field(description="Share of the error budget; none when nothing was measured.")
    burn: dict[str, float | None] = Field(description="By window, how many times faster than allowed faults come.")
    alert: str | None = Field(description="The window whose alert fires.")
    outcome: str
    reason: str
    spent: bool = Field(description="Whether it is refused: the budget is gone, or burns so fast that it will be.")


class Objectives(Document):
    """All of a project's, as of a time; none before its first validation."""

    project: str
    as_of: str | None
    objectives: list[ObjectiveRow]


def ask_objectives(asked: AskObjectives, desk: Desk) -> Objectives:
    """By the contracts of the project's last validation, out of the ledger alone."""
    from towpath import wiring
    from towpath.stages import slo

    project = known(asked.project, desk)
    measured = slo.measurements(desk.ledger, project)
    if not measured:
        return Objectives(project=project, as_of=None, objectives=[])
    until = wiring.moment(asked.as_of) if asked.as_of is not None else slo.newest(measured)
    found = slo.of_project(measured, wiring.open_objects(desk.office.settings), until=until)
    rows = []
    for status in found:
        finding = judged(status)
        told = {key: value for key, value in status.document.items() if key != "unmeasured"}
        spent = finding.outcome is Outcome.FAIL and finding.severity is Severity.ERROR
        rows.append(ObjectiveRow(**told, outcome=finding.outcome.value, reason=finding.reason, spent=spent))
    return Objectives(project=project, as_of=until.isoformat(), objectives=rows)


SLO: Final = Verb(
    name="slo",
    about="Show how the freshness and latency promises of a project's data stand, and their error budgets.",
    action=Action.READ,
    request=AskObjectives,
    answer=Objectives,
    perform=ask_objectives,
    project=in_project,
    path="/v1/projects/{project}/slo",
    changes=False,
)
VERBS: Final = (SLO,)
