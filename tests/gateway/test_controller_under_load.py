"""A controller that is killed (SIGKILL) while two replicas are asked: what was decided stands, and nothing twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway import served
from gateway.load import load
from gateway.mortal import BAKED, HALF, NOTHING, Committed, aircraft, check, inside, lived
from gateway.served import PROJECT, SALT, Built, House, Served
from towpath import wiring
from towpath.cli.rollout_opening import open_canary
from towpath.core.identity import claimed
from towpath.core.rollout import Phase, Rollout
from towpath.core.rollout_decision import Command, Order
from towpath.project import load as read
from towpath.stages.canary import CanaryPorts, decisions, give, replayed
from towpath.stages.canary_start import start
from towpath.stages.succession import champions

pytestmark = pytest.mark.slow

MOST, WHOLE = 9_000, 10_000
FEW = 20  # aircraft, which are too few for any step of QUICK
QUICK = """\
rollout:
  unit: tailnum
  shadow: {percent: 100, minUnits: 40}
  steps:
    - {weight: 50, until: {minUnits: 30}}
    - {weight: 90, until: {promotion: true, maxDuration: 14d}}
  guardrails: [{name: errors, type: rate, event: error, share: 1.0}]
  promotion: [{metric: errors, nonInferior: {ratio: 1.5}}]
  holds: []
  bake: {duration: 2s, holdback: 5}

monitoring:"""
STORY = [
    ("pending", "pending", 0),
    ("pending", "preparing", 0),
    ("preparing", "shadowing", 0),
    ("shadowing", "progressing", HALF),
    ("progressing", "progressing", MOST),
    ("progressing", "held", MOST),
    ("held", "promoting", MOST),
    ("promoting", "baking", BAKED),
    ("baking", "succeeded", WHOLE),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Registered by QUICK: a charter that is edited afterwards starts nothing."""
    return served.build(tmp_path_factory.mktemp("quick"), rollout=QUICK)


@pytest.fixture(scope="module")
def flights(built: Built) -> list[dict[str, Any]]:
    return aircraft(built)


@pytest.fixture
def ports(house: House) -> Iterator[CanaryPorts]:
    """A rollout by QUICK, just started; nobody controls it yet."""
    found = open_canary(house.settings, identity=claimed("ada"))
    given = {"author": "ada", "reason": "a newer model", "now": wiring.now(), "salt": SALT}
    start(house.built.challenger, read(house.project), found, **given)  # type: ignore[arg-type]
    yield found
    found.close()


def test_killed_and_followed_by_another(house: House, ports: CanaryPorts, flights: list[dict[str, Any]]) -> None:
    run = ("-m", "gateway.controller", "60", "0.2")
    with served.serving(house) as gateway, load(gateway.port, flights, pause=0.01) as asked:
        for phase in (Phase.SHADOWING, Phase.PROGRESSING):
            with _killed(house, run) as process:
                _until(house, process, lambda row, phase=phase: row.phase is phase)  # type: ignore[misc]
        _all_answer([gateway], inside(flights, SALT, HALF), "challenger")
    found = decisions(ports.ledger, _row(house))
    assert [(one.from_state, one.to_state, one.weight_after) for _, one in found] == STORY[:4]
    assert not any(again.differences for _, again in replayed(ports.ledger.records(), _row(house).rollout_id))
    committed = [Committed(at=record.at.timestamp(), weight=one.weight_after) for record, one in found]
    shipped = gateway.logged()
    check(shipped, [asked], [NOTHING, *committed])


def test_killed_in_each_phase(house: House, ports: CanaryPorts, flights: list[dict[str, Any]]) -> None:
    """`towpath rollout run` dies preparing, shadowing, progressing, held and baking; the next one goes on there."""
    run = ("-m", "towpath.cli", "rollout", "run", PROJECT, "--interval", "0.3")
    with ExitStack() as stack:
        gateways = [stack.enter_context(served.serving(house)) for _ in range(2)]
        asked = [stack.enter_context(load([one.port for one in gateways], flights[:FEW], clients=2, pause=0.01))]
        for phase in (Phase.PREPARING, Phase.SHADOWING):
            with _killed(house, run) as process:
                _until(house, process, lambda row, phase=phase: row.phase is phase)  # type: ignore[misc]
        asked.append(
            stack.enter_context(load([one.port for one in gateways], flights, clients=2, pause=0.01, name="all"))
        )
        with _killed(house, run) as process:
            _until(house, process, lambda row: row.step == 1)
        _order(ports, Order.PAUSE)
        with _killed(house, run) as process:
            before = _row(house)
            _until(house, process, lambda row: row.generation > before.generation)  # it took in new evidence
        assert _row(house).phase is Phase.HELD
        _order(ports, Order.PROMOTE)
        with _killed(house, run) as process:
            _until(house, process, lambda row: row.phase is Phase.BAKING)
        with _killed(house, run) as process:
            _until(house, process, lambda row: not row.open)
        time.sleep(1)
    found = decisions(ports.ledger, _row(house))
    assert [(one.from_state, one.to_state, one.weight_after) for _, one in found] == STORY
    assert set(Counter(record.key for record, _ in found).values()) == {1}
    assert set(Counter(one.generation for _, one in found).values()) == {1}
    assert not any(again.differences for _, again in replayed(ports.ledger.records(), _row(house).rollout_id))
    assert ports.ledger.verify().whole
    assert len(champions(ports.ledger, PROJECT)) == 2
    committed = [Committed(at=record.at.timestamp(), weight=one.weight_after) for record, one in found]
    shipped = gateways[0].logged()
    check(shipped, asked, [NOTHING, *committed])
    assert {row["weight"] for row in shipped if row["arm"] == "challenger"} == {HALF, MOST, BAKED}


