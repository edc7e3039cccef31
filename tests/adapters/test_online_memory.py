"""What Redis answered is used again until it says that it was written, and no longer than it is heard."""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import mmh3
import pandas as pd
import pytest

from adapters.online_shops import NOON, hours, lay
from servers.redis import RedisServer
from towpath.adapters.online_codec import KeyEncoder
from towpath.adapters.online_description import Description, View, described
from towpath.adapters.online_features import open_as_described
from towpath.adapters.online_redis import RedisOnline
from towpath.adapters.online_redis_connection import RedisAddress, RedisConnection, packed
from towpath.core.errors import Unreachable
from towpath.ports import Lookup, OnlineAnswer, OnlineStore

T = TypeVar("T")
SHELVES = View(
    name="shelves", table="shelves", keys=(("shelf", "INT64"),), features={"level": "INT64"}, ttl_seconds=0.0
)


def description(**options: object) -> Description:
    return Description(
        project=f"p{uuid.uuid4().hex[:8]}", store="redis", key_version=3, options=options, views=(SHELVES,)
    )


def address(server: RedisServer, **more: str) -> RedisAddress:
    return RedisAddress(**{"host": "127.0.0.1", "port": server.port, "password": server.password, **more})


def name_of(described: Description, shelf: int) -> bytes:
    encoded = KeyEncoder(SHELVES)((shelf,))
    assert encoded is not None
    return encoded + described.project.encode()


def level(described: Description, shelf: int, value: int) -> bytes:
    """The command that writes a shelf's row as Feast does, for small numbers."""
    field = mmh3.hash("shelves:level", signed=False).to_bytes(4, "little")
    return packed(
        b"HSET", name_of(described, shelf), field, b"\x20" + varint(value), b"_ts:shelves", b"\x08" + varint(1_700_000)
    )


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def asked(*shelves: object) -> list[Lookup]:
    return [Lookup(view="shelves", keys=[(shelf,) for shelf in shelves], features=("level",))]


def held(store: OnlineStore, lookups: Sequence[Lookup]) -> list[Sequence[OnlineAnswer | None]] | None:
    """What is at hand of the lookups; None unless everything is."""
    found = [store.at_hand(one.view, tuple(one.features), one.keys) for one in lookups]
    return None if None in found else [one for one in found if one is not None]


def levels(answers: Sequence[Sequence[OnlineAnswer | None]] | None) -> list[object] | None:
    return None if answers is None else [None if one is None else one.values["level"] for one in answers[0]]


def with_store(
    told: Description,
    at: RedisAddress,
    act: Callable[[RedisOnline, RedisConnection], Awaitable[T]],
    writer: RedisAddress | None = None,
) -> T:
    """Runs with the store and a connection of somebody else, in an event loop of its own, bounded."""

    async def run() -> T:
        store, other = RedisOnline(told, at), RedisConnection(writer or at)
        try:
            async with asyncio.timeout(60):
                return await act(store, other)
        finally:
            await store.close()
            await other.close()
            await asyncio.sleep(0)

    return asyncio.run(run())


async def dropped(store: OnlineStore, lookups: Sequence[Lookup], *, other: Lookup) -> None:
    """Waits, while the server is heard by another read, until what is asked is no longer at hand."""
    async with asyncio.timeout(20):
        while True:
            await store.read([other])
            if held(store, lookups) is None:
                return
            await asyncio.sleep(0.01)


async def at_hand(store: OnlineStore, lookups: Sequence[Lookup]) -> list[object] | None:
    """What is at hand right after a read; on a busy machine a moment may lie between the two."""
    found = None
    for _ in range(200):
        await store.read(lookups)
        found = levels(held(store, lookups))
        if found is not None:
            break
    return found


def test_what_was_read_is_at_hand_until_it_is_written(redis_server: RedisServer) -> None:
    told = description()

    async def act(store: RedisOnline, other: RedisConnection) -> None:
        assert held(store, asked(1)) is None
        await other.ask(level(told, 1, 5) + level(told, 2, 6), 2)
        assert levels(await store.read(asked(1, 2, 3))) == [5, 6, None]
        assert await at_hand(store, asked(1, 2, 3)) == [5, 6, None]
        assert levels(held(store, asked(2))) == [6]
        assert held(store, asked(4)) is None
        await other.ask(level(told, 1, 7), 1)
        await dropped(store, asked(1), other=asked(2)[0])
        assert await at_hand(store, asked(1, 2)) == [7, 6]

    with_store(told, address(redis_server), act)


@pytest.mark.parametrize("how", ["removed", "made", "everything is removed", "ends by itself"])
def test_whatever_is_done_to_a_row_drops_it(mortal_redis: Callable[[], RedisServer], how: str) -> None:
    server, told = mortal_redis(), description()

    async def act(store: RedisOnline, other: RedisConnection) -> None:
        first = level(told, 2, 2) if how == "made" else level(told, 1, 5)
        await other.ask(first, 1)
        before = await at_hand(store, asked(1))
        command = {
            "removed": packed(b"DEL", name_of(told, 1)),
            "made": level(told, 1, 5),
            "everything is removed": packed(b"FLUSHALL"),
            "ends by itself": packed(b"PEXPIRE", name_of(told, 1), b"1"),
        }[how]
        await other.ask(command, 1)
        await dropped(store, asked(1), other=asked(9)[0])
        await asyncio.sleep(0.02)  # until it has ended by itself
        after = levels(await store.read(asked(1)))
        assert (before, after) == (([None], [5]) if how == "made" else ([5], [None]))

    with_store(told, address(server), act)


