"""A server looks at what is new when it comes, and at everything at a declared interval, whatever came."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from towpath.core.errors import IntegrityError
from towpath.core.evidence import Record, RecordKind
from towpath.ports import Fault, Ledger, Verification
from towpath.stages import serving
from towpath.stages.serving import FULL_EVERY, Head


class Book:
    """The part of a ledger that a head looks at; it says what it was asked."""

    def __init__(self) -> None:
        self.asked: list[timedelta | None] = []
        self.written: list[Record] = []
        self.faults: tuple[Fault, ...] = ()

    def records(self, *, after: int = 0) -> Iterator[Record]:
        return iter(self.written[after:])

    def verify(self, *, trusting: timedelta | None = None) -> Verification:
        self.asked.append(trusting)
        return Verification(records=len(self.written), head=None, faults=self.faults if trusting is None else ())

    def write(self) -> None:
        number = len(self.written) + 1
        given = {"kind": RecordKind.DECISION, "project": "p", "candidate": "c", "stage": "s", "key": None}
        place = {"sequence": number, "previous": None, "hash": f"sha256:{number}", "digest": "d", "body": {}}
        self.written.append(Record.model_validate({**given, **place, "at": "2024-01-01T00:00:00Z", "actor": "ada"}))

    @property
    def port(self) -> Ledger:
        return self  # type: ignore[return-value]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(serving.time, "monotonic", lambda: now[0])
    return now


def test_what_is_new_is_looked_at_at_once_and_everything_in_time(clock: list[float]) -> None:
    book, head = Book(), Head()
    book.write()
    assert head.moved(book.port)
    head.require_whole(book.port)
    head.require_whole(book.port)
    assert book.asked == [None]
    book.write()
    assert head.moved(book.port)
    head.require_whole(book.port)
    assert book.asked == [None, FULL_EVERY]
    clock[0] += FULL_EVERY.total_seconds() - 1
    assert not head.moved(book.port)
    clock[0] += 1
    assert head.moved(book.port)  # nothing came, and the time has
    head.require_whole(book.port)
    assert book.asked == [None, FULL_EVERY, None]
    assert not head.moved(book.port)


def test_what_was_changed_below_is_found_then_and_stays_found(clock: list[float]) -> None:
    book, head = Book(), Head()
    book.write()
    head.moved(book.port)
    head.require_whole(book.port)
    book.faults = (Fault(sequence=1, what="It was changed."),)
    clock[0] += FULL_EVERY.total_seconds()
    assert head.moved(book.port)
    for _ in range(2):
        with pytest.raises(IntegrityError, match="record 1: It was changed"):
            head.require_whole(book.port)
