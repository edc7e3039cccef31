"""Requests as a gateway logs them: assigned by the committed row, spooled as JSON lines, shipped as Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from towpath import wiring
from towpath.core.assignment import Arm, arm, bucket
from towpath.core.rollout import Contender, Rollout
from towpath.settings import Settings


class Gateway:
    """A gateway of one worker that knows the row; it answers units in turn, each once."""

    def __init__(self, settings: Settings, folder: Path, project: str, champion: Contender) -> None:
        self._log = wiring.open_prediction_log(settings)
        self._spool = folder / "spool" / "worker-1"
        self._spool.mkdir(parents=True)
        self._project = project
        self._champion = champion
        self._units = count()
        self._files = count()

    def serve(
        self,
        requests: int,
        at: datetime,
        rollout: Rollout | None,
        *,
        bad: Callable[[int], bool] = lambda number: number % 50 == 7,
        worse: Callable[[int], bool] | None = None,
    ) -> None:
        """Answer that many units, a millisecond apart; `worse` says which the challenger fails, `bad` the champion."""
        leased = rollout is not None and rollout.lease_until is not None and at < rollout.lease_until
        known = rollout if leased else None
        lines = [self._line(next(self._units), at, place, known, bad, worse or bad) for place in range(requests)]
        file = self._spool / f"{next(self._files)}.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        self._log.ship(file)

    def _line(
        self,
        number: int,
        at: datetime,
        place: int,
        rollout: Rollout | None,
        bad: Callable[[int], bool],
        worse: Callable[[int], bool],
    ) -> dict[str, Any]:
        unit, weight = f"visitor-{number}", rollout.weight if rollout else 0
        falls = bucket(bytes.fromhex(rollout.salt), unit) if rollout else None
        side = arm(falls, weight)
        who = rollout.challenger if rollout and side is Arm.CHALLENGER else self._champion
        failed = worse(number) if side is Arm.CHALLENGER else bad(number)
        return {
            "v": 1,
            "request": f"request-{number}",
            "at": at.timestamp() + place / 1_000,
            "project": self._project,
            "rollout": rollout.rollout_id if rollout else None,
            "generation": rollout.generation if rollout else 0,
            "step": rollout.step if rollout else 0,
            "arm": side,
            "model": who.model,
            "candidate": who.candidate,
            "version": who.version,
            "weight": weight,
            "units": [unit],
            "buckets": [falls],
            "keys": [unit],
            "columns": ["pages"],
            "rows": [[3]],
            "predictions": [0.25],
            "latency_ms": 1.5,
            "fallback": "champion" if failed and side is Arm.CHALLENGER else None,
            "error": "failed" if failed else None,
            "features": None,
        }