def test_a_truth_value_is_no_number(redis_server: RedisServer) -> None:
    """True equals 1 in Python; no shelf has the number True."""
    told = description()

    async def act(store: RedisOnline, other: RedisConnection) -> None:
        await other.ask(level(told, 1, 5), 1)
        assert await at_hand(store, asked(1)) == [5]
        assert held(store, asked(True)) is None
        assert levels(await store.read(asked(True))) == [None]
        assert await at_hand(store, asked(1)) == [5]

    with_store(told, address(redis_server), act)


def test_nothing_is_at_hand_of_a_server_that_is_silent_or_gone(mortal_redis: Callable[[], RedisServer]) -> None:
    server, told = mortal_redis(), description()

    async def act(store: RedisOnline, other: RedisConnection) -> None:
        await other.ask(level(told, 1, 5), 1)
        assert await at_hand(store, asked(1)) == [5]
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(0.15)
        assert held(store, asked(1)) is None
        server.process.send_signal(signal.SIGCONT)
        assert await at_hand(store, asked(1)) == [5]
        server.stop()
        with pytest.raises(Unreachable):
            await store.read(asked(1))
        assert held(store, asked(1)) is None
        server.start()
        assert levels(await store.read(asked(1))) == [None], "it came back empty"

    with_store(told, address(server), act)


def test_where_the_server_does_not_tell_it_is_asked_every_time(mortal_redis: Callable[[], RedisServer]) -> None:
    server, told = mortal_redis(), description()
    reader = packed(b"ACL", b"SETUSER", b"reader", b"on", b">secret", b"~*", b"+@read", b"+hello", b"-client")

    async def act(store: RedisOnline, other: RedisConnection) -> None:
        await other.ask(reader, 1)
        await other.ask(level(told, 1, 5), 1)
        for value in (5, 6):
            await other.ask(level(told, 1, value), 1)
            assert levels(await store.read(asked(1))) == [value]
            assert held(store, asked(1)) is None

    with_store(told, address(server, username="reader", password="secret"), act, writer=address(server))


def test_rows_that_end_by_themselves_are_not_held(redis_server: RedisServer) -> None:
    """The server tells of their end only once it has noticed."""
    told = description(key_ttl_seconds=60)

    async def act(store: RedisOnline, other: RedisConnection) -> None:
        await other.ask(level(told, 1, 5), 1)
        assert await at_hand(store, asked(1)) is None

    with_store(told, address(redis_server), act)


def test_the_oldest_is_dropped_when_there_are_too_many(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towpath.adapters.online_redis._MOST_HELD", 2)
    told = description()

    async def act(store: RedisOnline, other: RedisConnection) -> None:
        await other.ask(b"".join(level(told, shelf, shelf) for shelf in (1, 2, 3)), 3)
        assert await at_hand(store, asked(1, 2)) == [1, 2]
        assert await at_hand(store, asked(3)) == [3]
        assert held(store, asked(1)) is None
        assert await at_hand(store, asked(2, 3)) == [2, 3]

    with_store(told, address(redis_server), act)


def test_a_row_that_is_written_while_it_is_read_never_goes_back(redis_server: RedisServer) -> None:
    """Somebody counts; nobody who looks ever sees less than before, nor less than was written when he asked."""
    told, last = description(), 1_500

    async def act(store: RedisOnline, other: RedisConnection) -> tuple[int, int]:
        written, remembered, seen = 0, 0, 0
        await other.ask(level(told, 1, 0), 1)

        async def count() -> None:
            nonlocal written
            for value in range(1, last + 1):
                await other.ask(level(told, 1, value), 1)
                written = value
                if value % 100 == 0:
                    await asyncio.sleep(0.02)

        counting = asyncio.ensure_future(count())
        while not counting.done():
            known = levels(held(store, asked(1)))
            if known is None:
                least = written
                (value,) = levels(await store.read(asked(1))) or []
                assert isinstance(value, int)
                assert value >= least
            else:
                (value,) = known
                remembered += 1
                await asyncio.sleep(0)
            assert isinstance(value, int)
            assert value >= seen
            seen = value
        await counting
        if levels(held(store, asked(1))) not in (None, [last]):
            await dropped(store, asked(1), other=asked(2)[0])
        (end,) = levels(await store.read(asked(1))) or []
        assert isinstance(end, int)
        return end, remembered

    end, remembered = with_store(told, address(redis_server), act)
    assert end == last
    assert remembered > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_feast_writes_is_seen(tmp_path: Path, redis_server: RedisServer) -> None:
    online = lay(tmp_path, f'{{type: redis, connection_string: "{redis_server.connection_string}"}}')
    told = described(online.repository, online.state)
    takings = [Lookup(view="takings", keys=[("north",)], features=("taken", "visits"))]
    other = Lookup(view="weather", keys=[()], features=("warmth",))

    def write() -> None:
        from towpath.adapters.feast_features_repository import opened, settings

        with opened(online.repository, sources=online.sources, state=online.state):
            import feast

            row = {"shop": ["north"], "taken": [9.5], "visits": [9], "event_timestamp": [NOON]}
            frame = pd.DataFrame({**row, "created_timestamp": [hours(1)]})
            feast.FeatureStore(config=settings(online.repository)).write_to_online_store("takings", frame)

    async def run() -> list[OnlineAnswer | None]:
        store = open_as_described(online.repository, online.state, told)
        try:
            async with asyncio.timeout(120):
                before = None
                while before is None:
                    (read,) = await store.read(takings)
                    before = held(store, takings)
                assert before == [read]
                await asyncio.to_thread(write)
                await dropped(store, takings, other=other)
                return (await store.read(takings))[0]
        finally:
            await store.close()

    (after,) = asyncio.run(run())
    assert after is not None
    assert dict(after.values) == {"taken": 9.5, "visits": 9}
