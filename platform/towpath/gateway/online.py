"""Online features by entity key: read together with whoever else asks in the same tick, under one deadline.

The deadline starts once the bytes are written, and the verdict falls two ticks of the loop after it: a loop that was
busy finds the answer in its socket then, and does not take its own lateness for the store's.
"""

from __future__ import annotations

import asyncio
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
_EVER = float("-inf")
OUTCOMES: Final = ("missing", "stale", "down", "last_known", "default")


class Down:
    """Stands for an answer that could not be had."""


_DOWN: Final = Down()
Found = OnlineAnswer | Down | None


class _Batch:
    """What is asked in one tick: the requests' shapes, entities by their join keys, and who waits."""

    def __init__(self) -> None:
        self.shapes: dict[int, Shape] = {}
        self.keys: dict[tuple[str, ...], dict[Key, None]] = {}
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
        self._last: dict[str, dict[Key, OnlineAnswer]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def fill(self, asked: Asked) -> dict[str, int]:
        """Add the missing features to the request's rows; returns how often something was not as it should be.

        Raises `Unknown` or `Unreachable` where the charter refuses such a request.
        """
        rows, shape = asked.rows, asked.shape
        keys = {names: [tuple([row[name] for name in names]) for row in rows] for names in shape.keys}
        found = self._at_hand(shape, keys)
        if found is None:
            read = await self._read(shape, keys)
            found = [list(map(read[view].get, keys[view.keys])) for view, _ in shape.reads]
        counts = dict.fromkeys(OUTCOMES, 0)
        now = asked.at if asked.at is not None else time()
        defaults = self._rules.defaults
        for (view, features), here in zip(shape.reads, found, strict=True):
            whole = features is view.features
            oldest = _EVER if view.ttl_seconds is None else now - view.ttl_seconds
            for row, key, got in zip(rows, keys[view.keys], here, strict=True):
                answer = (
                    got if isinstance(got, OnlineAnswer) and got.at >= oldest else self._judged(view, key, got, counts)
                )
                if answer is None:
                    row.update({name: defaults.get(name) for name in features})
                elif whole:
                    row.update(answer.values)
                else:
                    row.update({name: answer.values.get(name) for name in features})
        return counts

    def _judged(self, view: View, key: Key, found: Found, counts: dict[str, int]) -> OnlineAnswer | None:
        """What to use in place of a fresh answer; None for the defaults."""
        if isinstance(found, OnlineAnswer):
            return self._aged(view, found, counts)
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
        known = self._last.get(view.name, {}).get(key)
        if known is None:
            return _defaulted(counts)
        counts["last_known"] += 1
        return known

    def _at_hand(self, shape: Shape, keys: Mapping[tuple[str, ...], Sequence[Key]]) -> list[Sequence[Found]] | None:
        """For each view of the shape what needs no waiting, row by row; None when something does."""
        found: list[Sequence[Found]] = []
        for view, _ in shape.reads:
            here = self._store.at_hand(view.name, view.features, keys[view.keys])
            if here is None:
                return None
            found.append(here)
        if self._remembers:  # once all of them are there: what is read instead is remembered as it comes
            for (view, _), held in zip(shape.reads, found, strict=True):
                self._remember_held(view, keys[view.keys], held)
        return found

    def _remember_held(self, view: View, keys: Sequence[Key], held: Sequence[Found]) -> None:
        """What the store holds itself goes with it when it is down. It is written only where it is news."""
        known = self._last.get(view.name, {})
        news = {key: got for key, got in zip(keys, held, strict=True) if got is not None and known.get(key) is not got}
        if news:
            self._remember(view, news)

    def _read(
        self, shape: Shape, keys: Mapping[tuple[str, ...], Sequence[Key]]
    ) -> asyncio.Future[dict[View, Mapping[Key, Found]]]:
        batch = self._batch
        if batch is None:
            batch = self._batch = _Batch()
            self._loop.call_soon(self._start)
        batch.shapes[id(shape)] = shape
        for names, here in keys.items():
            known = batch.keys.setdefault(names, {})
            for key in here:
                if None not in key:
                    known[key] = None
        future: asyncio.Future[dict[View, Mapping[Key, Found]]] = self._loop.create_future()
        batch.waiting.append(future)
        return future

    def _start(self) -> None:
        batch, self._batch = self._batch, None
        assert batch is not None
        task = self._loop.create_task(self._run(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, batch: _Batch) -> None:
        views = {view: None for shape in batch.shapes.values() for view, _ in shape.reads}
        wanted = {view: keys for names, keys in batch.keys.items() for view in views if view.keys == names}
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

    async def _ask(self, wanted: Mapping[View, Mapping[Key, None]], found: dict[View, Mapping[Key, Found]]) -> bool:
        """Read every view into `found`; whether it came in time. Views of the same entities are asked for together."""
        views = [view for view, keys in wanted.items() if keys]
        if not views:
            return True
        keys = {view.keys: list(wanted[view]) for view in views}
        lookups = [Lookup(view=view.name, keys=keys[view.keys], features=view.features) for view in views]
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
        known = self._last.setdefault(view.name, {})
        known.update({key: answer for key, answer in answers.items() if isinstance(answer, OnlineAnswer)})
        while sum(map(len, self._last.values())) > _REMEMBERED:
            most = max(self._last.values(), key=len)
            del most[next(iter(most))]  # the one that came first

    async def close(self) -> None:
        await self._store.close()


def _defaulted(counts: dict[str, int]) -> OnlineAnswer | None:
    counts["default"] += 1
    return None
