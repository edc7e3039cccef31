"""`towpath up`, with real servers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.conftest import Cli
from cli.test_edge import free_port


@contextmanager
def up(place: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    root = Path(__file__).parents[2] / "platform"
    search = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(root)]))
    process = subprocess.Popen(
        [sys.executable, "-m", "towpath.cli", "up", "--json", *arguments],
        env={**os.environ, "PYTHONPATH": search},
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def document(process: subprocess.Popen[str]) -> dict[str, dict[str, str | int]]:
    """The one JSON document, printed when every server answers."""
    assert process.stdout is not None
    text = ""
    while line := process.stdout.readline():
        text += line
        if line == "}\n":
            return {str(item["name"]): item for item in json.loads(text)["services"]}
    raise AssertionError(process.stderr.read() if process.stderr else "")


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_taken_port_is_refused_before_anything_starts(cli: Cli, place: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ran = cli("up", "--mlflow-port", port, "--prefect-port", str(free_port()))
    assert ran.code == 2
    assert f"Port {port} for mlflow is not free" in ran.err
    assert "--mlflow-port" in ran.err
    assert not (place / "state/logs").exists()


def test_one_port_for_both_is_refused(cli: Cli) -> None:
    port = str(free_port())
    assert cli("up", "--mlflow-port", port, "--prefect-port", port, "--json").json["error"]["value"] == port


@pytest.mark.slow
def test_a_server_that_ends_by_itself_is_named_with_its_last_words(
    cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOWPATH_MLFLOW", "nonsense://nowhere")
    ran = cli("up", "--mlflow-port", str(free_port()), "--prefect-port", str(free_port()), "--json")
    assert ran.code == 5
    assert ran.json["error"]["message"].startswith("mlflow ended by itself")
    assert "nonsense" in ran.json["error"]["hint"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_answers_and_stops_cleanly(place: Path, number: int) -> None:
    ports = str(free_port()), str(free_port())
    with up(place, "--mlflow-port", ports[0], "--prefect-port", ports[1]) as process:
        services = document(process)
        assert set(services) == {"mlflow", "prefect"}
        for url in (f"{services['mlflow']['url']}/health", f"{services['prefect']['url']}/api/health"):
            with urllib.request.urlopen(url, timeout=10) as answer:
                assert answer.status == 200
        groups = [int(item["pid"]) for item in services.values()]
        process.send_signal(number)
        assert process.wait(60) == 0
    assert not any(alive(group) for group in groups)
    assert Path(str(services["mlflow"]["log"])).is_relative_to(place / "state/logs")


@pytest.mark.slow
def test_up_stops_the_others_when_one_dies(place: Path) -> None:
    with up(place, "--mlflow-port", str(free_port()), "--prefect-port", str(free_port())) as process:
        services = document(process)
        os.killpg(int(services["prefect"]["pid"]), signal.SIGKILL)
        assert process.wait(60) == 5
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read() == ""
        assert "unreachable: prefect ended by itself, killed by signal 9." in process.stderr.read()
    deadline = time.monotonic() + 10
    while alive(int(services["mlflow"]["pid"])) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(int(services["mlflow"]["pid"]))
