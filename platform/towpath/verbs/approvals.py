"""Who agrees: approvals, waivers, and the glass that two persons break."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pydantic import Field, JsonValue

from towpath.core.access import Action
from towpath.core.declaration import Duration
from towpath.core.emergencies import Broken, Said
from towpath.core.errors import BadInput, NotFound
from towpath.core.evidence import Record
from towpath.stages import approve as approvals
from towpath.stages import emergency as glass
from towpath.stages import waive as waivers
from towpath.stages.agreed import document as standing_document
from towpath.stages.approve import Approved
from towpath.stages.verdict import broken_glass
from towpath.verbs.candidates import in_project, known, of_candidate
from towpath.verbs.desk import Desk
from towpath.verbs.verb import Document, Request, Verb

REASON: Final = Field(max_length=4000, description="Why, in a few words; it is recorded.")
NAMED: Final = Field(max_length=200, description="A candidate's id, or at least 4 digits of its digest.")


class Approve(Request):
    """Agree to a registered candidate. `policy_change`: knowing that its charter asks less than the champion's."""

    candidate: str = NAMED
    reason: str = REASON
    policy_change: bool = False


class Withdraw(Request):
    """Take one's own approval back."""

    candidate: str = NAMED
    reason: str = REASON


class ApprovalGiven(Document):
    """What was done, and how the candidate stands now. `again`: it stood already, and nothing was written."""

    candidate: str
    act: str
    record: int
    again: bool
    by: str
    standing: dict[str, JsonValue]


class Waive(Request):
    """Answer for one finding that refused a candidate, for as long as `expires` says, at most 90 days."""

    candidate: str = NAMED
    code: str = Field(max_length=200, description="The gate that refused it.")
    subject: str = Field(default="", max_length=500, description="What it refused: a table, a slice.")
    reason: str = REASON
    expires: Duration = Field(description="A number and `h`, `d` or `w`.")


class WithdrawWaiver(Request):
    """End a waiver, whoever granted it."""

    candidate: str = NAMED
    code: str = Field(max_length=200)
    subject: str = Field(default="", max_length=500)
    reason: str = REASON


class WaiverGiven(Document):
    """The waiver as it was recorded."""

    act: str
    candidate: str
    code: str
    subject: str
    author: str
    reason: str
    expires: str
    record: int


class OpenEmergency(Request):
    """The first person's part: which candidate must serve now, and why."""

    candidate: str = NAMED
    reason: str = REASON


class Emergency(Document):
    """An emergency as the record tells it."""

    emergency: str
    candidate: str
    digest: str
    opened: Said
    confirmed: Said | None
    used: int | None
    followed_up: Said | None
    state: str


class ConfirmEmergency(Request):
    """The second person's part: promote the candidate although approvals or conclusive findings are missing."""

    project: str = Field(max_length=200)
    emergency: str = Field(max_length=200)


class EmergencyConfirmed(Document):
    """The promotion that the emergency let through, or why it let none."""

    emergency: str
    by: str
    verdict: str
    candidate: str
    digest: str | None
    reasons: list[str]
    waived: list[str]


class FollowUp(Request):
    """What happened, why the glass was broken, and what was done about it."""

    project: str = Field(max_length=200)
    emergency: str = Field(max_length=200)
    report: str = Field(max_length=100_000)


class ListEmergencies(Request):
    """The emergencies of a project, or of all that may be read."""

    project: str | None = Field(default=None, max_length=200)


class Emergencies(Document):
    """In their order."""

    emergencies: list[Emergency]


def approve(asked: Approve, desk: Desk) -> ApprovalGiven:
    """A word that counts, or the reason why it would not."""
    candidate = desk.candidate(asked.candidate)
    done = approvals.approve(
        candidate, desk.identity, desk.ledger, reason=asked.reason, now=desk.now, policy_change=asked.policy_change
    )
    return _given(candidate.id, done, desk)


def withdraw(asked: Withdraw, desk: Desk) -> ApprovalGiven:
    """A rollout that stands on it ends."""
    candidate = desk.candidate(asked.candidate)
    done = approvals.withdraw(candidate, desk.identity, desk.ledger, reason=asked.reason, now=desk.now)
    return _given(candidate.id, done, desk)


def waive(asked: Waive, desk: Desk) -> WaiverGiven:
    """Of a finding that the candidate has, and that may be waived."""
    record = waivers.waive(
        desk.candidate(asked.candidate),
        desk.identity,
        desk.ledger,
        code=asked.code,
        subject=asked.subject,
        reason=asked.reason,
        expires=asked.expires,
        now=desk.now,
    )
    return _waiver(record)


def withdraw_waiver(asked: WithdrawWaiver, desk: Desk) -> WaiverGiven:
    """Of one that is in force."""
    record = waivers.withdraw(
        desk.candidate(asked.candidate),
        desk.identity,
        desk.ledger,
        code=asked.code,
        subject=asked.subject,
        reason=asked.reason,
        now=desk.now,
    )
    return _waiver(record)


def open_emergency(asked: OpenEmergency, desk: Desk) -> Emergency:
    """Promotes nothing yet."""
    candidate = desk.candidate(asked.candidate)
    return _emergency(glass.open_emergency(candidate, desk.identity, desk.ledger, reason=asked.reason, now=desk.now))


