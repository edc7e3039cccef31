"""One connection to Redis that everybody in an event loop shares: who asks does not wait for the answers of others.

hiredis parses the replies. Replies come in the order of the commands, so a list of who waits is all that is needed. A
caller who gave up (a deadline) leaves his place in that list, and his replies are thrown away. The connection is made
when it is first needed, and again after it was lost.

The server is asked to say which of the keys that were read are written since: with that, what was read may be used
again. https://redis.io/docs/latest/develop/reference/client-side-caching/
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import hiredis

from towpath.core.errors import Misconfigured, TowpathError, Unreachable

Reply = Any  # bytes, int, None, or a list of them
Changed = Callable[[Sequence[bytes] | None], None]  # is told the keys that were written; None for all of them
_CONNECT_SECONDS = 2.0
_STALLED_SECONDS = 2.0
_MOST_WAITING = 10_000
_VOUCHED_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class RedisAddress:
    """Where the server is and how it is entered."""

    host: str
    port: int
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    encrypted: bool = False

    @property
    def shown(self) -> str:
        return f"{self.host}:{self.port}"


class _Waiting:
    """Who waits for how many replies."""

    __slots__ = ("count", "future", "replies", "since")

    def __init__(self, count: int, future: asyncio.Future[list[Reply]], since: float) -> None:
        self.count = count
        self.future = future
        self.replies: list[Reply] = []
        self.since = since


class _Wire(asyncio.Protocol):
    """The bytes of one connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, address: RedisAddress, changed: Changed) -> None:
        self._loop = loop
        self._address = address
        self._changed = changed
        self._reader = hiredis.Reader()
        self._waiting: deque[_Waiting] = deque()
        self._transport: asyncio.Transport | None = None
        self.lost = False
        self.tracked = False  # whether the server says what was written
        self.heard = 0.0

    @property
    def stalled(self) -> bool:
        """Whether the server has owed an answer for too long."""
        return bool(self._waiting) and self._loop.time() - self._waiting[0].since > _STALLED_SECONDS

    @property
    def vouched(self) -> bool:
        return self._loop.time() - self.heard < _VOUCHED_SECONDS

    def track(self) -> None:
        """Have the server say which keys are written; one that is old, or stands behind a proxy, may not."""

        def answered(asked: asyncio.Future[list[Reply]]) -> None:
            self.tracked = not asked.cancelled() and asked.exception() is None

        self.ask(packed(b"HELLO", b"3") + packed(b"CLIENT", b"TRACKING", b"ON"), 2).add_done_callback(answered)

    def ask(self, command: bytes, count: int) -> asyncio.Future[list[Reply]]:
        """Send commands, packed, that make so many replies."""
        future: asyncio.Future[list[Reply]] = self._loop.create_future()
        if len(self._waiting) >= _MOST_WAITING:
            future.set_exception(_silent(self._address, f"{_MOST_WAITING:,} reads wait for it"))
            return future
        self._waiting.append(_Waiting(count, future, self._loop.time()))
        if self._transport is not None and not self.lost:
            self._transport.write(command)
        return future

    def drop(self, error: TowpathError) -> None:
        """Give the connection up; everybody who waits gets the error."""
        self.lost = True
        if self._transport is not None:
            self._transport.abort()
        self._changed(None)
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            if not one.future.done():
                one.future.set_exception(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are of no class of asyncio's

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self.heard = self._loop.time()
        try:
            while (reply := self._reader.gets()) is not False:
                if isinstance(reply, hiredis.PushNotification):
                    if reply[0] == b"invalidate":
                        self._changed(reply[1])
                elif self._waiting:  # else nobody asked for it
                    first = self._waiting[0]
                    first.replies.append(reply)
                    if len(first.replies) == first.count:
                        self._answered(self._waiting.popleft())
        except hiredis.ProtocolError as error:
            self.drop(_silent(self._address, f"it does not speak Redis' protocol: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.drop(_silent(self._address, str(exc) if exc else "it closed the connection"))

    def _answered(self, first: _Waiting) -> None:
        if first.future.done():
            return
        wrong = next((one for one in first.replies if isinstance(one, hiredis.ReplyError)), None)
        if wrong is None:
            first.future.set_result(first.replies)
        else:
            first.future.set_exception(_refused(self._address, wrong))


class RedisConnection:
    """The shared connection. Only for the thread of one event loop."""

    def __init__(self, address: RedisAddress, changed: Changed = lambda _: None) -> None:
        """`changed` is told of keys that were read and are written since, and of all when the connection is lost."""
        self._address = address
        self._changed = changed
        self._wire: _Wire | None = None
        self._connecting: asyncio.Task[_Wire] | None = None

    async def ask(self, command: bytes, count: int) -> list[Reply]:
        """The replies to packed commands. Raises `Unreachable` (try again) or `Misconfigured` (mend the address)."""
        wire = self._wire
        if wire is not None and wire.stalled:
            wire.drop(_silent(self._address, f"nothing came for {_STALLED_SECONDS:g} s"))
        if wire is None or wire.lost:
            wire = await self._connected()
        return await wire.ask(command, count)

    @property
    def tracked(self) -> bool:
        """Whether `changed` is told of what is written."""
        return self._wire is not None and self._wire.tracked

    @property
    def vouched(self) -> bool:
        """Whether the server was heard just now, so that it would have told of what was written until then."""
        wire = self._wire
        return wire is not None and wire.tracked and wire.vouched

    async def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        if self._wire is not None:
            self._wire.drop(_silent(self._address, "the reader was closed"))

    async def _connected(self) -> _Wire:
        """Everybody who needs it waits for the same attempt; one who gives up does not end it for the others."""
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
            self._connecting.add_done_callback(_seen)
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> _Wire:
        address, loop = self._address, asyncio.get_running_loop()
        wire = _Wire(loop, address, self._changed)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await loop.create_connection(
                    lambda: wire,
                    address.host,
                    address.port,
                    ssl=ssl.create_default_context() if address.encrypted else None,
                )
                greeting = _greeting(address)
                if greeting:
                    await wire.ask(b"".join(greeting), len(greeting))
                wire.track()
        except (OSError, TimeoutError) as error:
            wire.drop(_silent(address, "connecting failed"))
            raise _silent(address, str(error) or f"no connection within {_CONNECT_SECONDS:g} s") from error
        except TowpathError:
            wire.drop(_silent(address, "it refused us"))
            raise
        self._wire = wire
        return wire


def packed(*words: bytes) -> bytes:
    """A command in Redis' protocol."""
    return b"*%d\r\n" % len(words) + b"".join(bulk(word) for word in words)


def bulk(word: bytes) -> bytes:
    """One word of a command."""
    return b"$%d\r\n%b\r\n" % (len(word), word)


def _greeting(address: RedisAddress) -> Sequence[bytes]:
    commands = []
    if address.password is not None:
        names = [address.username.encode()] if address.username else []
        commands.append(packed(b"AUTH", *names, address.password.encode()))
    if address.database:
        commands.append(packed(b"SELECT", b"%d" % address.database))
    return commands


def _seen(task: asyncio.Task[_Wire]) -> None:
    """Look at the outcome, which may have no one left to hear it."""
    if not task.cancelled():
        task.exception()


def _silent(address: RedisAddress, why: str) -> Unreachable:
    return Unreachable(
        f"Redis at {address.shown} does not answer: {why}.", value=address.shown, hint="Try again later."
    )


def _refused(address: RedisAddress, error: Exception) -> TowpathError:
    word = str(error).partition(" ")[0]
    if word in ("LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "OOM"):
        return _silent(address, str(error))
    return Misconfigured(
        f"Redis at {address.shown} refuses: {error}.",
        value=address.shown,
        hint="Mend connection_string in feature_store.yaml.",
    )
