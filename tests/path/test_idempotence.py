"""The same inputs are worked once; a change is worked from the stage that it concerns."""

from __future__ import annotations

from pathlib import Path
from path import small
from path.trail import Trail
from path.small import Heard
from towpath.core.gates import Stage

def test_a_second_run_finds_everything(trail: Trail, tmp_path: Path) -> None:
    state = trail.after(Stage.REGISTER, tmp_path / "state")
    heard = Heard()
    with small.opened(trail.project, state, progress=heard, environment=trail.environment) as work:
        before = small.records(work.ports.ledger)
        candidate = small.walk(work)
        assert small.records(work.ports.ledger) == before
    assert candidate.digest == trail.candidate.digest
    assert heard.computed == []
