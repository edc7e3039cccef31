"""The parent of the workers: starts them, starts again what ends, ships and merges their logs, and stops them."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import IO

from towpath import telemetry, wiring
from towpath.core.errors import BadInput, Unreachable
from towpath.project import load
from towpath.settings import Settings
from towpath.stages import scratch

_START_SECONDS = 120.0
_STOP_SECONDS = 25.0
_LOOK_SECONDS = 0.1
_SHORT_LIFE_SECONDS = 5.0
_PAUSE_SECONDS = 1.0
ONE_THREAD: Mapping[str, str] = {
    "OMP_NUM_THREADS": "1",  # a worker is one core; threads that fight over it cost everybody
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
}
_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class _Child:
    name: str
    process: subprocess.Popen[bytes]
    leash: IO[bytes]  # the worker ends when this end is closed, as it is when we are killed
    ready: int
    since: float = field(default_factory=time.monotonic)


class Gateway:
    """A gateway of one or several workers on one port. Only for one thread; `stop` may be called from a signal."""

    def __init__(
        self,
        settings: Settings,
        projects: Sequence[Path],
        *,
        host: str,
        port: int,
        workers: int,
        log: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        wiring.prepare(settings)
        self._settings = settings
        self._projects = [str(folder.absolute()) for folder in projects]
        self._host = host
        self._reserved = _reserve(host, port)
        self.port: int = self._reserved.getsockname()[1]
        self._workers = workers
        self._log = log
        self._environment = dict(os.environ if environment is None else environment)
        self._spool = settings.state / "spool"
        self._scratch = scratch.make(settings.state / "scratch")
        self._metrics = self._scratch.path
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(self._metrics)  # before prometheus_client is imported
        self._children: list[_Child] = []
        self._asked = threading.Event()
        self._restart_at = 0.0
        self._count = 0

    @property
    def url(self) -> str:
        return f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{self.port}"

    @property
    def pids(self) -> list[int]:
        return [child.process.pid for child in self._children]

    def start(self) -> None:
        """Start the workers; returns once all of them listen. Raises `Unreachable` when they do not."""
        from towpath.gateway.compacting import Compactor
        from towpath.gateway.metrics import Metrics
        from towpath.gateway.shipping import Shipper

        self._counts = Metrics()
        log = wiring.open_prediction_log(self._settings)
        self._shipper = Shipper(self._spool, log.ship, workers=self._living, metrics=self._counts)
        self._shipper.start()
        names = [load(Path(folder)).charter.project for folder in self._projects] if self._log else []
        self._compactor = Compactor(
            wiring.open_compaction(self._settings), names, workers=self._living, metrics=self._counts
        )
        self._compactor.start()
        for _ in range(self._workers):
            self._children.append(self._spawn())
        deadline = time.monotonic() + _START_SECONDS
        for child in self._children:
            self._await(child, deadline)

    def wait(self) -> None:
        """Until `stop`; workers that end by themselves are started again."""
        while not self._asked.wait(_LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Start again what has ended by itself, at once the first time and after a pause when it ends over and over."""
        from towpath.gateway.metrics import forget

        now = time.monotonic()
        for child in [child for child in self._children if child.process.poll() is not None]:
            _log.warning("worker %s ended by itself (%s)", child.process.pid, child.process.returncode)
            self._children.remove(child)
            self._bury(child)
            forget(child.process.pid, str(self._metrics))
            self._counts.restarts.inc()
            if now - child.since < _SHORT_LIFE_SECONDS:
                self._restart_at = now + _PAUSE_SECONDS
        while len(self._children) < self._workers and now >= self._restart_at:
            self._children.append(self._spawn())

    def stop(self, *_: object) -> None:
        """Ask for the end; also a signal handler."""
        self._asked.set()

    def close(self) -> None:
        """Let the workers finish what they answer, then ship the rest of the log."""
        for child in self._children:
            child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        for child in self._children:
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.1, deadline - time.monotonic()))
            child.process.kill()
            child.process.wait()
            self._bury(child)
        self._children.clear()
        if hasattr(self, "_compactor"):
            self._compactor.stop()
        if hasattr(self, "_shipper"):
            self._shipper.stop()
        self._reserved.close()
        self._scratch.remove()

    def _living(self) -> set[str]:
        return {child.name for child in list(self._children)}

    def _spawn(self) -> _Child:
        self._count += 1
        name = f"{os.getpid()}-{self._count}-{token_hex(4)}"
        ready, theirs = os.pipe()
        config = {
            "projects": self._projects,
            "host": self._host,
            "port": self.port,
            "name": name,
            "spool": str(self._spool),
            "metrics": str(self._metrics),
            "log": self._log,
            "ready": theirs,
        }
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "towpath.gateway.worker", json.dumps(config)],
            env={
                **self._environment,
                **telemetry.SILENT,
                **ONE_THREAD,
                "PROMETHEUS_MULTIPROC_DIR": str(self._metrics),
            },
            stdin=subprocess.PIPE,
            pass_fds=[theirs, self._scratch.lock],  # a worker that outlives us keeps the metrics it writes to
            start_new_session=True,  # Ctrl-C reaches us alone, and we let the workers finish
        )
        os.close(theirs)
        assert process.stdin is not None
        return _Child(name=name, process=process, leash=process.stdin, ready=ready)

    def _await(self, child: _Child, deadline: float) -> None:
        while not select.select([child.ready], [], [], 0.2)[0] and not self._asked.is_set():
            if time.monotonic() > deadline:
                raise Unreachable(
                    f"A worker of the gateway did not listen within {_START_SECONDS:.0f} s.",
                    value=child.process.pid,
                    hint="It waits for the ledger's database; its log says so.",
                )
        if not self._asked.is_set() and not os.read(child.ready, 1):
            raise Unreachable(
                f"A worker of the gateway ended with exit code {child.process.wait()} before it listened.",
                value=child.process.pid,
                hint="What it wrote says why.",
            )

    def _bury(self, child: _Child) -> None:
        child.leash.close()
        os.close(child.ready)


def _reserve(host: str, port: int) -> socket.socket:
    """The port, held but not listened on, so that workers come and go and nobody else takes it."""
    from towpath.gateway.sockets import bound

    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))  # without SO_REUSEPORT: another gateway's port is taken
        return bound(host, port)
    except OSError as error:
        raise BadInput(
            f"The gateway cannot have {host}:{port}: {error.strerror}.",
            value=f"{host}:{port}",
            hint="Stop what listens there, or choose another with --port.",
        ) from error
