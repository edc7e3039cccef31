"""Online features by entity key: read together with whoever else asks in the same tick, under one deadline.

The deadline starts once the bytes are written, and the verdict falls two ticks of the loop after it: a loop that was
busy finds the answer in its socket then, and does not take its own lateness for the store's.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic, time
from typing import Final

from towpath.core.errors import Unreachable
from towpath.core.serving import OnFault, OnlineFeatures
from towpath.gateway.asked import Asked
from towpath.gateway.breaker import Breaker, admit, ended
from towpath.gateway.faults import Unknown
from towpath.gateway.schema import Shape, View
from towpath.ports import Lookup, OnlineAnswer, OnlineStore

Key = tuple[object, ...]
_REMEMBERED = 50_000  # entities of all views together, for when the store is down
OUTCOMES: Final = ("missing", "stale", "down", "last_known", "default")


class Down:
    """Stands for an answer that could not be had."""


_DOWN: Final = Down()
Found = OnlineAnswer | Down | None


class _Batch:
    """What is asked in one tick: keys by view, and who waits."""

    def __init__(self) -> None:
        self.wanted: dict[View, dict[Key, None]] = {}
        self.waiting: list[asyncio.Future[dict[View, Mapping[Key, Found]]]] = []


class OnlineReader:
    """Fills the features that a request did not bring. Only for the thread of its event loop."""

    def __init__(
        self,
        store: OnlineStore,
        rules: OnlineFeatures,
        loop: asyncio.AbstractEventLoop,
        *,
        opened: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self.breaker = Breaker()
        self._opened = opened
        self._store = store
        self._rules = rules
        self._remembers = OnFault.LAST_KNOWN in (rules.down, rules.missing)
        self._loop = loop
        self._batch: _Batch | None = None
        self._last: OrderedDict[tuple[str, Key], OnlineAnswer] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    async def fill(self, asked: Asked, shape: Shape) -> dict[str, int]:
        """Add the missing features to the request's columns; returns how often something was not as it should be.

        Raises `Unknown` or `Unreachable` where the charter refuses such a request.
        """
        keys = {view: _keys(asked, view) for view, _ in shape.reads}
        found = await self._read(keys)
        counts = dict.fromkeys(OUTCOMES, 0)
        now = asked.at if asked.at is not None else time()
        columns, defaults = asked.columns, self._rules.defaults
        for view, features in shape.reads:
            here = found[view]
            answers = [self._judged(view, key, here.get(key), now, counts) for key in keys[view]]
            if asked.rows == 1:
                values = defaults if answers[0] is None else answers[0].values
                for name in features:
                    columns[name] = [values.get(name)]
                continue
            for name in features:
                default = defaults.get(name)
                columns[name] = [default if answer is None else answer.values.get(name) for answer in answers]
        return counts

    def _judged(self, view: View, key: Key, found: Found, now: float, counts: dict[str, int]) -> OnlineAnswer | None:
        """The answer to use, or None for the defaults."""
        if isinstance(found, OnlineAnswer):
            fresh = view.ttl_seconds is None or now - found.at <= view.ttl_seconds
            return found if fresh else self._aged(view, found, counts)
        if isinstance(found, Down):
            counts["down"] += 1
            if self._rules.down is OnFault.REFUSE:
                raise Unreachable(f"The feature store does not answer for {view.name}.", value=view.name)
            return self._last_known(view, key, counts) if self._rules.down is OnFault.LAST_KNOWN else _defaulted(counts)
        counts["missing"] += 1
        if self._rules.missing is OnFault.REFUSE:
            shown = ", ".join(f"{name} {value!r}" for name, value in zip(view.keys, key, strict=True))
            raise Unknown(f"The feature view {view.name} does not know {shown}.", value=shown[:200])
        return self._last_known(view, key, counts) if self._rules.missing is OnFault.LAST_KNOWN else _defaulted(counts)

    def _aged(self, view: View, found: OnlineAnswer, counts: dict[str, int]) -> OnlineAnswer | None:
        """An answer that is older than its view allows, unless the charter does not want it then."""
        counts["stale"] += 1
        if self._rules.stale is OnFault.REFUSE:
            raise Unreachable(
                f"The newest values of {view.name} are older than they may be.",
                value=datetime.fromtimestamp(found.at, UTC).isoformat(),
            )
        if self._rules.stale is OnFault.DEFAULT:
            return _defaulted(counts)
        counts["last_known"] += 1
        return found

    def _last_known(self, view: View, key: Key, counts: dict[str, int]) -> OnlineAnswer | None:
        known = self._last.get((view.name, key))
        if known is None:
            return _defaulted(counts)
        counts["last_known"] += 1
        return known

    def _read(self, wanted: Mapping[View, Sequence[Key]]) -> asyncio.Future[dict[View, Mapping[Key, Found]]]:
        if self._batch is None:
            self._batch = _Batch()
            self._loop.call_soon(self._start)
        everybodys = self._batch.wanted
        for view, keys in wanted.items():
            known = everybodys.setdefault(view, {})
            for key in keys:
                if None not in key:
                    known[key] = None
        future: asyncio.Future[dict[View, Mapping[Key, Found]]] = self._loop.create_future()
        self._batch.waiting.append(future)
        return future

    def _start(self) -> None:
        batch, self._batch = self._batch, None
        assert batch is not None
        task = self._loop.create_task(self._run(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, batch: _Batch) -> None:
        wanted = {view: list(keys) for view, keys in batch.wanted.items()}
        found: dict[View, Mapping[Key, Found]] = {view: dict.fromkeys(keys, _DOWN) for view, keys in wanted.items()}
        self.breaker, admitted = admit(self.breaker, monotonic())
        if admitted:
            well = False
            try:
                well = await self._ask(wanted, found)
            finally:
                was_closed, self.breaker = self.breaker.closed, ended(self.breaker, monotonic(), well=well)
                if self.breaker.closed is not was_closed:
                    self._opened(not self.breaker.closed)
        for future in batch.waiting:
            if not future.done():
                future.set_result(found)

    async def _ask(self, wanted: Mapping[View, list[Key]], found: dict[View, Mapping[Key, Found]]) -> bool:
        """Read every view into `found`; whether it came in time."""
        views = [view for view, keys in wanted.items() if keys]
        if not views:
            return True
        lookups = [Lookup(view=view.name, keys=wanted[view], features=view.features) for view in views]
        read = self._loop.create_task(self._store.read(lookups))
        await asyncio.sleep(0)  # the bytes have been written
        if not read.done():
            await asyncio.wait((read,), timeout=self._rules.timeout_ms / 1e3)
        if not read.done():
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        if not read.done():
            read.cancel()
            return False
        if read.cancelled() or read.exception() is not None:
            return False
        for view, answers in zip(views, read.result(), strict=True):
            found[view] = dict(zip(wanted[view], answers, strict=True))
            if self._remembers:
                self._remember(view, found[view])
        return True

    def _remember(self, view: View, answers: Mapping[Key, Found]) -> None:
        last = self._last
        for key, answer in answers.items():
            if answer is not None:
                last[view.name, key] = answer  # type: ignore[assignment]
                last.move_to_end((view.name, key))
        while len(last) > _REMEMBERED:
            last.popitem(last=False)

    async def close(self) -> None:
        await self._store.close()


def _keys(asked: Asked, view: View) -> list[Key]:
    columns = asked.columns
    if asked.rows == 1:
        return [tuple([columns[name][0] for name in view.keys])]
    return list(zip(*(columns[name] for name in view.keys), strict=True)) if view.keys else [()] * asked.rows


def _defaulted(counts: dict[str, int]) -> OnlineAnswer | None:
    counts["default"] += 1
    return None
