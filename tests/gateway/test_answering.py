"""Assignment, fallbacks and marks of one project's answers, with models that are written to fail."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from gateway import fakes
from gateway.fakes import ScriptedRuntime
from towpath.core.assignment import bucket
from towpath.core.serving import Serving
from towpath.gateway.answering import Answer, Answering
from towpath.gateway.asked import asked
from towpath.gateway.metrics import Metrics
from towpath.gateway.plan import Plan

COLUMNS = ("x",)
UNITS = [f"u{number}" for number in range(200)]
INSIDE = next(unit for unit in UNITS if bucket(b"s" * 16, unit) < 5_000)
OUTSIDE = next(unit for unit in UNITS if bucket(b"s" * 16, unit) >= 5_000)
METRICS = Metrics()


def champion(row: Sequence[object]) -> float:
    return 0.1


def challenger(row: Sequence[object]) -> float:
    return 0.9


def broken(row: Sequence[object]) -> float:
    raise RuntimeError("boom")


class Desk:
    """A project's answers, and the lines that they leave."""

    def __init__(self, plan: Plan, **serving: Any) -> None:
        self.lines: list[dict[str, Any]] = []
        self.answering = Answering(
            project="shop",
            serving=Serving(**serving),
            metrics=METRICS,
            write=lambda line: self.lines.append(msgspec.json.decode(line)),
        )
        self.answering.plan = plan

    async def ask(self, *units: str | None) -> Answer:
        plan = self.answering.ready()
        given = asked(
            plan.schema,
            [{"x": 1.0, "who": unit, "row": f"k{number}"} for number, unit in enumerate(units)],
            parameters=None,
            request="r-1",
            max_rows=100,
        )
        answer = await self.answering.answer(given, asyncio.get_running_loop().time(), plan)
        self.answering.record(answer)
        self.answering.after(answer)
        for _ in range(3):
            await asyncio.sleep(0)  # the shadow
        return answer


def runtime(score: Any, **given: Any) -> ScriptedRuntime:
    return ScriptedRuntime(COLUMNS, score, **given)


def test_units_below_the_weight_get_the_challenger_and_rows_keep_their_places() -> None:
    async def run() -> None:
        one, two = fakes.model("a", runtime(champion)), fakes.model("b", runtime(challenger), version="2")
        desk = Desk(fakes.plan(one, fakes.split(one, two, weight=5_000)))
        answer = await desk.ask(INSIDE, OUTSIDE, None, INSIDE)
        assert answer.predictions == [0.9, 0.1, 0.1, 0.9]
        assert answer.arm == "mixed"
        assert answer.arms() == ["challenger", "champion", "champion", "challenger"]
        first, second = sorted(desk.lines, key=lambda line: line["arm"])
        assert (first["arm"], first["positions"], first["units"]) == ("challenger", [0, 3], [INSIDE, INSIDE])
        assert (second["positions"], second["buckets"]) == ([1, 2], [bucket(b"s" * 16, OUTSIDE), None])
        assert {line["weight"] for line in desk.lines} == {5_000}
        assert {(line["rollout"], line["generation"], line["step"]) for line in desk.lines} == {("r1", 3, 1)}
        assert first["keys"] == ["k0", "k3"]

    asyncio.run(run())


def test_a_lease_that_is_over_leaves_the_ledgers_champion_alone() -> None:
    async def run() -> None:
        one, two = fakes.model("a", runtime(champion)), fakes.model("b", runtime(challenger))
        desk = Desk(fakes.plan(one, fakes.split(one, two, weight=10_000, until=1.0)))
        answer = await desk.ask(INSIDE)
        assert (answer.predictions, answer.arm) == ([0.1], "champion")
        assert desk.lines[0]["rollout"] is None

    asyncio.run(run())


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (runtime(broken), "RuntimeError"),
        (runtime(challenger, inline=False, seconds=30), "timeout"),
        (None, "unavailable"),
    ],
    ids=["fails", "late", "not-loaded"],
)
def test_a_challenger_that_gives_nothing_in_time_is_stood_in_for(bad: ScriptedRuntime | None, error: str) -> None:
    async def run() -> None:
        one = fakes.model("a", runtime(champion))
        two = fakes.model("b", bad) if bad is not None else None
        desk = Desk(fakes.plan(one, fakes.split(one, two, weight=10_000)), latency_budget_ms=30)
        answer = await desk.ask(INSIDE)
        assert (answer.predictions, answer.arm, answer.fallback) == ([0.1], "challenger", "champion")
        line = desk.lines[0]
        assert (line["arm"], line["fallback"], line["error"]) == ("challenger", "champion", error)
        assert line["predictions"] == [0.1]

    asyncio.run(run())


