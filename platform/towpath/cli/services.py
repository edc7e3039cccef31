"""The servers that `towpath up` runs: child processes of one foreground command, stopped with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from towpath import telemetry
from towpath.core.errors import BadInput, Unreachable
from towpath.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

HOST = "127.0.0.1"
_START_SECONDS = 180
_STOP_SECONDS = 15
_TAIL_LINES = 15


@dataclass(frozen=True, kw_only=True)
class Service:
    """A server to start: its command, its address, and the page that answers once it is healthy."""

    name: str
    port: int
    command: tuple[str, ...]
    environment: Mapping[str, str]
    health: str

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Running:
    """A started server."""

    service: Service
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def name(self) -> str:
        return self.service.name

    @property
    def url(self) -> str:
        return self.service.url

    @property
    def pid(self) -> int:
        return self.process.pid


def planned(settings: Settings, *, mlflow_port: int, prefect_port: int) -> list[Service]:
    """What is to be started: MLflow unless the settings name a server of their own, and Prefect."""
    found = [] if elsewhere(settings) else [_mlflow(settings, mlflow_port)]
    found.append(_prefect(settings, prefect_port))
    ports = [service.port for service in found]
    if len(set(ports)) < len(ports):
        raise BadInput(f"Both servers cannot have port {ports[0]}.", value=ports[0], hint="Give them different ports.")
    return found


def elsewhere(settings: Settings) -> dict[str, str]:
    """Servers that the settings name and that are not ours to start."""
    return {"mlflow": settings.mlflow} if settings.mlflow.startswith(("http://", "https://")) else {}


def _mlflow(settings: Settings, port: int) -> Service:
    address = ("--host", HOST, "--port", str(port), "--workers", "1")
    artifacts = ("--artifacts-destination", settings.artifacts or str(settings.state / "artifacts"))
    command = (sys.executable, "-m", "mlflow", "server", *address, *artifacts)
    environment = {
        "MLFLOW_BACKEND_STORE_URI": settings.mlflow,  # not an argument: it may hold a password
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    return Service(name="mlflow", port=port, command=command, environment=environment, health="/health")


def _prefect(settings: Settings, port: int) -> Service:
    command = (sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port))
    environment = {
        "PREFECT_HOME": os.environ.get("PREFECT_HOME", str(settings.state / "prefect")),
        "PREFECT_UI_URL": f"http://{HOST}:{port}",
        "PREFECT_UI_API_URL": f"http://{HOST}:{port}/api",
    }
    return Service(name="prefect", port=port, command=command, environment=environment, health="/api/health")


@contextmanager
def started(services: Sequence[Service], settings: Settings, *, echo: Console | None) -> Iterator[House]:
    """Start the servers, and stop every one of them on the way out, whatever happened.

    Raises `BadInput`, before anything is started, for a port that is taken. Only for the main thread: SIGINT and
    SIGTERM stop the house while it stands.
    """
    from towpath import wiring

    wiring.prepare(settings)
    for service in services:
        _require_free(service)
    house = House(echo)
    before = {number: signal.signal(number, house.stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for service in services:
            house.start(service, settings.state / "logs" / f"{service.name}.log")
        yield house
    finally:
        house.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _require_free(service: Service) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, service.port))
        except OSError as error:
            raise BadInput(
                f"Port {service.port} for {service.name} is not free: {error.strerror}.",
                value=service.port,
                hint=f"Stop what listens there, or choose another: --{service.name}-port.",
            ) from error


class House:
    """The running servers, and the wait for their end."""

    def __init__(self, echo: Console | None) -> None:
        self.running: list[Running] = []
        self._echo = echo
        self._read: dict[str, int] = {}
        self._asked = threading.Event()

    def start(self, service: Service, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **telemetry.SILENT, **service.environment, "PYTHONUNBUFFERED": "1"}
        environment.pop("PREFECT_API_URL", None)  # a server is nobody's client
        with log.open("wb") as stream:
            process = subprocess.Popen(  # noqa: S603 - our own commands
                service.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us alone, and we stop the whole group
            )
        self.running.append(Running(service=service, process=process, log=log))

    def stop(self, _number: int = 0, _frame: FrameType | None = None) -> Any:
        """Ask for the end; a signal handler."""
        self._asked.set()

    def wait_until_healthy(self) -> bool:
        """Whether every server answers; False when the end was asked for first. Raises `Unreachable`."""
        deadline = time.monotonic() + _START_SECONDS
        waiting = list(self.running)
        while waiting and not self._asked.is_set():
            self._look()
            waiting = [item for item in waiting if not _healthy(item.service)]
            if waiting and time.monotonic() > deadline:
                raise Unreachable(
                    f"{waiting[0].name} did not answer within {_START_SECONDS} s.",
                    value=waiting[0].url,
                    hint=f"Its log is {waiting[0].log}:\n{_tail(waiting[0].log)}",
                )
            self._asked.wait(0.5 if waiting else 0)
        return not self._asked.is_set()

    def wait_until_stopped(self) -> None:
        """Until the end is asked for. Raises `Unreachable` when a server ends by itself."""
        while not self._asked.wait(0.5):
            self._look()

    def close(self) -> None:
        """End every server and what it started: politely, then not."""
        for item in self.running:
            _signal(item, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        for item in self.running:
            with suppress(subprocess.TimeoutExpired):
                item.process.wait(max(0.1, deadline - time.monotonic()))
            _signal(item, signal.SIGKILL)  # also what a server left behind in its group
            item.process.wait()
        self._echo_logs()

    def _look(self) -> None:
        self._echo_logs()
        for item in self.running:
            code = item.process.poll()
            if code is not None:
                how = f"killed by signal {-code}" if code < 0 else f"with exit code {code}"
                raise Unreachable(
                    f"{item.name} ended by itself, {how}.",
                    value=item.name,
                    hint=f"Its log is {item.log}:\n{_tail(item.log)}",
                )

    def _echo_logs(self) -> None:
        if self._echo is None:
            return
        for item in self.running:
            with item.log.open("rb") as stream:
                stream.seek(self._read.get(item.name, 0))
                text = stream.read()
                self._read[item.name] = stream.tell()
            for line in text.decode("utf-8", "replace").splitlines():
                self._echo.print(f"{item.name:<8} {line}", soft_wrap=True)


def _healthy(service: Service) -> bool:
    try:
        with urllib.request.urlopen(service.url + service.health, timeout=2) as answer:  # noqa: S310 - our own address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _signal(item: Running, number: int) -> None:
    try:
        os.killpg(item.process.pid, number)
    except ProcessLookupError:
        return


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
    return "\n".join(lines[-_TAIL_LINES:]) or "(empty)"
