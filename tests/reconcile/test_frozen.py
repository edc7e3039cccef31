"""Without the project's folder, what was frozen with the champion says whether things are put back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway import served
from gateway.served import PROJECT, Built
from path import small
from reconcile.attacks import move_alias
from towpath import wiring
from towpath.cli import run
from towpath.core.identity import EVERY_PROJECT, Identity, Kind, Proof, Role
from towpath.verbs import reconciling
from towpath.verbs.desk import Office

pytestmark = pytest.mark.slow
ADA = Identity(
    person="ada",
    account="ada",
    kind=Kind.PERSON,
    proof=Proof.TOKEN,
    credential="t1",
    grants={EVERY_PROJECT: frozenset({Role.PLATFORM_ADMIN})},
)


def _only_tell(project: Path) -> None:
    file = project / "charter.yaml"
    file.write_text(f"{file.read_text(encoding='utf-8')}\ngovernance: {{reconcile: flag}}\n", encoding="utf-8")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Its charter says `flag`, and so do the terms of its champion."""
    return served.build(tmp_path_factory.mktemp("told"), changed=_only_tell)


def _served(state: Path) -> Any:
    """One look as the API does it."""
    office = Office.open(small.settings(state), served=True)
    try:
        return reconciling.RECONCILE.carry_out(reconciling.Reconcile(project=PROJECT), office.desk(ADA))
    finally:
        office.close()


def test_a_frozen_flag_only_tells(
    told: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with served.house(told, tmp_path) as house:
        client = wiring.open_models(house.settings).client  # type: ignore[attr-defined]
        move_alias(client, PROJECT)
        found = _served(house.state)
        assert [(one["code"], one["restored"]) for one in found.differences] == [("reconcile.alias", False)]
        assert "governance.reconcile: flag" in found.says[0]
        monkeypatch.setenv("TOWPATH_STATE", str(house.state))
        capsys.readouterr()
        assert run(("reconcile", PROJECT, "--json")) == 3
        (shown,) = json.loads(capsys.readouterr().out)["projects"]
        assert [one["restored"] for one in shown["differences"]] == [False]
        assert str(client.get_model_version_by_alias(PROJECT, "champion").version) == "2"


def test_without_a_flag_it_is_put_back(built: Built, tmp_path: Path) -> None:
    with served.house(built, tmp_path) as house:
        client = wiring.open_models(house.settings).client  # type: ignore[attr-defined]
        move_alias(client, PROJECT)
        found = _served(house.state)
        assert [(one["code"], one["restored"]) for one in found.differences] == [("reconcile.alias", True)]
        assert str(client.get_model_version_by_alias(PROJECT, "champion").version) == "1"
