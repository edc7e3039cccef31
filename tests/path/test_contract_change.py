"""A contract that changed since the champion was made: refused on the path unless its readers were told, or waived."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from governance.town import somebody
from path import small
from path.test_deprecated import deprecate
from path.trail import Trail
from towpath import wiring
from towpath.core.contract_evolution import CODE, SAME
from towpath.core.evidence import Candidate, Finding, Outcome, Severity
from towpath.core.gates import Stage
from towpath.core.identity import Role
from towpath.path import WATCH
from towpath.stages.sequence import run
from towpath.stages.waive import waive

GRACE = somebody("Grace", Role.RELEASE_MANAGER)
PLANES = "feature_repo/contracts/planes.odcs.yaml"
LANDING = "landing/planes.csv"


def asked(candidate: Candidate) -> list[Finding]:
    return [one for one in candidate.entry(Stage.VALIDATE).findings if one.code == CODE]


def without_speed(project: Path, version: str) -> None:
    """A column that nothing reads is gone, from the contract and from the table."""
    file = project / PLANES
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    columns = document["schema"][0]["properties"]
    document["schema"][0]["properties"] = [one for one in columns if one["name"] != "speed"]
    document["version"] = version
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    lines = [line.split(",") for line in (project / LANDING).read_text(encoding="utf-8").splitlines()]
    place = lines[0].index("speed")
    kept = (",".join(line[:place] + line[place + 1 :]) for line in lines)
    (project / LANDING).write_text("\n".join(kept) + "\n", encoding="utf-8")


@pytest.mark.slow
def test_a_breaking_change_is_refused_until_somebody_answers_for_it(
    trail: Trail, project: Path, tmp_path: Path
) -> None:
    assert asked(trail.candidate) == [SAME], "the first model has nothing to be compared with"
    without_speed(project, "1.0.0")
    state = trail.after(Stage.PROMOTE, tmp_path / "state")
    with small.opened(project, state, environment=trail.environment) as work:
        refused = run(work)
    assert refused.outcome is Outcome.FAIL
    assert refused.entries[-1].stage == Stage.VALIDATE
    assert {one.subject.rpartition("/")[2] for one in asked(refused)} == {"schema[planes].speed", "version"}
    without_version = [one for one in asked(refused) if not one.subject.endswith("version")]
    small.edit(project / PLANES, "version: 1.0.0", "version: 2.0.0")
    with small.opened(project, state, environment=trail.environment) as work:
        refused = run(work)
        assert [one.subject for one in asked(refused)] == [one.subject for one in without_version]
        [finding] = asked(refused)
        waive(refused, GRACE, work.ports.ledger, code=CODE, subject=finding.subject, reason="nobody reads it",
              expires=timedelta(days=1), now=wiring.now())  # fmt: skip
        went = small.step(Stage.FEATURIZE, refused, work)
    assert went.stages[-1] == Stage.FEATURIZE


@pytest.mark.slow
def test_a_watch_goes_on_and_warns(trail: Trail, project: Path, tmp_path: Path) -> None:
    """What is watched was made by the champion's contract; the change is of the next candidate."""
    state = trail.after(Stage.PROMOTE, tmp_path / "state")
    deprecate(project, "speed", "2013-12-31")
    with small.opened(project, state, as_of=small.WATCHED, order=WATCH, environment=trail.environment) as work:
        watched = small.walk(work, until=Stage.VALIDATE)
        [low] = asked(watched)
        assert (low.outcome, low.severity) == (Outcome.FAIL, Severity.WARNING)
        assert watched.outcome is Outcome.PASS
    small.edit(project / PLANES, "version: 1.0.0", "version: 1.1.0")
    with small.opened(project, state, environment=trail.environment) as work:
        candidate = small.walk(work, until=Stage.VALIDATE)
    [good] = asked(candidate)
    assert (good.outcome, good.measured, good.bound) == (Outcome.PASS, "1.1.0", ">= 1.1.0")
