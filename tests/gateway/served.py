"""A gateway as people run it, in processes of its own, and what tests do with it."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq

from path import small
from towpath import wiring
from towpath.core import judge
from towpath.core.evidence import Candidate
from towpath.core.rollout import Phase, Rollout, Telemetry, policy_digest
from towpath.core.rollout_decision import Command, Inputs, Order, Reason, Verdict, compose
from towpath.core.rollout_orders import begin
from towpath.core.rollout_policy import RolloutPolicy
from towpath.gateway.loading import Loader, Stores
from towpath.gateway.reading import Readers
from towpath.gateway.watch import Rules, Sources, Watch
from towpath.ports import Draft, Ledger, Rollouts
from towpath.project import load
from towpath.settings import Settings
from towpath.stages.canary import draft, opening
from towpath.stages.canary_start import contender
from towpath.stages.verdict import gathered, governance
from towpath.stages.work import candidate_of, champion

PROJECT = "flights"
SALT = "73" * 16
LEASE = timedelta(minutes=10)
DEADLINE = 60.0
ROLLOUT = """\
rollout:
  unit: tailnum
  steps:
    - {weight: 5,  until: {minUnits: 100}}
    - {weight: 50, until: {promotion: true, maxDuration: 14d}}
  guardrails: [{name: errors, type: rate, event: error, share: 1.0}]
  promotion: [{metric: errors, nonInferior: {ratio: 1.5}}]
  bake: {duration: 1h, holdback: 5}

monitoring:"""


@dataclass(frozen=True, kw_only=True)
class Built:
    """The small project with a champion and an approved challenger, and the state in which they were made."""

    project: Path
    state: Path
    champion: Candidate
    challenger: Candidate


def build(
    folder: Path, *, changed: Callable[[Path], None] = lambda _: None, rollout: str = ROLLOUT, **ports: Any
) -> Built:
    """Go the path twice: the first model is the champion, the second may become it.

    `changed` edits the project, `rollout` is its charter's; `ports` stand in for those that the path is gone with.
    """
    project, state = small.build(folder / PROJECT), folder / "state"
    changed(project)
    small.edit(project / "charter.yaml", "monitoring:", rollout)
    with small.opened(project, state, **ports) as work:
        first = small.walk(work)
        small.crown(first, work)
    small.edit(project / "charter.yaml", "max_iter: 30", "max_iter: 40")
    with small.opened(project, state, **ports) as work:
        second = small.walk(work)
    return Built(project=project, state=state, champion=first, challenger=second)


@dataclass(kw_only=True)
class House:
    """A copy of what was built, with its ledger and rollouts open, for one test."""

    built: Built
    project: Path
    state: Path
    settings: Settings
    ledger: Ledger
    rollouts: Rollouts

    def rollout(
        self, *, weight: int, phase: Phase = Phase.PROGRESSING, lease: timedelta = LEASE, **more: Any
    ) -> Rollout:
        """Put the project's rollout where the test wants it, in one more generation, with a lease."""
        now = datetime.now(UTC)
        before = self.rollouts.open(PROJECT)
        if before is None:
            before = self._started(now)
            self.rollouts.create(before, self._begun(before, now), actor="tester")
        after = before.model_copy(
            update={"weight": weight, "phase": phase, "generation": before.generation + 1, "step": 1, **more}
        )
        self.rollouts.advance(before, after, _note(self.ledger, before, after), actor="tester")
        self.rollouts.renew(after.rollout_id, after.generation, now + lease)
        return after

    def _begun(self, rollout: Rollout, now: datetime) -> Draft:
        """The decision that starts it, as `towpath rollout start` writes it."""
        command = Command(order=Order.START, author="tester", reason="a newer model")
        case = gathered(self.ledger, self.built.challenger, now=now)
        return opening(begin(rollout, command, now), governance(case))

    def _started(self, now: datetime) -> Rollout:
        policy = load(self.project).charter.rollout
        assert policy is not None
        incumbent = champion(self.ledger, PROJECT)
        assert incumbent is not None
        return started(policy, incumbent.candidate, self.built.challenger, now)


def started(policy: RolloutPolicy, incumbent: Candidate, challenger: Candidate, now: datetime) -> Rollout:
    return Rollout(
        rollout_id=f"{PROJECT}-r1",
        project=PROJECT,
        generation=0,
        phase=Phase.PENDING,
        step=0,
        weight=0,
        salt=SALT,
        unit=policy.unit,
        champion=contender(incumbent),
        challenger=contender(challenger),
        policy=policy,
        policy_digest=policy_digest(policy),
        thresholds={},
        phase_since=now,
        step_since=now,
        judge=judge.begin(policy),
        started_by="tester",
        started_at=now,
    )


def _note(ledger: Ledger, before: Rollout, after: Rollout) -> Draft:
    """The decision beside the row, as the controller writes one for every move."""
    command = Command(order=Order.RESUME, author="tester", reason="the test wants it there")
    inputs = Inputs(before=before, look=None, telemetry=Telemetry(), now=datetime.now(UTC), command=command)
    moved = {"verdict": Verdict.CONTINUE, "reason_code": Reason.MANUAL, "reason": command.reason}
    return draft(ledger, compose(after, inputs, None, **moved))  # type: ignore[arg-type]


@contextmanager
def house(built: Built, folder: Path, *, online: bool = False) -> Iterator[House]:
    """A copy of the state. Without `online` the feature store is left behind: requests bring every feature."""
    state = folder / "state"
    left = None if online else shutil.ignore_patterns("features", "scratch")
    shutil.copytree(built.state, state, ignore=left)
    settings = small.settings(state)
    ledger, rollouts = wiring.open_ledger(settings), wiring.open_rollouts(settings)
    try:
        yield House(
            built=built, project=built.project, state=state, settings=settings, ledger=ledger, rollouts=rollouts
        )
    finally:
        ledger.close()
        rollouts.close()  # type: ignore[attr-defined]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An HTTP reply."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(kw_only=True)
