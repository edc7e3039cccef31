"""deploy/prefect.yaml against a real server, and the flows as people and workers start them: as processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun, State

from flows.conftest import AS_OF, FLOWS, ROOT, Flows, Server, ledger
from path import small
from towpath.stages.work import candidate_of

pytestmark = pytest.mark.slow


def prefect(server: Server, *arguments: str) -> str:
    """What `prefect …` prints, run from the repository's folder as its documentation says."""
    command = [sys.executable, "-m", "prefect", *arguments]
    ran = subprocess.run(command, cwd=ROOT, env=server.environment, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def deployed(server: Server) -> Server:
    prefect(server, "work-pool", "create", "towpath", "--type", "process")
    prefect(server, "--no-prompt", "deploy", "--all", "--prefect-file", "deploy/prefect.yaml")
    return server


def test_every_flow_is_deployed(deployed: Server, flows: Flows) -> None:
    path = flows.client.read_deployment_by_name("governed-path/flights")
    watch = flows.client.read_deployment_by_name("drift-watch/flights")
    assert path.entrypoint == "flows/governed_path.py:governed_path"
    assert path.work_pool_name == watch.work_pool_name == "towpath"
    assert [(item.active, item.schedule.cron) for item in watch.schedules] == [(True, "0 6 * * *")]
    assert [item.active for item in path.schedules] == [False]
    tick = flows.client.read_deployment_by_name("canary-tick/flights")
    assert [(item.active, item.schedule.interval.total_seconds()) for item in tick.schedules] == [(False, 60)]
    assert path.global_concurrency_limit.limit == watch.global_concurrency_limit.limit == 1
    assert set(path.parameters) == {"project", "as_of"}
    assert "flights" in path.tags


def test_a_worker_runs_a_deployment(deployed: Server, flows: Flows, project: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    parameters = {"project": str(project), "as_of": AS_OF, "until": "ingest"}
    found = flows.client.read_deployment_by_name("governed-path/flights")
    run = flows.client.create_flow_run_from_deployment(found.id, parameters=parameters)
    environment = {**deployed.environment, "TOWPATH_STATE": str(state)}
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "towpath", "--type", "process"]
    log = tmp_path / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output)
    try:
        ended = await_end(flows, run)
    finally:
        worker.send_signal(signal.SIGINT)
        try:
            worker.wait(timeout=60)
        except subprocess.TimeoutExpired:  # it is Prefect's to stop, and a busy machine's to be late
            worker.kill()
            worker.wait()
    assert ended.is_completed(), log.read_text(errors="replace")
    with ledger(state) as opened:
        (record,) = opened.records()
        assert candidate_of(opened, "flights", record.digest).stages == ("ingest",)


def await_end(flows: Flows, run: FlowRun) -> State:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        state = flows.client.read_flow_run(run.id).state
        if state is not None and state.is_final():
            break
        time.sleep(0.5)
    assert state is not None
    return state


def script(name: str, *arguments: str, home: Path, state: Path) -> subprocess.CompletedProcess[str]:
    """Run a flow's file with no server started, in an environment that says nothing of Prefect."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "TOWPATH_"))}
    environment = {**clean, "PREFECT_HOME": str(home), "TOWPATH_STATE": str(state), "TOWPATH_ACTOR": "tester"}
    command = [sys.executable, str(FLOWS / name), *arguments]
    return subprocess.run(command, cwd=state.parent, env=environment, capture_output=True, text=True, timeout=280)


def test_no_server_is_needed(project: Path, tmp_path: Path) -> None:
    home, state = tmp_path / "prefect", tmp_path / "state"
    ran = script("governed_path.py", str(project), "--as-of", AS_OF, "--until", "validate", home=home, state=state)
    assert ran.returncode == 0, ran.stderr
    for file in sorted((project / "landing/flights").glob("*.csv")):
        small.edit(file, "dep_delay", "departure_delay")
    ran = script("governed_path.py", str(project), "--as-of", AS_OF, home=home, state=state)
    assert ran.returncode == 3, ran.stderr
    assert "was refused at validate by data.schema" in ran.stderr


def test_a_script_without_a_project_says_what_to_give(tmp_path: Path) -> None:
    ran = script("drift_watch.py", home=tmp_path / "prefect", state=tmp_path / "state")
    assert ran.returncode == 2
    assert "project" in ran.stderr
