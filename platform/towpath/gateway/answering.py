"""One project's answers: features, assignment, the models, and what stands in when one fails or is late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from time import perf_counter, time

import msgspec

from towpath.core.assignment import Arm
from towpath.core.errors import TowpathError
from towpath.core.serving import Serving
from towpath.core.task import Task
from towpath.gateway.asked import Asked
from towpath.gateway.batching import Batcher, Rows
from towpath.gateway.faults import Unready
from towpath.gateway.lines import Context, prediction_line
from towpath.gateway.metrics import Metrics, ProjectMetrics
from towpath.gateway.plan import Assigned, Model, Part, Plan, assign

_PATIENCE = 20  # latency budgets that the champion may take: beyond, it has failed
_LEAST_SHARE = 0.25  # of the budget that a challenger gets, however slow the champion is
_MOST_SHADOWS = 128  # mirrored requests that may wait for a challenger


class Given(msgspec.Struct, kw_only=True):
    """What one arm's rows got. `error` is the trouble of the arm's own model, whoever answered in the end."""

    part: Part
    by: Model | None
    rows: Rows
    predictions: list[float] | None
    fallback: str | None
    error: str | None
    latency_ms: float = 0.0


class Answer(msgspec.Struct, kw_only=True):
    """A request's answer. `refusal` is there when a row got no prediction.

    `predictions` are numbers in the rows' order; of a multiclass model as many a row as it has classes.
    """

    asked: Asked
    assigned: Assigned
    given: list[Given]
    predictions: list[float]
    features: dict[str, int] | None
    at: float
    refusal: TowpathError | None

    @property
    def arm(self) -> str:
        return self.given[0].part.name if len(self.given) == 1 else "mixed"

    @property
    def fallback(self) -> str | None:
        found = [item.fallback for item in self.given if item.fallback is not None]
        return found[0] if found else None

    def arms(self) -> list[str]:
        """The arm of each row."""
        found = [self.given[0].part.name] * len(self.asked.rows)
        for item in self.given:
            for place in item.part.positions or ():
                found[place] = item.part.name
        return found


class Answering:
    """The project's plan, and what is done with it. Only for the thread of its event loop."""

    def __init__(
        self,
        *,
        project: str,
        serving: Serving,
        metrics: Metrics,
        write: Callable[[bytes], object] | None,
        task: Task = Task.BINARY,
    ) -> None:
        self.project = project
        self._task = task
        self.serving = serving
        self.plan: Plan | None = None
        self.metrics = ProjectMetrics(project=project, tally=metrics.tally)
        self._gateway_metrics = metrics
        self._write = write
        self._encode = msgspec.json.Encoder().encode
        self._budget = serving.latency_budget_ms / 1e3
        self._shadows = 0

    @property
    def classed(self) -> bool:
        """Whether labels are classes: where the champion answers by class, whatever charter this process has read.

        Before there is a champion it is as the charter says.
        """
        return self._task is Task.MULTICLASS if self.plan is None else bool(self.plan.outputs.classes)

    def ready(self) -> Plan:
        """The plan. Raises `Unready` before there is one, and when nothing that was served may serve any more."""
        if self.plan is None:
            raise Unready(
                f"{self.project} has no champion that may serve.",
                value=self.project,
                hint="`towpath status` shows the candidates; `towpath promote` makes one the champion.",
            )
        return self.plan

    async def answer(self, asked: Asked, begun: float, plan: Plan) -> Answer:
        """The answer by a plan to a request whose last byte came at `begun` (perf_counter).

        Raises `BadInput`, `Unknown`, `Unready` or `Unreachable` for features that are missing.
        """
        features = await self._features(asked, plan)
        at = time()
        assigned = assign(plan, asked, at)
        if len(assigned.parts) == 1:
            given = [await self._part(assigned.parts[0], plan, assigned, asked, begun)]
        else:
            given = list(
                await asyncio.gather(*(self._part(part, plan, assigned, asked, begun) for part in assigned.parts))
            )
        answer = Answer(
            asked=asked, assigned=assigned, given=given, predictions=[], features=features, at=at, refusal=None
        )
        self._gather(answer)
        elapsed = perf_counter() - begun
        self.metrics.answered(elapsed)
        for item in given:
            item.latency_ms = elapsed * 1e3
        return answer

    def record(self, answer: Answer) -> None:
        """Hand the log its lines, before the reply is handed on: what goes out in that order loses no answer's line."""
        if self._write is None:
            return
        context = self._context(answer)
        for item in answer.given:
            self._log(
                context,
                item.part,
                item.rows,
                item.predictions,
                latency_ms=item.latency_ms,
                fallback=item.fallback,
                error=item.error,
            )

    def after(self, answer: Answer) -> None:
        """What is done once the reply is on its way: the counters, and the shadow."""
        for item in answer.given:
            arm, count = item.part.name, len(item.rows)
            self.metrics.predicted(arm, item.fallback, count)
            if item.error is not None:
                self.metrics.failed(arm, count)
        if answer.features is not None:
            for outcome, count in answer.features.items():
                if count:
                    self.metrics.features[outcome].inc(count)
        if answer.assigned.shadow is not None:
            self._mirror(answer, answer.assigned.shadow, self._context(answer))

    async def _features(self, asked: Asked, plan: Plan) -> dict[str, int] | None:
        if not asked.shape.reads:
            return None
        assert plan.reader is not None  # a schema has views only where a store is open
        return await plan.reader.fill(asked)

    async def _part(self, part: Part, plan: Plan, assigned: Assigned, asked: Asked, begun: float) -> Given:
        champion = assigned.split.champion if assigned.split is not None else plan.champion
        error = None
        if part.arm is Arm.CHALLENGER:
            given = await self._challenger(part, champion, asked, begun)
            if given.predictions is not None:
                return given
            error = given.error
        rows = champion.rows(asked, part.positions)
        taken_over = part.arm is Arm.CHALLENGER
        try:
            found, cheaper = await self._ask(champion, rows, begun, self._budget * _PATIENCE)
        except Exception as failure:  # noqa: BLE001 - whatever a model raises
            return self._default(part, champion, rows, error or _kind(failure))
        return Given(
            part=part,
            by=champion,
            rows=rows,
            predictions=found,
            fallback="champion" if taken_over else cheaper,
            error=error,
        )

    async def _challenger(self, part: Part, champion: Model, asked: Asked, begun: float) -> Given:
        """The challenger's answer in time; without predictions when the champion has to answer."""
        model = part.model
        if model is None:
            return Given(part=part, by=None, rows=[], predictions=None, fallback=None, error="unavailable")
        rows = model.rows(asked, part.positions)
        spent = perf_counter() - begun
        patience = max(self._budget - spent - champion.main.expected_seconds(), self._budget * _LEAST_SHARE)
        try:
            found, cheaper = await self._ask(model, rows, begun, patience)
        except Exception as failure:  # noqa: BLE001
            return Given(part=part, by=None, rows=rows, predictions=None, fallback=None, error=_kind(failure))
        return Given(part=part, by=model, rows=rows, predictions=found, fallback=cheaper, error=None)

    async def _ask(self, model: Model, rows: Rows, begun: float, patience: float) -> tuple[list[float], str | None]:
        """Predictions, and `cheaper` when the cheaper model gave them: to meet the budget, or on failure."""
        if model.cheaper is None:
            return await _waited(model.main, rows, patience), None
        if perf_counter() - begun + model.main.expected_seconds() <= self._budget:
            try:
                return await _waited(model.main, rows, patience), None
            except Exception:  # noqa: BLE001, S110 - the cheaper model is there for this
                pass
        return await _waited(model.cheaper, rows, patience), "cheaper"

    def _default(self, part: Part, champion: Model, rows: Rows, error: str) -> Given:
        """The charter's number, if it declares one and a row of this champion is answered by one.

        The charter may be that of a binary model which the champion has replaced since this process read it.
        """
        share = None if champion.outputs.classes else self.serving.fallback
        found = None if share is None else [share] * len(rows)
        fallback = None if share is None else "default"
        return Given(part=part, by=None, rows=rows, predictions=found, fallback=fallback, error=error)

    def _gather(self, answer: Answer) -> None:
        """Put the arms' predictions into the order of the request's rows."""
        failed = next((item for item in answer.given if item.predictions is None), None)
        if failed is not None:
            answer.refusal = Unready(
                f"No model of {self.project} gave an answer ({failed.error}), and no fallback can stand in.",
                value=failed.error,
            )
        elif len(answer.given) == 1:
            answer.predictions = answer.given[0].predictions or []
        else:
            split = answer.assigned.split
            assert split is not None  # without one there is one part
            answer.predictions = split.champion.outputs.gathered(answer.given, len(answer.asked.rows))

    def _context(self, answer: Answer) -> Context:
        return Context(
            project=self.project,
            at=answer.at,
            asked=answer.asked,
            assigned=answer.assigned,
            features=answer.features,
        )

    def _log(
        self,
        context: Context,
        part: Part,
        rows: Rows,
        predictions: list[float] | None,
        *,
        latency_ms: float,
        fallback: str | None = None,
        error: str | None = None,
    ) -> None:
        if self._write is not None:
            line = prediction_line(
                context, part, rows, predictions, latency_ms=latency_ms, fallback=fallback, error=error
            )
            self._write(self._encode(line))

    def _mirror(self, answer: Answer, part: Part, context: Context) -> None:
        """Ask the challenger too, for the log alone."""
        assert part.model is not None
        rows = part.model.rows(answer.asked, part.positions)
        if self._shadows >= _MOST_SHADOWS:
            self._gateway_metrics.shadow_dropped.inc(len(rows))
            return
        self._shadows += 1
        future = part.model.main.ask(rows)
        future.add_done_callback(partial(self._mirrored, context, part, rows, perf_counter()))

    def _mirrored(
        self, context: Context, part: Part, rows: Rows, begun: float, future: asyncio.Future[list[float]]
    ) -> None:
        self._shadows -= 1
        if future.cancelled():
            return
        failure = future.exception()
        self._log(
            context,
            part,
            rows,
            future.result() if failure is None else None,
            latency_ms=(perf_counter() - begun) * 1e3,
            error=None if failure is None else _kind(failure),
        )
        self.metrics.predicted(part.name, None, len(rows))


async def _waited(batcher: Batcher, rows: Rows, patience: float) -> list[float]:
    """An inline model has answered before a timer could fire; one in a process of its own has a deadline."""
    future = batcher.ask(rows)
    return await future if batcher.runtime.inline else await asyncio.wait_for(future, patience)


def _kind(error: BaseException) -> str:
    """An error's name for the log: `timeout`, one of ours by its code, or the class."""
    if isinstance(error, TimeoutError):
        return "timeout"
    return error.code if isinstance(error, TowpathError) else type(error).__name__
