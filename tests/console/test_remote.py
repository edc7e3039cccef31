"""The command line with TOWPATH_SERVER: the same documents, errors and exit codes as here, and never an open line."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from cli.conftest import Cli
from console.conftest import PROJECT, Server
from towpath.cli import reference, remote
from towpath.console.metrics import Metrics
from towpath.verbs.table import VERBS

ROOT = Path(__file__).parents[2]
READS = (
    *("status", "whoami", "gates", "token list", "key list", "hold list", "ledger verify", "ledger show --limit 3"),
    *("emergency list", f"rollout status {PROJECT}", f"rollout explain {PROJECT}", f"rollout replay {PROJECT}"),
)


@pytest.fixture
def away(server: Server, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line of a platform admin, at the server."""
    monkeypatch.setenv("TOWPATH_SERVER", server.url)
    monkeypatch.setenv("TOWPATH_TOKEN", server.town.tokens["platform-admin@*"])
    return cli


def test_the_server_loads_no_library_of_data_or_models() -> None:
    """They would be half of its start, and of its memory."""
    code = "import sys, towpath.console.__main__; print(*{name.partition('.')[0] for name in sys.modules})"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "platform")}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "fastapi" in ran.stdout.split()
    assert not {"numpy", "pandas", "pyarrow", "scipy", "sklearn", "mlflow", "feast"} & set(ran.stdout.split())


@pytest.mark.parametrize("command", [*READS, "show {candidate}", "show {candidate} --finding eval.calibration"])
@pytest.mark.parametrize("style", ["json", "text"])
def test_what_is_read_is_printed_the_same_here_and_there(
    server: Server, away: Cli, command: str, style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = command.format(candidate=server.town.candidate).split()
    words += ["--json"] if style == "json" else []
    there = away(*words)
    monkeypatch.delenv("TOWPATH_SERVER")
    monkeypatch.chdir(server.town.folder)
    here = away(*words)
    assert there.code == here.code == 0, there.out + there.err
    assert _steady(there.out) == _steady(here.out)


def _steady(text: str) -> object:
    """Without what differs from one moment to the next."""
    try:
        said = json.loads(text)
    except ValueError:
        return text
    if isinstance(said, dict):
        for name in ("at", "head", "records"):
            said.pop(name, None)
    return said


def test_an_error_is_the_same_class_with_the_same_exit_code(
    server: Server, away: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in (("show", "visits-0000"), ("gates", "nothing"), ("promote", server.town.candidate, "--reason", "no")):
        there = away(*words, "--json")
        assert there.code in (2, 3)
        with monkeypatch.context() as inside:
            inside.delenv("TOWPATH_SERVER")
            inside.chdir(server.town.folder / "project")
            inside.setenv("TOWPATH_STATE", str(server.town.folder / "state"))
            here = away(*words, "--json")
        assert there.code == here.code
        assert there.json["error"]["code"] == here.json["error"]["code"]


@pytest.mark.parametrize("command", ["run", "monitor", "ledger export x.jsonl", f"rollout run {PROJECT}"])
def test_what_works_on_the_data_is_refused_with_a_sentence(away: Cli, command: str) -> None:
    ran = away(*command.split())
    assert ran.code == 2
    assert "unset TOWPATH_SERVER" in ran.err or "charter.yaml" in ran.err


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://towpath.example", "without https everybody on the way reads your token"),
        ("http://10.0.0.1:8090", "without https"),
        ("https://ada:secret@towpath.example", "holds more than an address"),
        ("ftp://towpath.example", "is no address of a server"),
        ("towpath.example", "is no address of a server"),
    ],
)
def test_a_token_goes_over_no_open_line(away: Cli, url: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOWPATH_SERVER", url)
    ran = away("whoami")
    assert ran.code == 2
    assert says in ran.err
    assert "secret" not in ran.err
    assert os.environ["TOWPATH_TOKEN"] not in ran.err


@contextmanager
def _broken(answers: list[bytes], seen: list[bytes]) -> Iterator[int]:
    """Answers one connection each, then no more."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def serve() -> None:
            for answer in answers:
                connection, _ = listening.accept()
                with connection:
                    head = connection.recv(65_536)
                    while b"Content-Length" in head and not head.rstrip().endswith(b"}"):
                        head += connection.recv(65_536)
                    seen.append(head)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(timeout=30)


def test_what_got_no_answer_is_sent_again_with_the_same_key(away: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_PAUSE_SECONDS", 0.0)
    seen: list[bytes] = []
    body = b'{"key_id": "k", "purpose": "model", "pem": "", "added_at": "", "revoked_at": null, "revoked_after": null,'
    body += b' "reason": "", "signs": true}'
    good = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    bad = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
    with _broken([b"", bad, good], seen) as port:
        monkeypatch.setenv("TOWPATH_SERVER", f"http://127.0.0.1:{port}")
        ran = away("key", "rotate", "model")
    assert ran.code == 0, ran.err
    keys = {line for head in seen for line in head.split(b"\r\n") if line.lower().startswith(b"idempotency-key")}
    assert (len(seen), len(keys)) == (3, 1)


def test_a_server_that_is_away_is_said_to_be(away: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_PAUSE_SECONDS", 0.0)
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("TOWPATH_SERVER", f"http://127.0.0.1:{port}")
    ran = away("whoami", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (5, "unreachable")


def test_the_server_command_says_where_it_listens_and_ends_well(server: Server) -> None:
    environment = {**os.environ, **server.town.environment, "PYTHONPATH": str(ROOT / "platform")}
    with subprocess.Popen(
        [sys.executable, "-m", "towpath.cli", "server", "--port", "0", "--json"],
        cwd=server.town.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
        assert said["open"] is False
        with closing(http.client.HTTPConnection(said["url"].removeprefix("http://"), timeout=30)) as connection:
            connection.request("GET", "/readyz")
            assert connection.getresponse().status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


def test_every_page_and_every_metric_is_documented() -> None:
    page = reference.pages()["api.md"]
    for verb in VERBS.values():
        assert f"`{'POST' if verb.changes else 'GET'} {verb.path}`" in page
    told = (ROOT / "docs/tutorials/platform-team.md").read_text(encoding="utf-8")
    named = [line.split()[2] for line in Metrics().text().decode().splitlines() if line.startswith("# HELP")]
    assert [name for name in named if "_created" not in name and f"`{name}`" not in told] == []
