"""Bars G1-G6 of the rollout's judge, beside the judges of others on the same simulated requests. Seeds are fixed.

20,000 requests, 10 % challenger, a look every 200 requests, one-sided alpha of 5 %, 1,000 runs a cell (4,000 where a
rate has no difference); a whole policy may take 100,000 requests. Limits are the upper ends of 95 % Clopper-Pearson
intervals.

Run by `make bench-canary`: `python tests/bench/canary.py [--quick] [--seed N] [--only WORDS]`. Exit code 1 when a
bar is missed; `--quick` has 100 runs a cell and misses only what they refute.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import canary_worlds as worlds
import numpy as np
from canary_cells import CELLS, LOOKS, Cell, End, Row
from canary_peers import PEERS
from scipy.stats import beta

BLOCK = 50
OURS = "error-arm e-process"


def generator(seed: int, cell: int, run: int) -> np.random.Generator:
    """A run's randomness is its place, so that processes do not matter."""
    return np.random.default_rng([seed, cell, run])


def block(seed: int, cell: int, first: int) -> list[End]:
    return [CELLS[cell].run(generator(seed, cell, run)) for run in range(first, first + BLOCK)]


def interval(found: int, runs: int) -> tuple[float, float]:
    """Clopper-Pearson, 95 %, in percent."""
    low = float(beta.ppf(0.025, found, runs - found + 1)) if found else 0.0
    high = float(beta.ppf(0.975, found + 1, runs - found)) if found < runs else 1.0
    return 100 * low, 100 * high


def median(whens: Sequence[float]) -> float:
    return float(np.quantile(whens, 0.5, method="inverted_cdf")) if whens else math.inf


def judge(row: Row, cell: Cell, ends: Sequence[End], *, quick: bool) -> tuple[list[str], bool]:
    """The row's figures, and whether it misses its bar."""
    whens = [when - cell.since for verdict, when in ends if verdict == row.verdict]
    runs, found = len(ends), len(whens)
    low, high = interval(found, runs)
    middle = median([*whens, *[math.inf] * (runs - found)])
    share = 100 * found / runs
    bars, missed = [], False
    for told, bar, is_missed in (
        ("limit <=", row.limit, (low if quick else high) > (row.limit or 0)),
        ("<=", row.most, (low if quick else share) > (row.most or 0)),
        (">=", row.least, (high if quick else share) < (row.least or 0)),
        ("median <=", row.median, middle > (row.median or 0) * (1.3 if quick else 1)),
    ):
        if bar is not None:
            bars.append(f"{told} {bar:,g}")
            missed = missed or is_missed
    shown = "never" if math.isinf(middle) else f"{middle:,.0f}"
    figures = [f"{found:,} of {runs:,}", f"{share:.1f} %", f"{high:.1f} %", shown]
    return [row.bar, cell.world, row.verdict, *figures, ", ".join(bars)], missed


def peers(seed: int, runs: int) -> list[list[str]]:
    """All judges on the requests of the cells without difference, 1 -> 2 % and 1 -> 5 %."""
    columns: dict[str, list[str]] = {name: [] for name in PEERS}
    for world, ratio in (("steady 1 %", 1), ("1 -> 2 %", 2), ("1 -> 5 %", 5)):
        cell = next(number for number, one in enumerate(CELLS) if one.world == world)
        made = np.stack([worlds.flat(generator(seed, cell, run), LOOKS, ratio).counts[:, 0] for run in range(runs)])
        old, new, bad_old, bad_new = (made[:, :, column] for column in range(4))
        for name, peer in PEERS.items():
            looks = peer(new, bad_new, old, bad_old)
            whens = [math.inf if look < 0 else (look + 1) * worlds.REQUESTS for look in looks.tolist()]
            columns[name].append(found_and_median(whens))
    return [[name, *cells] for name, cells in columns.items()]


def found_and_median(whens: Sequence[float]) -> str:
    middle = median(whens)
    share = 100 * sum(not math.isinf(when) for when in whens) / len(whens)
    return f"{share:.1f} % / {'never' if math.isinf(middle) else f'{middle:,.0f}'}"


def table(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [[*head], ["-" * width for width in widths], *rows]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines)


def show(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="100 runs a cell")
    parser.add_argument("--seed", type=int, default=2013)
    parser.add_argument("--only", default="", help="cells whose world holds these words")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    begun, runs = time.perf_counter(), 100 if options.quick else 1_000
    chosen = [number for number, cell in enumerate(CELLS) if options.only in cell.world]
    with ProcessPoolExecutor(options.processes) as pool:
        work = {
            cell: [pool.submit(block, options.seed, cell, first) for first in range(0, runs * CELLS[cell].times, BLOCK)]
            for cell in chosen
        }
        ends = {cell: [end for part in parts for end in part.result()] for cell, parts in work.items()}
    rows, misses = [], 0
    for cell in chosen:
        for row in CELLS[cell].rows:
            figures, missed = judge(row, CELLS[cell], ends[cell], quick=options.quick)
            rows.append([*figures, "MISSED" if missed else "met"])
            misses += missed
    show(f"seed {options.seed}\n")
    show(table(["bar", "world", "verdict", "runs", "share", "upper limit", "median", "asked", ""], rows))
    if not options.only:
        ours = [
            found_and_median([when for _, when in ends[cell]]) for cell in _found("steady 1 %", "1 -> 2 %", "1 -> 5 %")
        ]
        head = ["judge: found / median requests", "no difference", "1 -> 2 %", "1 -> 5 %"]
        show("\n" + table(head, [*peers(options.seed, runs), [OURS, *ours]]))
    show(f"\n{misses} bars missed; {time.perf_counter() - begun:.0f} s")
    return 1 if misses else 0


def _found(*names: str) -> list[int]:
    return [next(number for number, cell in enumerate(CELLS) if cell.world == name) for name in names]


if __name__ == "__main__":
    sys.exit(main())
