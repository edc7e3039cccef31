"""What the kill tests need: a rollout's phases, processes by their parents, and what the log must say after all of it.

Which victim dies in which phase, by which test. Columns are the gateway (a worker, then a whole replica), the
controller, the database's connection, the online store and a challenger's own process. K is `test_killed_under_load`,
C `test_controller_under_load`, D `test_cut_under_load`; S is `rollout/test_killed`, where a controller dies between any
two statements, in files and in PostgreSQL.

| phase | gateway | controller | database | store | process |
|---|---|---|---|---|---|
| preparing | K | C, S | D | D | K |
| shadowing | K | C | D | D | K |
| progressing | K | C, S | D | D | K |
| held | K | C | D | D | K |
| promoting | K | S | D | D | K |
| baking | K | C, S | D | D | K |
| rolling-back | K | C, S | D | D | K |
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any

from gateway.load import Load
from gateway.served import PROJECT, Built, House, Served, rows
from towpath.core.assignment import bucket
from towpath.core.policy import Decision, Verdict
from towpath.core.rollout import Phase
from towpath.stages.succession import crown
from towpath.stages.verdict import gathered, governance
from towpath.stages.work import champion

HALF, BAKED = 5_000, 9_500
_NEITHER: dict[str, Any] = {"shadow": 0, "held": None}
# Baking comes last: the challenger is the champion from then on.
PHASES: dict[Phase, dict[str, Any]] = {
    Phase.PREPARING: {**_NEITHER, "weight": 0},
    Phase.SHADOWING: {**_NEITHER, "weight": 0, "shadow": 10_000},
    Phase.PROGRESSING: {**_NEITHER, "weight": HALF},
    Phase.HELD: {**_NEITHER, "weight": HALF, "held": "paused"},
    Phase.PROMOTING: {**_NEITHER, "weight": HALF},
    Phase.ROLLING_BACK: {**_NEITHER, "weight": 0},
    Phase.BAKING: {**_NEITHER, "weight": BAKED},
}


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
    """A weight and when it was committed, or a moment before; and from when on every worker is known to follow it."""

    at: float
    weight: int
    followed: float | None = None


NOTHING = Committed(at=0.0, weight=0)


def phases(
    house: House, gateways: Sequence[Served], committed: list[Committed], *, only: Sequence[Phase] = ()
) -> Iterator[Phase]:
    """Bring the rollout from phase to phase, each as soon as every worker of the gateways follows it."""
    for phase in only or PHASES:
        if phase is Phase.BAKING:
            _crown(house)
        at, weight = time.time(), PHASES[phase]["weight"]
        committed.append(Committed(at=at, weight=weight))
        generation = house.rollout(phase=phase, **PHASES[phase]).generation
        for gateway in gateways:
            follows(gateway, generation)
        committed[-1] = Committed(at=at, weight=weight, followed=time.time())
        yield phase


def _crown(house: House) -> None:
    """The challenger is the ledger's champion from now on, as it is while it bakes."""
    named = house.built.challenger
    verdict = Decision(verdict=Verdict.PROMOTE, candidate=named.id, digest=named.digest, reasons=("it passed",))
    said = governance(gathered(house.ledger, named, now=datetime.now(UTC)))
    draft = crown(verdict, named, champion(house.ledger, PROJECT), reason="a test promotes it", governance=said)
    house.ledger.append(draft, actor="tester")


def follows(gateway: Served, generation: int) -> None:
    """Wait until every worker is at that generation."""

    def all_of_them() -> bool:
        with suppress(OSError, HTTPException):  # it was a killed worker's connection
            return metric(gateway, f'towpath_gateway_generation{{project="{PROJECT}"}}') == generation
        return False

    gateway.until(all_of_them)


def check(shipped: Sequence[dict[str, Any]], loads: Sequence[Load], committed: Sequence[Committed]) -> None:
    """Nobody's request failed, every answer is in the log, and nobody was ever exposed to more than was committed.

    Until a weight is followed everywhere, a gateway may be some polls behind, at one that was committed before.
    """
    outcomes = [item for found in loads for item in found.outcomes]
    assert {item.status for item in outcomes} == {200}
    arms = defaultdict(set)
    for row in shipped:
        arms[row["request"]].add(row["arm"])
    assert [item for item in outcomes if item.request not in arms] == []
    assert all(item.arm in arms[item.request] for item in outcomes)
    for row in shipped:
        assert row["weight"] <= _allowed(committed, row["at"].timestamp()), row
        exposed = row["bucket"] is not None and row["bucket"] < row["weight"]
        assert (row["arm"] == "challenger") is exposed, row
    # Only who lost a connection asks again under the same name; nothing else is logged twice.
    logged = Counter((row["request"], row["row"], row["arm"]) for row in shipped)
    assert sum(count - 1 for count in logged.values()) <= sum(found.broken for found in loads)


def _allowed(committed: Sequence[Committed], at: float) -> int:
    past = [item for item in committed if item.at <= at]
    followed = max((place for place, item in enumerate(past) if (item.followed or at) < at), default=0)
    return max(item.weight for item in past[followed:])


def lived(shipped: Sequence[dict[str, Any]], since: float, until: float) -> Iterator[dict[str, Any]]:
    """The logged rows of that time."""
    for row in shipped:
        when: datetime = row["at"]
        if since <= when.timestamp() < until:
            yield row
