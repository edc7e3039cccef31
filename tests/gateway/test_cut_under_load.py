"""The database and the online store, cut off or stalled while the gateway is asked: nobody's request fails."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from gateway import served
from gateway.load import Load, load
from gateway.mortal import (
    BAKED,
    HALF,
    NOTHING,
    Committed,
    aircraft,
    check,
    feature,
    inside,
    lived,
    metric,
    phases,
)
from gateway.relay import Relay, relayed
from gateway.served import PROJECT, SALT, Built, House, Served
from path import small
from servers.redis import RedisServer
from towpath import wiring
from towpath.adapters.feast_features import FeastFeatures
from towpath.core.gates import Stage
from towpath.core.rollout import Phase
from towpath.ledger.sql import SqlLedger
from towpath.ports import Draft
from towpath.project import load as read

pytestmark = [pytest.mark.exhaustive, pytest.mark.slow]

SQLITE = "  type: sqlite\n  path: ${TOWPATH_FEAST_STATE}/online.db"


@pytest.fixture(scope="module")
def flights(built: Built) -> list[dict[str, Any]]:
    return aircraft(built)


# --- the database -----------------------------------------------------------------------------------------------------


@pytest.fixture
def in_postgres(house: House, postgres_database: str) -> Iterator[House]:
    """The same house with its ledger in PostgreSQL."""
    settings = replace(house.settings, ledger=postgres_database)
    times = [record.at for record in house.ledger.records()]  # a decision says its own time, and must be of that time
    with SqlLedger.open(postgres_database, clock=lambda: times.pop(0), keys=wiring.open_keys(settings)) as copy:
        for record in house.ledger.records():
            draft = Draft(
                kind=record.kind,
                project=record.project,
                candidate=record.candidate,
                stage=record.stage,
                key=record.key,
                digest=record.digest,
                body=record.body,
            )
            copy.append(draft, actor=record.actor)
    ledger, rollouts = wiring.open_ledger(settings), wiring.open_rollouts(settings)
    yield replace(house, settings=settings, ledger=ledger, rollouts=rollouts)
    ledger.close()
    rollouts.close()  # type: ignore[attr-defined]


@contextmanager
def _cuttable(house: House) -> Iterator[tuple[Relay, Served]]:
    """A gateway of two workers whose way to the database can be cut; the test has one of its own."""
    url = urlsplit(house.settings.ledger)
    assert url.port is not None
    with relayed(url.port) as relay:
        through = house.settings.ledger.replace(f":{url.port}/", f":{relay.port}/")
        with served.serving(house, workers=2, more={"TOWPATH_LEDGER": through}) as gateway:
            yield relay, gateway
            gateway.stop()


def test_the_database_is_cut_off_for_longer_than_the_lease(in_postgres: House, flights: list[dict[str, Any]]) -> None:
    """What was known last serves on; exposure ends with its lease all the same, and comes back with the next."""
    house, exposed = in_postgres, inside(flights, SALT, HALF)
    committed = [NOTHING, Committed(at=time.time(), weight=HALF)]
    with _cuttable(house) as (relay, gateway), load(gateway.port, flights, pause=0.002) as asked:
        short = timedelta(seconds=5)
        row = house.rollout(weight=HALF, lease=short)

        def exposes() -> bool:  # loading the challenger may take longer than its lease
            house.rollouts.renew(row.rollout_id, row.generation, wiring.now() + short)
            return all(gateway.arm_of(exposed) == "challenger" for _ in range(10))

        gateway.until(exposes)
        relay.cut()
        gateway.until(lambda: gateway.arm_of(exposed) == "champion")
        over = house.rollouts.get(row.rollout_id).lease_until
        failed = _failed(gateway)
        gateway.until(lambda: _failed(gateway) > failed + 2)
        back = time.time()
        house.rollouts.renew(row.rollout_id, row.generation, wiring.now() + served.LEASE)
        relay.mend()
        _until_all(gateway, exposed, "challenger")
    assert asked.broken == 0
    shipped = gateway.logged()
    check(shipped, [asked], committed)
    assert over is not None
    assert {row["arm"] for row in lived(shipped, over.timestamp(), back)} == {"champion"}


def test_the_database_is_cut_off_in_each_phase(in_postgres: House, flights: list[dict[str, Any]]) -> None:
    committed = [NOTHING]
    with _cuttable(in_postgres) as (relay, gateway), load(gateway.port, flights, pause=0.002) as asked:
        for _ in phases(in_postgres, [gateway], committed):
            failed = _failed(gateway)
            relay.cut()
            gateway.until(lambda failed=failed: _failed(gateway) > failed + 2)  # type: ignore[misc]
            relay.mend()
    assert asked.broken == 0
    check(gateway.logged(), [asked], committed)


def test_the_database_is_cut_off_and_stalls(in_postgres: House, flights: list[dict[str, Any]]) -> None:
    """What was known last serves on; what was committed meanwhile is followed once it can be read."""
    house, exposed = in_postgres, inside(flights, SALT, HALF)
    with _cuttable(house) as (relay, gateway):
        house.rollout(weight=HALF)
        _until_all(gateway, exposed, "challenger")
        with load(gateway.port, flights, pause=0.002) as asked:
            failed = _failed(gateway)
            relay.cut()
            gateway.until(lambda: _failed(gateway) > failed + 2)
            house.rollout(weight=0)
            assert gateway.arm_of(exposed) == "challenger"
            relay.mend()
            _until_all(gateway, exposed, "champion")
            house.rollout(weight=HALF)
            _until_all(gateway, exposed, "challenger")
            relay.stall()
            time.sleep(1)  # a look is under way, and waits
            house.rollout(weight=0)
            time.sleep(1)
            assert gateway.arm_of(exposed) == "challenger"
            relay.flow()
            _until_all(gateway, exposed, "champion")
    assert set(asked.statuses) == {200}
    assert asked.broken == 0
    assert {item.request for item in asked.outcomes} <= {row["request"] for row in gateway.logged()}


def _failed(gateway: Served) -> float:
    return metric(gateway, 'towpath_gateway_polls_total{result="failed"}')


def _until_all(gateway: Served, row: dict[str, Any], arm: str) -> None:
    """Every request is a new connection, so that any worker may get it: ten in a row."""
    gateway.until(lambda: all(gateway.arm_of(row) == arm for _ in range(10)))


# --- the online store -------------------------------------------------------------------------------------------------


@pytest.fixture
def redis(mortal_redis: Callable[[], RedisServer]) -> RedisServer:
    return mortal_redis()


@pytest.fixture
def in_redis(built: Built, redis: RedisServer, tmp_path: Path) -> Iterator[House]:
    """A house whose project keeps its online features in Redis."""
    project = tmp_path / PROJECT
    shutil.copytree(built.project, project)
    small.edit(
        project / "feature_repo/feature_store.yaml",
        SQLITE,
        f'  type: redis\n  connection_string: "{redis.connection_string}"',
    )
    with served.house(built, tmp_path, online=True) as house:
        house.project = project
        _materialize(house)
        yield house


def _materialize(house: House) -> None:
    """Fill the online store from the features that the challenger was trained on."""
    featurized = house.built.challenger.entry(Stage.FEATURIZE)
    home = house.state / "features" / featurized.key.removeprefix("sha256:")[:16]
    project, window = read(house.project), cast("list[str]", featurized.facts["window"])
    until = datetime.fromisoformat(window[1])
    FeastFeatures().materialize(
        project.repository,
        project.charter.features.service,
        sources=home / "sources",
        until=until,
    )


def _store_goes(
    in_redis: House,
    flights: list[dict[str, Any]],
    away: Callable[[], None],
    back: Callable[[], None],
    only: Sequence[Phase] = (),
) -> tuple[Load, list[dict[str, Any]]]:
    """Last known values stand in, then defaults; all of it is counted; the breaker opens and closes again."""
    known = {row["tailnum"] for row in flights}
    bare = [row for row in served.rows(in_redis.built, 400, features=False) if row["tailnum"] in known]
    committed = [NOTHING]
    with served.serving(in_redis) as gateway:
        with load(gateway.port, bare, pause=0.002) as asked:
            for _ in phases(in_redis, [gateway], committed, only=only):
                gateway.until(lambda: _well(gateway))
                down, known_before = feature(gateway, "down"), feature(gateway, "last_known")
                away()
                gateway.until(lambda: _breaker(gateway) == 1)
                gateway.until(lambda down=down: feature(gateway, "down") > down + 50)  # type: ignore[misc]
                assert feature(gateway, "last_known") > known_before
                back()
                gateway.until(lambda: _breaker(gateway) == 0)
            gateway.until(lambda: _well(gateway))
        gateway.stop()
    assert asked.broken == 0
    assert {item.fallback for item in asked.outcomes} == {""}
    shipped = gateway.logged()
    check(shipped, [asked], committed)
    assert all(row["prediction"] is not None for row in shipped)
    return asked, shipped


def _without_store(shipped: list[dict[str, Any]]) -> set[tuple[str, int]]:
    """Arms and weights of what was answered while the store was down."""
    return {(row["arm"], row["weight"]) for row in shipped if row["features"] and '"down"' in row["features"]}


def test_redis_is_killed(in_redis: House, redis: RedisServer, flights: list[dict[str, Any]]) -> None:
    def back() -> None:
        redis.start()
        _materialize(in_redis)

    _, shipped = _store_goes(in_redis, flights, redis.stop, back, [Phase.PROGRESSING])
    assert _without_store(shipped) >= {("champion", HALF), ("challenger", HALF)}


def test_redis_stalls_in_each_phase(in_redis: House, redis: RedisServer, flights: list[dict[str, Any]]) -> None:
    _, shipped = _store_goes(
        in_redis, flights, lambda: _signal(redis, signal.SIGSTOP), lambda: _signal(redis, signal.SIGCONT)
    )
    assert _without_store(shipped) >= {
        ("champion", 0),
        ("shadow", 0),
        *((arm, weight) for arm in ("champion", "challenger") for weight in (HALF, BAKED)),
    }


def _signal(redis: RedisServer, number: int) -> None:
    assert redis.process is not None
    redis.process.send_signal(number)


def _breaker(gateway: Served) -> float:
    return metric(gateway, f'towpath_gateway_breaker_open{{project="{PROJECT}"}}')


def _well(gateway: Served) -> bool:
    """Whether nothing is counted as down any more."""
    before = feature(gateway, "down")
    time.sleep(0.5)
    return feature(gateway, "down") == before
