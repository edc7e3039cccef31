"""`towpath serve` as a person starts it: it says where, answers, and ends with its signal."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request

from gateway.served import PROJECT, House


def _command(house: House, *arguments: str) -> tuple[list[str], dict[str, str]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOWPATH_")}
    command = [sys.executable, "-m", "towpath.cli", "serve", str(house.project), *arguments]
    return command, {**environment, "TOWPATH_STATE": str(house.state), "COLUMNS": "160"}


def test_it_says_where_it_is_and_ends_with_its_signal(house: House) -> None:
    command, environment = _command(house, "--port", "0", "--json")
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        said = json.loads(_document(process))
        assert said["projects"] == [PROJECT]
        with urllib.request.urlopen(f"{said['url']}/readyz", timeout=30) as reply:
            assert json.load(reply)["ready"] is True
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        process.stdout.close()
    finally:
        process.kill()
        process.wait()


def _document(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line.decode()
        if line.rstrip() == b"}":
            break
    return text


def test_a_port_that_is_taken_is_said_so(house: House) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        command, environment = _command(house, "--port", str(other.getsockname()[1]))
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert "cannot have 127.0.0.1" in done.stderr
