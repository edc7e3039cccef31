"""Approvers, a withdrawal and a promotion at once, in real processes: what is decided stands on the whole record."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from governance import town
from governance.town import GRACE, Town, charter
from rollout.house import PROJECT
from towpath.core.evidence import Candidate, RecordKind
from towpath.stages.proof import require_crowned
from towpath.stages.verdict import standing_of
from towpath.stages.work import champion, crowning

pytestmark = [pytest.mark.exhaustive, pytest.mark.slow]

_CHILD = Path(__file__).with_name("child.py")
_ROOT = Path(__file__).parents[2]
ROUNDS = 2


def at_once(url: str, candidate: Candidate, *acts: str) -> list[str]:
    """Start a process for each act, let all go at one word, and return what each said."""
    processes = [
        subprocess.Popen(
            [sys.executable, str(_CHILD), url, str(candidate.digest), act],
            env={"PYTHONPATH": f"{_ROOT / 'tests'}:{_ROOT / 'platform'}", "PATH": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for act in acts
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return [process.communicate(timeout=60)[0].strip() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.fixture
def home(tmp_path: Path, url: str) -> Iterator[Town]:
    with town.opened(tmp_path, url=url) as made:
        yield made


def test_two_approvers_at_once_both_count(home: Town, url: str) -> None:
    candidate = home.candidate(1, charter("high"))
    said = at_once(url, candidate, "approve Grace", "approve Barbara")
    assert said == ["approved", "approved"]
    assert {one.person for one in standing_of(home.ledger, candidate, now=home.now).counted} == {"Grace", "Barbara"}


def test_one_person_in_two_windows_counts_once(home: Town, url: str) -> None:
    candidate = home.candidate(1, charter("high"))
    at_once(url, candidate, "approve Grace", "approve Grace")
    assert len(standing_of(home.ledger, candidate, now=home.now).counted) == 1
    assert len(list(home.ledger.records(kind=RecordKind.APPROVAL))) == 1


def test_a_withdrawal_against_a_promotion(home: Town, url: str) -> None:
    """Whichever comes first: a promotion behind the withdrawal is none, and one before it is proved by what it saw."""
    for number in range(1, ROUNDS + 1):
        candidate = home.candidate(number)
        home.approve(candidate, GRACE)
        withdrew, promoted = at_once(url, candidate, "withdraw Grace", "promote Barbara")
        assert withdrew == "withdrawn"
        taken = max(record.sequence for record in home.ledger.records(kind=RecordKind.APPROVAL))
        crowned = [one for one in crowning(home.ledger, PROJECT) if one.body["digest"] == candidate.digest]
        assert (promoted == "PROMOTE") == bool(crowned)
        assert all(record.sequence < taken for record in crowned)
        for record in crowned:
            require_crowned(home.ledger, record)


def test_two_promotions_at_once_make_one_champion(home: Town, url: str) -> None:
    candidate = home.candidate(1)
    home.approve(candidate, GRACE)
    said = at_once(url, candidate, "promote Grace", "promote Barbara")
    assert said == ["PROMOTE", "PROMOTE"]
    assert len(list(crowning(home.ledger, PROJECT))) == 1
    assert champion(home.ledger, PROJECT) is not None
    assert home.ledger.verify().whole
