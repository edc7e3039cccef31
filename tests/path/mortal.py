"""Processes that go along the path and may be killed (SIGKILL) at a named point of it.

Importing the services costs many seconds, so one process imports them once and forks for every walk. Nothing else is
done in it: it has no connection, no open file and no pool of threads that a fork would break.

A point is `STAGE NAME NUMBER`: the stage in which it counts, what is counted, and how often it must happen. The names:
`step` (a step is told), `append` (the ledger is about to be asked to write) and `appended` (it has written), `rename`
(a file of the state folder is about to get its final name), and `mlflow.METHOD` (the MLflow client has done METHOD).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

_SECONDS = 240  # a walk takes a few


@dataclass(frozen=True, kw_only=True)
class Point:
    """Where a process is killed."""

    stage: str
    name: str
    number: int = 1

    def __str__(self) -> str:
        return f"{self.stage} {self.name} {self.number}"


@dataclass(frozen=True, kw_only=True)
class Walk:
    """What a process does: the path of the project up to `until`, then the promotion when asked for."""

    project: Path
    state: Path
    environment: dict[str, str]
    as_of: datetime
    watch: bool = False
    until: str | None = None
    promote: bool = False
    die: Point | None = None


@dataclass(frozen=True, kw_only=True)
class Walked:
    """How a process ended: `signal` 9 when it was killed, else what it said of its walk."""

    signal: int
    digest: str | None = None
    computed: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    error: str = ""


class Mortals:
    """The process that forks, seen from the tests."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server

    @classmethod
    @contextmanager
    def start(cls) -> Iterator[Mortals]:
        """Start it; it ends with the block, or when the tests die and its input closes."""
        paths = [entry for entry in sys.path if entry]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TOWPATH_")},
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MPLBACKEND": "Agg",
            "PYTHONPATH": os.pathsep.join(paths),
        }
        server = subprocess.Popen(
            [sys.executable, "-m", "path.mortal"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        try:
            yield cls(server)
        finally:
            try:
                server.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.communicate()

    def go(self, *walks: Walk) -> list[Walked]:
        """Each walk in a process of its own, all at once; returns when all have ended."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps([asdict(walk) for walk in walks], default=str) + "\n")
        self._server.stdin.flush()
        line = self._server.stdout.readline()
        assert line, "the process that forks has ended"
        return [Walked(**item) for item in json.loads(line)]

    def killed(self, walk: Walk) -> None:
        """A walk that must be killed at its point."""
        (walked,) = self.go(walk)
        assert walked.signal == signal.SIGKILL, f"{walk.die} was never reached: {walked}"

    def finished(self, walk: Walk) -> Walked:
        """A walk that must come to its end."""
        (walked,) = self.go(walk)
        assert walked.signal == 0, walked
        assert not walked.error, walked.error
        return walked


class _Executioner:
    """Counts what happens in the point's stage, and kills the process at its number."""

    def __init__(self, point: Point, state: Path) -> None:
        self.point = point
        self.state = str(state)
        self.stage = ""
        self.count = 0

    def happens(self, name: str) -> None:
        if (self.stage, name) == (self.point.stage, self.point.name):
            self.count += 1
            if self.count == self.point.number:
                os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and str(arguments[1]).startswith(self.state):
            self.happens("rename")


class _MortalLedger:
    def __init__(self, ledger: Any, executioner: _Executioner) -> None:
        self._ledger = ledger
        self._executioner = executioner

    def append(self, draft: Any, *, actor: str, behind: str | None = None) -> Any:
        self._executioner.happens("append")
        record = self._ledger.append(draft, actor=actor, behind=behind)
        self._executioner.happens("appended")
        return record

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


class _MortalClient:
    def __init__(self, client: Any, executioner: _Executioner) -> None:
        self._client = client
        self._executioner = executioner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def called(*arguments: Any, **options: Any) -> Any:
            result = method(*arguments, **options)
            self._executioner.happens(f"mlflow.{name}")
            return result

        return called


def serve() -> None:
    """Read walks from standard input, a line each; fork for each; answer how they ended."""
    load_services()
    for line in sys.stdin:
        walks = json.loads(line)
        children = [_fork(walk) for walk in walks]
        sys.stdout.write(json.dumps([_ended(child, answers) for child, answers in children]) + "\n")
        sys.stdout.flush()


def _fork(walk: dict[str, Any]) -> tuple[int, int]:
    answers, answering = os.pipe()
    child = os.fork()
    if child:
        os.close(answering)
        return child, answers
    os.close(answers)
    signal.alarm(_SECONDS)
    os.dup2(2, 1)  # what libraries print goes not among the answers
    try:
        answer = _walk(walk)
    except BaseException:
        answer = {"error": traceback.format_exc()}
    os.write(answering, json.dumps(answer).encode())
    os._exit(0)


def _ended(child: int, answers: int) -> dict[str, Any]:
    with os.fdopen(answers, "rb") as stream:
        said = stream.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return {"signal": os.WTERMSIG(status)}
    return {"signal": 0, **json.loads(said)}


def _walk(walk: dict[str, Any]) -> dict[str, Any]:
    from dataclasses import replace

    from path import small
    from towpath.path import ORDER, WATCH

    state = Path(walk["state"])
    heard = small.Heard()
    point = Point(**walk["die"]) if walk["die"] else Point(stage="", name="")
    executioner = _Executioner(point, state)
    sys.addaudithook(executioner.audit)
    progress = _MortalProgress(heard, executioner)
    with small.opened(
        Path(walk["project"]),
        state,
        as_of=datetime.fromisoformat(walk["as_of"]),
        order=WATCH if walk["watch"] else ORDER,
        progress=progress,
        environment=walk["environment"],
    ) as work:
        work.ports.models._client = _MortalClient(work.ports.models.client, executioner)  # type: ignore[attr-defined]
        mortal = replace(work, ports=replace(work.ports, ledger=_MortalLedger(work.ports.ledger, executioner)))
        candidate = small.walk(mortal, until=walk["until"])
        if walk["promote"]:
            progress.begin("promote")
            small.crown(candidate, mortal)
    return {"digest": candidate.digest, "computed": heard.computed, "reused": heard.reused}


class _MortalProgress:
    """The port `Progress`, on which the executioner hears the stages."""

    def __init__(self, heard: Any, executioner: _Executioner) -> None:
        self._heard = heard
        self._executioner = executioner

    def begin(self, stage: str) -> None:
        self._executioner.stage = stage
        self._heard.begin(stage)

    def step(self, what: str) -> None:
        self._heard.step(what)
        self._executioner.happens("step")

    def found(self) -> None:
        self._heard.found()

    def end(self, stage: str, outcome: str) -> None:
        self._heard.end(stage, outcome)


def load_services() -> None:
    """Everything that a walk imports late, imported once, before the first fork."""
    from towpath import telemetry
    from towpath.adapters import feast_loading

    telemetry.silence()
    feast_loading.load()
    import importlib

    services: Sequence[str] = (
        "path.small",
        "towpath.adapters.evidently_drift",
        "towpath.adapters.feast_asof",
        "towpath.adapters.feast_features",
        "towpath.adapters.great_expectations_checks",
        "towpath.adapters.mlflow_models",
        "mlflow.artifacts",
        "mlflow.sklearn",
        "mlflow.store.model_registry.sqlalchemy_store",
        "mlflow.store.tracking.sqlalchemy_store",
        "feast.infra.online_stores.sqlite",
        "great_expectations",
        "evidently.presets",
        "modelscan.modelscan",
        "model_signing.signing",
        "model_signing.verifying",
        "in_toto_attestation.v1.statement",
        "cyclonedx.validation.json",
        "skops.io",
        "sklearn.ensemble",
        "matplotlib.pyplot",
    )
    for name in services:
        importlib.import_module(name)


if __name__ == "__main__":
    serve()
