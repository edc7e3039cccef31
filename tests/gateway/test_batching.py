"""The queue before a runtime: what is there goes together, everybody gets their own, and one bad row is alone."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest

from gateway.fakes import ScriptedRuntime
from towpath.gateway.batching import Batcher, WrongAnswer


def _first(row: Sequence[object]) -> float:
    if row[0] == "bad":
        raise ValueError("no such category")
    assert isinstance(row[0], float)
    return row[0]


@pytest.mark.parametrize("inline", [True, False])
def test_what_is_queued_in_one_tick_is_one_call(inline: bool) -> None:
    async def run() -> list[int]:
        runtime = ScriptedRuntime(["x"], _first, inline=inline)
        batcher = Batcher(runtime, asyncio.get_running_loop())
        if not inline:
            await batcher.ask([[0.0]])  # apart, the first call takes only what is there when it begins
            runtime.calls.clear()
        futures = [batcher.ask([[float(number)], [number + 0.5]]) for number in range(10)]
        answers = await asyncio.gather(*futures)
        assert answers == [[float(number), number + 0.5] for number in range(10)]
        return runtime.calls

    assert sum(asyncio.run(run())) == 20
    assert len(asyncio.run(run())) == 1


@pytest.mark.parametrize("inline", [True, False])
def test_a_row_that_the_model_cannot_bear_spoils_no_others(inline: bool) -> None:
    async def run() -> list[object]:
        batcher = Batcher(ScriptedRuntime(["x"], _first, inline=inline), asyncio.get_running_loop())
        asked = [batcher.ask([[value]]) for value in (1.0, "bad", 3.0)]
        return list(await asyncio.gather(*asked, return_exceptions=True))

    first, second, third = asyncio.run(run())
    assert (first, third) == ([1.0], [3.0])
    assert isinstance(second, ValueError)


def test_an_answer_that_is_not_finite_is_a_failure() -> None:
    async def run() -> None:
        batcher = Batcher(ScriptedRuntime(["x"], lambda row: math.nan), asyncio.get_running_loop())
        with pytest.raises(WrongAnswer):
            await batcher.ask([[1.0]])

    asyncio.run(run())


def test_who_no_longer_waits_is_not_computed_for() -> None:
    async def run() -> list[int]:
        runtime = ScriptedRuntime(["x"], _first, inline=False, seconds=0.01)
        batcher = Batcher(runtime, asyncio.get_running_loop())
        first = batcher.ask([[1.0]])
        await asyncio.sleep(0)
        gone, stays = batcher.ask([[2.0]]), batcher.ask([[3.0]])
        gone.cancel()
        assert await asyncio.wait_for(asyncio.gather(first, stays), 5) == [[1.0], [3.0]]
        return runtime.calls

    assert asyncio.run(run()) == [1, 1]


def test_a_busy_model_is_expected_to_be_later_and_an_idle_one_is_tried_again() -> None:
    async def run() -> None:
        batcher = Batcher(ScriptedRuntime(["x"], _first, inline=False, seconds=0.05), asyncio.get_running_loop())
        assert batcher.expected_seconds() == 0
        await batcher.ask([[1.0]])
        idle = batcher.expected_seconds()
        future = batcher.ask([[1.0]])
        assert batcher.expected_seconds() > idle > 0
        await future
        batcher._last -= 60  # a minute later
        assert batcher.expected_seconds() < idle / 1_000

    asyncio.run(run())
