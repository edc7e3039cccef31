"""A binary champion and one of classes take each other's place; two models of the same classes share the units."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from gateway import fakes
from gateway.fakes import ScriptedRuntime
from towpath.adapters import prediction_log_lines as lines
from towpath.core.assignment import bucket
from towpath.core.serving import Serving
from towpath.core.task import Task
from towpath.gateway.answering import Answering
from towpath.gateway.app import App
from towpath.gateway.metrics import Metrics
from towpath.gateway.plan import Model, Split

WINES = ("red", "rosé", "white")
CHANCES = {1.0: [0.5, 0.25, 0.25], 2.0: [0.25, 0.375, 0.375]}
ROWS = {"inputs": [{"name": "x", "shape": [2], "datatype": "FP64", "data": [1.0, 2.0]}]}
METRICS = Metrics()


def by_class(row: Sequence[object]) -> list[float]:
    return CHANCES[float(str(row[0]))]


def classed(classes: tuple[str | int, ...] = WINES) -> Model:
    return fakes.classed("classes", ScriptedRuntime(("x",), by_class), classes, version="2")


def binary(*, seconds: float = 0.0) -> Model:
    return fakes.model("binary", ScriptedRuntime(("x",), lambda row: 0.25, inline=not seconds, seconds=seconds))


class House:
    """The application over one project, and what it writes to the log."""

    def __init__(self, champion: Model | None, *, task: Task = Task.BINARY) -> None:
        self.log: list[bytes] = []
        self.answering = Answering(project="shop", serving=Serving(), metrics=METRICS, write=self.log.append, task=task)
        self.app = App(
            {"shop": self.answering}, metrics=METRICS, metrics_folder=None, write=lambda line: not self.log.append(line)
        )
        self.crown(champion)

    def crown(self, champion: Model | None) -> None:
        self.answering.plan = None if champion is None else fakes.plan(champion)

    def split(self, challenger: Model | None, *, weight: int = 5_000, shadow: int = 0) -> None:
        """Open a rollout beside the champion that serves."""
        plan = self.answering.plan
        assert plan is not None
        between: Split = fakes.split(plan.champion, challenger, weight=weight, shadow=shadow)
        self.answering.plan = fakes.plan(plan.champion, between)

    async def ask(self, path: str, body: object | None = None) -> tuple[int, Any]:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": msgspec.json.encode(body)}

        async def send(message: Any) -> None:
            sent.append(message)

        method = "GET" if body is None else "POST"
        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": []}
        await self.app(scope, receive, send)
        return sent[0]["status"], json.loads(sent[1]["body"])

    async def infer(self) -> Any:
        return (await self.ask("/v2/models/shop/infer", ROWS))[1]["outputs"]

    async def label(self, label: object) -> int:
        return (await self.ask("/v1/feedback", {"labels": [{"key": "k1", "label": label}]}))[0]


def test_answers_labels_and_the_description_follow_the_champion() -> None:
    async def run() -> None:
        house = House(binary())
        assert [one["shape"] for one in await house.infer()] == [[2]]
        assert [await house.label(one) for one in (1, "rosé")] == [200, 400]
        house.crown(classed())
        chances, label = await house.infer()
        assert (chances["shape"], chances["data"]) == ([2, 3], [*CHANCES[1.0], *CHANCES[2.0]])
        assert (label["datatype"], label["data"]) == ("BYTES", ["red", "rosé"])  # of two alike the first
        assert [await house.label(one) for one in ("rosé", "")] == [200, 400]
        page = (await house.ask("/openapi.json"))[1]["components"]["schemas"]
        assert page["Predictions"]["properties"]["predictions"]["items"]["type"] == ["number", "string", "array"]
        house.crown(binary())
        assert [one["shape"] for one in await house.infer()] == [[2]]
        assert await house.label("rosé") == 400
        (found,) = lines.read(b"\n".join(house.log))
        assert found.torn == ()
        assert [one.classes for one in found.predictions] == [(), WINES, ()]
        assert [(one.label, one.named) for one in found.labels] == [(1, None), (None, "rosé")]

    asyncio.run(run())


def test_a_charter_of_classes_makes_no_classes_of_a_binary_champions_labels() -> None:
    async def run() -> None:
        house = House(binary(), task=Task.MULTICLASS)
        assert await house.label(1) == 200
        house.crown(None)
        assert await house.label("rosé") == 200  # nobody answers yet, and the charter is all that is known
        (found,) = lines.read(b"\n".join(house.log))
        assert [(one.label, one.named) for one in found.labels] == [(1, None), (None, "rosé")]

    asyncio.run(run())


def test_who_asked_the_binary_champion_gets_its_answer_though_another_is_crowned_meanwhile() -> None:
    async def run() -> None:
        house = House(binary(seconds=0.02))
        asked = asyncio.create_task(house.infer())
        await asyncio.sleep(0)
        house.crown(classed())
        meanwhile = [house.infer() for _ in range(5)]
        for found in await asyncio.gather(*meanwhile):
            assert [one["shape"] for one in found] == [[2, 3], [2]]
            assert found[0]["data"] == [*CHANCES[1.0], *CHANCES[2.0]]
        assert [(one["shape"], one["data"]) for one in await asked] == [([2], [0.25, 0.25])]

    asyncio.run(run())


@pytest.mark.parametrize("classes", [(-1, 0, 7), ("1", "10", "2")])
def test_classes_keep_their_type(classes: tuple[Any, ...]) -> None:
    async def run() -> None:
        house = House(classed(classes))
        label = (await house.infer())[1]
        assert label["datatype"] == ("INT64" if isinstance(classes[0], int) else "BYTES")
        wanted = list(classes[:2])
        assert label["data"] == wanted
        rows = {"dataframe_split": {"columns": ["x"], "data": [[1.0], [2.0]]}}
        assert (await house.ask("/invocations", rows))[1]["predictions"] == wanted
        (found,) = lines.read(b"\n".join(house.log))
        assert [one.classes for one in found.predictions] == [tuple(map(str, classes))] * 2

    asyncio.run(run())


@pytest.mark.parametrize("champion", [binary, classed])
def test_a_label_that_is_refused_is_not_repeated_at_length(champion: Any) -> None:
    async def run() -> None:
        body = {"labels": [{"key": "k1", "label": "x" * 100_000}]}
        status, told = await House(champion()).ask("/v1/feedback", body)
        assert (status, len(told["error"]) < 500) == (400, True)

    asyncio.run(run())


# -- a rollout ---------------------------------------------------------------------------------------------------------

UNITS = [f"u{number}" for number in range(200)]
INSIDE = [unit for unit in UNITS if bucket(b"s" * 16, unit) < 5_000]
OUTSIDE = [unit for unit in UNITS if bucket(b"s" * 16, unit) >= 5_000]
OTHERS = {1.0: [0.125, 0.125, 0.75], 2.0: [0.125, 0.75, 0.125]}


def rival(score: Any = lambda row: OTHERS[float(str(row[0]))], **given: Any) -> Model:
    return fakes.classed("rival", ScriptedRuntime(("x",), score, **given), WINES, version="3")


def broken(row: Sequence[object]) -> list[float]:
    raise RuntimeError("boom")


def asked(units: Sequence[str | None]) -> dict[str, Any]:
    """A row for each unit, 1.0 and 2.0 in turn."""
    count = len(units)
    numbers = [1.0 + place % 2 for place in range(count)]
    return {
        "inputs": [
            {"name": "x", "shape": [count], "datatype": "FP64", "data": numbers},
            {"name": "who", "shape": [count], "datatype": "BYTES", "data": list(units)},
        ]
    }


def told(house: House) -> list[lines.Prediction]:
    (found,) = lines.read(b"\n".join(house.log))
    assert found.torn == ()
    return list(found.predictions)


def test_units_are_split_and_every_row_gets_its_own_arms_classes() -> None:
    async def run() -> None:
        house = House(classed())
        house.split(rival())
        units = [INSIDE[0], OUTSIDE[0], None, INSIDE[1], INSIDE[0]]
        status, reply = await house.ask("/v2/models/shop/infer", asked(units))
        assert status == 200
        chances, label = reply["outputs"]
        wanted = [OTHERS[1.0], CHANCES[2.0], CHANCES[1.0], OTHERS[2.0], OTHERS[1.0]]
        assert (chances["shape"], chances["parameters"]) == ([5, 3], {"classes": list(WINES)})
        assert chances["data"] == [one for row in wanted for one in row]
        assert label["data"] == ["white", "rosé", "red", "rosé", "white"]
        records = [{"x": 1.0 + place % 2, "who": unit} for place, unit in enumerate(units)]
        asks = {"dataframe_records": records, "params": {"pyfunc_predict_fn": "predict_proba"}}
        assert (await house.ask("/invocations", asks))[1]["predictions"] == wanted
        first, second = sorted(told(house)[:2], key=lambda one: one.arm)
        assert (first.arm, first.positions, first.version) == ("challenger", [0, 3, 4], "3")
        assert first.predictions == [*OTHERS[1.0], *OTHERS[2.0], *OTHERS[1.0]]
        assert (second.arm, second.positions, second.classes) == ("champion", [1, 2], WINES)
        assert second.predictions == [*CHANCES[2.0], *CHANCES[1.0]]
        house.split(rival(), weight=10_000)  # who was exposed stays exposed
        assert (await house.ask("/v2/models/shop/infer", asked(units)))[1]["outputs"][1]["data"][0] == "white"
        house.crown(classed())
        assert (await house.ask("/v2/models/shop/infer", asked(units)))[1]["outputs"][1]["data"][0] == "red"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("challenger", "error"),
    [
        (lambda: rival(broken), "RuntimeError"),
        (lambda: rival(inline=False, seconds=30), "timeout"),
        (lambda: None, "unavailable"),
    ],
    ids=["fails", "late", "not-loaded"],
)
def test_the_champion_stands_in_and_that_is_marked(challenger: Any, error: str) -> None:
    async def run() -> None:
        house = House(classed())
        house.split(challenger())
        reply = (await house.ask("/v2/models/shop/infer", asked([OUTSIDE[0], INSIDE[0]])))[1]
        assert reply["outputs"][0]["data"] == [*CHANCES[1.0], *CHANCES[2.0]]
        assert reply["parameters"]["fallback"] == "champion"
        (line,) = [one for one in told(house) if one.arm == "challenger"]
        assert (line.fallback, line.error, line.classes) == ("champion", error, WINES)
        assert line.predictions == CHANCES[2.0]

    asyncio.run(run())


def test_nobody_answers_for_both_and_the_request_is_refused() -> None:
    async def run() -> None:
        house = House(fakes.classed("classes", ScriptedRuntime(("x",), broken), WINES))
        house.split(rival(broken))
        status, reply = await house.ask("/v2/models/shop/infer", asked([OUTSIDE[0], INSIDE[0]]))
        assert (status, "no fallback can stand in" in reply["error"]) == (503, True)
        assert [one.predictions for one in told(house)] == [None, None]

    asyncio.run(run())


def test_a_shadowed_challenger_is_logged_by_class_and_answers_nobody() -> None:
    async def run() -> None:
        house = House(classed())
        house.split(rival(), weight=0, shadow=10_000)
        reply = (await house.ask("/v2/models/shop/infer", asked(UNITS[:2])))[1]
        assert reply["outputs"][0]["data"] == [*CHANCES[1.0], *CHANCES[2.0]]
        for _ in range(3):
            await asyncio.sleep(0)
        (line,) = [one for one in told(house) if one.arm == "shadow"]
        assert (line.predictions, line.version) == ([*OTHERS[1.0], *OTHERS[2.0]], "3")

    asyncio.run(run())
