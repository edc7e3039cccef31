"""Gateways and a challenger's own process, killed (SIGKILL) while they are asked, in each phase that exposes."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway import served
from gateway.load import load
from gateway.mortal import Committed, aircraft, check, children, inside, kill, metric
from gateway.served import PROJECT, SALT, Built, House, Served
from path import small
from towpath.core.evidence import Outcome
from towpath.core.policy import Decision, Verdict
from towpath.core.rollout import Phase
from towpath.example.sabotage import SABOTAGES
from towpath.stages.serving import approved
from towpath.stages.succession import crown
from towpath.stages.work import champion

pytestmark = pytest.mark.slow
HALF, BAKED = 5_000, 9_500


@pytest.fixture(scope="module")
def flights(built: Built) -> list[dict[str, Any]]:
    return aircraft(built)


PHASES: dict[Phase, dict[str, Any]] = {
    Phase.SHADOWING: {"weight": 0, "shadow": 10_000},
    Phase.PROGRESSING: {"weight": HALF},
    Phase.HELD: {"weight": HALF, "held": "paused"},
    Phase.BAKING: {"weight": BAKED},
}


def test_gateways_killed_in_each_phase(house: House, flights: list[dict[str, Any]]) -> None:
    """A worker of one replica, then the whole other replica, which comes back elsewhere."""
    committed = [Committed(at=0.0, weight=0)]
    with ExitStack() as stack:
        one = stack.enter_context(served.serving(house, workers=2))
        two = stack.enter_context(served.serving(house))
        ports = [one.port, two.port]
        asked = stack.enter_context(load(ports, flights, pause=0.002))
        for number, (phase, row) in enumerate(PHASES.items(), start=1):
            if phase is Phase.BAKING:
                _crown(house)
            committed.append(Committed(at=time.time(), weight=row["weight"]))
            generation = house.rollout(phase=phase, **row).generation
            for gateway in (one, two):
                _follows(gateway, generation)
            os.kill(children(one.process.pid)[0], signal.SIGKILL)
            time.sleep(0.5)
            kill(two)
            two = stack.enter_context(served.serving(house))
            ports[1] = two.port
            one.until(lambda number=number: _restarts(one) == number)  # type: ignore[misc]
    assert asked.broken > 0
    shipped = one.logged()
    check(shipped, [asked], committed)
    assert {(row["arm"], row["weight"]) for row in shipped if row["rollout"]} >= {
        ("shadow", 0),
        ("challenger", HALF),
        ("challenger", BAKED),
        ("champion", BAKED),
    }


def _crown(house: House) -> None:
    """The challenger is the ledger's champion from now on, as it is while it bakes."""
    named = house.built.challenger
    verdict = Decision(verdict=Verdict.PROMOTE, candidate=named.id, digest=named.digest, reasons=("it passed",))
    draft = crown(verdict, named, champion(house.ledger, PROJECT), reason="a test promotes it")
    house.ledger.append(draft, actor="tester")


def _follows(gateway: Served, generation: int) -> None:
    """Wait until every worker is at that generation."""
    gateway.until(lambda: metric(gateway, f'towpath_gateway_generation{{project="{PROJECT}"}}') == generation)


def _restarts(gateway: Served) -> float:
    with suppress(OSError):  # it was the killed worker's connection
        return metric(gateway, "towpath_gateway_worker_restarts_total")
    return -1.0


@pytest.fixture(scope="module")
def uncompiled(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The same champion, and a challenger that only scikit-learn itself can run: in a process of its own."""
    folder = tmp_path_factory.mktemp("uncompiled")
    project, state = folder / PROJECT, folder / "state"
    shutil.copytree(built.project, project)
    shutil.copytree(built.state, state)
    SABOTAGES["slow-challenger"].damage(project)
    with small.opened(project, state) as work:
        second = small.walk(work)
    assert second.outcome is Outcome.PASS
    assert approved(second).runtime is None
    return Built(project=project, state=state, champion=built.champion, challenger=second)


def test_a_challengers_own_process_is_killed(uncompiled: Built, flights: list[dict[str, Any]], tmp_path: Path) -> None:
    """The champion answers for it, that is marked and logged on its arm, and it comes back by itself."""
    one = inside(flights, SALT, HALF)
    with served.house(uncompiled, tmp_path) as house, served.serving(house) as gateway:
        committed = [Committed(at=0.0, weight=0), Committed(at=time.time(), weight=HALF)]
        house.rollout(weight=HALF)
        gateway.until(lambda: _answers(gateway, one))
        with load(gateway.port, flights, clients=2, pause=0.01) as asked:
            for _ in range(2):
                time.sleep(0.5)
                (worker,) = children(gateway.process.pid)
                (model,) = children(worker, word="runtime_sklearn_worker")
                os.kill(model, signal.SIGKILL)
                gateway.until(lambda worker=worker, model=model: _others(worker, model))  # type: ignore[misc]
                gateway.until(lambda: _answers(gateway, one))
        gateway.stop()
    assert asked.broken == 0
    shipped = gateway.logged()
    check(shipped, [asked], committed)
    assert {item.fallback for item in asked.outcomes if item.arm == "challenger"} == {"", "champion"}
    failed = [row for row in shipped if row["error"] is not None]
    assert {(row["arm"], row["fallback"]) for row in failed} == {("challenger", "champion")}
    assert "unreachable" in {row["error"] for row in failed}
    assert all(row["prediction"] is not None for row in shipped)
    marked = {item.request for item in asked.outcomes if item.fallback}
    assert marked == {row["request"] for row in failed} & {item.request for item in asked.outcomes}


def _others(worker: int, model: int) -> bool:
    found = children(worker, word="runtime_sklearn_worker")
    return bool(found) and model not in found


def _answers(gateway: Served, row: dict[str, Any]) -> bool:
    """Whether the challenger itself answers."""
    headers = gateway.infer([row]).headers
    return headers["x-towpath-arm"] == "challenger" and "x-towpath-fallback" not in headers
