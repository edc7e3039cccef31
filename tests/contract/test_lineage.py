"""Who stands on a table, over every project of a ledger, and what of it one may see."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from cli import small_project
from cli.conftest import Cli
from contract import crowned
from governance.town import somebody
from rollout import story
from towpath import wiring
from towpath.core import digest as digests
from towpath.core.evidence import Candidate, RecordKind, Subject
from towpath.core.identity import EVERY_PROJECT, Identity, Role
from towpath.core.rollout import Contender
from towpath.ports import Draft
from towpath.settings import Settings
from towpath.verbs.desk import Office
from towpath.verbs.lineage import AskConsumers, ConsumersFound, ask_consumers

VIEWS = {"views": {"visitor": ["pages", "seconds"], "shop": ["rating"]}}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def settings(request: pytest.FixtureRequest, place: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    if request.param == "postgresql":
        monkeypatch.setenv("TOWPATH_LEDGER", request.getfixturevalue("postgres_database"))
    return Settings.read(os.environ, folder=place)


@pytest.fixture
def offices(settings: Settings, place: Path) -> Iterator[Office]:
    """Visits has a champion, a challenger and an old version; books a champion; maps another table."""
    file = small_project.write(place / "visits") / "visits.odcs.yaml"
    crowned.made(settings, "visits", {"visits": file}, number=1, inputs=["pages"], facts=VIEWS)
    champion = crowned.made(settings, "visits", {"visits": file}, number=2, inputs=["pages", "hour"], facts=VIEWS)
    challenger = crowned.made(settings, "visits", {"visits": file}, number=3, inputs=["hour"], crown=False)
    crowned.made(settings, "books", {"visits": file}, number=7, inputs=["pages"])
    crowned.made(settings, "maps", {"streets": file}, number=1, inputs=["pages"])
    _rolled(settings, champion, challenger)
    with closing(Office.open(settings, served=True)) as office:
        yield office


def _rolled(settings: Settings, champion: Candidate, challenger: Candidate) -> None:
    def contender(candidate: Candidate, version: str) -> Contender:
        return Contender(candidate=candidate.id, digest=candidate.digest or "", model=crowned.NOWHERE, version=version)

    begun = story.rollout(project="visits").model_copy(
        update={"champion": contender(champion, "2"), "challenger": contender(challenger, "3")}
    )
    body = {"said": "start"}
    draft = Draft(kind=RecordKind.DECISION, project="visits", candidate=challenger.id, stage="canary", key="start",
                  digest=digests.of_json(body), body=body)  # fmt: skip
    with closing(wiring.open_rollouts(settings)) as rollouts:
        rollouts.create(begun, draft, actor="ada")


def reader(*projects: str) -> Identity:
    grants = {project: frozenset({Role.VIEWER}) for project in projects}
    return somebody("Vera").model_copy(update={"grants": grants})


def asked(office: Office, who: Identity, column: str | None = None) -> ConsumersFound:
    return ask_consumers(AskConsumers(table="visits", column=column), office.desk(who))


def test_models_views_and_endpoints_of_every_project_are_listed(offices: Office) -> None:
    found = asked(offices, reader(EVERY_PROJECT))
    assert [(one.model, one.standing) for one in found.consumers] == [
        ("books@7", "champion"),
        ("visits@2", "champion"),
        ("visits@3", "challenger"),
        ("visits@1", "registered"),
    ]
    by = {one.model: one for one in found.consumers}
    assert by["visits@2"].views == ["shop", "visitor"]
    assert by["visits@2"].endpoints == ["POST /v2/models/visits/infer", "POST /invocations?model=visits"]
    assert by["visits@3"].endpoints == by["visits@2"].endpoints, "both answer there while the rollout is open"
    assert by["visits@1"].endpoints == []
    assert len({one.contract for one in found.consumers}) == 1
    assert not found.hidden


def test_a_column_is_looked_for_by_its_name(offices: Office) -> None:
    by = {one.model: one for one in asked(offices, reader(EVERY_PROJECT), "pages").consumers}
    assert {model: (one.inputs, one.views) for model, one in by.items()} == {
        "books@7": (["pages"], []),
        "visits@2": (["pages"], ["visitor"]),
        "visits@3": ([], []),
        "visits@1": (["pages"], ["visitor"]),
    }


@pytest.mark.parametrize(("projects", "models"), [
    (["books"], {"books@7"}),
    (["visits"], {"visits@1", "visits@2", "visits@3"}),
    (["maps"], set()),
    ([], set()),
])  # fmt: skip
def test_what_may_not_be_read_is_left_out_and_that_is_said(
    offices: Office, projects: list[str], models: set[str]
) -> None:
    found = asked(offices, reader(*projects))
    assert {one.model for one in found.consumers} == models
    assert found.hidden
    told = found.model_dump_json()
    assert all(name not in told for name in {"books", "maps"} - set(projects))


def test_the_ledger_is_asked_no_more_often_for_more_candidates(settings: Settings, offices: Office) -> None:
    before = counted(offices)
    dataset = Subject(kind="dataset", name="visits", digest=crowned.NOWHERE)
    with crowned.ledger_of(settings) as ledger:
        for number in range(10, 70):
            notes = {"registered_model": "visits", "version": str(number)}
            stages = [("ingest", {"subjects": [dataset]}), ("train", {}), ("register", {"notes": notes})]
            crowned.write(ledger, "visits", stages, number=number, crown=False)
    assert len(asked(offices, reader("visits")).consumers) == 3 + 60
    assert counted(offices) == before < 20  # of up to 256 records each


def counted(office: Office) -> int:
    """The statements with which the ledger's database is asked."""
    said: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        said.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        asked(office, reader(EVERY_PROJECT))
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return sum("towpath_" in one for one in said)


def test_the_command_and_the_diff_name_them(offices: Office, cli: Cli) -> None:
    ran = cli("contract", "consumers", "visits", "--column", "pages", "--json")
    assert [one["model"] for one in ran.json["consumers"]] == ["books@7", "visits@2", "visits@3", "visits@1"]
    shown = cli("contract", "consumers", "visits")
    assert "POST /v2/models/books/infer" in shown.out
    assert "No registered model was made from a table cellars." in cli("contract", "consumers", "cellars").out
