"""The benchmark of data checks bites: what was not counted is no count, and what did not end is no line of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from towpath.core.evidence import Finding, Outcome


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark's modules import each other as a script's do."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import data_checks

    return data_checks


def finding(outcome: Outcome, measured: float | None) -> Finding:
    return Finding(code="data.range", outcome=outcome, subject="flights.hour", measured=measured, reason="as it is")


def test_a_count_is_of_a_check_that_counted(bench: Any) -> None:
    assert bench.counts_of([finding(Outcome.PASS, 0)]) == {"data.range hour": 0.0}
    assert bench.counts_of([finding(Outcome.FAIL, 7)]) == {"data.range hour": 7.0}
    for outcome in (Outcome.INCONCLUSIVE, Outcome.ERROR):
        with pytest.raises(SystemExit, match=f"flights.hour is {outcome}"):
            bench.counts_of([finding(outcome, None)])


def test_what_did_not_end_ends_the_benchmark(bench: Any, tmp_path: Path) -> None:
    found = bench._run("duckdb", tmp_path, 1, limit=None)  # there are no files
    with pytest.raises(SystemExit, match="duckdb: failed"):
        bench.require_ended("duckdb", found)
    bench.require_ended("gx on pandas", "not in 60 s")
