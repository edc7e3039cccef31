"""One connection to Redis that everybody in an event loop shares: who asks does not wait for the answers of others.

hiredis parses the replies. Replies come in the order of the commands, so a list of who waits is all that is needed. A
caller who gave up (a deadline) leaves his place in that list, and his replies are thrown away. The connection is made
when it is first needed, and again after it was lost.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import hiredis

from towpath.core.errors import Misconfigured, TowpathError, Unreachable

Reply = Any  # bytes, int, None, or a list of them
_CONNECT_SECONDS = 2.0
_STALLED_SECONDS = 2.0
_MOST_WAITING = 10_000


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

    def __init__(self, loop: asyncio.AbstractEventLoop, address: RedisAddress) -> None:
        self._loop = loop
        self._address = address
        self._reader = hiredis.Reader()
        self._waiting: deque[_Waiting] = deque()
        self._transport: asyncio.Transport | None = None
        self.lost = False

    @property
    def stalled(self) -> bool:
        """Whether the server has owed an answer for too long."""
        return bool(self._waiting) and self._loop.time() - self._waiting[0].since > _STALLED_SECONDS

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
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            if not one.future.done():
                one.future.set_exception(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are of no class of asyncio's

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                if self._waiting:  # else nobody asked for it
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

    def __init__(self, address: RedisAddress) -> None:
        self._address = address
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
        wire = _Wire(loop, address)
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
