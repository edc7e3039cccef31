"""A scripted rollout in processes that are killed: `python child.py TEMPLATE FOLDER STORY POINTS EVERY`.

TEMPLATE is the URL of a database with a rollout that was just started; every point has a copy of its own.
The script is a function of the committed row alone, so an interrupted rollout sees the same evidence at the same times.
For each point of a writing transaction, a forked process kills itself there (SIGKILL), and another goes on to the end.
What is left after the kill and at the end is written as JSON Lines; the first line is the rollout that was not
interrupted. POINTS: `commits` (before a commit is sent, and after it came back) or `all` (between any two statements);
of these, each EVERY-th.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.pool import Pool

from rollout import story
from rollout.copies import copies
from rollout.house import PROJECT, Told
from towpath.core.rollout import Phase, Rollout
from towpath.ledger.rollouts import SqlRollouts
from towpath.ledger.sql import SqlLedger
from towpath.stages.canary import CanaryPorts, decisions, tick_once
from towpath.stages.succession import champions

START = datetime(2024, 2, 1, tzinfo=UTC)
LEASE = timedelta(days=3)
TICKS = 40  # more than any story has
STORIES: dict[str, tuple[Any, ...]] = {
    "promoted": story.BAKED,
    "harmful while baking": (*story.GOOD, (2, 9_500, 100, 1, 1_900, 900)),
}
STATEMENTS = [(Engine, "before_cursor_execute"), (Engine, "after_cursor_execute")]
COMMITS = [(Engine, "commit"), (Pool, "checkin")]


def world(row: Rollout, baked: tuple[Any, ...]) -> tuple[datetime, tuple[Any, ...]]:
    """The time and the evidence that belong to a committed row."""
    now = START + timedelta(minutes=row.generation)
    if row.phase is Phase.BAKING:
        return now + timedelta(hours=24), baked
    if row.phase in (Phase.PROGRESSING, Phase.PROMOTING):
        return now, story.GOOD[: row.step + 1]
    return now, ()


def go_on(url: str, baked: tuple[Any, ...], *, watch: Callable[[Rollout], None] = lambda _: None) -> None:
    """Tick until the rollout has ended."""
    told = Told()
    with SqlLedger.open(url, clock=_clock) as ledger, SqlRollouts.at(url, clock=_clock) as rollouts:
        ports = CanaryPorts(ledger=ledger, rollouts=rollouts, evidence=told, actor="controller")
        for _ in range(TICKS):
            row = rollouts.history(PROJECT)[0]
            watch(row)
            if not row.open:
                return
            now, told.strata = world(row, baked)
            told.heard = story.heard(now)
            tick_once(ports, PROJECT, now, lease=LEASE)
    raise RuntimeError("the rollout does not end")


def left(url: str) -> dict[str, Any]:
    """What lies in the database: the row, every decision, the champions, and whether the chain is whole."""
    with SqlLedger.open(url, clock=_clock) as ledger, SqlRollouts.at(url, clock=_clock) as rollouts:
        row = rollouts.history(PROJECT)[0]
        return {
            "row": row.model_dump(mode="json", exclude={"lease_until"}),
            "decisions": [_without_lease(decision.body) for _, decision in decisions(ledger, row)],
            "champions": champions(ledger, PROJECT),
            "whole": ledger.verify().whole,
        }


def _without_lease(body: dict[str, Any]) -> dict[str, Any]:
    """A renewal that was killed is made up for by the next: the lease is no part of what was decided."""
    del body["inputs"]["before"]["lease_until"]
    return body


def _clock() -> datetime:
    return START


def _unsynced(connection: Any, *_: object) -> None:
    """A killed process loses nothing that the kernel has; waiting for the disk would take most of the time."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


def main(template: str, folder: Path, name: str, points: str, every: int) -> None:
    event.listen(Pool, "checkout", _unsynced)
    baked, databases = STORIES[name], copies(template, folder)
    rows: list[dict[str, Any]] = []
    whole = databases.make("whole")
    go_on(whole, baked, watch=lambda row: rows.append(row.model_dump(mode="json", exclude={"lease_until"})))
    _say(rows=rows, **left(whole))
    databases.drop("whole")
    for point in count(every, every):
        url = databases.make(f"at_{point}")
        killed, where = _forked(lambda url=url, point=point: _mortal(url, baked, point, points))  # type: ignore[misc]
        after = left(url)
        go_on(url, baked)
        _say(killed=killed, where=where, after=after, end=left(url))
        databases.drop(f"at_{point}")
        if not killed:
            return


def _mortal(url: str, baked: tuple[Any, ...], point: int, points: str) -> None:
    _die_at(point, [*STATEMENTS, *COMMITS] if points == "all" else COMMITS)
    go_on(url, baked)


def _die_at(point: int, targets: list[tuple[Any, str]]) -> None:
    """Counts in writing transactions only: between reads, nothing can be half done."""
    passed = count(1)
    writing = False

    def begun(connection: Any) -> None:
        nonlocal writing
        writing = bool(connection.get_execution_options().get("towpath_writes", False))

    def hook(name: str) -> Callable[..., None]:
        def passing(*arguments: object) -> None:
            if writing and next(passed) == point:
                statement = next((part for part in arguments if isinstance(part, str)), "")
                os.write(2, f"{name} {' '.join(statement.split())[:40]}".encode())
                os.kill(os.getpid(), signal.SIGKILL)

        return passing

    event.listen(Engine, "begin", begun)
    for target, name in targets:
        event.listen(target, name, hook(name))


def _forked(work: Callable[[], None]) -> tuple[bool, str]:
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
    return status == -signal.SIGKILL, where


def _say(**line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]))