def test_a_champion_that_fails_is_stood_in_for_by_the_declared_share() -> None:
    async def run() -> None:
        desk = Desk(fakes.plan(fakes.model("a", runtime(broken))), fallback=0.25)
        answer = await desk.ask("u", "v")
        assert (answer.predictions, answer.fallback, answer.refusal) == ([0.25, 0.25], "default", None)
        assert (desk.lines[0]["fallback"], desk.lines[0]["error"]) == ("default", "RuntimeError")

    asyncio.run(run())


def test_a_share_declared_for_a_binary_model_is_no_answer_of_several_classes() -> None:
    """A gateway knows the charter that it was started with, and a promotion may replace its model by one of classes."""

    async def run() -> None:
        desk = Desk(fakes.plan(fakes.classed("a", runtime(broken), ("red", "rosé", "white"))), fallback=0.25)
        answer = await desk.ask("u", "v")
        assert answer.refusal is not None
        assert answer.fallback is None
        (line,) = desk.lines
        assert (line["predictions"], line["fallback"], line["error"]) == (None, None, "RuntimeError")

    asyncio.run(run())


def test_without_a_declared_share_it_is_refused_and_logged() -> None:
    async def run() -> None:
        one = fakes.model("a", runtime(broken))
        two = fakes.model("b", runtime(broken))
        desk = Desk(fakes.plan(one, fakes.split(one, two, weight=10_000)))
        answer = await desk.ask(INSIDE)
        assert answer.refusal is not None
        assert answer.refusal.temporary
        assert (desk.lines[0]["predictions"], desk.lines[0]["error"]) == (None, "RuntimeError")

    asyncio.run(run())


def test_the_cheaper_model_answers_when_the_budget_would_be_missed() -> None:
    async def run() -> None:
        slow = runtime(champion, inline=False, seconds=0.06)
        one = fakes.model("a", slow, cheaper=runtime(lambda row: 0.2))
        desk = Desk(fakes.plan(one), latency_budget_ms=50)
        first = await desk.ask("u")  # nothing is known of the model's pace yet
        second = await desk.ask("u")
        assert (first.predictions, first.fallback) == ([0.1], None)
        assert (second.predictions, second.fallback) == ([0.2], "cheaper")
        assert [line["fallback"] for line in desk.lines] == [None, "cheaper"]

    asyncio.run(run())


def test_a_shadow_is_logged_and_never_given() -> None:
    async def run() -> None:
        one, two = fakes.model("a", runtime(champion)), fakes.model("b", runtime(challenger), version="2")
        desk = Desk(fakes.plan(one, fakes.split(one, two, weight=0, shadow=10_000)))
        answer = await desk.ask(INSIDE, None)
        assert (answer.predictions, answer.arm) == ([0.1, 0.1], "champion")
        given, shadow = desk.lines
        assert (given["arm"], shadow["arm"]) == ("champion", "shadow")
        assert (shadow["predictions"], shadow["positions"], shadow["version"]) == ([0.9], [0], "2")

    asyncio.run(run())


def test_a_shadow_that_fails_is_logged_too() -> None:
    async def run() -> None:
        one, two = fakes.model("a", runtime(champion)), fakes.model("b", runtime(broken))
        desk = Desk(fakes.plan(one, fakes.split(one, two, weight=0, shadow=10_000)))
        await desk.ask(INSIDE)
        assert (desk.lines[1]["arm"], desk.lines[1]["error"]) == ("shadow", "RuntimeError")

    asyncio.run(run())
