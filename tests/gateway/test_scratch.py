"""Scratch folders: what the dead left goes with the next start, and nothing of the living."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway import served
from gateway.mortal import kill
from gateway.served import House
from towpath.stages import scratch

_PLATFORM = Path(scratch.__file__).parents[2]
_HOLDS = (
    "import sys; from pathlib import Path; from towpath.stages import scratch\n"
    "held = scratch.make(Path(sys.argv[1])); (held.path / 'model').touch(); print(held.path, flush=True); input()"
)
_MAKES = """\
import sys
from pathlib import Path
from towpath.stages import scratch
for _ in range(int(sys.argv[2])):
    with scratch.made(Path(sys.argv[1])) as folder:
        (folder / "file").touch()
        with scratch.made(Path(sys.argv[1])) as other:
            assert other != folder
        assert (folder / "file").exists()
    assert not folder.exists()
"""


def _run(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(_PLATFORM)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@contextmanager
def _holding(root: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process that has made a folder and lives."""
    with _run(_HOLDS, root) as process:
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_what_the_dead_left_goes_and_what_the_living_hold_stays(tmp_path: Path) -> None:
    with _holding(tmp_path) as (dead, left), _holding(tmp_path) as (_, kept):
        assert left.exists()
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        assert (left / "model").exists()
        with scratch.made(tmp_path) as mine, scratch.made(tmp_path) as another:
            assert {*tmp_path.iterdir()} == {kept, mine, another}
            assert (kept / "model").exists()
        assert {*tmp_path.iterdir()} == {kept}


def test_who_inherits_the_lock_keeps_the_folder(tmp_path: Path) -> None:
    held = scratch.make(tmp_path)
    heir = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[held.lock], stderr=subprocess.DEVNULL
    )
    os.close(held.lock)  # as when the one who made it is killed
    with heir:
        with scratch.made(tmp_path):
            assert held.path.exists()
        heir.kill()
        heir.wait()
    with scratch.made(tmp_path) as mine:
        assert [*tmp_path.iterdir()] == [mine]


def test_many_at_once_take_nothing_from_each_other(tmp_path: Path) -> None:
    processes = [_run(_MAKES, tmp_path, 150) for _ in range(3)]
    with ThreadPoolExecutor(max_workers=4) as pool:
        for done in [pool.submit(_make_some, tmp_path) for _ in range(4)]:
            done.result(timeout=120)
    for process in processes:
        with process:
            process.communicate(timeout=120)
        assert process.returncode == 0
    assert [*tmp_path.iterdir()] == []


def _make_some(root: Path) -> None:
    for _ in range(100):
        with scratch.made(root) as folder:
            (folder / "file").touch()
            assert (folder / "file").exists()


@pytest.mark.slow
def test_a_killed_gateways_folders_go_with_the_next_start(house: House) -> None:
    root = house.state / "scratch"
    with served.serving(house) as living, served.serving(house) as killed:
        both = {*root.iterdir()}
        kill(killed)
        assert {*root.iterdir()} == both
        with served.serving(house) as after:
            assert len({*root.iterdir()} & both) == 1
            assert living.get("/metrics").status == after.get("/metrics").status == 200
            assert b"towpath_gateway_" in living.get("/metrics").body
    assert [*root.iterdir()] == []
    assert not [*house.state.glob("metrics-*")]
