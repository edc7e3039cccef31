"""The watch over a champion: it passes on data like those of its training, and raises the alarm on others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flows.conftest import Flows, Whole, ledger
from path import small
from towpath.path import WATCH
from towpath.stages.work import candidate_of

pytestmark = pytest.mark.slow
WATCHED = f"{small.WATCHED:%Y-%m-%d}"


def test_drift_fails_the_run_and_is_announced(whole: Whole, flows: Flows, project: Path, state: Path) -> None:
    shutil.copytree(whole.state, state)
    with small.opened(project, state) as work:
        small.crown(whole.candidate, work)
    calm = flows.run("drift_watch", str(project), WATCHED)
    with ledger(state) as opened:
        assert candidate_of(opened, "flights", calm.result()).stages == tuple(WATCH)

    small.edit(project / "charter.yaml", "driftShare: 0.6", "driftShare: 0.0")
    ended = flows.run("drift_watch", str(project), WATCHED)
    assert (ended.type.value, ended.name) == ("FAILED", "Refused")
    assert "was refused at monitor by monitor.drift" in str(ended.message)
    runs = flows.task_runs(ended, awaited=len(WATCH) + 1)
    assert [(run.name, run.state_name) for run in runs[-2:]] == [("monitor", "Refused"), ("report", "Completed")]
    (event,) = flows.events("towpath.drift")
    assert event["payload"] == {"says": ended.message, "gates": ["monitor.drift"]}
    assert event["resource"]["prefect.resource.id"] == "towpath.project.flights"


def test_without_a_champion_there_is_nothing_to_watch(whole: Whole, flows: Flows, project: Path, state: Path) -> None:
    shutil.copytree(whole.state, state)
    ended = flows.run("drift_watch", str(project), WATCHED)
    assert "has no champion to watch" in str(ended.message)
    assert ended.name == "Failed"
    assert flows.modules["stage_tasks"].code_of(ended) == 2
