"""The shared Redis connection: one write for who asks, replies to whom they belong, and what becomes of it when cut."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

import pytest

from servers.redis import RedisServer
from towpath.adapters.online_redis_connection import RedisAddress, RedisConnection, packed
from towpath.core.errors import Misconfigured, Unreachable

T = TypeVar("T")


def address(server: RedisServer) -> RedisAddress:
    return RedisAddress(host="127.0.0.1", port=server.port, password=server.password)


def with_connection(at: RedisAddress, act: Callable[[RedisConnection], Awaitable[T]]) -> T:
    """Runs in an event loop of its own, bounded."""

    async def run() -> T:
        connection = RedisConnection(at)
        try:
            async with asyncio.timeout(60):
                return await act(connection)
        finally:
            await connection.close()
            await asyncio.sleep(0)

    return asyncio.run(run())


def test_many_at_once_each_get_their_own(redis_server: RedisServer) -> None:
    async def act(connection: RedisConnection) -> list[list[object]]:
        asks = [
            connection.ask(packed(b"ECHO", b"%d" % number) + packed(b"ECHO", b"again"), 2) for number in range(2_000)
        ]
        return await asyncio.gather(*asks)

    assert with_connection(address(redis_server), act) == [[b"%d" % number, b"again"] for number in range(2_000)]


def test_one_who_gave_up_takes_nobodys_reply(redis_server: RedisServer) -> None:
    async def act(connection: RedisConnection) -> list[object]:
        await connection.ask(packed(b"PING"), 1)
        lost = asyncio.ensure_future(connection.ask(packed(b"ECHO", b"lost"), 1))
        await asyncio.sleep(0)
        kept = asyncio.ensure_future(connection.ask(packed(b"ECHO", b"kept"), 1))
        await asyncio.sleep(0)
        lost.cancel()
        return await kept

    assert with_connection(address(redis_server), act) == [b"kept"]


def test_one_who_gives_up_while_connecting_ends_it_for_nobody(redis_server: RedisServer) -> None:
    async def act(connection: RedisConnection) -> list[object]:
        lost = asyncio.ensure_future(connection.ask(packed(b"ECHO", b"lost"), 1))
        await asyncio.sleep(0)
        kept = asyncio.ensure_future(connection.ask(packed(b"ECHO", b"kept"), 1))
        await asyncio.sleep(0)
        lost.cancel()
        return await kept

    assert with_connection(address(redis_server), act) == [b"kept"]


def test_killed_and_back_it_connects_again(mortal_redis: Callable[[], RedisServer]) -> None:
    server = mortal_redis()

    async def act(connection: RedisConnection) -> tuple[int, list[object]]:
        await connection.ask(packed(b"PING"), 1)
        server.stop()
        failed = 0
        for _ in range(5):
            with pytest.raises(Unreachable, match=r"Redis at 127\.0\.0\.1:\d+ does not answer"):
                await connection.ask(packed(b"PING"), 1)
            failed += 1
        await asyncio.to_thread(server.start)
        return failed, await connection.ask(packed(b"ECHO", b"back"), 1)

    assert with_connection(address(server), act) == (5, [b"back"])


def test_cut_while_replies_are_owed_everybody_is_told(mortal_redis: Callable[[], RedisServer]) -> None:
    server = mortal_redis()

    async def act(connection: RedisConnection) -> list[object]:
        await connection.ask(packed(b"PING"), 1)
        blocked = [asyncio.ensure_future(connection.ask(packed(b"BLPOP", b"none", b"0"), 1)) for _ in range(3)]
        await asyncio.sleep(0.05)
        server.stop()
        return await asyncio.gather(*blocked, return_exceptions=True)

    assert [type(one) for one in with_connection(address(server), act)] == [Unreachable] * 3


def test_a_server_that_owes_an_answer_for_long_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts and says nothing: the next to ask after a while gets a new connection, and the others are told."""
    monkeypatch.setattr("towpath.adapters.online_redis_connection._STALLED_SECONDS", 0.1)
    accepted: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        while len(accepted) > 1 and (read := await reader.read(1_000)):
            writer.write(b"+PONG\r\n" * len(re.findall(rb"^\*", read, re.MULTILINE)))
            await writer.drain()

    async def run() -> tuple[object, object]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        connection = RedisConnection(RedisAddress(host="127.0.0.1", port=server.sockets[0].getsockname()[1]))
        async with asyncio.timeout(30):
            owed = asyncio.ensure_future(connection.ask(packed(b"PING"), 1))
            await asyncio.sleep(0.3)
            answer = await connection.ask(packed(b"PING"), 1)
            (told,) = await asyncio.gather(owed, return_exceptions=True)
        await connection.close()
        for writer in accepted:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return answer, told

    answer, told = asyncio.run(run())
    assert answer == [b"PONG"]
    assert isinstance(told, Unreachable)
    assert "nothing came for 0.1 s" in str(told)


def test_a_wrong_password_and_a_wrong_database_are_misconfigured(redis_server: RedisServer) -> None:
    for wrong, says in (
        (replace(address(redis_server), password="wrong"), "WRONGPASS"),
        (replace(address(redis_server), password=None), "NOAUTH"),
        (replace(address(redis_server), database=9_999), "DB index is out of range"),
    ):
        with pytest.raises(Misconfigured, match=f"refuses: .*{says}") as caught:
            with_connection(wrong, lambda connection: connection.ask(packed(b"PING"), 1))
        assert redis_server.password not in str(caught.value)


def test_a_database_of_its_own(redis_server: RedisServer) -> None:
    async def put(connection: RedisConnection) -> list[object]:
        return await connection.ask(packed(b"SET", b"only here", b"1") + packed(b"DBSIZE"), 2)

    assert with_connection(replace(address(redis_server), database=7), put)[1] == 1


def test_an_error_of_one_command_is_his_who_asked(redis_server: RedisServer) -> None:
    async def act(connection: RedisConnection) -> list[object]:
        asks = [connection.ask(packed(b"NOSUCH"), 1), connection.ask(packed(b"ECHO", b"well"), 1)]
        return await asyncio.gather(*asks, return_exceptions=True)

    wrong, well = with_connection(address(redis_server), act)
    assert isinstance(wrong, Misconfigured)
    assert well == [b"well"]


def test_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        at = RedisAddress(host="127.0.0.1", port=probe.getsockname()[1])
        with pytest.raises(Unreachable, match="does not answer"):
            with_connection(at, lambda connection: connection.ask(packed(b"PING"), 1))


def test_a_server_that_speaks_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        connection = RedisConnection(RedisAddress(host="127.0.0.1", port=server.sockets[0].getsockname()[1]))
        async with asyncio.timeout(30):
            with pytest.raises(Unreachable, match="does not speak Redis"):
                await connection.ask(packed(b"PING"), 1)
        await connection.close()
        server.close()
        await server.wait_closed()

    asyncio.run(run())
