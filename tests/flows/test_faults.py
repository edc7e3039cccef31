"""Faults of the world: what may pass is tried again, what will not is not."""

from __future__ import annotations

import contextvars
import fcntl
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from flows.conftest import AS_OF, Flows
from towpath import wiring
from towpath.core.errors import BadInput, Misconfigured
from towpath.ledger.sql import SqlLedger


class Retried(logging.Handler):
    """Waits for Prefect to say that a task will be tried again."""

    def __init__(self) -> None:
        super().__init__()
        self.said = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "will start" in record.getMessage():
            self.said.set()


@contextmanager
def comes_up_later(url: str) -> Iterator[str]:
    """The URL of a PostgreSQL at an address where nobody listens until a first try has failed."""
    parts = urlsplit(url)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
    stop, retried = threading.Event(), Retried()

    def forward() -> None:
        while not retried.said.wait(0.1):
            if stop.is_set():
                return
        listener.listen()
        listener.settimeout(0.1)
        while not stop.is_set():
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            server = socket.create_connection((str(parts.hostname), int(parts.port or 0)))
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=(source, target), daemon=True).start()

    thread = threading.Thread(target=forward)
    thread.start()
    logging.getLogger("prefect.task_runs").addHandler(retried)
    try:
        yield url.replace(f":{parts.port}/", f":{listener.getsockname()[1]}/")
    finally:
        logging.getLogger("prefect.task_runs").removeHandler(retried)
        stop.set()
        thread.join()
        listener.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with source, target:
        source.settimeout(None)
        while data := _received(source):
            target.sendall(data)


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except OSError:
        return b""


@pytest.mark.slow
def test_a_ledger_that_comes_up_later_is_waited_for(
    flows: Flows, project: Path, state: Path, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with comes_up_later(postgres_database) as url:
        monkeypatch.setenv("TOWPATH_LEDGER", url)
        ended = flows.run("governed_path", str(project), AS_OF, until="ingest")
    ingest, report = flows.task_runs(ended, awaited=2)
    assert ingest.run_count == 2, "the first try met a closed port"
    assert (ended.name, report.state_name) == ("Completed", "Completed")
    with SqlLedger.open(postgres_database, clock=wiring.now) as ledger:
        assert [record.digest for record in ledger.records()] == [ended.result()]


def test_an_error_that_stays_is_not_tried_again(
    flows: Flows, project: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOWPATH_LEDGER", "mysql://nobody@127.0.0.1/ledger")
    ended = flows.run("governed_path", str(project), AS_OF)
    (ingest,) = flows.task_runs(ended, awaited=1)
    assert (ingest.name, ingest.state_name, ingest.run_count) == ("ingest", "Failed", 1)
    assert isinstance(ended.result(raise_on_failure=False), Misconfigured)
    assert flows.modules["stage_tasks"].code_of(ended) == 2


@pytest.mark.parametrize(
    ("parameters", "says"),
    [({"as_of": "yesterday"}, "'yesterday' is no time"), ({"until": "monitor"}, r"does not go to 'monitor'.*register")],
)
def test_a_wrong_argument_says_what_is_right(
    flows: Flows, project: Path, state: Path, parameters: dict[str, str], says: str
) -> None:
    ended = flows.run("governed_path", str(project), **parameters)
    with pytest.raises(BadInput, match=says):
        ended.result()
    assert flows.task_runs(ended, awaited=0) == []


def test_runs_of_a_project_go_one_after_the_other(flows: Flows, project: Path, state: Path) -> None:
    state.mkdir()
    ended: list[Any] = []

    def run() -> None:
        ended.append(flows.run("governed_path", str(project), AS_OF, until="ingest"))

    with (state / "flights.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as a run in another process holds it
        second = threading.Thread(target=contextvars.copy_context().run, args=(run,))
        second.start()
        time.sleep(2)
        assert second.is_alive()
        assert not (state / "ledger.db").exists()
    second.join(timeout=60)
    assert [item.name for item in ended] == ["Completed"]
