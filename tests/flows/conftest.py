"""A real Prefect server for the session, the flows loaded as Prefect loads them, and a small project to go through."""

from __future__ import annotations

import importlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from prefect import State
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.client.schemas.sorting import TaskRunSort
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from path import small
from towpath import wiring
from towpath.core.evidence import Candidate
from towpath.ledger.sql import SqlLedger
from towpath.path import ORDER
from towpath.stages.work import candidate_of

HERE = Path(__file__).parent
ROOT = Path(__file__).parents[2]
FLOWS = ROOT / "flows"
START_SECONDS = 120
AS_OF = f"{small.AS_OF:%Y-%m-%d}"
STAGES = [stage.value for stage in ORDER]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            # the flows run the five services in this process, and these warn of each other's plans
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server: its API, its folder, and the environment of a process that speaks to it."""

    url: str
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "TOWPATH_"))}
        return {
            **clean,
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`prefect server start`, with a database of its own."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    started = Server(url=f"http://127.0.0.1:{port}/api", home=home)
    environment = {**started.environment, "PREFECT_SERVER_UI_ENABLED": "false"}
    del environment["PREFECT_API_URL"]
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    log = home / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        _await(f"{started.url}/health", process, log)
        yield started
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    process.kill()
    pytest.fail(f"Prefect's server does not answer: {log.read_text(errors='replace')[-3000:]}", pytrace=False)


@dataclass(kw_only=True)
class Flows:
    """The flow modules, run in this process against the server."""

    modules: Mapping[str, ModuleType]
    client: SyncPrefectClient

    def run(self, flow: str, *arguments: str, **parameters: str) -> State[Any]:
        """Run a flow to its end; returns the last state of the run."""
        state: State[Any] = getattr(self.modules[flow], flow)(*arguments, **parameters, return_state=True)
        return state

    def flow_run(self, state: State[Any]) -> FlowRun:
        assert state.state_details.flow_run_id is not None
        return self.client.read_flow_run(state.state_details.flow_run_id)

    def task_runs(self, state: State[Any], *, awaited: int) -> list[TaskRun]:
        """The run's task runs in the order of their start; the server records them a moment after they ended."""
        run = FlowRunFilter(id=FlowRunFilterId(any_=[self.flow_run(state).id]))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = self.client.read_task_runs(flow_run_filter=run, sort=TaskRunSort.EXPECTED_START_TIME_ASC)
            if len(found) >= awaited and all(item.state is not None and item.state.is_final() for item in found):
                break
            time.sleep(0.2)
        return list(found)

    def events(self, name: str) -> list[Any]:
        """The events of that name, once there are any; the server records them a moment after they were sent."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found: list[Any] = self.post("/events/filter", {"filter": {"event": {"name": [name]}}})["events"]
            if found:
                break
            time.sleep(0.2)
        return found

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """What the API answers to a question that the client has no method for."""
        answer = self.client._client.post(path, json=dict(body))
        answer.raise_for_status()
        return answer.json()


@pytest.fixture(scope="session")
def flows(server: Server) -> Iterator[Flows]:
    sys.path.insert(0, str(FLOWS))  # as Prefect's loader does
    try:
        names = ("stage_tasks", "governed_path", "drift_watch", "canary_tick", "reconcile_tick")
        modules = {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(FLOWS))
    settings = temporary_settings({PREFECT_API_URL: server.url, PREFECT_HOME: server.home})
    with settings, get_client(sync_client=True) as client:
        yield Flows(modules=modules, client=client)
        for worker in (APILogWorker, EventsWorker):
            worker.drain_all()  # while the server is there to hear them


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small project. Not to be changed: take `project`."""
    return small.build(tmp_path_factory.mktemp("template") / "flights")


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    """A copy of the small project that a test may change."""
    shutil.copytree(template, tmp_path / "flights")
    return tmp_path / "flights"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of the test's own, which the flows find in the environment."""
    folder = tmp_path / "state"
    settle(monkeypatch, folder)
    return folder


def settle(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    for name in list(os.environ):
        if name.startswith("TOWPATH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TOWPATH_STATE", str(folder))
    monkeypatch.setenv("TOWPATH_ACTOR", "tester")


@contextmanager
def ledger(state: Path) -> Iterator[SqlLedger]:
    with SqlLedger.open(f"sqlite:///{state / 'ledger.db'}", clock=wiring.now) as opened:
        yield opened


@dataclass(frozen=True, kw_only=True)
class Whole:
    """The small project after one run of the flow."""

    project: Path
    state: Path
    ended: State[Any]
    candidate: Candidate
    runs: list[TaskRun]


@pytest.fixture(scope="session")
def whole(flows: Flows, template: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    state = tmp_path_factory.mktemp("whole") / "state"
    with pytest.MonkeyPatch.context() as patch:
        settle(patch, state)
        ended = flows.run("governed_path", str(template), AS_OF)
        assert ended.is_completed(), ended
        with ledger(state) as opened:
            candidate = candidate_of(opened, "flights", ended.result())
        runs = flows.task_runs(ended, awaited=len(STAGES) + 1)
    return Whole(project=template, state=state, ended=ended, candidate=candidate, runs=runs)
