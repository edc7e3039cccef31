"""What the tests run in other processes: `python child.py append|open|endless|kill-appends|kill-openings URL …`.

The last two fork a process for each point between two statements, which kills itself there (SIGKILL), and write what is
left as JSON Lines.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import count

from sqlalchemy import Engine, event
from sqlalchemy.pool import Pool

from ledger.drafts import decision, entry, fill, ticking
from towpath.ledger.sql import SqlLedger

# The last two are just before a commit is sent and after it came back.
POINTS = [
    (Engine, "before_cursor_execute"),
    (Engine, "after_cursor_execute"),
    (Engine, "commit"),
    (Pool, "checkin"),
]
BEFORE, DRAFT = 2, entry(7)


def append(url: str, name: str, records: int) -> None:
    """Append records of its own, and for each tenth one a record that every process wants to write."""
    with SqlLedger.open(url, clock=ticking()) as ledger:
        _write("ready")
        sys.stdin.readline()
        for number in range(records):
            ledger.append(decision(f"{name}-{number}"), actor=name)
            if number % 10 == 0:
                ledger.append(decision(f"shared-{number}"), actor=name)


def open_(url: str) -> None:
    _write("ready")
    sys.stdin.readline()
    SqlLedger.open(url, clock=ticking()).close()


def endless(url: str) -> None:
    """Append until killed; say each key once its record is written."""
    with SqlLedger.open(url, clock=ticking()) as ledger:
        for number in count():
            ledger.append(decision(f"endless-{number}"), actor="ada")
            _write(number)


def kill_appends(urls: list[str]) -> None:
    """At the n-th point of an append, each n on a new database, until an append outlives it."""
    for point, url in enumerate(urls, start=1):
        with SqlLedger.open(url, clock=ticking()) as ledger:
            fill(ledger, BEFORE)

        def work(url: str = url, point: int = point) -> None:
            with SqlLedger.open(url, clock=ticking()) as ledger:
                _die_at(point)
                ledger.append(DRAFT, actor="ada")

        where, killed = _forked(work)
        with SqlLedger.open(url, clock=ticking()) as ledger:
            left = ledger.verify()
            record = ledger.append(DRAFT, actor="ada")
            after = ledger.verify()
        _say(
            where,
            killed,
            records=left.records,
            whole=left.whole and after.whole,
            after=after.records,
            record=record.digest,
        )
        if not killed:
            return


def kill_openings(urls: list[str], every: int) -> None:
    """At each `every`-th point of the first opening, which creates the tables."""
    for point, url in enumerate(urls):

        def work(url: str = url, point: int = 1 + point * every) -> None:
            _die_at(point)
            SqlLedger.open(url, clock=ticking()).close()

        where, killed = _forked(work)
        with SqlLedger.open(url, clock=ticking()) as ledger:
            record = ledger.append(DRAFT, actor="ada")
            after = ledger.verify()
        _say(where, killed, records=0, whole=after.whole, after=after.records, record=record.digest)
        if not killed:
            return


def _say(where: str, killed: bool, **left: object) -> None:
    _write(json.dumps({"where": where, "killed": killed, **left}))


def _write(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _die_at(point: int) -> None:
    passed = count(1)

    def hook(name: str) -> Callable[..., None]:
        def passing(*arguments: object) -> None:
            if next(passed) == point:
                statement = next((part for part in arguments if isinstance(part, str)), "")
                os.write(2, f"{name} {' '.join(statement.split())[:40]}".encode())
                os.kill(os.getpid(), signal.SIGKILL)

        return passing

    for target, name in POINTS:
        event.listen(target, name, hook(name))


def _forked(work: Callable[[], None]) -> tuple[str, bool]:
    """Run work in a forked process: what it wrote to standard error, and whether it was killed."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.dup2(writer, 2)
        code = 1
        with suppress(BaseException):
            work()
            code = 0
        os._exit(code)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as stream:
        where = stream.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise RuntimeError(f"The process ended with {status}: {where}")
    return where, status == -signal.SIGKILL


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["append", url, name, records]:
            append(url, name, int(records))
        case ["open", url]:
            open_(url)
        case ["endless", url]:
            endless(url)
        case ["kill-appends", *urls]:
            kill_appends(urls)
        case ["kill-openings", every, *urls]:
            kill_openings(urls, int(every))
