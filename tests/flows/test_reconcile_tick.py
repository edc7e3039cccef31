"""A look of the reconciler as a flow, against a real server, over a promoted champion in a real MLflow."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from flows.conftest import Flows, Whole, ledger, settle
from path import small
from towpath import wiring
from towpath.core import names
from towpath.core.evidence import RecordKind
from towpath.core.reconciliation import Loaded


class Elsewhere:
    """A gateway that has loaded what nobody promoted."""

    def loaded(self, address: str, project: str) -> Loaded:
        return Loaded(model="sha256:other", versions=("9",))


def test_a_look_puts_back_and_what_it_only_tells_fails_the_run(
    flows: Flows, whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    shutil.copytree(whole.state, state)
    settle(monkeypatch, state)
    with small.opened(whole.project, state) as work:
        small.crown(whole.candidate, work)
    project = str(whole.project)
    for module in ("cli.reconciling", "stages.reconcile_look"):  # what may be work under way is not waited for
        monkeypatch.setattr(f"towpath.{module}.SETTLE", timedelta())
    assert flows.run("reconcile_tick", project).result() == "flights: everything is as the ledger decided."
    client = wiring.open_models(small.settings(state)).client  # type: ignore[attr-defined]
    client.delete_registered_model_alias("flights", names.ALIAS_CHAMPION)
    ended = flows.run("reconcile_tick", project)
    assert ended.is_completed()
    assert "alias champion of flights is nothing instead of version 1: put back" in ended.result()
    (event,) = flows.events("towpath.reconcile")
    assert (event["payload"]["codes"], event["payload"]["told"]) == (["reconcile.alias"], 0)
    monkeypatch.setattr("towpath.adapters.gateways_http.HttpGateways", Elsewhere)
    monkeypatch.setenv("TOWPATH_GATEWAYS", "http://127.0.0.1:9")
    ended = flows.run("reconcile_tick", project)
    assert (ended.type.value, ended.name) == ("FAILED", "Drifted")
    with ledger(state) as opened:
        assert len(list(opened.records(kind=RecordKind.INCIDENT))) == 2
