"""A rollout as gateways follow it: by the row and the ledger, in every worker, without a failed request."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway import served
from gateway.load import load
from gateway.served import Built, House
from towpath import wiring
from towpath.core.assignment import bucket
from towpath.core.policy import Decision, Verdict
from towpath.core.rollout import Phase
from towpath.stages.succession import crown
from towpath.stages.verdict import gathered, governance
from towpath.stages.work import champion

SALT = bytes.fromhex(served.SALT)
HALF = 5_000


@pytest.fixture(scope="module")
def flights(built: Built) -> list[dict[str, Any]]:
    """Flights of different aircraft, on both sides of half."""
    found = served.rows(built, 200)
    return list({row["tailnum"]: row for row in found if row["tailnum"]}.values())


def _inside(rows: list[dict[str, Any]], weight: int) -> dict[str, Any]:
    return next(row for row in rows if bucket(SALT, row["tailnum"]) < weight)


def _outside(rows: list[dict[str, Any]], weight: int) -> dict[str, Any]:
    return next(row for row in rows if bucket(SALT, row["tailnum"]) >= weight)


@pytest.mark.slow
def test_the_whole_life_of_a_rollout_under_load(house: House, flights: list[dict[str, Any]]) -> None:
    """Two replicas of two workers: the challenger comes, grows, goes; nobody's request fails; all of it is logged."""
    inside, outside = _inside(flights, HALF), _outside(flights, HALF)
    with ExitStack() as stack:
        one = stack.enter_context(served.serving(house, workers=2))
        two = stack.enter_context(served.serving(house))
        loads = [stack.enter_context(load(one.port, flights)), stack.enter_context(load(two.port, flights, clients=2))]
        house.rollout(weight=0, phase=Phase.PREPARING)
        time.sleep(1)
        house.rollout(weight=HALF)
        for gateway in (one, two):
            gateway.until(lambda gateway=gateway: gateway.arm_of(inside) == "challenger")  # type: ignore[misc]
            assert gateway.arm_of(outside) == "champion"
        time.sleep(1)
        decided = time.time()
        house.rollout(weight=0, phase=Phase.ROLLING_BACK)
        for gateway in (one, two):
            gateway.until(lambda gateway=gateway: gateway.arm_of(inside) == "champion")  # type: ignore[misc]
        time.sleep(2)
        stack.pop_all().close()
    outcomes = [item for found in loads for item in found.outcomes]
    assert {item.status for item in outcomes} == {200}
    assert sum(found.broken for found in loads) == 0
    last = max(item.answered for item in outcomes if item.arm == "challenger")
    assert last - decided < 5.0  # the bar: it is a limit of behaviour, ten polls long
    arms = {row["unit"]: set() for row in one.logged()}
    for row in one.logged():
        if row["weight"] == HALF and row["rollout"] is not None:
            arms[row["unit"]].add(row["arm"])
            assert (row["arm"] == "challenger") is (row["bucket"] < row["weight"])
    assert all(len(found) <= 1 for found in arms.values())
    logged = Counter(row["request"] for row in one.logged())
    assert {item.request for item in outcomes} <= set(logged)


@pytest.mark.slow
def test_without_a_lease_the_champion_is_alone(house: House, flights: list[dict[str, Any]]) -> None:
    inside = _inside(flights, HALF)
    with served.serving(house) as gateway:
        house.rollout(weight=HALF, lease=timedelta(seconds=4))
        gateway.until(lambda: gateway.arm_of(inside) == "challenger")
        gateway.until(lambda: gateway.arm_of(inside) == "champion")
        rollout = house.rollouts.open(served.PROJECT)
        assert rollout is not None
        house.rollouts.renew(rollout.rollout_id, rollout.generation, wiring.now() + timedelta(minutes=5))
        gateway.until(lambda: gateway.arm_of(inside) == "challenger")


def test_a_challenger_cannot_be_had_by_name(house: House, flights: list[dict[str, Any]]) -> None:
    with served.serving(house) as gateway:
        house.rollout(weight=HALF)
        gateway.until(lambda: gateway.arm_of(_inside(flights, HALF)) == "challenger")
        path = f"/v2/models/{served.PROJECT}/versions/2"
        reply = gateway.post(f"{path}/infer", served.tensors([_outside(flights, HALF)]))
        assert (reply.status, "by assignment only" in reply.json["error"]) == (409, True)
        assert gateway.get(f"{path}/ready").status == 200


