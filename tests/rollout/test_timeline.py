"""What served at a time, by whose decision, on which evidence, and which rollout was under way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rollout.house import PROJECT, crowned, opened, registered
from towpath.adapters.keys_local import LocalKeys
from towpath.cli import run
from towpath.ledger.sql import SqlLedger
from towpath.stages.timeline import served

START = datetime(2024, 2, 1, tzinfo=UTC)


class Clock:
    """An hour passes with each record."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(hours=1)
        return self.now


def test_each_moment_has_its_answer(tmp_path: Path) -> None:
    with opened(tmp_path, clock=Clock()) as house:
        records = list(house.ledger.records())
        crowned = next(record for record in records if record.body.get("verdict") == "PROMOTE")
        before = served(records, PROJECT, crowned.at - timedelta(seconds=1))
        assert (before.candidate, before.decision, before.evidence, before.rollout) == (None, None, (), None)
        found = served(records, PROJECT, crowned.at)
        assert found.decision is not None
        assert (found.candidate, found.digest) == (house.champion.id, house.champion.digest)
        assert (found.decision.by, found.decision.record, found.decision.hash) == (
            "ada",
            crowned.sequence,
            crowned.hash,
        )
        assert [item.digest for item in found.evidence] == [entry.digest for entry in house.champion.entries]
        assert found.version == "1"
        assert found.rollout is None
        house.start(now=records[-1].at)
        started = list(house.ledger.records())
        now = served(started, PROJECT, started[-1].at)
        assert now.candidate == house.champion.id
        assert now.rollout is not None
        assert (now.rollout.challenger, now.rollout.decision.by) == (house.challenger.id, "ada")
        assert served(started, PROJECT, crowned.at) == found


def test_the_command_draws_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / ".towpath"
    state.mkdir()
    keys = LocalKeys(state / "keys")
    keys.ensure(at=START)
    with SqlLedger.open(f"sqlite:///{state / 'ledger.db'}", clock=Clock(), keys=keys) as ledger:
        first = registered(ledger, 1)
        crowned(ledger, first)
    monkeypatch.chdir(tmp_path)
    assert run(["ledger", "at", "2025-01-01", PROJECT]) == 0
    drawn = capsys.readouterr().out
    assert first.id in drawn
    assert "by ada" in drawn
    assert run(["ledger", "at", "2023-01-01", PROJECT]) == 0
    assert "nothing served" in capsys.readouterr().out
