"""An error budget that is spent is a failing finding of the watch."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from path import small
from path.trail import Trail
from towpath.core.evidence import Candidate, Entry, Finding, Outcome, RecordKind
from towpath.core.gates import Stage
from towpath.core.slo import CODE, judged, promises
from towpath.path import WATCH
from towpath.ports import Draft
from towpath.stages import slo
from towpath.stages.sequence import run
from towpath.stages.work import Work

FRESH = "flights.time_hour"


def stale(work: Work, days_ago: int) -> None:
    """What a watch of that day left, on which nothing new had come."""
    at = work.as_of - timedelta(days=days_ago)
    finding = Finding(code="data.freshness", outcome=Outcome.FAIL, subject=FRESH, reason="the feed stopped")
    candidate = Candidate(project=work.name)
    for stage in (Stage.INGEST, Stage.VALIDATE):
        entry = Entry(
            stage=stage.value,
            project=work.name,
            key=f"{stage}{days_ago}",
            previous=candidate.digest,
            inputs={},
            facts={"as_of": at.isoformat()} if stage is Stage.INGEST else {},
            findings=(finding,) if stage is Stage.VALIDATE else (),
        )
        candidate = candidate.append(entry)
        work.ports.ledger.append(
            Draft(kind=RecordKind.ENTRY, project=work.name, candidate=candidate.id, stage=stage.value, key=entry.key,
                  digest=entry.digest, body=entry.model_dump(mode="json")),
            actor="tester",
        )  # fmt: skip


def asked(candidate: Candidate) -> dict[str, Finding]:
    return {one.subject: one for one in candidate.entry(Stage.MONITOR).findings if one.code == CODE}


@pytest.mark.slow
def test_a_watch_measures_what_the_contracts_promise(base_project: Path, tmp_path: Path) -> None:
    """Up to the validation, which is all that the measurements need, and a champion is none of it."""
    with small.opened(base_project, tmp_path / "state", as_of=small.WATCHED, order=WATCH) as work:
        stale(work, 9)
        small.walk(work, until=Stage.VALIDATE)
        measured = slo.measurements(work.ports.ledger, work.name)
        levels = slo.statuses(promises(work.project.contracts), measured, until=work.as_of)
        assert slo.of_project(measured, work.ports.objects, until=work.as_of) == levels, "by the recorded contracts too"
    found = {one.subject: one for one in map(judged, levels)}
    fresh = found[f"freshness:{FRESH}"]
    assert (fresh.outcome, fresh.sample_size) == (Outcome.FAIL, 2), "that day and this watch"
    assert found["freshness:weather.time_hour"].outcome is Outcome.PASS
    assert found["latency:flights.arr_time"].outcome is Outcome.INCONCLUSIVE


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(900)  # it walks the whole path first
def test_a_spent_budget_refuses_the_watch(trail: Trail, tmp_path: Path) -> None:
    state = trail.after(Stage.PROMOTE, tmp_path / "state")
    given = {"as_of": small.WATCHED, "order": WATCH, "environment": trail.environment}
    with small.opened(trail.project, state, **given) as work:
        stale(work, 9)
        watched, again = run(work), run(work)
    assert watched.digest == again.digest, "nothing else was measured"
    fresh = asked(watched)[f"freshness:{FRESH}"]
    assert (fresh.outcome, fresh.sample_size) == (Outcome.FAIL, 3), (
        "that day, the run that was promoted, and this watch"
    )
    assert "the error budget is spent" in fresh.reason
    late = asked(watched)["latency:flights.arr_time"]
    assert (late.outcome, late.severity.value) == (Outcome.INCONCLUSIVE, "warning")
    assert watched.outcome is Outcome.FAIL
