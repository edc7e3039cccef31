"""One command back to an earlier champion, with a rollout open or not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rollout import house, story
from rollout.house import PROJECT, House
from towpath.core.errors import Denied
from towpath.core.evidence import Candidate
from towpath.core.rollout import Phase
from towpath.core.rollout_orders import replay
from towpath.stages.canary import decisions, tick_once
from towpath.stages.rollback import RolledBack, rollback
from towpath.stages.succession import champions
from towpath.stages.work import champion


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house.opened(tmp_path) as made:
        yield made


def back(home: House, to: Candidate | None = None, **changes: Any) -> RolledBack:
    given = {"to": to, "author": "ada", "reason": "it answers nonsense", "now": home.now, **changes}
    return rollback(PROJECT, home.ports, **given)


def reigning(home: House) -> str | None:
    current = champion(home.ledger, PROJECT)
    return current.candidate.digest if current else None


def succeeded(home: House, number: int) -> Candidate:
    made = house.registered(home.ledger, number)
    house.crowned(home.ledger, made)
    return made


def test_back_to_the_one_before_and_further_each_time(home: House) -> None:
    second, third = succeeded(home, 12), succeeded(home, 13)
    assert back(home).champion.digest == second.digest == reigning(home)
    done = back(home)
    assert (done.before.digest, done.champion.digest) == (second.digest, home.champion.digest)
    assert (done.record.body["verdict"], done.record.actor) == ("ROLLBACK", "ada")
    assert done.record.body["champion_before"] == second.digest
    with pytest.raises(Denied, match="No champion of visits stands before") as caught:
        back(home)
    assert set(caught.value.valid) == {second.id, third.id}
    assert len(champions(home.ledger, PROJECT)) == 5
    assert champions(home.ledger, PROJECT)[-1] == champions(home.ledger, PROJECT)[0]


def test_back_to_any_that_was_champion_and_to_nobody_else(home: House) -> None:
    second = succeeded(home, 12)
    succeeded(home, 13)
    assert back(home, home.champion).champion.digest == home.champion.digest
    assert back(home, second).champion.digest == second.digest == reigning(home)
    with pytest.raises(Denied, match="was never champion"):
        back(home, home.challenger)
    with pytest.raises(Denied, match="is the champion already"):
        back(home, second)
    with pytest.raises(Denied, match="needs a reason"):
        back(home, home.champion, reason="hm")


def test_after_a_rollback_the_next_candidate_is_compared_with_who_is_back(home: House) -> None:
    succeeded(home, 12)
    back(home)
    home.challenger = house.registered(home.ledger, 14)
    assert home.start().rollout.champion.digest == home.champion.digest


def ticks(home: House, *looks: Any) -> None:
    for strata in looks:
        home.now += timedelta(minutes=1)
        home.evidence.strata = strata
        home.evidence.heard = story.heard(home.now)
        tick_once(home.ports, PROJECT, home.now, lease=timedelta(minutes=5))


def test_a_rollback_ends_an_open_rollout_in_the_same_transaction(home: House) -> None:
    second = succeeded(home, 12)
    home.challenger = house.registered(home.ledger, 13)
    home.start()
    ticks(home, (), ())
    assert home.row.weight == 500
    before = home.ledger.verify().records
    done = back(home)
    assert (done.before.digest, reigning(home)) == (second.digest, home.champion.digest)
    assert (home.row.phase, home.row.weight) == (Phase.SUPERSEDED, 0)
    assert home.ledger.verify().records == before + 1


def test_a_rollback_while_baking_is_the_rollouts_own(home: House) -> None:
    home.start()
    ticks(home, (), (), story.GOOD[:1], story.GOOD[:2], story.GOOD, story.GOOD)
    assert (home.row.phase, reigning(home)) == (Phase.BAKING, home.challenger.digest)
    back(home)
    assert (home.row.phase, home.row.weight, reigning(home)) == (Phase.ROLLING_BACK, 0, home.champion.digest)
    ticks(home, ())
    assert home.row.phase is Phase.ROLLED_BACK
    previous = None
    for _, decision in decisions(home.ledger, home.row):
        assert replay(decision, previous=previous).differences == ()
        previous = decision


def test_without_an_earlier_champion_an_open_rollout_is_left_alone(home: House) -> None:
    home.start()
    ticks(home, (), ())
    with pytest.raises(Denied, match="towpath rollout rollback"):
        back(home)
    assert home.row.weight == 500
