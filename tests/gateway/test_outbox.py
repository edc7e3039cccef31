"""The outbox: the log's lines before the replies, one write of each in a turn of the event loop."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from towpath.gateway.outbox import Collecting, Outbox, _reply_whole


class Wire(asyncio.Transport):
    """A transport that notes what is done with it."""

    def __init__(self, name: str, done: list[tuple[object, ...]]) -> None:
        super().__init__()
        self.name = name
        self.done = done
        self.closed = False

    def write(self, data: Any) -> None:
        self.done.append((self.name, bytes(data)))

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.done.append((self.name, "pause"))

    def resume_reading(self) -> None:
        self.done.append((self.name, "resume"))

    def close(self) -> None:
        self.closed = True
        self.done.append((self.name, "close"))


def _opened(done: list[tuple[object, ...]]) -> tuple[Outbox, Collecting, Collecting]:
    outbox = Outbox(asyncio.get_running_loop(), lambda *lines: done.append(("log", *lines)))
    return outbox, Collecting(Wire("one", done), outbox), Collecting(Wire("two", done), outbox)


def test_lines_of_a_turn_are_written_before_its_replies() -> None:
    async def run() -> list[tuple[object, ...]]:
        done: list[tuple[object, ...]] = []
        outbox, one, two = _opened(done)
        one.write(b"head ")  # a page without a line, in the same turn
        outbox.log(b"1")
        one.write(b"body")
        outbox.log(b"2")
        two.write(b"reply")
        assert done == []
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return done

    assert asyncio.run(run()) == [("log", b"1", b"2"), ("one", b"head body"), ("two", b"reply")]


def test_closing_writes_what_is_left_and_the_lines_before_it() -> None:
    async def run() -> list[tuple[object, ...]]:
        done: list[tuple[object, ...]] = []
        outbox, one, two = _opened(done)
        outbox.log(b"1")
        one.write(b"last")
        one.close()
        two.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return done

    assert asyncio.run(run()) == [("log", b"1"), ("one", b"last"), ("one", "close"), ("two", "close")]


def test_who_went_away_gets_nothing_and_holds_up_nobody() -> None:
    async def run() -> list[tuple[object, ...]]:
        done: list[tuple[object, ...]] = []
        outbox, one, two = _opened(done)
        one.write(b"for nobody")
        two.write(b"reply")
        one._transport.close()
        outbox.flush()
        outbox.flush()
        return done

    assert asyncio.run(run()) == [("one", "close"), ("two", b"reply")]


def _cycle(done: list[tuple[object, ...]], **given: Any) -> Any:
    """As much of uvicorn's cycle of one request as a reply touches."""
    usual = {
        "default_headers": [(b"date", b"today")],
        "flow": SimpleNamespace(write_paused=False),
        "scope": {"method": "POST"},
        "transport": Wire("one", done),
        "message_event": asyncio.Event(),
        "keep_alive": True,
        "disconnected": False,
        "response_started": False,
        "response_complete": False,
        "on_response": lambda: done.append(("answered",)),
    }
    return SimpleNamespace(**{**usual, **given})


@pytest.mark.parametrize("keep_alive", [True, False])
def test_a_whole_reply_is_one_write_and_ends_the_request(keep_alive: bool) -> None:
    done: list[tuple[object, ...]] = []
    cycle = _cycle(done, keep_alive=keep_alive)
    assert _reply_whole(cycle, 200, [(b"content-length", b"2")], b"hi")
    closing = b"" if keep_alive else b"connection: close\r\n"
    head = b"HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length: 2\r\n" + closing
    assert done == [("one", head + b"\r\nhi"), *([] if keep_alive else [("one", "close")]), ("answered",)]
    assert cycle.response_complete


@pytest.mark.parametrize(
    "given",
    [
        {"scope": {"method": "HEAD"}},
        {"flow": SimpleNamespace(write_paused=True)},
        {"response_started": True},
        {"default_headers": [(b"x", b"1\r\nset-cookie: 2")]},
        {"default_headers": [(b"x", b"1\n2")]},
    ],
    ids=["head", "held up", "begun", "a header in a header", "a line in a header"],
)
def test_what_is_not_plain_is_left_to_uvicorn(given: dict[str, Any]) -> None:
    done: list[tuple[object, ...]] = []
    assert not _reply_whole(_cycle(done, **given), 200, [], b"")
    assert done == []


def test_who_is_gone_is_told_nothing() -> None:
    done: list[tuple[object, ...]] = []
    assert _reply_whole(_cycle(done, disconnected=True), 200, [], b"")
    assert done == []
