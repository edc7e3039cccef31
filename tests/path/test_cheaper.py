"""The cheaper model of the charter: fitted, judged and compiled at registration, and left out when it is no good."""

from __future__ import annotations

from pathlib import Path

import pytest

from path import small
from path.small import Heard
from path.trail import Trail
from towpath.core.evidence import Entry, Finding, Outcome, Severity
from towpath.core.gates import Stage

GOOD = "{learning_rate: 0.3, max_iter: 5, max_leaf_nodes: 7, min_samples_leaf: 40}"
POOR = "{learning_rate: 0.0001, max_iter: 1, max_leaf_nodes: 2, min_samples_leaf: 40}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("declared", "good"), [(GOOD, True), (POOR, False)], ids=["good enough", "no better than chance"]
)
def test_a_cheaper_model(declared: str, good: bool, trail: Trail, project: Path, tmp_path: Path) -> None:
    small.edit(project / "charter.yaml", "latencyBudgetMs: 100", f"latencyBudgetMs: 100\n  cheaper: {declared}")
    state = trail.after(Stage.REGISTER, tmp_path / "state")
    first, second = Heard(), Heard()
    for heard in (first, second):
        with small.opened(project, state, progress=heard, environment=trail.environment) as work:
            candidate = small.walk(work)
    assert (first.computed, second.computed) == (["register"], [])
    assert candidate.outcome is Outcome.PASS
    entry = candidate.entry(Stage.REGISTER)
    runtimes = entry.subjects_of("runtime")
    assert list(runtimes) == (["cheaper-trees", "trees"] if good else ["trees"])
    assert runtimes["trees"] == trail.entry(Stage.REGISTER).subject("runtime")
    judged = _finding(entry, "register.cheaper")
    assert judged.severity is Severity.WARNING
    assert (judged.outcome is Outcome.PASS) is good
    assert "nats worse than the model" in judged.reason
    if good:
        assert runtimes["cheaper-trees"].digest != runtimes["trees"].digest
        assert (runtimes["cheaper-trees"].size or 0) < (runtimes["trees"].size or 0)
        parity = [one for one in entry.findings if one.code == "register.parity" and one.subject == "cheaper-trees"]
        assert [one.outcome for one in parity] == [Outcome.PASS]


def _finding(entry: Entry, code: str) -> Finding:
    return next(finding for finding in entry.findings if finding.code == code)
