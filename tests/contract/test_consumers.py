"""`towpath contract diff --project`: what reads each changed column, in the project and in the ledger."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.conftest import Cli
from contract.matrix import AS_OF, base
from contract.test_deprecated_reads import NAMED, NOTHING, made
from towpath import wiring
from towpath.cli import opening
from towpath.core.contract import parse
from towpath.core.contract_changes import compare
from towpath.core.contract_touched import touched
from towpath.core.evidence import Candidate, Entry, RecordKind, Subject
from towpath.ports import Draft


def recorded(project: str, version: str, *, table: str, inputs: list[str]) -> None:
    """A registered model in the ledger, with as much of its evidence as says what it reads."""
    dataset = Subject(kind="dataset", name=table, digest="sha256:" + "0" * 64)
    stages: list[tuple[str, dict[str, Any]]] = [
        ("ingest", {"subjects": (dataset,)}),
        ("train", {"facts": {"inputs": inputs}}),
        ("register", {"notes": {"registered_model": project, "version": version}}),
    ]
    candidate = Candidate(project=project)
    with closing(wiring.open_ledger(opening.settings())) as ledger:
        for stage, more in stages:
            previous = candidate.digest
            key = f"sha256:{project}{version}{stage}"
            entry = Entry(stage=stage, project=project, key=key, previous=previous, inputs={}, findings=(), **more)
            candidate = candidate.append(entry)
            ledger.append(
                Draft(
                    kind=RecordKind.ENTRY,
                    project=project,
                    candidate=candidate.id,
                    stage=stage,
                    key=key,
                    digest=entry.digest,
                    body=entry.model_dump(mode="json"),
                ),
                actor="ada",
            )


def changed(folder: Path) -> None:
    """The contract without `email`, with another `pages`."""
    contract = yaml.safe_load((folder / "visits.odcs.yaml").read_text())
    columns = contract["schema"][0]["properties"]
    columns[2]["logicalTypeOptions"]["minimum"] = 0
    contract["schema"][0]["properties"] = [one for one in columns if one["name"] != "email"]
    contract["version"] = "2.0.0"
    (folder / "new.yaml").write_text(yaml.safe_dump(contract))


def test_the_consumers_of_changed_columns_are_listed(cli: Cli, place: Path) -> None:
    made(place, removal={}, facts=NAMED, other=NOTHING)
    changed(place)
    recorded("visits", "1", table="visits", inputs=["pages", "mail"])
    recorded("visits", "2", table="visits", inputs=["pages"])
    recorded("books", "7", table="books", inputs=["pages"])  # of another table
    ran = cli("contract", "diff", "visits.odcs.yaml", "new.yaml", "--project", ".", "--json")
    assert ran.code == 0
    assert {one["column"]: (one["reads"], one["models"]) for one in ran.json["consumers"]} == {
        "visits.pages": (["transforms/spine.sql"], ["visits@2", "visits@1"]),
        "visits.email": (["transforms/features/facts.sql"], []),
    }
    assert [one["endpoints"] for one in ran.json["consumers"]] == [[], []], "none of them serves"
    shown = cli("contract", "diff", "visits.odcs.yaml", "new.yaml", "--project", ".")
    assert "transforms/features/facts.sql" in shown.out
    assert "visits@2, visits@1" in shown.out


@pytest.mark.slow
def test_before_the_first_run_there_are_no_models_and_no_ledger_is_made(cli: Cli, place: Path) -> None:
    made(place, removal={}, facts=NAMED)
    changed(place)
    ran = cli("contract", "diff", "visits.odcs.yaml", "new.yaml", "--project", ".", "--json")
    assert [one["models"] for one in ran.json["consumers"]] == [[], []]
    assert not (place / "state").exists()
    assert "consumers" not in cli("contract", "diff", "visits.odcs.yaml", "new.yaml", "--json").json
    shown = cli("contract", "diff", "new.yaml", "new.yaml", "--project", ".")
    assert "No column changes that anything could read." in shown.out
    assert (
        "There is no charter.yaml in gone" in cli("contract", "diff", "new.yaml", "new.yaml", "--project", "gone").err
    )


def test_a_ledger_behind_a_server_is_not_taken_for_none(cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(place, removal={}, facts=NAMED)
    monkeypatch.setenv("TOWPATH_SERVER", "http://127.0.0.1:1")
    ran = cli("contract", "diff", "visits.odcs.yaml", "visits.odcs.yaml", "--project", ".")
    assert ran.code == 2
    assert "is not sent to" in ran.err


def test_a_change_touches_its_column_and_a_table_that_goes_all_of_its_columns() -> None:
    old, new = base(), base()
    new["schema"] = [table for table in new["schema"] if table["name"] != "customers"]
    orders = new["schema"][0]["properties"]
    orders[1].pop("relationships")
    orders.append({"name": "gift", "logicalType": "boolean"})
    next(one for one in orders if one["name"] == "code")["required"] = True
    contracts = [parse(one, origin="shop.yaml") for one in (old, new)]
    found = touched(compare(*contracts, old, new, as_of=AS_OF).changes, *contracts)
    assert set(found) == {("customers", "id"), ("customers", "email"), ("orders", "code")}
