"""Tests that stay valid however often one looks (ROLLOUT.md). Pure Python; state is small and goes through JSON."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Bet:
    """The state of one error-arm test: log wealth by ratio of what was staked at the start and of what restarts staked.

    `rounds`: increments with bad events so far; they decide how much restarts have staked. `peak`: the greatest log
    e-value so far.
    """

    start: tuple[float, ...] = ()
    restarts: tuple[float, ...] = ()
    rounds: int = 0
    peak: float = 0.0
