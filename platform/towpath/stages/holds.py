"""holds: what must not be removed, because somebody may ask for it (a court, a regulator, an investigation)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from towpath.core import digest as digests
from towpath.core.errors import BadInput, Denied
from towpath.core.evidence import Candidate, Record, RecordKind
from towpath.ports import Draft, Ledger

STAGE = "hold"


class Scope(StrEnum):
    """What a hold keeps: everything of a project, or what one candidate stands on."""

    PROJECT = "project"
    CANDIDATE = "candidate"


class Hold(BaseModel):
    """A hold that stands. `digest` is the candidate's; None for a project's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    record: int
    scope: Scope
    project: str
    candidate: str
    digest: str | None
    reason: str
    by: str
    at: datetime


def standing(records: Iterable[Record]) -> tuple[Hold, ...]:
    """The holds that were placed and not released, in the order in which they were placed."""
    found: dict[tuple[str, str | None], Hold] = {}
    for record in records:
        if record.kind is not RecordKind.HOLD or record.stage != STAGE:
            continue
        body: Any = record.body
        named = (record.project, body["digest"])
        if body["act"] == "release":
            found.pop(named, None)
            continue
        found.setdefault(
            named,
            Hold(
                record=record.sequence,
                scope=Scope(body["scope"]),
                project=record.project,
                candidate=record.candidate,
                digest=body["digest"],
                reason=str(body["reason"]),
                by=record.actor,
                at=record.at,
            ),
        )
    return tuple(found.values())


def place(ledger: Ledger, project: str, candidate: Candidate | None, *, reason: str, actor: str) -> Record:
    """Hold a project, or one candidate of it. Raises `Denied` without a reason, or where that is held already."""
    _require_reason(reason)
    if (other := _of(ledger, project, candidate)) is not None:
        raise Denied(
            f"{other.by} placed that hold on {other.at:%Y-%m-%d}, in record {other.record}: {other.reason}.",
            value=other.record,
        )
    return _write(ledger, "place", project, candidate, reason=reason, actor=actor)


def release(ledger: Ledger, project: str, candidate: Candidate | None, *, reason: str, actor: str) -> Record:
    """Take a hold back. Raises `Denied` without a reason, and `BadInput` where there is no such hold."""
    _require_reason(reason)
    if _of(ledger, project, candidate) is None:
        raise BadInput(
            f"There is no hold on {candidate.id if candidate is not None else project}.",
            value=candidate.id if candidate is not None else project,
            valid=[hold.candidate or hold.project for hold in standing(ledger.records(kind=RecordKind.HOLD))],
            hint="`towpath hold list` lists them.",
        )
    return _write(ledger, "release", project, candidate, reason=reason, actor=actor)


def _of(ledger: Ledger, project: str, candidate: Candidate | None) -> Hold | None:
    wanted = (project, candidate.digest if candidate is not None else None)
    holds = standing(ledger.records(project=project, kind=RecordKind.HOLD))
    return next((hold for hold in holds if (hold.project, hold.digest) == wanted), None)


def _write(ledger: Ledger, act: str, project: str, candidate: Candidate | None, *, reason: str, actor: str) -> Record:
    scope = Scope.PROJECT if candidate is None else Scope.CANDIDATE
    body = {
        "act": act,
        "scope": scope.value,
        "digest": candidate.digest if candidate is not None else None,
        "reason": reason,
    }
    draft = Draft(
        kind=RecordKind.HOLD,
        project=project,
        candidate=candidate.id if candidate is not None else "",
        stage=STAGE,
        key=None,
        digest=digests.of_json(body),
        body=body,
    )
    return ledger.append(draft, actor=actor)


def _require_reason(reason: str) -> None:
    if len(reason.split()) < 2:
        raise Denied("A hold needs a reason.", value=reason, hint='Say why, in a few words: --reason "…".')
