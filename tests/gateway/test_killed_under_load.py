"""Gateways and a challenger's own process, killed (SIGKILL) while they are asked, in each phase of a rollout."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from gateway import served
from gateway.load import Load, load
from gateway.mortal import BAKED, HALF, NOTHING, PHASES, aircraft, check, children, inside, kill, metric, phases
from gateway.served import PROJECT, SALT, Built, House, Served
from path import small
from towpath.core.evidence import Outcome
from towpath.core.rollout import Phase
from towpath.example.sabotage import SABOTAGES
from towpath.stages.serving import approved


@pytest.fixture(scope="module")
def flights(built: Built) -> list[dict[str, Any]]:
    return aircraft(built)


def _gateways_die(
    house: House, flights: list[dict[str, Any]], only: Sequence[Phase] = ()
) -> tuple[Load, list[dict[str, Any]]]:
    """In each phase a worker of one replica, then the whole other replica, which comes back elsewhere."""
    committed = [NOTHING]
    with ExitStack() as stack:
        one = stack.enter_context(served.serving(house, workers=2))
        both = [one, stack.enter_context(served.serving(house))]
        ports = [gateway.port for gateway in both]
        asked = stack.enter_context(load(ports, flights, pause=0.002))
        for number, _ in enumerate(phases(house, both, committed, only=only), start=1):
            os.kill(children(one.process.pid)[0], signal.SIGKILL)
            time.sleep(0.5)
            kill(both[1])
            both[1] = stack.enter_context(served.serving(house))
            ports[1] = both[1].port
            one.until(lambda number=number: _restarts(one) == number)  # type: ignore[misc]
        time.sleep(0.5)
    shipped = one.logged()
    check(shipped, [asked], committed)
    assert list((house.state / "scratch").iterdir()) == []
    assert list((house.state / "spool").iterdir()) == []
    return asked, shipped


@pytest.mark.slow
def test_a_worker_and_a_gateway_killed_while_the_challenger_is_exposed(
    house: House, flights: list[dict[str, Any]]
) -> None:
    _, shipped = _gateways_die(house, flights, [Phase.PROGRESSING])
    assert {(row["arm"], row["weight"]) for row in shipped if row["rollout"]} >= {
        ("challenger", HALF),
        ("champion", HALF),
    }


@pytest.mark.exhaustive
@pytest.mark.slow
def test_gateways_killed_in_each_phase(house: House, flights: list[dict[str, Any]]) -> None:
    asked, shipped = _gateways_die(house, flights)
    assert asked.broken > 0
    assert {(row["arm"], row["weight"]) for row in shipped if row["rollout"]} >= {
        ("champion", 0),
        ("shadow", 0),
        ("challenger", HALF),
        ("champion", HALF),
        ("challenger", BAKED),
        ("champion", BAKED),
    }


def _restarts(gateway: Served) -> float:
    with suppress(OSError, HTTPException):  # it was the killed worker's connection
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


def _processes_die(
    uncompiled: Built, flights: list[dict[str, Any]], folder: Path, only: Sequence[Phase] = ()
) -> tuple[Load, list[dict[str, Any]]]:
    """The champion answers for it, that is marked and logged on its arm, and it comes back by itself."""
    one, committed = inside(flights, SALT, HALF), [NOTHING]
    with served.house(uncompiled, folder) as house, served.serving(house) as gateway:
        with load(gateway.port, flights, clients=2, pause=0.01) as asked:
            for phase in phases(house, [gateway], committed, only=only):
                (worker,) = children(gateway.process.pid)
                if PHASES[phase]["weight"]:
                    gateway.until(lambda: _answers(gateway, one))
                model = _model(gateway, worker)
                os.kill(model, signal.SIGKILL)
                if phase in (Phase.PREPARING, Phase.ROLLING_BACK):
                    time.sleep(0.5)  # nobody asks it, so that nobody misses it
                    continue
                gateway.until(lambda worker=worker, model=model: _others(worker, model))  # type: ignore[misc]
                if PHASES[phase]["weight"]:
                    gateway.until(lambda: _answers(gateway, one))
        gateway.stop()
    assert asked.broken == 0
    shipped = gateway.logged()
    check(shipped, [asked], committed)
    assert all(row["prediction"] is not None for row in shipped if row["arm"] != "shadow")
    failed = [row for row in shipped if row["error"] is not None and row["arm"] != "shadow"]
    assert {(row["arm"], row["fallback"]) for row in failed} == {("challenger", "champion")}
    # Asked as it died; asked while it starts again. On a busy machine there may be none of the first.
    assert {row["error"] for row in failed} <= {"unreachable", "timeout"}
    marked = {item.request for item in asked.outcomes if item.fallback}
    assert marked == {row["request"] for row in failed} & {item.request for item in asked.outcomes}
    return asked, shipped


@pytest.mark.slow
def test_a_challengers_own_process_is_killed(uncompiled: Built, flights: list[dict[str, Any]], tmp_path: Path) -> None:
    asked, _ = _processes_die(uncompiled, flights, tmp_path, [Phase.PROGRESSING])
    assert {item.fallback for item in asked.outcomes if item.arm == "challenger"} == {"", "champion"}


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_challengers_own_process_is_killed_in_each_phase(
    uncompiled: Built, flights: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Also while it bakes, when it is the ledger's champion: the one before it answers then."""
    _, shipped = _processes_die(uncompiled, flights, tmp_path)
    failed = {row["weight"] for row in shipped if row["error"] is not None and row["arm"] == "challenger"}
    assert failed == {HALF, BAKED}
    assert any(row["arm"] == "shadow" and row["prediction"] is not None for row in shipped)


def _model(gateway: Served, worker: int) -> int:
    """The challenger's process; one that was killed is started again when it is asked."""
    gateway.until(lambda: bool(children(worker, word="runtime_sklearn_worker")))
    (found,) = children(worker, word="runtime_sklearn_worker")
    return found


def _others(worker: int, model: int) -> bool:
    found = children(worker, word="runtime_sklearn_worker")
    return bool(found) and model not in found


def _answers(gateway: Served, row: dict[str, Any]) -> bool:
    """Whether the challenger itself answers."""
    headers = gateway.infer([row]).headers
    return headers["x-towpath-arm"] == "challenger" and "x-towpath-fallback" not in headers