def confirm_emergency(asked: ConfirmEmergency, desk: Desk) -> EmergencyConfirmed:
    """Goes past no finding that failed, and past nothing about whose bytes these are."""
    if desk.here is not None and desk.here.charter.project != asked.project:
        raise BadInput(
            f"{asked.emergency} is not of project {desk.here.charter.project}, whose folder is {desk.here.folder}.",
            value=str(desk.here.folder),
            hint="Name the project's folder: --project DIR.",
        )
    done = glass.confirm(asked.emergency, desk.identity, desk.promoting(asked.project), now=desk.now)
    said = done.decision.model_dump(mode="json")
    return EmergencyConfirmed(emergency=asked.emergency, by=desk.identity.person, **said)


def follow_up(asked: FollowUp, desk: Desk) -> Emergency:
    """Then the project promotes again."""
    return _emergency(
        glass.follow_up(asked.emergency, asked.project, desk.identity, desk.ledger, report=asked.report, now=desk.now)
    )


def list_emergencies(asked: ListEmergencies, desk: Desk) -> Emergencies:
    """Who opened and confirmed each, and which follow-ups are missing."""
    wanted = desk.projects() if asked.project is None else [known(asked.project, desk)]
    return Emergencies(emergencies=[_emergency(one) for name in wanted for one in broken_glass(desk.ledger, name)])


def project_of_emergency(name: str, desk: Desk) -> str:
    """The project of an emergency, by its name alone. Raises `NotFound`."""
    found = [(one.emergency, project) for project in desk.projects() for one in broken_glass(desk.ledger, project)]
    for emergency, project in found:
        if emergency == name:
            return project
    raise NotFound(
        f"There is no emergency {name!r}.",
        value=name,
        valid=[emergency for emergency, _ in found] or ["none"],
        hint="`towpath emergency list` lists them.",
    )


def _given(candidate: str, done: Approved, desk: Desk) -> ApprovalGiven:
    return ApprovalGiven(
        candidate=candidate,
        act=str(done.record.body["act"]),
        record=done.record.sequence,
        again=done.again,
        by=desk.identity.person,
        standing=standing_document(done.standing) or {},
    )


def _waiver(record: Record) -> WaiverGiven:
    said = {name: str(record.body[name]) for name in ("act", "candidate", "code", "subject", "author", "reason")}
    return WaiverGiven(**said, expires=str(record.body["expires"]), record=record.sequence)


def _emergency(one: Broken) -> Emergency:
    return Emergency(**one.model_dump(), state=one.state)


def until(text: str) -> datetime:
    """When a recorded time of expiry is."""
    return datetime.fromisoformat(text)


APPROVE: Final = Verb(
    name="approve",
    about="Agree to a registered candidate.",
    action=Action.APPROVE,
    request=Approve,
    answer=ApprovalGiven,
    perform=approve,
    project=of_candidate,
    path="/v1/candidates/{candidate}/approve",
)
WITHDRAW: Final = Verb(
    name="withdraw",
    about="Take one's own approval back.",
    action=Action.WITHDRAW,
    request=Withdraw,
    answer=ApprovalGiven,
    perform=withdraw,
    project=of_candidate,
    path="/v1/candidates/{candidate}/withdraw",
)
WAIVE: Final = Verb(
    name="waive",
    about="Answer for one finding that refused a candidate.",
    action=Action.WAIVE,
    request=Waive,
    answer=WaiverGiven,
    perform=waive,
    project=of_candidate,
    path="/v1/candidates/{candidate}/waive",
)
WAIVE_WITHDRAW: Final = Verb(
    name="waive-withdraw",
    about="End a waiver.",
    action=Action.WAIVE,
    request=WithdrawWaiver,
    answer=WaiverGiven,
    perform=withdraw_waiver,
    project=of_candidate,
    path="/v1/candidates/{candidate}/waive/withdraw",
)
EMERGENCY_OPEN: Final = Verb(
    name="emergency-open",
    about="Say that a candidate must serve now, and why; a second person confirms it.",
    action=Action.EMERGENCY_OPEN,
    request=OpenEmergency,
    answer=Emergency,
    perform=open_emergency,
    project=of_candidate,
    path="/v1/candidates/{candidate}/emergency/open",
)
EMERGENCY_CONFIRM: Final = Verb(
    name="emergency-confirm",
    about="Be the second person: promote what lacks approvals.",
    action=Action.EMERGENCY_CONFIRM,
    request=ConfirmEmergency,
    answer=EmergencyConfirmed,
    perform=confirm_emergency,
    project=in_project,
    path="/v1/projects/{project}/emergencies/{emergency}/confirm",
)
EMERGENCY_FOLLOW_UP: Final = Verb(
    name="emergency-follow-up",
    about="Write what happened; then the project promotes again.",
    action=Action.EMERGENCY_FOLLOW_UP,
    request=FollowUp,
    answer=Emergency,
    perform=follow_up,
    project=in_project,
    path="/v1/projects/{project}/emergencies/{emergency}/follow-up",
)
EMERGENCY_LIST: Final = Verb(
    name="emergency-list",
    about="List the emergencies of a project.",
    action=Action.READ,
    request=ListEmergencies,
    answer=Emergencies,
    perform=list_emergencies,
    project=in_project,
    path="/v1/projects/{project}/emergencies",
    changes=False,
)
VERBS: Final = (
    APPROVE,
    WITHDRAW,
    WAIVE,
    WAIVE_WITHDRAW,
    EMERGENCY_OPEN,
    EMERGENCY_CONFIRM,
    EMERGENCY_FOLLOW_UP,
    EMERGENCY_LIST,
)
