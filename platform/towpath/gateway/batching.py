"""Asking a model: whatever is queued when it is free goes into one call, and nothing ever waits for company."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from functools import partial
from time import perf_counter

from towpath.core.errors import TowpathError
from towpath.ports import Runtime

Rows = Sequence[Sequence[object]]
Taken = list[tuple[Rows, asyncio.Future[list[float]]]]
_MOST_ROWS = 4_096  # in one call: longer ones would make everybody wait
_SMOOTHING = 0.2
_FORGET_SECONDS = 1.0  # a model that nobody asked is expected to be twice as fast after this time, so that it is tried
_HUNG_SECONDS = 30.0


class WrongAnswer(TowpathError):
    """A model gave something else than one finite number for each row, or for each class of each row."""

    code = "wrong_answer"


class Batcher:
    """A queue before one runtime, which answers a row with `width` numbers. Only for the thread of its event loop."""

    def __init__(self, runtime: Runtime, loop: asyncio.AbstractEventLoop, *, width: int = 1) -> None:
        self.runtime = runtime
        self._checked = _checked if width == 1 else partial(_checked_wide, width)
        self._hand_out = _hand_out if width == 1 else partial(_hand_out_wide, width)
        self._loop = loop
        self._queue: deque[tuple[Rows, asyncio.Future[list[float]]]] = deque()
        self._busy = False
        self._took = 0.0  # seconds of a call, smoothed
        self._last = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, rows: Rows) -> asyncio.Future[list[float]]:
        """The numbers of each row, soon, one row's behind the other's. The caller may cancel it."""
        future: asyncio.Future[list[float]] = self._loop.create_future()
        self._queue.append((rows, future))
        if not self._busy:
            self._busy = True
            if self.runtime.inline:
                self._loop.call_soon(self._inline)
            else:
                self._apart()
        return future

    @property
    def queued(self) -> int:
        return len(self._queue)

    def expected_seconds(self) -> float:
        """How long an answer would take now: the call that is under way, and one's own."""
        idle = perf_counter() - self._last
        took = self._took if self._busy else self._took * math.pow(0.5, idle / _FORGET_SECONDS)
        return took * (2.0 if self._busy else 1.0)

    def close(self) -> None:
        """End the runtime. Who still waits is told that there is no answer."""
        for _, future in self._queue:
            future.cancel()
        self._queue.clear()
        self.runtime.close()

    def _take(self) -> Taken:
        taken: Taken = []
        count = 0
        while self._queue and (not taken or count + len(self._queue[0][0]) <= _MOST_ROWS):
            rows, future = self._queue.popleft()
            if not future.done():
                taken.append((rows, future))
                count += len(rows)
        return taken

    def _inline(self) -> None:
        """One call for what is queued; the next loop tick takes what came meanwhile."""
        taken = self._take()
        if taken:
            begun = perf_counter()
            try:
                found = self._checked(self.runtime.predict(_joined(taken)), taken)
            except Exception as error:  # noqa: BLE001 - whatever a model raises is its failure, and no one else's
                self._one_by_one(taken, error)
            else:
                self._hand_out(found, taken)
            self._note(perf_counter() - begun)
        self._busy = bool(self._queue)
        if self._busy:
            self._loop.call_soon(self._inline)

    def _one_by_one(self, taken: Taken, error: Exception) -> None:
        """A row that a model cannot bear must not spoil the answers of its neighbours."""
        if len(taken) == 1:
            taken[0][1].set_exception(error)
            return
        for part in taken:
            try:
                self._hand_out(self._checked(self.runtime.predict(part[0]), [part]), [part])
            except Exception as own:  # noqa: BLE001
                part[1].set_exception(own)

    def _apart(self) -> None:
        task = self._loop.create_task(self._run_apart())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_apart(self) -> None:
        while taken := self._take():
            begun = perf_counter()
            try:
                rows = _joined(taken)
                found = self._checked(await asyncio.wait_for(self.runtime.predict_apart(rows), _HUNG_SECONDS), taken)
                self._hand_out(found, taken)
            except Exception as error:  # noqa: BLE001
                await self._apart_one_by_one(taken, error)
            self._note(perf_counter() - begun)
        self._busy = False

    async def _apart_one_by_one(self, taken: Taken, error: Exception) -> None:
        """As `_one_by_one`, unless the process itself is gone or hangs: asking again would make all wait longer."""
        if len(taken) == 1 or isinstance(error, TimeoutError | OSError | TowpathError):
            for _, future in taken:
                if not future.done():
                    future.set_exception(error)
            return
        for part in taken:
            if part[1].done():
                continue
            try:
                found = await asyncio.wait_for(self.runtime.predict_apart(part[0]), _HUNG_SECONDS)
                self._hand_out(self._checked(found, [part]), [part])
            except Exception as own:  # noqa: BLE001
                if not part[1].done():
                    part[1].set_exception(own)

    def _note(self, seconds: float) -> None:
        self._last = perf_counter()
        self._took = seconds if self._took == 0 else self._took + _SMOOTHING * (seconds - self._took)


def _joined(taken: Taken) -> Rows:
    return taken[0][0] if len(taken) == 1 else [row for rows, _ in taken for row in rows]


def _checked(found: list[float], taken: Taken) -> list[float]:
    wanted = sum(len(rows) for rows, _ in taken)
    if len(found) != wanted or not all(map(math.isfinite, found)):
        raise WrongAnswer(f"The model gave {len(found)} answers to {wanted} rows, or one that is not finite.")
    return found


def _hand_out(found: list[float], taken: Taken) -> None:
    place = 0
    for rows, future in taken:
        if not future.done():
            future.set_result(found[place : place + len(rows)])
        place += len(rows)


def _checked_wide(width: int, found: list[float], taken: Taken) -> list[float]:
    wanted = width * sum(len(rows) for rows, _ in taken)
    if len(found) != wanted or not all(map(math.isfinite, found)):
        raise WrongAnswer(f"The model gave {len(found)} numbers where {wanted} are due, or one that is not finite.")
    return found


def _hand_out_wide(width: int, found: list[float], taken: Taken) -> None:
    place = 0
    for rows, future in taken:
        count = width * len(rows)
        if not future.done():
            future.set_result(found[place : place + count])
        place += count
