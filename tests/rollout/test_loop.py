"""The controller in the foreground: it goes on through errors, and ends when it is told to."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from rollout import house, story
from rollout.house import PROJECT, House
from towpath.cli.rollout_follower import Follower
from towpath.core.errors import Denied, TowpathError, Unreachable
from towpath.core.rollout import Phase, Rollout, Telemetry
from towpath.ports import Rollouts
from towpath.stages.canary import Ticked, decisions, give, tick_once
from towpath.stages.canary_loop import control

MOST_TICKS = 60


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house.opened(tmp_path) as made:
        yield made


class Flickering:
    """A store of rollouts whose database answers only every other time."""

    def __init__(self, rollouts: Rollouts) -> None:
        self._rollouts = rollouts
        self._asked = count()

    def open(self, project: str) -> Rollout | None:
        if next(self._asked) % 2 == 0:
            raise Unreachable("The ledger does not answer.")
        return self._rollouts.open(project)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rollouts, name)


def controlled(home: House, **changes: Any) -> list[Ticked | TowpathError]:
    """A loop that 20 seconds pass in with each tick, with evidence that grows as steps go on."""
    stop, heard = threading.Event(), []
    ticks = count(1)

    def clock() -> datetime:
        number = next(ticks)
        if number > MOST_TICKS:
            stop.set()
        row = home.row
        now = home.now + timedelta(seconds=20 * number) + timedelta(hours=25 if row.phase is Phase.BAKING else 0)
        home.evidence.strata = story.BAKED if row.phase is Phase.BAKING else story.GOOD[: row.step + 1]
        home.evidence.heard = story.heard(now)
        return now

    ports = replace(home.ports, **changes)
    control(ports, PROJECT, clock=clock, stop=stop, told=heard.append, interval=0.001, until_end=True)
    return heard


def test_it_ends_with_the_rollout(home: House) -> None:
    home.start()
    heard = controlled(home)
    assert home.row.phase is Phase.SUCCEEDED
    last = heard[-1]
    assert isinstance(last, Ticked)
    assert last.rollout == home.row.model_copy(
        update={"lease_until": last.rollout.lease_until if last.rollout else None}
    )


def test_it_goes_on_while_the_database_flickers(home: House) -> None:
    home.start()
    heard = controlled(home, rollouts=Flickering(home.ports.rollouts))
    assert home.row.phase is Phase.SUCCEEDED
    assert {str(one) for one in heard if isinstance(one, TowpathError)} == {"The ledger does not answer."}
    found = [decision.to_state for _, decision in decisions(home.ledger, home.row)]
    assert len(found) == 8, "none lost, none doubled"


def test_without_a_rollout_there_is_nothing_to_do(home: House) -> None:
    assert controlled_without(home) == [Ticked(rollout=None)]


def controlled_without(home: House) -> list[Ticked | TowpathError]:
    heard: list[Ticked | TowpathError] = []
    control(home.ports, PROJECT, clock=lambda: home.now, stop=threading.Event(), told=heard.append, until_end=True)
    return heard


class Overtaken(house.Told):
    """Evidence in the middle of whose reading another comes first."""

    other: Any = None

    def telemetry(self, rollout: Rollout) -> Telemetry:
        if self.other is not None:
            first, self.other = self.other, None
            first()
        return super().telemetry(rollout)


@pytest.mark.parametrize("who", ["a controller", "a person"])
def test_of_two_decisions_on_one_state_one_is_written(home: House, who: str) -> None:
    home.start()
    home.now += timedelta(minutes=1)
    tick_once(home.ports, PROJECT, home.now)
    told = Overtaken(heard=story.heard(home.now))
    home.evidence.heard = story.heard(home.now)

    def first() -> None:
        if who == "a controller":
            tick_once(home.ports, PROJECT, home.now)
        else:
            give(home.ports, PROJECT, story.order(story.Order.ABORT), home.now)

    told.other = first
    before = home.ledger.verify().records
    with pytest.raises(Denied, match="has moved on from generation 1"):
        tick_once(replace(home.ports, evidence=told), PROJECT, home.now)
    assert home.ledger.verify().records == before + 1
    assert home.row.phase is (Phase.PROGRESSING if who == "a controller" else Phase.ABORTED)


def test_mlflow_is_tried_again_but_not_at_every_tick(
    home: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", _script(tmp_path, code=5))
    follower = Follower(home.ledger, PROJECT)
    for _ in range(3):
        follower.ask()
        follower.finish()
    assert _runs(tmp_path) == 1
    monkeypatch.setattr("towpath.cli.rollout_follower.AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(sys, "executable", _script(tmp_path, code=0))
    for _ in range(3):
        follower.ask()
        follower.finish()
    assert _runs(tmp_path) == 2, "once it is shown, nothing is started any more"
    house.crowned(home.ledger, house.registered(home.ledger, 7))
    follower.ask()
    follower.finish()
    assert _runs(tmp_path) == 3


def test_mlflow_that_hangs_is_not_waited_for(home: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", _script(tmp_path, code=0, before="exec sleep 300"))
    monkeypatch.setattr("towpath.cli.rollout_follower.FINISH_SECONDS", 0.1)
    follower = Follower(home.ledger, PROJECT)
    follower.ask()
    follower.ask()
    follower.finish()


def _script(folder: Path, *, code: int, before: str = ":") -> str:
    """A program in Python's place that notes that it ran."""
    file = folder / "python"
    file.write_text(f"#!/bin/sh\necho $* >> {folder}/runs\n{before}\nexit {code}\n", encoding="utf-8")
    file.chmod(0o755)
    return str(file)


def _runs(folder: Path) -> int:
    lines = (folder / "runs").read_text(encoding="utf-8").splitlines()
    assert set(lines) == {"-m towpath.cli rollout mirror visits"}
    return len(lines)
