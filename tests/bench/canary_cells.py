"""The questions that the benchmark asks, and the bars that the answers are held to.

Every verdict comes from the functions that judge real rollouts (`towpath.core`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import canary_policy
import canary_worlds as worlds
import numpy as np

from towpath.core import sequential as rates
from towpath.core import sequential_means as means
from towpath.core.sequential import Bet, Count

BOUND = math.log(20)
LOOKS = 100

End = tuple[str, float]


@dataclass(frozen=True)
class Row:
    """What is asked of one verdict. `limit`: the upper 95 % limit may be at most this, in percent; `most`, `least`:
    of the percentage itself; `median`: the most requests (with a policy: of the challenger)."""

    bar: str
    verdict: str
    limit: float | None = None
    most: float | None = None
    least: float | None = None
    median: float | None = None


@dataclass(frozen=True)
class Cell:
    """One simulated world, how a run of it ends, and what is asked.

    `since`: requests that a median does not count. `times`: of the usual number of runs.
    """

    world: str
    run: Callable[[np.random.Generator], End]
    rows: tuple[Row, ...]
    since: int = 0
    times: int = 1


def increments(world: worlds.Rates, look: np.ndarray, *, swap: bool = False) -> list[Count]:
    """One look's bad units by stratum; swapped, the champion is taken for the challenger."""
    counts = []
    for share, (_, _, old, new) in zip(world.shares, look.tolist(), strict=True):
        one = Count(share=share, challenger=new, total=old + new)
        counts.append(Count(share=1 - share, challenger=old, total=old + new) if swap else one)
    return counts


def harm(rng: np.random.Generator, *, make: Callable[..., worlds.Rates], ratio: float, swap: bool = False) -> End:
    """Until the error-arm test calls the challenger (swapped: the champion) worse."""
    world, bet = make(rng, LOOKS, ratio), Bet()
    for number, look in enumerate(world.counts, 1):
        bet = rates.wager(bet, increments(world, look, swap=swap))
        if bet.peak >= BOUND:
            return "called better" if swap else "rolled back", number * worlds.REQUESTS
    return "none", math.inf


def no_worse(rng: np.random.Generator, *, make: Callable[..., worlds.Rates], ratio: float) -> End:
    """Until the challenger is called non-inferior at any look."""
    world = make(rng, LOOKS, ratio)
    total = np.zeros_like(world.counts[0])
    for number, look in enumerate(world.counts, 1):
        total += look
        if rates.log_e_no_worse(increments(world, total), worlds.MARGIN) >= BOUND:
            return "promoted", number * worlds.REQUESTS
    return "none", math.inf


def loss(rng: np.random.Generator, *, make: Callable[..., worlds.Losses], shift: float, margin: float = 0) -> End:
    """Until the test of means calls the challenger worse or, with a margin, non-inferior."""
    world = make(rng, LOOKS, shift)
    for number, look in enumerate(world.moments, 1):
        strata = [(means.sample(int(r[0]), r[1], r[2]), means.sample(int(r[3]), r[4], r[5])) for r in look.tolist()]
        seen = means.contrast(strata)
        if (means.log_e_no_worse(seen, margin) if margin else means.log_e_worse(seen)) >= BOUND:
            return "promoted" if margin else "rolled back", number * worlds.REQUESTS
    return "none", math.inf


def policy(rng: np.random.Generator, *, ratio: float) -> End:
    """Requests of the challenger until the whole policy comes to a verdict."""
    end = canary_policy.roll_out(rng, ratio)
    return end.verdict, end.exposed


def _without_difference() -> list[Cell]:
    """Exact tests spend most of their 5 %; four times the runs tell 3.5 % from 5 %."""
    cells = []
    for name, make in (
        ("steady 1 %", worlds.flat),
        ("ramp 5/25/50, base rate drifts", worlds.ramp),
        ("sticky by entity", worlds.sticky),
        ("sticky by entity, ramp", worlds.sticky_ramp),
        ("labels delayed, ramp", worlds.delayed),
    ):
        at_margin = partial(no_worse, make=make, ratio=worlds.MARGIN)
        cells += [
            Cell(name, partial(harm, make=make, ratio=1), (Row("G1", "rolled back", limit=5),), times=4),
            Cell(name, partial(harm, make=make, ratio=1, swap=True), (Row("G1", "called better", limit=5),), times=4),
            Cell(f"{name}; 1.5 times as bad", at_margin, (Row("G1", "promoted", limit=5),), times=4),
        ]
    for kind in worlds.KINDS:
        spread, cap = worlds.scale(kind)
        for name, build in (("steady", worlds.flat_loss), ("ramp", worlds.ramp_loss), ("sticky", worlds.sticky_loss)):
            told = partial(build, kind=kind, spread=spread, cap=cap)
            at_margin = partial(loss, make=told, shift=0.1, margin=0.1 * spread)
            cells += [
                Cell(f"{kind}, {name}", partial(loss, make=told, shift=0), (Row("G1", "rolled back", limit=5),)),
                Cell(f"{kind}, {name}; +0.1 sd", at_margin, (Row("G1", "promoted", limit=5),)),
            ]
    return cells


def _with_difference() -> list[Cell]:
    late = partial(harm, make=partial(worlds.flat, onset=10_000), ratio=5)
    back = "rolled back"
    cells = [
        Cell("1 -> 5 %", partial(harm, make=worlds.flat, ratio=5), (Row("G2", back, least=100, median=1_400),)),
        Cell("1 -> 2 %", partial(harm, make=worlds.flat, ratio=2), (Row("G3", back, least=80, median=11_000),)),
    ]
    for kind in worlds.KINDS:
        spread, cap = worlds.scale(kind)
        told = partial(worlds.flat_loss, kind=kind, spread=spread, cap=cap)
        cells += [
            Cell(f"{kind} +0.3 sd", partial(loss, make=told, shift=0.3), (Row("G4", back, median=1_200),)),
            Cell(f"{kind} +0.1 sd", partial(loss, make=told, shift=0.1), (Row("G4", back, least=93, median=7_000),)),
        ]
    same = (Row("G6", "promoted", least=94), Row("G6", back, most=4))
    return [
        *cells,
        Cell("1 -> 5 % after 10,000 requests", late, (Row("G5", back, median=2_200),), since=10_000),
        Cell("whole policy, no difference", partial(policy, ratio=1), same),
        Cell("whole policy, 1 -> 2 %", partial(policy, ratio=2), (Row("G6", back, least=100, median=1_900),)),
        Cell("whole policy, 1 -> 5 %", partial(policy, ratio=5), (Row("G6", back, median=150),)),
    ]


CELLS = [*_without_difference(), *_with_difference()]
