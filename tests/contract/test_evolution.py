"""The gate `data.contract_change`: a candidate's contracts against those in the champion's evidence."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli import small_project
from cli.conftest import Cli
from contract import crowned
from contract.matrix import AS_OF, BREAKING, CASES, base
from towpath import wiring
from towpath.core.contract import parse
from towpath.core.contract_changes import Impact
from towpath.core.contract_evolution import CODE, SAME, Pair, Untold, allowed, judged
from towpath.core.contract_held import contracts_of, held_to
from towpath.core.evidence import Outcome, Severity, Subject
from towpath.core.gates import GATES
from towpath.core.policy import Policy
from towpath.project import load
from towpath.settings import Settings
from towpath.stages import evolution
from towpath.stages.verdict import gathered
from unit import shop

Edit = Callable[[dict[str, Any]], object]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
GONE_DAY = date(2026, 1, 1)  # of the base's column `gone`; `going` goes on 2026-06-30


def pair(edit: Edit, *, version: str = "2.0.0") -> Pair:
    old, new = base(), base()
    edit(new)
    new["version"] = version
    before, after = (parse(one, origin="shop.yaml") for one in (old, new))
    return Pair(before=before, after=after, old=old, new=new)


def without(column: str) -> Edit:
    def edit(document: dict[str, Any]) -> None:
        orders = next(one for one in document["schema"] if one["name"] == "orders")
        orders["properties"] = [one for one in orders["properties"] if one["name"] != column]

    return edit


def failed(found: Pair, *, as_of: date = AS_OF) -> set[str]:
    return {one.subject for one in judged([found], as_of=as_of) if one.outcome is Outcome.FAIL}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.about)
def test_what_the_matrix_calls_breaking_is_refused_whatever_the_version(case: Any) -> None:
    """But for the columns whose deprecation window is over, of which the base has one."""
    old, new = base(), base()
    case.edit(old if case.back else new)
    new["version"] = "2.0.0"
    before, after = (parse(one, origin="shop.yaml") for one in (old, new))
    found = judged([Pair(before=before, after=after, old=old, new=new)], as_of=AS_OF)
    refused = [one for one in found if one.outcome is Outcome.FAIL]
    assert bool(refused) is (case.impact is BREAKING and "orders].gone" not in case.where)
    assert all(one.code == CODE and one.outcome in (Outcome.PASS, Outcome.FAIL) for one in found)


@pytest.mark.parametrize(("edit", "version", "subjects"), [
    (without("gone"), "1.3.0", set()),
    (without("gone"), "1.2.9", {"orders-shop/version"}),
    (without("going"), "2.0.0", {"orders-shop/schema[orders].going"}),
    (without("old"), "2.0.0", {"orders-shop/schema[orders].old"}),
    (without("age"), "1.2.0", {"orders-shop/schema[orders].age", "orders-shop/version"}),
    (lambda document: document.update(tags=["sales", "eu"]), "1.2.0", {"orders-shop/version"}),
    (lambda document: document.update(tags=["sales", "eu"]), "1.2.1", set()),
])  # fmt: skip
def test_a_window_or_a_version_that_is_missing_is_refused(edit: Edit, version: str, subjects: set[str]) -> None:
    found = pair(edit, version=version)
    assert {subject.replace(found.after.id, "orders-shop") for subject in failed(found)} == subjects


def test_the_day_opens_the_window() -> None:
    found = pair(without("going"))
    assert failed(found, as_of=date(2026, 6, 29))
    assert not failed(found, as_of=date(2026, 6, 30))
    [passed] = judged([found], as_of=date(2026, 6, 30))
    assert passed.reason == "1 change since the champion's 1.2.0; version 2.0.0 is enough."


def test_a_column_whose_window_is_over_may_become_another_one() -> None:
    """Under a major version, for it is another column to who still reads it."""

    def other(document: dict[str, Any]) -> None:
        shop.column(document, "orders", "gone")["logicalType"] = "integer"

    assert not failed(pair(other))
    assert "after its deprecation window" in judged([pair(other)], as_of=AS_OF)[0].reason
    assert failed(pair(other, version="1.3.0")) == {f"{pair(other).after.id}/version"}


@pytest.mark.parametrize("name", ["quality", "freshness", "physicalName"])
def test_a_promise_of_the_table_is_not_taken_for_a_column_of_its_name(name: str) -> None:
    """A deprecated column called `freshness` opens no window for the freshness of its table."""
    old = base()
    orders = next(one for one in old["schema"] if one["name"] == "orders")
    removal = [{"property": "removalDate", "value": "2025-01-01"}]
    orders["properties"].append(
        {"name": name, "logicalType": "string", "deprecated": True, "customProperties": removal}
    )
    before = parse(old, origin="shop.yaml")
    change = next(case for case in CASES if case.impact is BREAKING).compared().changes[0]
    assert change.impact is Impact.BREAKING
    place = f"schema[orders].{name}"
    assert not allowed(type(change)(**{**vars(change), "where": place}), before, AS_OF)


def test_what_cannot_be_compared_passes_nothing() -> None:
    [found] = judged([Untold(contract="shop", why="its text is gone")], as_of=AS_OF)
    assert (found.outcome, found.severity, found.subject) == (Outcome.INCONCLUSIVE, Severity.ERROR, "shop")
    [latest] = judged([pair(without("gone"), version="latest")], as_of=AS_OF)
    assert latest.outcome is Outcome.INCONCLUSIVE
    assert "no semantic version" in latest.reason


def test_no_candidate_is_promoted_without_it_and_a_person_may_answer_for_it() -> None:
    assert CODE in Policy().gates
    assert GATES[CODE].waivable


def test_the_stage_is_done_anew_only_when_something_differs() -> None:
    assert judged([], as_of=AS_OF) == (SAME,)
    one, other = (judged([pair(without("age"))], as_of=day) for day in (AS_OF, date(2026, 1, 2)))
    keys = [evolution.inputs(found)["contract_change"] for found in ((SAME,), one, other)]
    assert keys[0] == "none"
    assert keys[1] == keys[2] != "none"
    warned = judged([pair(without("age"))], as_of=AS_OF, severity=Severity.WARNING)
    assert evolution.inputs(warned)["contract_change"] not in keys


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def settings(request: pytest.FixtureRequest, place: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An embedded state, its ledger in either database."""
    if request.param == "postgresql":
        monkeypatch.setenv("TOWPATH_LEDGER", request.getfixturevalue("postgres_database"))
    return Settings.read(os.environ, folder=place)


