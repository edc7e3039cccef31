"""A tick of the rollout's controller as a flow, against a real server, over a prediction log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from flows.conftest import Flows
from rollout import house, story
from rollout.house import PROJECT, House, Registry
from rollout.traffic import Gateway
from towpath import wiring
from towpath.core import names
from towpath.ledger.sql import SqlLedger
from towpath.settings import Settings
from towpath.stages.canary import CanaryPorts, tick_once
from towpath.stages.canary_start import contender


@pytest.fixture
def home(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A project with a rollout that was started, in the state folder that the flows find; MLflow is a fake."""
    state.mkdir()
    keys = wiring.open_keys(Settings.read(os.environ, folder=tmp_path))
    with house.opened(tmp_path, url=f"sqlite:///{state / 'ledger.db'}", clock=wiring.now, keys=keys) as made:
        made.start(now=wiring.now())
        monkeypatch.setattr(wiring, "open_models", lambda _: registry.open())
        yield made


registry = Registry()


def served(home: House, folder: Path, **kwargs: object) -> None:
    settings = Settings.read(os.environ, folder=folder)
    gateway = Gateway(settings, folder, PROJECT, contender(home.champion))
    at = wiring.now() - timedelta(seconds=1)
    gateway.serve(1_000, at, home.ports.rollouts.open(PROJECT), **kwargs)  # type: ignore[arg-type]


def test_ticks_move_a_rollout_and_a_rollback_is_announced(flows: Flows, home: House, tmp_path: Path) -> None:
    folder = str(home.project.folder)
    ended = flows.run("canary_tick", folder)
    assert ended.is_completed()
    assert ended.result().startswith(
        "visits-r1 is preparing; the challenger answers 0 % of units. The controller has it"
    )
    assert registry.aliases[PROJECT, names.ALIAS_CHAMPION].version == "1"
    served(home, tmp_path / "before")
    assert "is progressing; the challenger answers 5 % of units" in flows.run("canary_tick", folder).result()
    served(home, tmp_path / "bad", worse=lambda number: number % 2 == 0)
    ended = flows.run("canary_tick", PROJECT)
    assert (ended.type.value, ended.name) == ("FAILED", "RolledBack")
    (event,) = flows.events("towpath.rollback")
    assert event["payload"]["decision"] == f"visits-r1.{home.row.generation}"
    assert event["payload"]["says"] == ended.message
    assert home.row.phase == "rolling-back"
    assert "is rolled-back" in flows.run("canary_tick", folder).result()
    assert flows.run("canary_tick", folder).result() == "visits has no open rollout."


def test_a_tick_and_a_controller_that_stands_do_no_harm(flows: Flows, home: House) -> None:
    registry.down = True
    try:
        flows.run("canary_tick", PROJECT)
        before = home.row
        assert flows.run("canary_tick", PROJECT).is_completed()
        assert home.row.generation == before.generation
        home.evidence.heard = story.heard(wiring.now())
        tick_once(home.ports, PROJECT, wiring.now())
        assert home.row.phase == "progressing"
    finally:
        registry.down = False
    assert isinstance(home.ports, CanaryPorts)
    assert isinstance(home.ledger, SqlLedger)
    assert home.ledger.verify().whole
