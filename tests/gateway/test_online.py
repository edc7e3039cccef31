"""Features by entity key: missing, stale, down and stalled, each as the charter says; one read for all who ask."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from gateway import fakes
from gateway.fakes import DictStore
from towpath.core.errors import Unreachable
from towpath.core.serving import OnlineFeatures
from towpath.gateway import online
from towpath.gateway.asked import Asked, Row
from towpath.gateway.faults import Unknown
from towpath.gateway.online import OnlineReader
from towpath.gateway.schema import Shape, View

VIEW = View(name="shop", keys=("who",), features=("spent", "visits"), ttl_seconds=60.0)
SHAPE = Shape(reads=((VIEW, VIEW.features),))
NOW = time.time()


def _store() -> DictStore:
    return DictStore(
        {
            "shop": {
                ("ada",): fakes.answer(NOW, spent=7.0, visits=2.0),
                ("old",): fakes.answer(NOW - 3_600, spent=1.0, visits=1.0),
            }
        }
    )


def _asked(*who: str | None, at: float | None = NOW) -> Asked:
    rows: list[Row] = [{"who": one} for one in who]
    return Asked(request="r", rows=rows, shape=SHAPE, units=list(who), keys=list(who), at=at)


def _column(asked: Asked, name: str) -> list[object]:
    return [row[name] for row in asked.rows]


def _reader(store: DictStore, **rules: Any) -> OnlineReader:
    given = {"timeout_ms": 20, **rules}
    return OnlineReader(store, OnlineFeatures(**given), asyncio.get_running_loop())


def test_what_is_known_is_filled_in_row_by_row() -> None:
    async def run() -> None:
        asked = _asked("ada", "nobody", None)
        counts = await _reader(_store(), defaults={"spent": 0.5}).fill(asked)
        assert _column(asked, "spent") == [7.0, 0.5, 0.5]
        assert _column(asked, "visits") == [2.0, None, None]
        assert counts == {"missing": 2, "stale": 0, "down": 0, "last_known": 0, "default": 2}

    asyncio.run(run())


@pytest.mark.parametrize("rule", ["default", "last-known"])
def test_what_is_at_hand_is_judged_as_what_is_read(rule: str) -> None:
    async def run() -> None:
        found = []
        for held in (False, True):
            store, asked = _store(), _asked("ada", "old", "nobody", None)
            store.held = held
            reader = _reader(store, defaults={"spent": 0.5}, missing=rule, stale=rule)
            found.append((await reader.fill(asked), asked.rows))
            assert bool(store.reads) is not held
        assert found[0] == found[1]
        assert found[0][0]["missing"] == 2

    asyncio.run(run())


def test_a_missing_entity_may_be_refused_by_name() -> None:
    async def run() -> None:
        with pytest.raises(Unknown, match="who 'nobody'"):
            await _reader(_store(), missing="refuse").fill(_asked("nobody"))

    asyncio.run(run())


@pytest.mark.parametrize(("rule", "spent"), [("default", None), ("last-known", 1.0)])
def test_a_stale_value_is_used_only_where_the_charter_says_so(rule: str, spent: float | None) -> None:
    async def run() -> None:
        asked = _asked("old")
        counts = await _reader(_store(), stale=rule).fill(asked)
        assert _column(asked, "spent") == [spent]
        assert counts["stale"] == 1

    asyncio.run(run())


def test_a_stale_value_may_be_refused() -> None:
    async def run() -> None:
        with pytest.raises(Unreachable, match="older"):
            await _reader(_store(), stale="refuse").fill(_asked("old"))

    asyncio.run(run())


def test_age_is_judged_at_the_time_that_is_asked_about() -> None:
    async def run() -> None:
        asked = _asked("old", at=NOW - 3_590)
        counts = await _reader(_store(), stale="refuse").fill(asked)
        assert (_column(asked, "spent"), counts["stale"]) == ([1.0], 0)

    asyncio.run(run())


@pytest.mark.parametrize("fault", ["stalled", "failing"])
@pytest.mark.parametrize(("rule", "spent"), [("last-known", 7.0), ("default", None)])
def test_a_store_that_does_not_answer(fault: str, rule: str, spent: float | None) -> None:
    async def run() -> None:
        store = _store()
        reader = _reader(store, down=rule)
        await reader.fill(_asked("ada"))
        setattr(store, fault, True)
        asked = _asked("ada", "never-seen")
        counts = await asyncio.wait_for(reader.fill(asked), 10)
        assert _column(asked, "spent") == [spent, None]
        assert counts["down"] == 2

    asyncio.run(run())


def test_what_was_only_ever_at_hand_is_known_when_the_store_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store holds the hottest entities itself, so they are seldom read; others that are fill the memory."""
    monkeypatch.setattr(online, "_REMEMBERED", 5)

    async def run() -> None:
        cold = [f"cold {number}" for number in range(9)]
        rows = {(who,): fakes.answer(NOW, spent=1.0) for who in cold}
        store = DictStore({"shop": {("ada",): fakes.answer(NOW, spent=7.0), **rows}})
        reader = _reader(store, down="last-known")
        await reader.fill(_asked("ada"))
        await reader.fill(_asked(*cold))
        store.held = True
        await reader.fill(_asked("ada", "nobody", None))
        store.held, store.failing = False, True
        asked = _asked("ada")
        counts = await reader.fill(asked)
        assert (_column(asked, "spent"), counts["last_known"]) == ([7.0], 1)

    asyncio.run(run())


