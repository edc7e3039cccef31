"""A controller whose network to the database goes silent, anywhere: it gives up, and goes on once it hears again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate, count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import Engine, event

from gateway.relay import Relay, relayed
from rollout import house, story
from rollout.child import LEASE, START, STORIES, world
from rollout.house import PROJECT, House
from towpath.core.errors import Denied, Unreachable
from towpath.ledger import patience
from towpath.stages.canary import decisions, replayed, tick_once

pytestmark = pytest.mark.slow

STORY = "harmful while baking"
# How many until the first silence, and how many more until each next one, so that ticks get through.
POINTS = {"at a statement": (7, 3), "at a commit": (3, 0)}
TICKS = 200


@contextmanager
def _falling_silent(engines: list[Engine], relay: Relay, where: str, silences: list[str]) -> Iterator[None]:
    """The network is silent from a statement or commit on until somebody lets it flow, again and again."""
    passed = count(1)
    silent = accumulate(count(*POINTS[where]))
    points = [next(silent)]

    def at(statement: str) -> None:
        if next(passed) == points[-1]:
            points.append(next(silent))
            silences.append(statement)
            relay.stall()

    def executing(_: Any, __: Any, statement: str, *___: Any) -> None:
        at(statement)

    def committing(_: Any) -> None:
        at("COMMIT")

    name, hook = ("commit", committing) if where == "at a commit" else ("before_cursor_execute", executing)
    for engine in engines:
        event.listen(engine, name, hook)
    yield
    for engine in engines:
        event.remove(engine, name, hook)


@pytest.mark.parametrize("where", POINTS)
def test_a_tick_gives_up_and_the_next_goes_on(
    postgres_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """What a silence leaves open, such as whether its commit arrived, is decided once."""
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 0.3)
    url = urlsplit(postgres_database)
    assert url.port is not None
    with relayed(url.port) as relay:
        through = postgres_database.replace(f":{url.port}/", f":{relay.port}/") + "?connect_timeout=2"
        with house.opened(tmp_path, url=through) as home:
            home.start(now=START)
            silences: list[str] = []
            engines: list[Engine] = [
                home.ledger._database.engine,  # type: ignore[attr-defined]
                home.ports.rollouts._database.engine,  # type: ignore[attr-defined]
            ]
            with _falling_silent(engines, relay, where, silences):
                given_up = _to_the_end(home, relay)
            found = decisions(home.ledger, home.row)
            assert given_up == len(silences) >= 3
            assert [one.to_state for _, one in found][-4:] == ["promoting", "baking", "rolling-back", "rolled-back"]
            assert [one.generation for _, one in found] == sorted({one.generation for _, one in found})
            assert not any(again.differences for _, again in replayed(home.ledger.records(), home.row.rollout_id))
            assert home.ledger.verify().whole


def _to_the_end(home: House, relay: Relay) -> int:
    """Tick until the rollout has ended; how often the network was silent."""
    given_up, baked = 0, STORIES[STORY]
    for _ in range(TICKS):
        try:
            row = home.row
            if not row.open:
                return given_up
            now, home.evidence.strata = world(row, baked)
            home.evidence.heard = story.heard(now)
            tick_once(home.ports, PROJECT, now, lease=LEASE)
        except Unreachable:
            given_up += 1
            relay.flow()
        except Denied:  # the commit of the tick before arrived after all
            continue
    raise AssertionError("the rollout does not end")
