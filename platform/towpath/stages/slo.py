"""What the ledger says of a project's service level objectives: each measurement, out of what `validate` found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from towpath.core import digest as digests
from towpath.core.contract import Contract
from towpath.core.evidence import Entry, Outcome, RecordKind
from towpath.core.gates import Stage
from towpath.core.slo import Event, Promised, Status, counted, promises
from towpath.ports import Ledger, Objects
from towpath.project import contract_file
from towpath.stages import latency


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A validation, and the time from which it saw the data."""

    at: datetime
    entry: Entry


def measurements(ledger: Ledger, project: str) -> tuple[Measurement, ...]:
    """Every validation of the project in the order of the record, as of when it was seen."""
    seen: dict[str, datetime] = {}
    found: list[Measurement] = []
    for record in ledger.records(project=project, kind=RecordKind.ENTRY):
        if record.stage not in (Stage.INGEST, Stage.VALIDATE):
            continue
        entry = record.entry()
        if entry.stage == Stage.INGEST and "as_of" in entry.facts:
            seen[entry.digest] = _time(entry.facts["as_of"])
        elif entry.previous in seen:
            found.append(Measurement(at=seen[entry.previous], entry=entry))
    return tuple(found)


def statuses(
    promised: Sequence[Promised], measured: Sequence[Measurement], *, until: datetime
) -> tuple[Status, ...]:  # fmt: skip
    """How each promise stands at that time, by what was measured up to then."""
    known = [one for one in measured if one.at <= until]
    return tuple(
        Status(
            promised=one,
            counts=counted(_events(one, known), one.windows, until=until)
            if one.kind == "freshness"
            else _rows(one, known),
        )
        for one in promised
    )


def inputs(found: Sequence[Status]) -> dict[str, str]:
    """What a stage that judges them works from."""
    return {"slo": digests.of_json([one.document for one in found])} if found else {}


def recorded(measured: Sequence[Measurement], objects: Objects) -> Mapping[str, Contract]:
    """The contracts by which the project's last validation judged.

    Raises `NotFound` for one that the store has no more, and `Problems` for one that is read no more: a promise that
    nobody can read is not one that holds.
    """
    stored = measured[-1].entry.subjects_of("contract") if measured else {}
    return {
        table: contract_file(objects.fetch(subject.digest), origin=f"the recorded contract of {table}")[0]
        for table, subject in stored.items()
    }


def of_project(measured: Sequence[Measurement], objects: Objects, *, until: datetime) -> tuple[Status, ...]:
    """A project's objectives at that time, by its last validation's contracts."""
    return statuses(promises(recorded(measured, objects)), measured, until=until)


def newest(measured: Sequence[Measurement]) -> datetime:
    """The latest time as of which anything was measured."""
    return max(one.at for one in measured)


def _events(one: Promised, measured: Sequence[Measurement]) -> Iterator[Event]:
    """A measurement for each time; the first record of a time counts, for later ones may know what came late."""
    seen: set[datetime] = set()
    for each in measured:
        for finding in each.entry.findings:
            mine = finding.code == "data.freshness" and finding.subject == f"{one.table}.{one.column}"
            if mine and finding.outcome is not Outcome.ERROR and each.at not in seen:
                seen.add(each.at)
                yield Event(at=each.at, good=finding.outcome is Outcome.PASS)


def _rows(one: Promised, measured: Sequence[Measurement]) -> Mapping[Any, tuple[int, int]]:
    """The counts of the newest validation that made any of this promise; of those of one time, the last."""
    mine = [each for each in measured if one.name in _latency(each)]
    if not mine:
        return {}
    newest = max(reversed(mine), key=lambda item: item.at)  # the last of the latest
    return latency.read(_latency(newest)[one.name])


def _latency(measured: Measurement) -> Mapping[str, Any]:
    told: Any = measured.entry.facts.get("latency", {})
    return dict(told)


def _time(text: object) -> datetime:
    found = datetime.fromisoformat(str(text))
    return found if found.tzinfo else found.replace(tzinfo=UTC)
