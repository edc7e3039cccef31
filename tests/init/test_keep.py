"""What a second draft does to files: proposals last until they are taken over, and nobody's work is overwritten."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from cli.conftest import Cli
from init import tables
from init.test_refusals import good
from towpath.core.errors import BadInput
from towpath.stages import init_keep
from towpath.stages.init import Wanted, data_uri, table_name
from towpath.stages.init_keep import NOTE, Kept, require_project

FILE = "transforms/spine.sql"
CONTRACT = "feature_repo/contracts/people.odcs.yaml"


def keep(folder: Path, files: Mapping[str, str]) -> Kept:
    return init_keep.keep(folder, files, as_of=date(2026, 1, 1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project drafted once, of one file."""
    assert keep(tmp_path / "mine", {FILE: "one"}).written == (FILE,)
    return tmp_path / "mine"


@pytest.fixture
def proposal(folder: Path) -> Path:
    """What a second draft proposed."""
    keep(folder, {FILE: "two"})
    return folder / f"{FILE}.proposed"


def contract(*columns: str) -> dict[str, str]:
    document = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": "people",
        "name": "people",
        "version": "1.0.0",
        "status": "active",
        "team": {"name": "ada"},
        "schema": [{"name": "people", "properties": [{"name": one, "logicalType": "integer"} for one in columns]}],
    }
    return {CONTRACT: json.dumps(document)}


def test_what_is_not_taken_over_is_proposed_again(folder: Path, proposal: Path) -> None:
    again = keep(folder, {FILE: "two"})
    assert (again.proposed, again.same) == ((f"{FILE}.proposed",), ())
    proposal.unlink()
    assert keep(folder, {FILE: "two"}).proposed == (f"{FILE}.proposed",)
    assert proposal.read_text(encoding="utf-8") == "two"
    proposal.replace(folder / FILE)
    assert keep(folder, {FILE: "two"}).same == (FILE,)
    (folder / FILE).write_text("two, and mine", encoding="utf-8")
    assert keep(folder, {FILE: "two"}).same == (FILE,)


def test_a_newer_proposal_takes_the_place_of_one_that_nobody_touched(folder: Path, proposal: Path) -> None:
    assert keep(folder, {FILE: "three"}).proposed == (f"{FILE}.proposed",)
    assert proposal.read_text(encoding="utf-8") == "three"


@pytest.mark.usefixtures("proposal")
def test_a_proposal_that_waits_is_named(folder: Path) -> None:
    back = keep(folder, {FILE: "one"})
    assert (back.proposed, back.same, back.waiting) == ((), (FILE,), (f"{FILE}.proposed",))


def test_a_dropped_column_is_proposed_until_it_is_taken_over(tmp_path: Path) -> None:
    keep(tmp_path, contract("age", "city"))
    first = keep(tmp_path, contract("age"))
    again = keep(tmp_path, contract("age"))
    assert first.change is not None
    assert again.change is not None
    assert first.change.changes == again.change.changes
    assert first.change.changes[0].where == "schema[people].city"
    (tmp_path / f"{CONTRACT}.proposed").replace(tmp_path / CONTRACT)
    assert keep(tmp_path, contract("age")).same == (CONTRACT,)
    after = keep(tmp_path, contract("age", "height")).change
    assert after is not None
    assert [one.where for one in after.changes] == ["schema[people].height"]


def test_a_proposal_in_which_a_person_works_is_not_overwritten(folder: Path, proposal: Path) -> None:
    proposal.write_text("two, and mine", encoding="utf-8")
    note = (folder / NOTE).read_bytes()
    with pytest.raises(BadInput, match=r"spine\.sql\.proposed is not as it was proposed.* or move it away"):
        keep(folder, {FILE: "three", "new.py": "new"})
    assert proposal.read_text(encoding="utf-8") == "two, and mine"
    assert (folder / NOTE).read_bytes() == note
    assert not (folder / "new.py").exists()


@pytest.mark.parametrize("place", [FILE, f"{FILE}.proposed", NOTE, "transforms"])
def test_nothing_is_written_through_a_link(place: str, tmp_path: Path) -> None:
    folder, outside = tmp_path / "mine", tmp_path / "elsewhere"
    keep(folder, {FILE: "one"} if place.endswith(".proposed") else {"a": "1"})
    if place == "transforms":
        outside.mkdir()
    link = folder / place
    link.unlink(missing_ok=True)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    with pytest.raises(BadInput, match="is a link, or lies behind one"):
        keep(folder, {FILE: "two"})
    assert not outside.exists() or list(outside.iterdir()) == []


def test_a_draft_that_was_broken_off_is_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, files = tmp_path / "mine", {FILE: "one", "charter.yaml": "two"}
    real = Path.replace

    def breaks(file: Path, target: Path) -> Path:
        if target.name == "charter.yaml":
            raise KeyboardInterrupt
        return real(file, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", breaks)
        with pytest.raises(KeyboardInterrupt):
            keep(folder, files)
    assert not (folder / "charter.yaml").exists()
    require_project(folder, "mine", contract=CONTRACT)
    again = keep(folder, files)
    assert (again.written, again.same, again.proposed) == (("charter.yaml",), (FILE,), ())


def test_a_project_of_another_table_is_left_alone(cli: Cli, place: Path) -> None:
    keep(place / "mine", {**contract("age"), "charter.yaml": "x"})
    before = sorted((place / "mine").rglob("*"))
    tables.write(good(), place / "folk.csv")
    ran = cli("init", "mine", "--data", "folk.csv", "--target", "tall")
    assert ran.code == 2
    assert "mine is a project of the table people, not of folk: a table is called as its file is." in " ".join(
        ran.err.split()
    )
    assert sorted((place / "mine").rglob("*")) == before


@pytest.mark.parametrize(
    ("data", "uri", "table"),
    [
        ("people.csv", "../people.csv", "people"),
        ("/data/people.csv", "/data/people.csv", "people"),
        ("s3://bucket/deep/people", "s3://bucket/deep/people", "people"),
        ("sqlite:///some.db#people", "sqlite:///../some.db#people", "people"),
        ("sqlite:////data/some.db#people", "sqlite:////data/some.db#people", "people"),
        ("postgresql://ada@host/base#census.people", "postgresql://ada@host/base#census.people", "people"),
    ],
)
def test_how_the_charter_names_the_data(
    data: str, uri: str, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = Wanted(folder=tmp_path / "mine", data=data, target="tall")
    assert (data_uri(wanted), table_name(wanted, "mine")) == (uri, table)


def test_a_mistyped_file_is_looked_for_where_one_works(cli: Cli, place: Path) -> None:
    ran = cli("init", "mine", "--data", "peple.csv", "--target", "tall")
    assert ran.code == 2
    assert f"Paths are relative to {place}." in " ".join(ran.err.split())
