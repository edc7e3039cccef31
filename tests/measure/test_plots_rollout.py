"""The plot of a rollout: the same decisions give the same bytes, and nothing to draw is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from towpath.core.errors import BadInput, Unwritable
from towpath.measure.plots_rollout import Measured, Point, rollout


def _points(count: int) -> list[Point]:
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        Point(
            at=begun + timedelta(seconds=number),
            requests=number * 200,
            phase="progressing" if number < count - 2 else "baking",
            weight=0.05 if number < count // 2 else 0.5,
            measured={
                "errors": Measured(harm=-0.01 * number),
                "loss": Measured(
                    harm=0.0,
                    estimate=0.01,
                    interval=(-0.1, 0.1) if number > 3 else None,
                    margin=0.04,
                    unit="nats",
                ),
            },
        )
        for number in range(count)
    ]


def test_the_same_decisions_give_the_same_picture(tmp_path: Path) -> None:
    files = [rollout(tmp_path / name, _points(12), name="flights", outcome="promoted") for name in ("a.png", "b.png")]
    first, second = (file.read_bytes() for file in files)
    assert first == second
    assert first.startswith(b"\x89PNG")
    assert rollout(tmp_path / "c.png", _points(11), name="flights", outcome="promoted").read_bytes() != first


def test_one_decision_is_enough(tmp_path: Path) -> None:
    assert rollout(tmp_path / "one.png", _points(1), name="flights", outcome="pending").stat().st_size > 10_000


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no decision"):
        rollout(tmp_path / "none.png", [], name="flights", outcome="pending")
    with pytest.raises(Unwritable):
        rollout(tmp_path / "no folder" / "x.png", _points(2), name="flights", outcome="pending")
