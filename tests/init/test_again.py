"""`towpath init` on a project that is there: it proposes, and never takes back what a person did."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from init import tables
from init.conftest import Cli
from towpath.core.contract import parse
from towpath.stages.init_contract import proposed


def contract(*columns: dict[str, Any], **header: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": "people",
        "name": "people",
        "version": "1.0.0",
        "status": "active",
        "team": {"name": "ada"},
        "schema": [{"name": "people", "properties": list(columns)}],
        **header,
    }


AGE = {"name": "age", "logicalType": "integer", "required": True}
CITY = {"name": "city", "logicalType": "string"}
TODAY = date(2026, 1, 1)


def test_a_draft_that_says_nothing_new_takes_nothing_back() -> None:
    theirs = contract({**AGE, "logicalTypeOptions": {"minimum": 0}}, CITY, version="1.4.0", team={"name": "census"})
    drafted = contract(AGE, CITY)
    assert proposed(parse(theirs, origin="theirs"), theirs, before=drafted, drafted=drafted, as_of=TODAY) is None


def test_only_what_the_data_changed_is_proposed() -> None:
    theirs = contract({**AGE, "logicalTypeOptions": {"minimum": 0}}, CITY, version="1.4.0", team={"name": "census"})
    before = contract(AGE, CITY)
    drafted = contract(AGE, {**CITY, "required": True}, {"name": "height", "logicalType": "number"})
    found = proposed(parse(theirs, origin="theirs"), theirs, before=before, drafted=drafted, as_of=TODAY)
    assert found is not None
    text, change = found
    document = yaml.safe_load(text)
    assert document["version"] == "1.5.0"
    assert document["team"] == {"name": "census"}
    assert document["schema"][0]["properties"][0]["logicalTypeOptions"] == {"minimum": 0}
    assert [(one.impact.value, one.where) for one in change.changes] == [
        ("compatible", "schema[people].city.required"),
        ("compatible", "schema[people].height"),
    ]


def test_a_column_that_is_gone_breaks_and_one_of_their_own_stays() -> None:
    theirs = contract(AGE, CITY, {"name": "income", "logicalType": "number"})
    found = proposed(
        parse(theirs, origin="theirs"), theirs, before=contract(AGE, CITY), drafted=contract(AGE), as_of=TODAY
    )
    assert found is not None
    text, change = found
    assert [column["name"] for column in yaml.safe_load(text)["schema"][0]["properties"]] == ["age", "income"]
    assert str(change.after) == "2.0.0"
    assert change.changes[0].where == "schema[people].city"


@pytest.mark.slow
def test_edits_are_never_overwritten(cli: Cli, place: Path) -> None:
    frame = tables.passengers(400)
    tables.write(frame, place / "passengers.csv")
    ask = ("init", "mine", "--data", "passengers.csv", "--target", "Survived", "--key", "PassengerId", "--json")
    assert len(cli(*ask).json["written"]) == 7
    for file in (place / "mine").rglob("*"):
        if file.suffix in {".yaml", ".py", ".sql"}:
            edited = file.read_text(encoding="utf-8").replace("DECIDE", "decided")
            file.write_text(edited.replace('name: "ada"', 'name: "harbour"'), encoding="utf-8")
    edited = {file: file.read_bytes() for file in (place / "mine").rglob("*") if file.is_file()}

    again = cli(*ask).json
    assert (again["written"], again["proposed"]) == ([], [])

    tables.write(frame.drop(columns="Fare").assign(Deck="A"), place / "passengers.csv")
    changed = cli(*ask).json
    assert changed["written"] == []
    assert "feature_repo/contracts/passengers.odcs.yaml.proposed" in changed["proposed"]
    assert {(one["class"], one["where"]) for one in changed["changes"]} == {
        ("breaking", "schema[passengers].Fare"),
        ("compatible", "schema[passengers].Deck"),
    }
    note = place / "mine/.towpath-draft.json"
    assert all(file.read_bytes() == held for file, held in edited.items() if file != note)
    proposal = yaml.safe_load((place / "mine" / changed["proposed"][-1]).read_text(encoding="utf-8"))
    assert (proposal["version"], proposal["team"]["name"]) == ("2.0.0", "harbour")
