"""The path as a flow, against a real server: the candidate is the same as without Prefect, and only digests travel."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prefect import State
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact, TaskRun

from flows.conftest import AS_OF, STAGES, Flows, Whole, ledger, settle
from path import small
from towpath.core.gates import GATES
from towpath.stages import sequence
from towpath.stages.work import candidate_of

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def hashes(state: Path) -> list[str]:
    with ledger(state) as opened:
        return [record.hash for record in opened.records()]


def names(runs: list[TaskRun]) -> list[str]:
    return [run.name for run in runs]


def artifacts(flows: Flows, state: State[Any]) -> dict[str, Artifact]:
    run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flows.flow_run(state).id]))
    found = flows.client.read_artifacts(artifact_filter=run)
    return {str(item.key): item for item in found}


def test_a_task_a_stage_and_then_the_report(whole: Whole) -> None:
    assert names(whole.runs) == [*STAGES, "report"]
    assert [run.state_name for run in whole.runs] == ["Completed"] * len(whole.runs)
    assert list(whole.candidate.stages) == STAGES


@pytest.mark.slow
def test_the_same_candidate_as_without_prefect(whole: Whole, tmp_path: Path) -> None:
    with small.opened(whole.project, tmp_path / "state") as work:
        assert sequence.run(work).digest == whole.ended.result()


@pytest.mark.slow
def test_a_second_run_adds_nothing(whole: Whole, flows: Flows, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch, whole.state)
    before = hashes(whole.state)
    again = flows.run("governed_path", str(whole.project), f"{AS_OF}T00:00+00:00")
    assert again.result() == whole.ended.result()
    assert hashes(whole.state) == before


def test_only_digests_travel(whole: Whole, flows: Flows) -> None:
    assert DIGEST.fullmatch(whole.ended.result())
    assert flows.flow_run(whole.ended).parameters == {"project": str(whole.project), "as_of": AS_OF, "until": None}
    for run in whole.runs:
        assert set(run.task_inputs) <= {"project", "stage", "as_of", "previous", "watch", "name", "tip"}
        stored = flows.client.read_task_run(run.id).model_dump(mode="json")
        assert stored["state"]["data"] is None or "result" not in stored["state"]["data"], (
            "a result was sent to the server"
        )
        assert len(json.dumps(stored)) < 5000
    assert flows.flow_run(whole.ended).state.data is None


def test_a_run_can_be_found_and_read(whole: Whole, flows: Flows) -> None:
    run = flows.flow_run(whole.ended)
    assert run.name == f"flights as of {AS_OF}"
    assert {"flights", whole.candidate.id} <= set(run.tags)
    assert all("flights" in task.tags for task in whole.runs)
    found = artifacts(flows, whole.ended)
    assert set(found) == {"flights-progress", "flights-summary", "flights-findings"}
    assert found["flights-progress"].data == 100.0
    summary = str(found["flights-summary"].data)
    assert whole.candidate.id in summary
    assert all(f"| {stage} | PASS |" in summary for stage in STAGES)
    assert "ROC AUC 0." in summary
    rows = json.loads(str(found["flights-findings"].data))
    assert [row["code"] for row in rows] == [finding.code for finding in whole.candidate.findings]


def test_the_log_tells_how_far_it_is(whole: Whole, flows: Flows) -> None:
    query = {"logs": {"flow_run_id": {"any_": [str(flows.flow_run(whole.ended).id)]}}, "limit": 200}
    said = [line["message"] for line in flows.post("/logs/filter", query)]
    assert "train: PASS" in said
    assert "fit on the whole window" in said


def test_a_run_ends_where_it_is_told_to(flows: Flows, project: Path, state: Path) -> None:
    ended = flows.run("governed_path", str(project), AS_OF, until="ingest")
    assert names(flows.task_runs(ended, awaited=2)) == ["ingest", "report"]
    with ledger(state) as opened:
        assert candidate_of(opened, "flights", ended.result()).stages == ("ingest",)


@pytest.mark.slow
def test_a_refusal_ends_the_run_with_its_sentence(flows: Flows, project: Path, state: Path) -> None:
    for file in sorted((project / "landing/flights").glob("*.csv")):
        small.edit(file, "dep_delay", "departure_delay")
    ended = flows.run("governed_path", str(project), AS_OF)
    assert (ended.type.value, ended.name) == ("FAILED", "Refused")
    assert "was refused at validate by data.schema" in str(ended.message)
    assert flows.modules["stage_tasks"].code_of(ended) == 3
    assert flows.flow_run(ended).state_name == "Refused"
    runs = flows.task_runs(ended, awaited=3)
    assert [(run.name, run.state_name) for run in runs] == [
        ("ingest", "Completed"),
        ("validate", "Refused"),
        ("report", "Completed"),
    ]
    assert runs[1].run_count == 1, "a refusal is no fault: it is not tried again"
    summary = str(artifacts(flows, ended)["flights-summary"].data)
    assert "FAIL data.schema" in summary
    assert GATES["data.schema"].mend in summary
    assert [event["payload"]["says"] for event in flows.events("towpath.refused")] == [ended.message]
    with pytest.raises(Exception, match=r"was refused at validate by data\.schema"):
        flows.modules["governed_path"].governed_path(str(project), AS_OF)
