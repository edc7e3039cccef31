"""The spool: lines are handed over at once, files finished by age and size, shipped once, adopted from the dead."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from towpath.core.errors import Unreachable
from towpath.gateway import spool as spools
from towpath.gateway.metrics import Metrics
from towpath.gateway.shipping import Shipper
from towpath.gateway.spool import Spool

METRICS = Metrics()


@dataclass(frozen=True)
class Held:
    rows: int
    labels: int = 0
    torn: int = 0


class Store:
    """Takes files as the prediction log does, or does not answer."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.down = False

    def ship(self, file: Path) -> Held:
        if self.down:
            raise Unreachable("The store does not answer.")
        found = file.read_text(encoding="utf-8").splitlines()
        self.lines += found
        file.unlink()
        return Held(rows=len(found))


def _shipper(root: Path, store: Store, living: set[str] | None = None) -> Shipper:
    return Shipper(root, store.ship, workers=lambda: living or set(), metrics=METRICS)


def test_a_line_is_in_the_kernels_hands_before_anything_else_happens(tmp_path: Path) -> None:
    async def run() -> None:
        spool = Spool(tmp_path / "w", asyncio.get_running_loop(), METRICS)
        assert spool.write(b'{"a":1}')
        assert [file.read_text() for file in (tmp_path / "w").glob("*.open")] == ['{"a":1}\n']
        spool.close()
        assert [file.read_text() for file in (tmp_path / "w").glob("*.jsonl")] == ['{"a":1}\n']

    asyncio.run(run())


def test_a_file_is_finished_by_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "_MOST_BYTES", 100)

    async def run() -> None:
        spool = Spool(tmp_path / "w", asyncio.get_running_loop(), METRICS)
        for _ in range(10):
            spool.write(b"x" * 49)
        assert len(list((tmp_path / "w").glob("*.jsonl"))) == 5
        spool.close()

    asyncio.run(run())


def test_a_file_is_finished_by_its_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "_MOST_SECONDS", 0.01)

    async def run() -> None:
        spool = Spool(tmp_path / "w", asyncio.get_running_loop(), METRICS)
        spool.write(b"x")
        for _ in range(500):
            await asyncio.sleep(0.01)
            if list((tmp_path / "w").glob("*.jsonl")):
                break
        assert list((tmp_path / "w").glob("*.jsonl"))
        spool.close()

    asyncio.run(run())


def test_what_cannot_be_written_is_counted_and_nobodys_trouble(tmp_path: Path) -> None:
    async def run() -> None:
        spool = Spool(tmp_path / "w", asyncio.get_running_loop(), METRICS)
        shutil.rmtree(tmp_path / "w")
        before = METRICS.log_lost._value.get()
        assert not spool.write(b"x")
        assert METRICS.log_lost._value.get() == before + 1
        (tmp_path / "w").mkdir()
        assert spool.write(b"y")
        spool.close()

    asyncio.run(run())


def test_nothing_is_lost_while_the_store_is_down_and_nothing_is_shipped_twice(tmp_path: Path) -> None:
    async def run() -> None:
        spool = Spool(tmp_path / "w", asyncio.get_running_loop(), METRICS)
        store = Store()
        shipper = _shipper(tmp_path, store, {"w"})
        store.down = True
        for number in range(3):
            spool.write(str(number).encode())
            spool.rotate()
            assert not shipper.look(adopt=True)
        store.down = False
        spool.write(b"still open")
        for _ in range(2):
            assert shipper.look(adopt=True)
        assert store.lines == ["0", "1", "2"]
        spool.close()
        shipper.look(adopt=False)
        assert store.lines == ["0", "1", "2", "still open"]

    asyncio.run(run())


def test_what_a_killed_worker_left_is_adopted_and_a_living_ones_is_not(tmp_path: Path) -> None:
    for name in ("dead", "living"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lock").touch()
        (tmp_path / name / "00000001.open").write_text(f"of the {name}\n", encoding="utf-8")
    held = os.open(tmp_path / "living" / "lock", os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)  # as another gateway's worker holds it
    store = Store()
    try:
        _shipper(tmp_path, store).look(adopt=True)
    finally:
        os.close(held)
    assert store.lines == ["of the dead"]
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["living"]


class Slow:
    """Two shippers' store. It takes its time between reading a file and removing it, as a bucket does."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def ship(self, file: Path) -> Held:
        found = file.read_text(encoding="utf-8").splitlines()
        time.sleep(0.002)
        self.lines += found
        file.unlink()
        return Held(rows=len(found))


def _left_by_the_dead(root: Path, folders: int, files: int) -> list[str]:
    """Spool folders of killed workers, the last file of each still open; the lines in them."""
    lines = []
    for folder in (root / f"w{number}" for number in range(folders)):
        folder.mkdir()
        (folder / spools.LOCK).touch()
        for number in range(1, files + 1):
            line = f"{folder.name} {number}"
            name = f"{number:08d}{spools.OPEN if number == files else spools.FINISHED}"
            (folder / name).write_text(f"{line}\n", encoding="utf-8")
            lines.append(line)
    return sorted(lines)


@pytest.mark.parametrize("noticed", [True, False], ids=["both adopt", "one has not noticed yet that its workers died"])
def test_two_gateways_on_one_spool_ship_every_line_once(tmp_path: Path, noticed: bool) -> None:
    lines, store, together = _left_by_the_dead(tmp_path, 12, 5), Slow(), threading.Barrier(2)
    own = {f"w{number}" for number in range(12)}

    def run(living: set[str]) -> bool:
        shipper = Shipper(tmp_path, store.ship, workers=lambda: living, metrics=METRICS)
        together.wait(timeout=30)
        return {shipper.look(adopt=True) for _ in range(20)} == {True}

    with ThreadPoolExecutor(max_workers=2) as pool:
        went = [pool.submit(run, living) for living in (set(), set() if noticed else own)]
        assert all(one.result(timeout=60) for one in went), "nobody took a file away from under the other"
    Shipper(tmp_path, store.ship, workers=set, metrics=METRICS).look(adopt=True)  # what one left to the other
    assert sorted(store.lines) == lines
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_goes_while_it_is_being_locked_is_made_again(tmp_path: Path) -> None:
    """As when another replica takes a worker's folder for an orphan's in the moment before the worker has locked it."""
    folder = tmp_path / "w"
    folder.mkdir()
    held = os.open(folder / spools.LOCK, os.O_CREAT | os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = pool.submit(spools._taken, folder)
        time.sleep(0.2)  # it waits for the lock
        shutil.rmtree(folder)
        os.close(held)
        taken = waiting.result(timeout=30)
    assert spools.locks(taken, folder)
    os.close(taken)