class Served:
    """A running gateway."""

    process: subprocess.Popen[bytes]
    port: int
    workers: list[int]
    state: Path
    log: Path
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        """One request on a connection of its own, so that any worker may get it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            found = connection.getresponse()
            named = {name.lower(): value for name, value in found.getheaders()}
            return Reply(status=found.status, headers=named, body=found.read())
        finally:
            connection.close()

    def get(self, path: str) -> Reply:
        return self.ask("GET", path)

    def post(self, path: str, value: Any, **headers: str) -> Reply:
        sent = {"content-type": "application/json", **{name.replace("_", "-"): item for name, item in headers.items()}}
        return self.ask("POST", path, msgspec.json.encode(value) if not isinstance(value, bytes) else value, sent)

    def infer(self, rows: Sequence[Mapping[str, object]], **parameters: object) -> Reply:
        return self.post(f"/v2/models/{PROJECT}/infer", tensors(rows, **parameters))

    def until(self, what: Callable[[], bool]) -> None:
        """Wait for something that the gateway does by itself."""
        deadline = time.monotonic() + DEADLINE
        while not what():
            assert time.monotonic() < deadline, f"it did not happen; the gateway wrote:\n{self.log.read_text()[-4000:]}"
            time.sleep(0.05)

    def arm_of(self, row: Mapping[str, object]) -> str:
        return self.infer([row]).headers["x-towpath-arm"]

    def stop(self) -> int:
        """End it gracefully; its log is shipped then."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=DEADLINE)

    def logged(self, kind: str = "predictions") -> list[dict[str, Any]]:
        """The rows that were shipped."""
        files = sorted((self.state / "predictions" / PROJECT / kind).rglob("*.parquet"))
        return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


@contextmanager
def serving(
    house: House,
    *,
    workers: int = 1,
    log: bool = True,
    wait: bool = True,
    more: Mapping[str, str] | None = None,
) -> Iterator[Served]:
    """The gateway over the house's state, until the end of the block. `more`: settings that only it gets."""
    written = house.state / f"gateway-{time.monotonic_ns()}.log"
    config = {"projects": [str(house.project)], "port": 0, "workers": workers, "log": log}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOWPATH_")}
    environment |= {"TOWPATH_STATE": str(house.state), "TOWPATH_ACTOR": "gateway", **(more or {})}
    with written.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "towpath.gateway", json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            env=environment,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            said = json.loads(process.stdout.readline() or "{}")
            assert "port" in said, (said, written.read_text())
            served = Served(process=process, port=said["port"], workers=said["workers"], state=house.state, log=written)
            if wait:
                served.until(lambda: served.get("/readyz").status == 200)
            yield served
            served.stop()
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()


@contextmanager
def watching(settings: Settings, project: Path) -> Iterator[Watch]:
    """What a worker follows the record with, over its own stores, looking only when it is told to."""
    charter = load(project).charter
    ledger, rollouts = wiring.open_ledger(settings), wiring.open_rollouts(settings)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stores = Stores(
        objects=wiring.open_objects(settings),
        models=partial(wiring.open_models, settings),
        runtimes=wiring.open_runtimes(settings),
        keys=wiring.open_keys(settings),
        scratch=settings.state / "scratch",
    )
    loader = Loader(stores, loop, ledger)
    readers = Readers(
        partial(wiring.open_online, settings, load(project).repository),
        state=settings.state,
        rules=charter.serving.features,
        loop=loop,
        opened=lambda _: None,
    )
    rules = Rules(
        project=charter.project,
        request=charter.features.request,
        row_id=charter.features.row_id,
        unit=charter.rollout.unit if charter.rollout is not None else None,
    )
    sources = Sources(ledger=ledger, rollouts=rollouts, loader=loader, readers=readers)
    try:
        yield Watch(rules, sources, apply=lambda _: None, actor="gateway")
    finally:
        asyncio.run_coroutine_threadsafe(readers.close(), loop).result()
        loader.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        rollouts.close()  # type: ignore[attr-defined]
        ledger.close()


def rows(built: Built, count: int, *, features: bool = True) -> list[dict[str, Any]]:
    """Real flights of the holdout as requests: keys, request columns and, with `features`, all that the model reads."""
    settings = small.settings(built.state)
    part = built.champion.entry("featurize").subjects_of("features")["holdout"]
    table = pq.ParquetFile(wiring.open_objects(settings).fetch(part.digest)).read().slice(0, count)
    inputs: Any = built.champion.entry("train").facts["inputs"]
    request = load(built.project).charter.features.request
    wanted = ["flight_id", "tailnum", *(inputs if features else request)]
    return [
        {name: None if value != value else value for name, value in row.items()}  # NaN is null in JSON
        for row in table.select([*wanted, "event_timestamp"]).to_pylist()
        if row.pop("event_timestamp")
    ]


def tensors(rows: Sequence[Mapping[str, object]], **parameters: object) -> dict[str, Any]:
    """Rows as an inference request."""
    count = len(rows)
    return {
        "inputs": [
            {
                "name": name,
                "shape": [count],
                "datatype": "BYTES" if any(isinstance(row[name], str) for row in rows) or name in _TEXT else "FP64",
                "data": [row[name] for row in rows],
            }
            for name in rows[0]
        ],
        **({"parameters": parameters} if parameters else {}),
    }


_TEXT = {"carrier", "origin", "dest", "engine", "manufacturer", "tailnum", "flight_id"}


def challenger_of(house: House, digest: str) -> Candidate:
    return candidate_of(house.ledger, PROJECT, digest)
