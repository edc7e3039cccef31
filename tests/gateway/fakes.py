"""A runtime, an online store and plans for tests of the parts: code that behaves, not mocks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from towpath.core import digest as digests
from towpath.core.statement import Claims
from towpath.gateway.batching import Batcher
from towpath.gateway.outputs import outputs_of
from towpath.gateway.plan import Model, Plan, Split
from towpath.gateway.schema import View, schema
from towpath.ports import Lookup, ModelRun, OnlineAnswer, OnlineView
from towpath.stages.serving import Approved

Rows = Sequence[Sequence[object]]


class ScriptedRuntime:
    """The port `Runtime`: a function of a row, with a delay when it is not inline. Remembers the sizes of its calls.

    The function gives a number, or one for each class.
    """

    kind = "scripted"

    def __init__(
        self,
        columns: Sequence[str],
        score: Callable[[Sequence[object]], float | Sequence[float]],
        *,
        inline: bool = True,
        seconds: float = 0.0,
    ) -> None:
        self.columns = tuple(columns)
        self.inline = inline
        self.seconds = seconds
        self.calls: list[int] = []
        self.closed = False
        self._score = score

    def predict(self, rows: Rows) -> list[float]:
        self.calls.append(len(rows))
        answered = [self._score(row) for row in rows]
        return [one for answer in answered for one in (answer if isinstance(answer, Sequence) else [answer])]

    async def predict_apart(self, rows: Rows) -> list[float]:
        await asyncio.sleep(self.seconds)
        return self.predict(rows)

    def close(self) -> None:
        self.closed = True


class DictStore:
    """The port `OnlineStore` over a dictionary of views; it may stall, or fail, or have everything at hand."""

    def __init__(self, rows: Mapping[str, Mapping[tuple[object, ...], OnlineAnswer]]) -> None:
        self.rows = rows
        self.views: Mapping[str, OnlineView] = {}
        self.stalled = False
        self.failing = False
        self.held = False
        self.reads: list[tuple[str, int]] = []

    def at_hand(
        self, view: str, features: tuple[str, ...], keys: Sequence[tuple[object, ...]]
    ) -> list[OnlineAnswer | None] | None:
        return [self.rows.get(view, {}).get(key) for key in keys] if self.held else None

    async def read(self, lookups: Sequence[Lookup]) -> list[list[OnlineAnswer | None]]:
        self.reads += [(lookup.view, len(lookup.keys)) for lookup in lookups]
        if self.stalled:
            await asyncio.Event().wait()
        if self.failing:
            raise ConnectionResetError("the store is gone")
        return [[self.rows.get(lookup.view, {}).get(key) for key in lookup.keys] for lookup in lookups]

    async def close(self) -> None:
        return None


def answer(at: float, **values: object) -> OnlineAnswer:
    return OnlineAnswer(values=values, at=at)


def approved(name: str, columns: Sequence[str], version: str = "1") -> Approved:
    digest = digests.of_json(name)
    return Approved(
        candidate=f"shop-{digests.short(digest)}",
        digest=digest,
        model=digests.of_json([name]),
        version=version,
        columns=tuple(columns),
        types=dict.fromkeys(columns, "float64") | {"who": "text"},
        views={},
        features=digest,
        features_until="2024-01-01T00:00:00+00:00",
        run=ModelRun(run_id=name, model_id=name, model_digest=digest, artifact_digest=digest),
        runtime=None,
        cheaper=None,
        claims=Claims(project="shop", candidate=name, digest=digest, subjects={}, stages={}),
    )


def model(name: str, runtime: ScriptedRuntime, *, version: str = "1", cheaper: ScriptedRuntime | None = None) -> Model:
    """Inside a running loop."""
    loop = asyncio.get_running_loop()
    return Model(
        approved=approved(name, runtime.columns, version),
        main=Batcher(runtime, loop),
        cheaper=Batcher(cheaper, loop) if cheaper is not None else None,
    )


def classed(name: str, runtime: ScriptedRuntime, classes: tuple[str | int, ...], *, version: str = "1") -> Model:
    """A multiclass model; its runtime's `score` answers with each class's probability. Inside a running loop."""
    loop = asyncio.get_running_loop()
    return Model(
        approved=replace(approved(name, runtime.columns, version), classes=classes),
        main=Batcher(runtime, loop, width=len(classes)),
        cheaper=None,
        outputs=outputs_of(classes),
    )


def split(champion: Model, challenger: Model | None, *, weight: int, shadow: int = 0, until: float = 4e9) -> Split:
    return Split(
        rollout="r1",
        generation=3,
        step=1,
        weight=weight,
        shadow=shadow,
        salt=b"s" * 16,
        until=until,
        champion=champion,
        challenger=challenger,
    )


def plan(champion: Model, between: Split | None = None, *, views: Sequence[View] = (), request: int = 1) -> Plan:
    """The champion's first `request` columns must come with a request."""
    models = [champion, *([between.challenger] if between and between.challenger else [])]
    found = schema(
        [(item.approved.columns, item.approved.types) for item in models],
        request=champion.approved.columns[:request],
        views=views,
        unit="who",
        row_id="row",
    )
    return Plan(schema=found, champion=champion, split=between)
