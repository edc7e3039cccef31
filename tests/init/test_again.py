"""`towpath init` on a project that is there: it proposes, and never takes back what a person did."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.conftest import Cli
from init import tables
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


def merged(theirs: dict[str, Any], before: dict[str, Any], drafted: dict[str, Any]) -> dict[str, Any] | None:
    found = proposed(parse(theirs, origin="theirs"), theirs, before=before, drafted=drafted, as_of=TODAY)
    return None if found is None else yaml.safe_load(found[0])


def columns(document: dict[str, Any] | None) -> list[dict[str, Any]]:
    assert document is not None
    return document["schema"][0]["properties"]


def seen(column: dict[str, Any], words: str, **more: Any) -> dict[str, Any]:
    return {**column, "description": f"Seen: {words}.", **more}


def listed(*values: str, severity: str = "warning") -> dict[str, Any]:
    return {
        "id": "city-listed",
        "metric": "invalidValues",
        "arguments": {"validValues": list(values)},
        "mustBe": 0,
        "severity": severity,
        "description": f"{len(values)} values that were seen.",
    }


def test_other_values_of_a_column_alone_are_no_news() -> None:
    own = {"classification": "restricted", "logicalTypeOptions": {"minimum": 0}}
    theirs = contract(seen(AGE, "1 to 90", **own), version="1.4.0")
    assert merged(theirs, contract(seen(AGE, "1 to 90")), contract(seen(AGE, "0 to 97"))) is None


def test_the_draft_wins_key_by_key() -> None:
    own = {"classification": "restricted", "logicalTypeOptions": {"timezone": False, "minimum": "2020-01-01T00:00:00"}}
    at = {"name": "at", "logicalType": "timestamp", "required": True}
    theirs = contract(seen(at, "a", **own), version="1.4.0")
    before = contract(seen(at, "a", logicalTypeOptions={"timezone": False}))
    drafted = contract(seen({**at, "required": False}, "b", logicalTypeOptions={"timezone": True}))
    (found,) = columns(merged(theirs, before, drafted))
    assert found == seen(
        {**at, "required": False},
        "b",
        classification="restricted",
        logicalTypeOptions={"timezone": True, "minimum": "2020-01-01T00:00:00"},
    )


def test_a_persons_own_words_of_a_column_stay() -> None:
    theirs = contract(seen(AGE, "1 to 90", description="In years."))
    before, drafted = contract(seen(AGE, "1 to 90")), contract(seen({**AGE, "required": False}, "0 to 97"))
    assert columns(merged(theirs, before, drafted)) == [{**AGE, "required": False, "description": "In years."}]


def test_a_rule_that_a_person_changed_keeps_what_they_said() -> None:
    own = {"id": "mine", "metric": "nullValues", "mustBe": 0}
    theirs = contract({**CITY, "quality": [own, listed("Oslo", "Bergen", "elsewhere", severity="error")]})
    before = contract({**CITY, "quality": [listed("Oslo", "Bergen")]})
    drafted = contract({**CITY, "quality": [listed("Oslo", "Tromsø")]})
    (found,) = columns(merged(theirs, before, drafted))
    assert found["quality"][0] == own
    assert found["quality"][1]["severity"] == "error"
    assert found["quality"][1]["arguments"]["validValues"] == ["Oslo", "elsewhere", "Tromsø"]


def test_a_table_of_their_own_stays_and_a_column_that_they_deleted_stays_away() -> None:
    own = {"name": "cities", "properties": [CITY]}
    theirs = contract(AGE)
    theirs["schema"].append(own)
    before, drafted = contract(AGE, seen(CITY, "2 distinct")), contract(AGE, seen(CITY, "3 distinct"))
    assert merged(theirs, before, drafted) is None
    news = merged(theirs, before, contract(AGE, seen(CITY, "3 distinct"), {"name": "height", "logicalType": "number"}))
    assert [column["name"] for column in columns(news)] == ["age", "height"]
    assert news is not None
    assert news["schema"][1] == own
    back = merged(theirs, before, contract(AGE, seen(CITY, "3 distinct", required=True)))
    assert [column["name"] for column in columns(back)] == ["age", "city"]


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