def found_in(folder: Path, settings: Settings) -> tuple[Pair | Untold, ...]:
    with crowned.ledger_of(settings) as ledger:
        return evolution.evolved(load(folder), ledger, wiring.open_objects(settings))


def rewritten(folder: Path, **changes: Any) -> None:
    file = folder / "visits.odcs.yaml"
    contract = yaml.safe_load(file.read_text())
    contract.update(changes)
    file.write_text(yaml.safe_dump(contract))


def test_the_contracts_come_from_the_champions_evidence(settings: Settings, place: Path) -> None:
    folder = small_project.write(place / "visits")
    file = folder / "visits.odcs.yaml"
    assert found_in(folder, settings) == (), "there is no champion yet"
    crowned.made(settings, "visits", {"visits": file})
    assert found_in(folder, settings) == ()
    file.write_text(file.read_text() + "# a remark\n")
    assert judged(found_in(folder, settings), as_of=AS_OF) == (SAME,), "a remark promises nothing"
    rewritten(folder, version="1.0.1", name="Other words")
    [one] = found_in(folder, settings)
    assert isinstance(one, Pair)
    assert (one.before.version, one.after.version) == ("1.0.0", "1.0.1")
    crowned.made(settings, "visits", {"visits": file}, number=2)
    assert found_in(folder, settings) == (), "the last champion counts"


def test_a_table_of_another_name_is_compared_by_its_contract(settings: Settings, place: Path) -> None:
    folder = small_project.write(place / "visits")
    crowned.made(settings, "visits", {"visitors": folder / "visits.odcs.yaml"})
    rewritten(folder, version="0.9.0")
    [one] = found_in(folder, settings)
    assert isinstance(one, Pair)
    [low] = judged([one], as_of=AS_OF)
    assert (low.subject, low.measured, low.bound) == ("visits/version", "0.9.0", ">= 1.0.0")


@pytest.mark.parametrize("damage", ["gone", "unread", "never"])
def test_a_champions_contract_that_cannot_be_had_holds(cli: Cli, place: Path, damage: str) -> None:
    settings = Settings.read(os.environ, folder=place)
    folder = small_project.write(place / "visits")
    file = folder / "visits.odcs.yaml"
    if damage == "unread":
        (place / "old.yaml").write_text("kind: DataContract\n")
    candidate = crowned.made(settings, "visits", {"visits": place / "old.yaml" if damage == "unread" else file})
    if damage == "gone":
        wiring.open_objects(settings).remove(candidate.entry("validate").subject("contract").digest)
    if damage == "never":
        _dataset_only(settings)
    [one] = found_in(folder, settings)
    assert isinstance(one, Untold)
    ran = cli("contract", "diff", "--champion", "visits", "--json")
    assert ran.code == 3
    assert [(item["outcome"], item["subject"]) for item in ran.json["findings"]] == [("INCONCLUSIVE", "visits")]


