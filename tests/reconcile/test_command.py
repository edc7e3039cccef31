"""`towpath reconcile` as people run it: what it prints, what it ends with, and who may."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway import served
from gateway.served import PROJECT, Built
from reconcile import desk
from reconcile.attacks import move_alias
from towpath import wiring
from towpath.cli import run

NOWHERE = "http://127.0.0.1:9"


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    capsys.readouterr()
    code = run(("reconcile", *arguments))
    return code, capsys.readouterr().out


def test_what_it_ends_with(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    with served.house(built, tmp_path) as house, desk.inbox() as inbox:
        monkeypatch.setenv("TOWPATH_STATE", str(house.state))
        monkeypatch.setenv("TOWPATH_ALERTS", inbox.address)
        assert ran(capsys, PROJECT) == (0, "flights: everything is as the ledger decided.\n")
        client = wiring.open_models(house.settings).client  # type: ignore[attr-defined]
        move_alias(client, PROJECT)
        code, out = ran(capsys)
        assert code == 0
        assert out.startswith("flights: alias champion of flights is version 2 instead of version 1: put back (record ")
        assert len(inbox.told) == 1

        file = house.project / "charter.yaml"
        kept = file.read_text(encoding="utf-8")
        try:
            file.write_text(f"{kept}\ngovernance: {{reconcile: flag}}\n", encoding="utf-8")
            move_alias(client, PROJECT)
            code, out = ran(capsys, str(house.project), "--json")
        finally:
            file.write_text(kept, encoding="utf-8")
        assert code == 3
        (found,) = json.loads(out)["projects"]
        assert [(one["code"], one["restored"]) for one in found["differences"]] == [("reconcile.alias", False)]
        assert found["alerts"] == {"sent": 1, "failed": 0}
        client.set_registered_model_alias(PROJECT, "champion", "1")

        monkeypatch.setenv("TOWPATH_GATEWAYS", NOWHERE)
        code, out = ran(capsys, PROJECT)
        assert code == 5
        assert f"Not looked at: gateway {NOWHERE}" in out
        assert "alias champion of flights is as decided again" in out


@pytest.mark.parametrize("given", [("--every", "soon"), ("--every", "1s"), ("--watch", "--json")])
def test_what_cannot_be_meant_is_an_error(
    given: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ran(capsys, *given)[0] == 2