def test_a_shadowed_challenger_answers_nobody_and_is_logged(house: House, flights: list[dict[str, Any]]) -> None:
    with served.serving(house) as gateway:
        house.rollout(weight=0, phase=Phase.SHADOWING, shadow=10_000)
        gateway.until(lambda: "rollout" in gateway.infer([flights[0]]).json["parameters"])
        reply = gateway.infer(flights[:5])
        assert reply.headers["x-towpath-arm"] == "champion"
        gateway.stop()
    shadows = [row for row in gateway.logged() if row["arm"] == "shadow"]
    assert len(shadows) >= 5
    assert {row["version"] for row in shadows} == {"2"}
    assert all(row["prediction"] is not None for row in shadows)


@pytest.mark.slow
def test_a_new_champion_is_swapped_in_under_load(house: House, flights: list[dict[str, Any]]) -> None:
    with served.serving(house) as gateway, load(gateway.port, flights) as found:
        time.sleep(0.5)
        decision = champion(house.ledger, served.PROJECT)
        assert decision is not None
        named = house.built.challenger
        verdict = Decision(verdict=Verdict.PROMOTE, candidate=named.id, digest=named.digest, reasons=("it passed",))
        said = governance(gathered(house.ledger, named, now=datetime.now(UTC)))
        draft = crown(verdict, named, decision, reason="a test promotes it", governance=said)
        house.ledger.append(draft, actor="tester")
        gateway.until(lambda: gateway.infer([flights[0]]).headers["x-towpath-version"] == "2")
        time.sleep(0.5)
    assert set(found.statuses) == {200}
    assert found.broken == 0


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced_and_its_log_is_whole(house: House, flights: list[dict[str, Any]]) -> None:
    with served.serving(house, workers=2) as gateway:
        with load(gateway.port, flights) as found:
            for _ in range(2):
                time.sleep(1)
                before = _restarts(gateway)
                os.kill(gateway.workers.pop(), signal.SIGKILL)
                gateway.until(lambda before=before: _restarts(gateway) > before)  # type: ignore[misc]
            time.sleep(2)
        gateway.stop()
    assert set(found.statuses) == {200}
    assert found.broken > 0
    assert {item.request for item in found.outcomes} <= {row["request"] for row in gateway.logged()}


def _restarts(gateway: served.Served) -> float:
    try:
        page = gateway.get("/metrics").body.decode()
    except OSError:  # it was the killed worker's
        return 0.0
    found = [line for line in page.splitlines() if line.startswith("towpath_gateway_worker_restarts_total")]
    return float(found[0].split()[-1]) if found else 0.0


@pytest.mark.slow
def test_it_goes_on_while_the_database_is_away(house: House, flights: list[dict[str, Any]]) -> None:
    inside = _inside(flights, HALF)
    with served.serving(house) as gateway:
        house.rollout(weight=HALF)
        gateway.until(lambda: gateway.arm_of(inside) == "challenger")
        with load(gateway.port, flights) as found:
            with _database_away(house):
                gateway.until(lambda: _failed(gateway) > 0)
                assert gateway.arm_of(inside) == "challenger"
            house.rollout(weight=0)
            gateway.until(lambda: gateway.arm_of(inside) == "champion")
    assert set(found.statuses) == {200}


@contextmanager
def _database_away(house: House) -> Iterator[None]:
    """Every look at the rollouts fails meanwhile."""
    with sqlite3.connect(house.state / "ledger.db") as database:
        database.execute("alter table towpath_rollouts rename to towpath_rollouts_away")
    try:
        yield
    finally:
        with sqlite3.connect(house.state / "ledger.db") as database:
            database.execute("alter table towpath_rollouts_away rename to towpath_rollouts")


def _failed(gateway: served.Served) -> float:
    page = gateway.get("/metrics").body.decode()
    found = [line for line in page.splitlines() if line.startswith('towpath_gateway_polls_total{result="failed"}')]
    return float(found[0].split()[-1]) if found else 0.0


def test_labels_find_their_way_into_the_log(house: House, flights: list[dict[str, Any]]) -> None:
    with served.serving(house) as gateway:
        asked = gateway.infer(flights[:2]).json["id"]
        labels = [{"request": asked, "row": 1, "label": 1}, {"key": flights[0]["flight_id"], "label": 0}]
        for _ in range(2):
            assert gateway.post("/v1/feedback", {"labels": labels}).json == {"accepted": 2}
        gateway.stop()
    found = gateway.logged("labels")
    assert len(found) == 4
    assert {(row["request"], row["row"], row["key"], row["label"]) for row in found} == {
        (asked, 1, None, 1),
        (None, 0, flights[0]["flight_id"], 0),
    }
