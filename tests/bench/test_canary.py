"""The benchmark bites: a bar that is missed is told, every run has its own seed, and worlds keep their requests."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark's modules import each other as a script's do."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import canary

    return canary


@pytest.mark.parametrize(
    ("bar", "found", "when", "missed"),
    [
        ({"limit": 5}, 20, 200, False),
        ({"limit": 5}, 45, 200, True),
        ({"most": 4}, 41, 200, True),
        ({"least": 100}, 999, 200, True),
        ({"least": 94}, 940, 200, False),
        ({"median": 1_400}, 1_000, 1_600, True),
        ({"median": 1_400}, 1_000, 1_400, False),
        ({"median": 1_400}, 400, 200, True),
    ],
)
def test_a_missed_bar_is_told(bench: Any, bar: dict[str, float], found: int, when: float, missed: bool) -> None:
    row, cell = bench.Row("G", "rolled back", **bar), bench.CELLS[0]
    ends = [("rolled back", when)] * found + [("none", math.inf)] * (1_000 - found)
    assert bench.judge(row, cell, ends, quick=False)[1] is missed


def test_every_bar_of_the_specification_has_a_row(bench: Any) -> None:
    bars = {row.bar for cell in bench.CELLS for row in cell.rows}
    assert bars == {"G1", "G2", "G3", "G4", "G5", "G6"}
    assert all(any((r.limit, r.most, r.least, r.median)) for cell in bench.CELLS for r in cell.rows)


def test_runs_depend_on_their_place_alone(bench: Any) -> None:
    cell = bench.CELLS[0]
    once = [cell.run(bench.generator(1, 0, run)) for run in range(3)]
    assert once == [cell.run(bench.generator(1, 0, run)) for run in range(3)]


@pytest.mark.parametrize("make", ["flat", "ramp", "delayed"])
def test_worlds_assign_every_request_once(bench: Any, make: str) -> None:
    world = getattr(bench.worlds, make)(np.random.default_rng(1), 30, 1)
    assert (world.counts[:, :, :2].sum(axis=(1, 2)) == bench.worlds.REQUESTS).all()


def test_sticky_entities_are_bad_once_and_seen_once_a_step(bench: Any) -> None:
    world = bench.worlds.sticky_ramp(np.random.default_rng(1), 60, 1)
    total = world.counts.sum(axis=0)
    assert (total[:, :2].sum(axis=1) <= 3_000).all()
    assert total[:, 2:].sum() <= 3_000 * 0.15


def test_peers_find_a_gross_regression_and_z_tests_cry_wolf(bench: Any) -> None:
    rng = np.random.default_rng(1)

    def made(ratio: float) -> list[np.ndarray]:
        counts = np.stack([bench.worlds.flat(rng, 100, ratio).counts[:, 0] for _ in range(200)])
        return [counts[:, :, column] for column in (1, 3, 0, 2)]

    gross, none = made(20), made(1)
    for peer in bench.PEERS.values():
        assert (peer(*gross) >= 0).mean() > 0.95
    assert (bench.PEERS["z-test, each look"](*none) >= 0).mean() > 0.15
