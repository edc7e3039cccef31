"""What the gate `data.deprecated` sees: the real transforms, run by DuckDB without each deprecated column."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import yaml

from cli.small_project import CHARTER, CONTRACT
from towpath import project
from towpath.adapters.duckdb_transforms import DuckdbTransforms
from towpath.core.deprecations import CODE, Leaving, Reads, judged, leaving
from towpath.core.evidence import Finding, Outcome, Severity
from towpath.core.gates import GATES, Stage
from towpath.ports import FeatureView
from towpath.stages import deprecated

STAR = "SELECT * EXCLUDE (visited_at), visited_at AS event_timestamp, visited_at AS created_timestamp FROM main.visits"
SPINE = """
SELECT visit_id, pages, bought, visited_at AS event_timestamp, visited_at AS label_timestamp FROM main.visits
"""
NAMED = """
SELECT visit_id, upper(email) AS mail, visited_at AS event_timestamp, visited_at AS created_timestamp FROM main.visits
"""
NOTHING = "SELECT visit_id, visited_at AS event_timestamp, visited_at AS created_timestamp FROM main.visits"


class Views:
    """The port `FeatureStore`, as far as it is asked: a service of given views."""

    def __init__(self, *views: FeatureView) -> None:
        self.served = views

    def views(self, repository: Path, service: str) -> tuple[FeatureView, ...]:
        return self.served


def made(folder: Path, *, removal: dict[str, str | None], spine: str = SPINE, **features: str) -> project.Project:
    """The project of visits with deprecated columns and its feature sources."""
    contract = yaml.safe_load(CONTRACT)
    for column in contract["schema"][0]["properties"]:
        if column["name"] in removal:
            column["deprecated"] = True
            if day := removal[column["name"]]:
                column["customProperties"] = [{"property": "removalDate", "value": day}]
            column.pop("classification", None)
    (folder / "charter.yaml").write_text(CHARTER)
    (folder / "visits.odcs.yaml").write_text(yaml.safe_dump(contract))
    transforms = folder / "feature_repo/transforms"
    (transforms / "features").mkdir(parents=True)
    (transforms / "spine.sql").write_text(spine)
    for name, text in features.items():
        (transforms / "features" / f"{name}.sql").write_text(text)
    return project.load(folder)


def asked(found: project.Project, *, on: date = date(2026, 1, 1), views: tuple[FeatureView, ...] = ()) -> list[Finding]:
    return list(judged(reads(found, *views), as_of=on))


def reads(found: project.Project, *views: FeatureView) -> Any:
    return deprecated.readers(
        found,
        leaving(found.contracts),
        transforms=DuckdbTransforms(),
        features=Views(*views),  # type: ignore[arg-type]
        folder=Path(mkdtemp(dir=found.folder)),
    )


def view(*features: str) -> FeatureView:
    return FeatureView(name="facts", keys=("visit_id",), features=features)


@pytest.mark.parametrize(("day", "severity", "says"), [
    (date(2026, 6, 29), Severity.WARNING, "may be gone from 2026-06-30 on (it is 2026-06-29)"),
    (date(2026, 6, 30), Severity.ERROR, "may be gone since 2026-06-30 (it is 2026-06-30)"),
])  # fmt: skip
def test_a_warning_becomes_a_refusal_on_the_day(tmp_path: Path, day: date, severity: Severity, says: str) -> None:
    found = made(tmp_path, removal={"email": "2026-06-30"}, facts=NAMED, more=NOTHING)
    [finding] = asked(found, on=day)
    assert (finding.code, finding.subject) == (CODE, "visits.email")
    assert (finding.outcome, finding.severity) == (Outcome.FAIL, severity)
    assert says in finding.reason
    assert "transforms/features/facts.sql reads it. Leave it out" in finding.reason


def test_a_column_without_a_date_only_warns(tmp_path: Path) -> None:
    [finding] = asked(made(tmp_path, removal={"email": None}, facts=NAMED), on=date(2100, 1, 1))
    assert finding.severity is Severity.WARNING
    assert "its contract has no removalDate" in finding.reason
    assert "ask web when it goes" in finding.reason


def test_every_transform_that_reads_it_is_named_and_the_spine_too(tmp_path: Path) -> None:
    spine = SPINE.replace("pages,", "pages, length(email) AS letters,")
    found = made(tmp_path, removal={"email": None}, spine=spine, facts=NAMED, more=NAMED, other=NOTHING)
    [finding] = asked(found)
    names = ("features/facts.sql", "features/more.sql", "spine.sql")
    assert ", ".join(f"transforms/{name}" for name in names) + " read it." in finding.reason


@pytest.mark.parametrize(("column", "spine", "by"), [
    ("pages", STAR.replace("created", "label"), "features.request"),
    ("visit_id", STAR.replace("created", "label"), "features.rowId, feature view facts"),
    ("bought", STAR.replace("created", "label"), "training.target"),
    ("email", SPINE, "feature view facts"),
])  # fmt: skip
def test_what_comes_with_a_star_counts_where_it_is_named(tmp_path: Path, column: str, spine: str, by: str) -> None:
    found = made(tmp_path, removal={column: None}, spine=spine, facts=STAR)
    [finding] = asked(found, views=(view("email"),))
    assert f"{by} read" in finding.reason


def test_what_comes_with_a_star_and_is_named_nowhere_is_not_read(tmp_path: Path) -> None:
    found = made(tmp_path, removal={"email": "2020-01-01"}, facts=STAR)
    [finding] = asked(found, views=(view("pages"),))
    assert (finding.outcome, finding.reason) == (Outcome.PASS, "Deprecated and read by nothing: visits.email.")


def test_without_a_deprecated_column_nothing_is_run(tmp_path: Path) -> None:
    found = made(tmp_path, removal={}, facts="this is no SQL")
    [finding] = asked(found)
    assert (finding.outcome, finding.reason) == (Outcome.PASS, "The contracts deprecate no column.")


def test_the_stage_is_done_anew_only_when_the_answer_is_another(tmp_path: Path) -> None:
    found = made(tmp_path, removal={"email": None}, facts=NAMED)
    file = tmp_path / "feature_repo/transforms/features/facts.sql"
    before = deprecated.inputs(reads(found))
    file.write_text(NAMED.replace("upper", "lower"))
    assert deprecated.inputs(reads(found)) == before != {}
    file.write_text(NOTHING)
    assert deprecated.inputs(reads(found)) == {}, "as for candidates of before"


@pytest.mark.parametrize(("day", "severity"), [("2026-01-02", Severity.WARNING), ("2026-01-01", Severity.ERROR)])
def test_what_cannot_be_told_passes_nothing_from_the_day_on(tmp_path: Path, day: str, severity: Severity) -> None:
    [finding] = asked(made(tmp_path, removal={"email": day}, facts="SELECT nothing FROM nowhere"))
    assert (finding.outcome, finding.severity) == (Outcome.INCONCLUSIVE, severity)
    assert "cannot be told: on tables without rows, facts.sql does not run" in finding.reason
    assert str(tmp_path) not in finding.reason, "a digest that no two machines share"


def test_a_column_is_judged_alone() -> None:
    """One that is read does not hide behind one that is not, nor the other way round."""
    one, other = (
        Leaving(table="visits", column=name, day=None, contract="visits", owner="web") for name in ("email", "pages")
    )
    found = judged({one: Reads(by=("x.sql",)), other: Reads()}, as_of=date(2026, 1, 1))
    assert [item.subject for item in found] == ["visits.email"]


def test_old_candidates_are_judged_without_it() -> None:
    assert not GATES[CODE].required
    assert GATES[CODE].stage is Stage.VALIDATE
