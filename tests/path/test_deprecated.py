"""A deprecated column that the model reads: a warning on the path until its removal date, a refusal from then on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from path import small
from towpath.core.deprecations import CODE
from towpath.core.evidence import Candidate, Finding, Outcome
from towpath.core.gates import Stage

STAR = """
SELECT * EXCLUDE (year, type, model),
    to_timestamp(epoch(TIMESTAMP '2012-12-31 00:00:00')) AS event_timestamp, event_timestamp AS created_timestamp,
    CAST(2013 - year AS DOUBLE) AS aircraft_age
FROM main.planes WHERE tailnum IS NOT NULL ORDER BY tailnum
"""


def deprecate(project: Path, column: str, day: str) -> None:
    """Give a column of the planes a removal date."""
    file = project / "feature_repo/contracts/planes.odcs.yaml"
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    [found] = [one for one in document["schema"][0]["properties"] if one["name"] == column]
    found |= {"deprecated": True, "customProperties": [{"property": "removalDate", "value": day}]}
    file.write_text(yaml.safe_dump(document), encoding="utf-8")


def asked(candidate: Candidate) -> dict[str, Finding]:
    found = candidate.entry(Stage.VALIDATE).findings
    return {item.subject: item for item in found if item.code == CODE}


@pytest.mark.slow
def test_the_path_warns_and_then_refuses(project: Path, tmp_path: Path) -> None:
    """By the very words of a transform, and through a served feature view of the real feature store."""
    with small.opened(project, tmp_path / "state") as work:
        first = small.walk(work, until="validate")
        assert [item.reason for item in asked(first).values()] == ["Deprecated and read by nothing: planes.speed."]
    (project / "feature_repo/transforms/features/aircraft.sql").write_text(STAR)
    for column, day in (("engine", "2013-06-02"), ("year", "2013-06-02"), ("speed", "2013-01-01")):
        deprecate(project, column, day)
    with small.opened(project, tmp_path / "state") as work:
        warned = small.walk(work, until="validate")
    assert warned.outcome is Outcome.PASS
    assert warned.digest != first.digest
    assert "feature view aircraft reads it" in asked(warned)["planes.engine"].reason
    assert "transforms/features/aircraft.sql reads it" in asked(warned)["planes.year"].reason
    deprecate(project, "year", "2013-06-01")
    with small.opened(project, tmp_path / "state") as work:
        refused = small.walk(work)
    assert refused.entries[-1].stage == Stage.VALIDATE
    assert refused.outcome is Outcome.FAIL
    assert "may be gone since 2013-06-01" in asked(refused)["planes.year"].reason
