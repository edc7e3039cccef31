"""Several processes at one ledger, and processes that are killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ledger.child import BEFORE, DRAFT
from ledger.drafts import decision, ticking
from towpath.ledger.sql import SqlLedger

_TESTS = Path(__file__).parents[1]
_CHILD = Path(__file__).with_name("child.py")
_POINTS = 160  # more than an append or an opening has


def _child(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_TESTS), str(_TESTS.parent / "platform")])}
    return subprocess.Popen(
        [sys.executable, str(_CHILD), *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _together(*calls: tuple[str, ...]) -> None:
    """Run child processes that begin their work at the same moment."""
    with ExitStack() as stack:
        children = [stack.enter_context(_child(*arguments)) for arguments in calls]
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        assert [child.wait() for child in children] == [0] * len(calls)


def test_processes_that_write_at_once_leave_one_chain(url: str) -> None:
    _together(*(("append", url, f"writer-{number}", "50") for number in range(4)))
    with SqlLedger.open(url, clock=ticking()) as ledger:
        records = list(ledger.records())
        verification = ledger.verify()
    assert (verification.records, verification.faults) == (205, ())
    assert [record.sequence for record in records] == list(range(1, 206))
    keys = Counter(record.key for record in records)
    assert set(keys.values()) == {1}
    own = {f"writer-{writer}-{number}" for writer in range(4) for number in range(50)}
    assert set(keys) == own | {f"shared-{number}" for number in range(0, 50, 10)}


def test_processes_that_open_an_empty_database_at_once_create_one_table(url: str) -> None:
    _together(*([("open", url)] * 4))
    with SqlLedger.open(url, clock=ticking()) as ledger:
        assert ledger.append(decision("k"), actor="ada").sequence == 1


@pytest.fixture(params=["sqlite", "postgresql"])
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[int], list[str]]]:
    """As many empty databases as one asks for."""
    names: list[str] = []
    server = "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")

    def make(number: int) -> list[str]:
        if not server:
            return [f"sqlite:///{tmp_path / f'{point}.db'}" for point in range(number)]
        names.extend(f"killed_{tmp_path.name.lower().replace('-', '_')[-30:]}_{point}" for point in range(number))
        with psycopg.connect(server, autocommit=True) as connection:
            for name in names:
                connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY wal_log".encode())
        return [server.removesuffix("postgres") + name for name in names]

    yield make
    if server:
        with psycopg.connect(server, autocommit=True) as connection:
            for name in names:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _left(command: str, *arguments: str) -> list[dict[str, Any]]:
    child = _child(command, *arguments)
    said, _ = child.communicate()
    assert child.returncode == 0
    return [json.loads(line) for line in said.splitlines()]


def test_killed_between_any_two_statements_an_append_is_whole_or_absent(urls: Callable[[int], list[str]]) -> None:
    points = _left("kill-appends", *urls(20))
    *killed, outlived = points
    assert (outlived["killed"], outlived["records"]) == (False, BEFORE + 1)
    assert all(point["killed"] and point["whole"] for point in killed)
    assert all(point["after"] == BEFORE + 1 and point["record"] == DRAFT.digest for point in points)
    statements = [point["where"] for point in killed]
    assert sum("INSERT INTO towpath_records" in where for where in statements) == 2
    # Absent up to the moment before the commit, and there from the moment after.
    commit = statements.index("commit ")
    assert {point["records"] for point in killed[:commit]} == {BEFORE}
    assert {point["records"] for point in killed[commit + 1 :]} == {BEFORE + 1}


_ALL = (pytest.mark.exhaustive, pytest.mark.slow, pytest.mark.timeout(900))


@pytest.mark.parametrize("every", [pytest.param(1, marks=_ALL), 9])
def test_killed_between_any_two_statements_of_the_first_opening(
    urls: Callable[[int], list[str]], every: int, request: pytest.FixtureRequest
) -> None:
    """In the slow run between any two in SQLite and every third in PostgreSQL, which makes a database a point."""
    if every == 1 and request.node.callspec.params["urls"] == "postgresql":
        every = 3
    points = _left("kill-openings", str(every), *urls(_POINTS // every + 1))
    *killed, outlived = points
    assert not outlived["killed"]
    assert all(point["killed"] and point["whole"] for point in killed)
    assert all(point["after"] == 1 and point["record"] == DRAFT.digest for point in points)
    assert every > 3 or any("CREATE TRIGGER" in point["where"] for point in killed)


def test_killed_at_any_time_nothing_that_was_returned_is_lost(url: str) -> None:
    returned = -1
    for pause in (0.0, 0.003, 0.017, 0.05):
        with _child("endless", url) as child:
            assert child.stdout is not None
            returned = max(returned, int(child.stdout.readline()))
            time.sleep(pause)
            child.send_signal(signal.SIGKILL)
            returned = max([returned, *(int(line) for line in child.stdout if line.endswith("\n"))])
        with SqlLedger.open(url, clock=ticking()) as ledger:
            verification = ledger.verify()
            assert verification.whole
            assert verification.records in (returned + 1, returned + 2)
