"""A real PostgreSQL server for a test session, and a database of its own for each test that asks.

Each xdist worker starts a server. It runs as the user `postgres` when the tests run as root (PostgreSQL refuses root),
else as the user of the tests; it accepts a password over TCP on the loopback address.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

USER = "towpath"
PASSWORD = uuid.uuid4().hex  # no other worker's server on a port that was ours a moment ago lets us in

_INSTALL = "Install PostgreSQL to run these tests: `apt-get install postgresql`."
_START_SECONDS = 60
_ATTEMPTS = 5  # another process may take the free port before the server does
_OPTIONS = {"fsync": "off", "full_page_writes": "off", "max_connections": "50", "shared_buffers": "16MB"}


class _PortTakenError(Exception):
    """The server did not start because its port was taken meanwhile."""


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """`postgresql://USER:PASSWORD@127.0.0.1:PORT/postgres`, as a superuser of a server that stops with the session."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a Unix socket's path has at most 107 characters
    try:
        if os.geteuid() == 0:
            account = _account()
            os.chown(folder, account.pw_uid, account.pw_gid)
        _initdb(binaries, folder)
        server, port = _start(binaries, folder)
        try:
            yield f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres"
        finally:
            _stop(server)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """The URL of an empty database that is dropped after the test."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    yield postgres_url.removesuffix("postgres") + name
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _binaries() -> Path:
    """The folder of the newest server that is installed."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda file: int(file.parts[-3]))
    found = str(debian[-1]) if debian else shutil.which("postgres")
    if found is None:
        pytest.fail(f"No PostgreSQL server was found in /usr/lib/postgresql or on the PATH. {_INSTALL}", pytrace=False)
    return Path(found).resolve().parent


def _account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        pytest.fail(f"The tests run as root, and there is no user `postgres` to run as. {_INSTALL}", pytrace=False)


def _as_server(*command: str | Path) -> list[str]:
    """The command as a user that PostgreSQL accepts; it gets SIGINT (a fast shutdown) if the tests are killed."""
    drop = ["--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
    return ["setpriv", *drop, "--pdeathsig=INT", "--", *map(str, command)]


def _initdb(binaries: Path, folder: Path) -> None:
    password = folder / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    command: list[str | Path] = [
        *(binaries / "initdb", "-D", folder / "data", "-U", USER, "--pwfile", password, "--encoding=UTF8"),
        *("--locale=C", "--auth=scram-sha-256", "--no-sync", "--no-instructions"),
    ]
    done = subprocess.run(_as_server(*command), cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.fail(f"initdb ended with {done.returncode}: {done.stderr.strip()}", pytrace=False)


def _start(binaries: Path, folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    for _ in range(_ATTEMPTS):
        try:
            return _start_at(binaries, folder, _free_port())
        except _PortTakenError:
            continue
    pytest.fail(f"PostgreSQL found its port taken {_ATTEMPTS} times.", pytrace=False)


def _start_at(binaries: Path, folder: Path, port: int) -> tuple[subprocess.Popen[bytes], int]:
    options = {**_OPTIONS, "listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": str(folder)}
    settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    log = folder / "log"
    with log.open("wb") as output:
        command = _as_server(binaries / "postgres", "-D", folder / "data", *settings)
        server = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            said = log.read_text(errors="replace").strip()
            if "Address already in use" in said:
                raise _PortTakenError
            pytest.fail(f"PostgreSQL ended with {server.returncode} instead of starting: {said}", pytrace=False)
        try:
            psycopg.connect(_conninfo(port)).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return server, port
    _stop(server)
    pytest.fail(f"PostgreSQL did not answer within {_START_SECONDS} s.", pytrace=False)


def _conninfo(port: int) -> str:
    return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres?connect_timeout=5"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGINT)
    try:
        server.wait(timeout=30)
    except subprocess.TimeoutExpired:
        server.send_signal(signal.SIGQUIT)
        server.wait(timeout=30)
