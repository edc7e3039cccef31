"""Keeping the record and what it speaks of: holds, retention, checkpoints, and what served at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import Field, JsonValue

from towpath.core.access import Action
from towpath.core.declaration import Duration
from towpath.core.errors import BadInput, IntegrityError, NotFound
from towpath.core.evidence import Candidate, Record, RecordKind
from towpath.core.identity import EVERY_PROJECT
from towpath.stages import holds, retention
from towpath.stages.succession import require_whole
from towpath.stages.timeline import Served, served
from towpath.verbs.approvals import REASON
from towpath.verbs.candidates import known
from towpath.verbs.desk import Desk
from towpath.verbs.verb import Document, Request, Verb

LEAST: Final = timedelta(days=1)
"""The youngest that is ever removed."""
_MOST: Final = timedelta(days=36_500)


class PlaceHold(Request):
    """Hold a project, by its name, or a candidate, by its id or at least 4 digits of its digest."""

    what: str = Field(max_length=200)
    reason: str = REASON


class ReleaseHold(Request):
    """Release what is held."""

    what: str = Field(max_length=200)
    reason: str = REASON


class HoldWritten(Document):
    """The record of it."""

    record: Record


class ListHolds(Request):
    """Those that stand, of the projects that may be read."""


class Holds(Document):
    """In the order of their records."""

    holds: list[dict[str, JsonValue]]


class ApplyRetention(Request):
    """Remove what only old candidates that were never champion refer to. `dry_run`: show what would go."""

    older_than: Duration = Field(description="At least a day: `400d`.")
    dry_run: bool = False


class RetentionApplied(Document):
    """What would go, or the records of what went."""

    removals: list[dict[str, JsonValue]]
    records: list[Record]


class MakeCheckpoint(Request):
    """Of the whole record."""


class CheckpointMade(Document):
    """A signed note of how many records there are and which is the last, for somebody to keep elsewhere."""

    records: int
    head: str
    at: str
    origin: str
    note: str


class AskServed(Request):
    """A time, in UTC where it does not say otherwise; one project, or all."""

    time: datetime
    project: str | None = Field(default=None, max_length=200)


class ServedAt(Document):
    """What served in each project."""

    served: list[Served]


def place_hold(asked: PlaceHold, desk: Desk) -> HoldWritten:
    """Nothing that it stands on is removed until the hold is released."""
    project, candidate = _named(asked.what, desk)
    record = holds.place(desk.ledger, project, candidate, reason=asked.reason, actor=desk.identity.person)
    return HoldWritten(record=record)


def release_hold(asked: ReleaseHold, desk: Desk) -> HoldWritten:
    """Raises `NotFound` where nothing is held."""
    project, candidate = _named(asked.what, desk)
    record = holds.release(desk.ledger, project, candidate, reason=asked.reason, actor=desk.identity.person)
    return HoldWritten(record=record)


def list_holds(_: ListHolds, desk: Desk) -> Holds:
    """What is held, since when, by whom and why."""
    found = holds.standing(desk.ledger.records(kind=RecordKind.HOLD))
    return Holds(holds=[one.model_dump(mode="json") for one in found if desk.reads(one.project)])


def apply_retention(asked: ApplyRetention, desk: Desk) -> RetentionApplied:
    """Never what is held, and never the record."""
    from towpath import wiring

    if not LEAST <= asked.older_than <= _MOST:
        raise BadInput(
            f"{asked.older_than} is no age.", value=str(asked.older_than), hint="Give days, at least one: 400d."
        )
    settings, before = desk.office.settings, desk.now - asked.older_than
    objects, log = wiring.open_objects(settings), wiring.open_log_days(settings)
    if asked.dry_run:
        found = retention.plan(desk.ledger, objects, log, before=before)
        return RetentionApplied(removals=[_removal(one) for one in found.removals], records=[])
    written = retention.apply(desk.ledger, objects, log, before=before, actor=desk.identity.person)
    return RetentionApplied(removals=[], records=list(written))


def make_checkpoint(_: MakeCheckpoint, desk: Desk) -> CheckpointMade:
    """Raises `IntegrityError` for a record that is not whole."""
    from towpath.ledger import checkpoints

    ledger = desk.ledger
    found = ledger.verify()
    if found.verdict is not None:
        raise IntegrityError(
            f"The ledger is not whole ({found.verdict.kind}): {found.verdict.what}",
            gate="integrity.ledger",
            value=str(found.verdict.sequence),
            hint="`towpath ledger verify` says more.",
        )
    first, last = next(iter(ledger.records()), None), ledger.head()
    if first is None or last is None:
        raise NotFound("The ledger has no record yet.", hint="Run `towpath run` or `towpath demo`.")
    made = checkpoints.checkpoint_of(first, last)
    note = checkpoints.write(made, desk.office.keys)
    return CheckpointMade(records=made.size, head=made.head, at=str(made.at), origin=made.origin, note=note)


def ask_served(asked: AskServed, desk: Desk) -> ServedAt:
    """By whose decision, on which evidence, who had agreed, which rollout was under way."""
    moment = asked.time.astimezone(UTC) if asked.time.tzinfo else asked.time.replace(tzinfo=UTC)
    require_whole(desk.ledger.verify())
    names = desk.projects() if asked.project is None else [known(asked.project, desk)]
    records = list(desk.ledger.records(project=asked.project))
    return ServedAt(served=[served(records, name, moment) for name in names])


def _named(what: str, desk: Desk) -> tuple[str, Candidate | None]:
    """A project by its name, else a candidate."""
    if what in desk.every_project():
        return what, None
    found = desk.candidate(what)
    return found.project, found


def _held(asked: PlaceHold | ReleaseHold, desk: Desk) -> str:
    return _named(asked.what, desk)[0]


def _where(asked: AskServed, _: Desk) -> str:
    return asked.project if asked.project is not None else EVERY_PROJECT


def _removal(one: retention.Removal) -> dict[str, JsonValue]:
    return {
        "project": one.project,
        "what": one.what,
        "kind": one.kind,
        "name": one.name,
        "subject": one.subject,
        "candidates": list(one.candidates),
        "size": one.size,
    }


HOLD_PLACE: Final = Verb(
    name="hold-place",
    about="Hold a project or a candidate: nothing that it stands on is removed.",
    action=Action.HOLD_PLACE,
    request=PlaceHold,
    answer=HoldWritten,
    perform=place_hold,
    project=_held,
    path="/v1/holds/{what}/place",
)
HOLD_RELEASE: Final = Verb(
    name="hold-release",
    about="Release a hold.",
    action=Action.HOLD_RELEASE,
    request=ReleaseHold,
    answer=HoldWritten,
    perform=release_hold,
    project=_held,
    path="/v1/holds/{what}/release",
)
HOLD_LIST: Final = Verb(
    name="hold-list",
    about="List the holds that stand.",
    action=None,
    request=ListHolds,
    answer=Holds,
    perform=list_holds,
    path="/v1/holds",
    changes=False,
)
RETENTION_APPLY: Final = Verb(
    name="retention-apply",
    about="Remove stored files that nothing needs any more.",
    action=Action.RETENTION_APPLY,
    request=ApplyRetention,
    answer=RetentionApplied,
    perform=apply_retention,
    path="/v1/retention/apply",
)
LEDGER_CHECKPOINT: Final = Verb(
    name="ledger-checkpoint",
    about="Sign how many records there are and which is the last, for somebody to keep elsewhere.",
    action=Action.LEDGER_CHECKPOINT,
    request=MakeCheckpoint,
    answer=CheckpointMade,
    perform=make_checkpoint,
    path="/v1/ledger/checkpoint",
)
LEDGER_AT: Final = Verb(
    name="ledger-at",
    about="What served at a time, by whose decision and on which evidence.",
    action=Action.READ,
    request=AskServed,
    answer=ServedAt,
    perform=ask_served,
    project=_where,
    path="/v1/ledger/at",
    changes=False,
)
VERBS: Final = (HOLD_PLACE, HOLD_RELEASE, HOLD_LIST, RETENTION_APPLY, LEDGER_CHECKPOINT, LEDGER_AT)
