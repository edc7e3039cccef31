"""The outbox: the log's lines before the replies, one write of each in a turn of the event loop."""

from __future__ import annotations

import asyncio
from typing import Any

from towpath.gateway.outbox import Collecting, Outbox


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