def test_gone_for_longer_than_its_lease_and_while_it_is_rolled_back(
    house: House, ports: CanaryPorts, flights: list[dict[str, Any]]
) -> None:
    """No answer is the challenger's from the end of the last lease until a controller is back, nor after a rollback.

    The rollback is a person's, given while no controller lives; the next one only ends it.
    """
    run = ("-m", "gateway.controller", "4", "0.3")
    exposed = inside(flights, SALT, HALF)
    with ExitStack() as stack:
        gateways = [stack.enter_context(served.serving(house)) for _ in range(2)]
        asked = stack.enter_context(load([one.port for one in gateways], flights, pause=0.01))
        with _killed(house, run) as process:
            _until(house, process, lambda row: row.step == 1)
            _all_answer(gateways, exposed, "challenger")
        last = _row(house)
        assert last.lease_until is not None
        _all_answer(gateways, exposed, "champion")
        time.sleep(1)
        back = time.time()
        with _killed(house, run) as process:
            _all_answer(gateways, exposed, "challenger")
        _order(ports, Order.ROLLBACK)
        _all_answer(gateways, exposed, "champion")
        withdrawn = time.time()
        time.sleep(0.5)
        with _killed(house, run) as process:
            _until(house, process, lambda row: not row.open)
        time.sleep(0.5)
    found = decisions(ports.ledger, _row(house))
    assert [(one.from_state, one.to_state, one.weight_after) for _, one in found] == [
        *STORY[:5],
        ("progressing", "rolling-back", 0),
        ("rolling-back", "rolled-back", 0),
    ]
    committed = [Committed(at=record.at.timestamp(), weight=one.weight_after) for record, one in found]
    shipped = gateways[0].logged()
    check(shipped, [asked], [NOTHING, *committed])
    alone = list(lived(shipped, last.lease_until.timestamp(), back))
    assert len(alone) > 10
    assert {(row["arm"], row["rollout"], row["version"]) for row in alone} == {("champion", None, "1")}
    assert any(row["arm"] == "challenger" for row in lived(shipped, 0, last.lease_until.timestamp()))
    assert {row["arm"] for row in lived(shipped, withdrawn, time.time())} == {"champion"}


def _all_answer(gateways: list[Served], row: dict[str, Any], arm: str) -> None:
    for one in gateways:
        one.until(lambda one=one: one.arm_of(row) == arm)  # type: ignore[misc]


@contextmanager
def _killed(house: House, arguments: tuple[str, ...]) -> Iterator[subprocess.Popen[bytes]]:
    """A controller that is killed at the end of the block, with everything that it started."""
    tests = Path(__file__).parents[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOWPATH_")}
    environment |= {
        "TOWPATH_STATE": str(house.state),
        "TOWPATH_ACTOR": "controller",
        "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent / "platform")]),
    }
    with _said(house).open("ab") as written:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _said(house: House) -> Path:
    return house.state / "controller.log"


def _row(house: House) -> Rollout:
    return house.rollouts.history(PROJECT)[0]


def _until(house: House, process: subprocess.Popen[bytes], what: Callable[[Rollout], bool]) -> None:
    deadline = time.monotonic() + served.DEADLINE
    while not what(_row(house)):
        assert process.poll() is None, _said(house).read_text()[-4_000:]
        assert time.monotonic() < deadline, (_row(house).phase, _said(house).read_text()[-4_000:])
        time.sleep(0.02)


def _order(ports: CanaryPorts, order: Order) -> None:
    give(ports, PROJECT, Command(order=order, author="ada", reason="a test orders it"), wiring.now())