def _dataset_only(settings: Settings) -> None:
    """A champion that read the table and whose evidence has no contract of it."""
    dataset = Subject(kind="dataset", name="visits", digest=crowned.NOWHERE)
    crowned.recorded(settings, "visits", [("ingest", {"subjects": (dataset,)}), ("validate", {})], number=2, crown=True)


def test_a_contract_that_is_gone_is_not_passed_over_for_its_tables_new_name(settings: Settings, place: Path) -> None:
    """The table has another name now; whether under the contract of before, only its text would tell."""
    folder = small_project.write(place / "visits")
    candidate = crowned.made(settings, "visits", {"visitors": folder / "visits.odcs.yaml"})
    wiring.open_objects(settings).remove(candidate.entry("validate").subject("contract").digest)
    [one] = found_in(folder, settings)
    assert isinstance(one, Untold)
    assert one.contract == "visitors"


def test_a_remark_is_no_change_whatever_the_version(settings: Settings, place: Path) -> None:
    folder = small_project.write(place / "visits")
    rewritten(folder, version="2024-03")
    file = folder / "visits.odcs.yaml"
    crowned.made(settings, "visits", {"visits": file})
    file.write_text(file.read_text() + "# a remark\n")
    assert found_in(folder, settings) == ()


def test_a_stage_notes_whose_contracts_it_was_held_to_only_where_they_are_others() -> None:
    champions = {"contract/a": "1", "contract/b": "2"}
    assert held_to({}, champions) == {}, "there is no champion"
    assert held_to(champions, {**champions, "contract/c": "3", "deprecated": "4"}) == {}
    others = [held_to(champions, made_by) for made_by in ({"contract/a": "1"}, {**champions, "contract/a": "5"})]
    assert others[0] == others[1] != {}
    assert held_to({"contract/a": "1"}, {}) not in others


def test_the_case_holds_the_present_champions_contracts(settings: Settings, place: Path) -> None:
    """By the validation's inputs; for a former champion none, which may come back."""
    file = small_project.write(place / "visits") / "visits.odcs.yaml"
    first, second = (crowned.made(settings, "visits", {"visits": file}, number=number) for number in (1, 2))
    other = crowned.made(settings, "visits", {"visits": file}, number=3, crown=False)
    with crowned.ledger_of(settings) as ledger:
        cases = [gathered(ledger, one, now=NOW) for one in (first, second, other)]
    assert [dict(one.contracts) for one in cases] == [{}, {}, contracts_of(second)]
    assert contracts_of(second)


def test_the_command_says_what_the_path_would(cli: Cli, place: Path) -> None:
    settings = Settings.read(os.environ, folder=place)
    folder = small_project.write(place / "visits")
    assert "There is no ledger" in cli("contract", "diff", "--champion", "visits").err
    with crowned.ledger_of(settings):
        pass
    ran = cli("contract", "diff", "--champion", "visits")
    assert (ran.code, "visits has no champion" in ran.out) == (0, True)
    champion = crowned.made(settings, "visits", {"visits": folder / "visits.odcs.yaml"})
    same = cli("contract", "diff", "--champion", "visits")
    assert (same.code, same.out) == (0, f"Nothing differs from the contracts of the champion {champion.id}.\n")
    contract = yaml.safe_load(small_project.CONTRACT)
    contract["schema"][0]["properties"] = (
        contract["schema"][0]["properties"][:3] + contract["schema"][0]["properties"][4:]
    )
    rewritten(folder, schema=contract["schema"])
    told = cli("contract", "diff", "--champion", "visits", "--json")
    assert told.code == 3
    assert told.json["champion"] == champion.id
    assert [(one["contract"], one["least"], one["enough"]) for one in told.json["contracts"]] == [
        ("visits", "2.0.0", False)
    ]
    assert {one["subject"] for one in told.json["findings"]} == {"visits/schema[visits].email", "visits/version"}
    shown = cli("contract", "diff", "--champion", "visits")
    assert "`towpath run` refuses:" in shown.out
    assert "Set its version to 2.0.0 or higher." in shown.out
    for words in (("--champion", "visits", "old.yaml"), ("old.yaml",), ()):
        assert "Name two files, OLD and NEW, or --champion FOLDER" in cli("contract", "diff", *words).err


def test_a_finding_can_be_named_on_the_command_line() -> None:
    subjects = [one.subject for one in judged([pair(without("age"))], as_of=AS_OF)]
    assert all(isinstance(one, str) and " " not in one for one in subjects)
