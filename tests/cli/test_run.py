"""`towpath run` and `monitor`, as far as they go without the services."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import small_project
from cli.conftest import Cli
from towpath.core.gates import GATES


def test_run_until_a_stage_and_again_finds_its_entry(cli: Cli, place: Path) -> None:
    small_project.write(place / "project")
    command = ("run", "project", "--as-of", "2024-01-29", "--until", "ingest", "--json")
    first, second = cli(*command), cli(*command)
    assert (first.code, second.code) == (0, 0)
    assert first.json["digest"] == second.json["digest"]
    assert [stage["reused"] for stage in (*first.json["stages"], *second.json["stages"])] == [False, True]
    table = cli(*command[:-1]).out
    assert "already in the ledger" in table
    assert f"towpath show {first.json['candidate']}" in table


def test_run_sees_the_data_as_of_a_time(cli: Cli, place: Path) -> None:
    small_project.write(place / "project")
    early = cli("run", "project", "--as-of", "2024-01-08", "--until", "ingest", "--json").json
    assert early["stages"][0]["figures"] == "14 rows in 1 tables"
    assert early["as_of"] == "2024-01-08T00:00:00+00:00"


def test_run_that_is_refused_says_why_and_what_to_do(cli: Cli, place: Path) -> None:
    small_project.write(place / "project")
    ran = cli("run", "project", "--as-of", "2024-06-01")
    assert ran.code == 3, ran.err
    assert "FAIL data.freshness (visits" in ran.out
    assert GATES["data.freshness"].mend in ran.out
    assert "nothing was registered" in ran.out
    document = cli("run", "project", "--as-of", "2024-06-01", "--json").json
    assert [stage["outcome"] for stage in document["stages"]] == ["PASS", "FAIL"]
    assert [finding["code"] for finding in document["refused"]] == ["data.freshness"]
    assert cli("status", "--json").json["candidates"][0]["refused_by"] == ["data.freshness"]


def test_run_of_a_table_without_rows(cli: Cli, place: Path) -> None:
    small_project.write(place / "project", rows=[])
    ran = cli("run", "project", "--as-of", "2024-01-29", "--json")
    assert ran.code == 2
    assert "visits.csv" in ran.json["error"]["message"]


def test_run_does_not_go_to_stages_off_its_path(cli: Cli, place: Path) -> None:
    small_project.write(place / "project")
    ran = cli("run", "project", "--until", "monitor")
    assert ran.code == 2
    assert "Valid: ingest, validate" in ran.err
    assert not (place / "state").exists()


@pytest.mark.parametrize("command", ["run", "monitor", "check"])
@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("charter.yaml", "risk: low", "risk: low\ncolour: blue", "colour"),
        ("charter.yaml", "risk: low", "risk: none at all", "risk"),
        ("charter.yaml", "project: visits", "project: [visits", "is not YAML"),
        ("charter.yaml", "visits.odcs.yaml", "visit.odcs.yaml", "there is no file"),
        ("visits.odcs.yaml", "logicalType: timestamp", "logicalType: instant", "timestamp"),
    ],
)
def test_a_bad_declaration_is_refused_before_anything_happens(
    cli: Cli, place: Path, command: str, file: str, old: str, new: str, says: str
) -> None:
    path = small_project.write(place / "project") / file
    path.write_text(path.read_text().replace(old, new))
    ran = cli(command, "project")
    assert ran.code == 2
    assert says in ran.err
    assert "Traceback" not in ran.err
    assert not (place / "state").exists()


def test_a_folder_without_a_charter(cli: Cli, place: Path) -> None:
    for command in ("run", "monitor", "check"):
        ran = cli(command, "nowhere", "--json")
        assert ran.code == 2
        assert ran.json["error"]["code"] == "not_found"


def test_run_of_a_missing_source(cli: Cli, place: Path) -> None:
    (small_project.write(place / "project") / "visits.csv").unlink()
    ran = cli("run", "project", "--as-of", "2024-01-29", "--until", "ingest")
    assert ran.code == 2
    assert "visits.csv" in ran.err
