"""What the kill tests need: processes by their parents, metrics, and what the log must say after all of it."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway.load import Load
from gateway.served import PROJECT, Built, Served, rows
from towpath.core.assignment import bucket


def aircraft(built: Built, count: int = 400) -> list[dict[str, Any]]:
    """Flights of different aircraft."""
    return list({row["tailnum"]: row for row in rows(built, count) if row["tailnum"]}.values())


def inside(flights: Sequence[dict[str, Any]], salt: str, weight: int) -> dict[str, Any]:
    """A flight that the challenger answers at that weight."""
    return next(row for row in flights if bucket(bytes.fromhex(salt), row["tailnum"]) < weight)


def children(parent: int, *, word: str = "") -> list[int]:
    """The living processes that a process started and whose command holds a word, oldest first."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            state, above = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
            if int(above) == parent and state != "Z" and word in command:
                found.append(int(folder.name))
    return sorted(found)


def kill(gateway: Served) -> None:
    """The whole gateway at once: no worker gets to finish anything."""
    for number in (gateway.process.pid, *children(gateway.process.pid)):
        os.kill(number, signal.SIGKILL)
    gateway.process.wait()


def metric(gateway: Served, name: str) -> float:
    """A metric's value, its labels as they are shown; 0 while there is none."""
    page = gateway.get("/metrics").body.decode()
    found = [line for line in page.splitlines() if line.startswith(f"{name} ")]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


def feature(gateway: Served, outcome: str) -> float:
    return metric(gateway, f'towpath_gateway_features_total{{outcome="{outcome}",project="{PROJECT}"}}')


@dataclass(frozen=True, kw_only=True)
class Committed:
    """A weight and when it was committed, or a moment before."""

    at: float
    weight: int


def check(shipped: Sequence[dict[str, Any]], loads: Sequence[Load], committed: Sequence[Committed]) -> None:
    """Nobody's request failed, every answer is in the log, and nobody was ever exposed to more than was committed.

    The weights in `committed` must not fall: a gateway may be some polls behind, which only then is less.
    """
    outcomes = [item for found in loads for item in found.outcomes]
    assert {item.status for item in outcomes} == {200}
    arms = defaultdict(set)
    for row in shipped:
        arms[row["request"]].add(row["arm"])
    assert [item for item in outcomes if item.request not in arms] == []
    assert all(item.arm in arms[item.request] for item in outcomes)
    for row in shipped:
        at = row["at"].timestamp()
        allowed = max(item.weight for item in committed if item.at <= at)
        assert row["weight"] <= allowed, row
        exposed = row["bucket"] is not None and row["bucket"] < row["weight"]
        assert (row["arm"] == "challenger") is exposed, row


def lived(shipped: Sequence[dict[str, Any]], since: float, until: float) -> Iterator[dict[str, Any]]:
    """The logged rows of that time."""
    for row in shipped:
        when: datetime = row["at"]
        if since <= when.timestamp() < until:
            yield row