def test_a_store_that_does_not_answer_may_be_refused() -> None:
    async def run() -> None:
        store = _store()
        store.failing = True
        with pytest.raises(Unreachable):
            await _reader(store, down="refuse").fill(_asked("ada"))

    asyncio.run(run())


def test_a_stalled_store_is_left_alone_and_tried_again() -> None:
    async def run() -> None:
        store = _store()
        store.stalled = True
        opened: list[bool] = []
        reader = OnlineReader(store, OnlineFeatures(timeout_ms=5), asyncio.get_running_loop(), opened=opened.append)
        for _ in range(5):
            await reader.fill(_asked("ada"))
        before = len(store.reads)
        for _ in range(20):
            await reader.fill(_asked("ada"))
        assert (len(store.reads), opened) == (before, [True])
        store.stalled = False
        for _ in range(400):
            await asyncio.sleep(0.01)
            asked = _asked("ada")
            if not (await reader.fill(asked))["down"]:
                break
        assert (_column(asked, "spent"), opened) == ([7.0], [True, False])

    asyncio.run(run())


def test_who_asks_in_one_tick_shares_one_read() -> None:
    async def run() -> None:
        store = _store()
        reader = _reader(store)
        many = [_asked("ada", "old") for _ in range(30)]
        await asyncio.gather(*(reader.fill(one) for one in many))
        assert store.reads == [("shop", 2)]
        assert all(_column(one, "spent") == [7.0, None] for one in many)

    asyncio.run(run())


def test_a_busy_loop_does_not_take_its_own_lateness_for_the_stores() -> None:
    """The answer lies in the socket when the deadline fires, because the loop was held up."""

    async def run() -> None:
        class Slow(DictStore):
            async def read(self, lookups: Any) -> Any:
                loop = asyncio.get_running_loop()
                future: asyncio.Future[None] = loop.create_future()
                loop.call_later(0.001, future.set_result, None)
                await future
                return await super().read(lookups)

        reader = _reader(Slow(_store().rows), timeout_ms=10)
        asked = _asked("ada")
        filling = asyncio.ensure_future(reader.fill(asked))
        for _ in range(4):
            await asyncio.sleep(0)
        time.sleep(0.05)  # somebody's model holds the loop
        assert (await filling)["down"] == 0
        assert _column(asked, "spent") == [7.0]

    asyncio.run(run())
