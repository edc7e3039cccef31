"""Two walks at once on one fresh state folder: each ends as if it had been alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from path import small
from towpath.adapters.mlflow_models import MlflowModels
from towpath.core.evidence import RecordKind
from towpath.ledger.sql import SqlLedger
from towpath.path import ORDER
from towpath.wiring import now

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("flights", "flights"), id="same"),
        pytest.param(("flights", "arrivals"), id="different", marks=pytest.mark.exhaustive),
    ],
)
def test_two_walks_at_once_on_a_fresh_folder(names: tuple[str, str], base_project: Path, tmp_path: Path) -> None:
    projects = [_project(base_project, tmp_path / f"{number}-{name}", name) for number, name in enumerate(names)]
    state = tmp_path / "state"
    runs = [_start(project, state) for project in projects]
    told = [run.communicate(timeout=240) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], told
    found = [json.loads(text)["digest"] for text, _ in told]
    assert (found[0] == found[1]) == (names[0] == names[1])
    with SqlLedger.open(f"sqlite:///{state / 'ledger.db'}", clock=now) as ledger:
        assert ledger.verify().whole
        for name in set(names):
            assert [record.stage for record in ledger.records(project=name, kind=RecordKind.ENTRY)] == list(ORDER)
            assert list(ledger.records(project=name, kind=RecordKind.INCIDENT)) == []
    models = MlflowModels(f"sqlite:///{state / 'mlflow.db'}", artifacts=None)
    for name in set(names):
        assert [item.version for item in models.client.search_model_versions(f"name = '{name}'")] == [1]


def _project(base: Path, folder: Path, name: str) -> Path:
    shutil.copytree(base, folder)
    if name != "flights":
        small.edit(folder / "charter.yaml", "project: flights", f"project: {name}")
    return folder


def _start(project: Path, state: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "towpath.cli", "run", str(project), "--as-of", f"{small.AS_OF:%Y-%m-%d}", "--json"]
    return subprocess.Popen(
        command,
        env={**os.environ, "TOWPATH_STATE": str(state)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
