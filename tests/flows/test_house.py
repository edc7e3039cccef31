"""What the flows may import, and what their deployments say."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.conftest import FLOWS, ROOT
from towpath.example.workspace import AS_OF, TEMPLATE, WATCHED
from towpath.project import load
from towpath.telemetry import SILENT

FILES = sorted(FLOWS.glob("*.py"))
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "deploy/prefect.yaml").read_text(encoding="utf-8"))[
    "deployments"
]
BY_ENTRYPOINT = {item["entrypoint"].rpartition(":")[2]: item for item in DEPLOYMENTS}


def foreign(source: str) -> set[str]:
    """Packages that a flow module imports and has no business with."""
    allowed = {"prefect", "towpath", *sys.stdlib_module_names, *(file.stem for file in FILES)}
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    return imported - allowed


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_flows_import_only_prefect_and_towpath(file: Path) -> None:
    assert foreign(file.read_text(encoding="utf-8")) == set()


def test_the_guard_sees_a_foreign_import() -> None:
    assert foreign("import os\ndef f():\n    from pandas.api import types\n    import prefect.artifacts") == {"pandas"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_flow_bears_the_name_of_another_module(file: Path) -> None:
    assert file.stem not in sys.stdlib_module_names
    found = importlib.util.find_spec(file.stem)
    assert found is None or found.origin == str(file)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda item: item["entrypoint"])
def test_every_deployment_has_its_flow_and_its_parameters(deployment: dict[str, Any]) -> None:
    file, _, name = deployment["entrypoint"].partition(":")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    flow = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    assert set(deployment["parameters"]) <= {argument.arg for argument in flow.args.args}


def test_every_flow_is_deployed() -> None:
    assert set(BY_ENTRYPOINT) == {"governed_path", "drift_watch", "canary_tick", "reconcile_tick"}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda item: item["entrypoint"])
def test_a_workers_run_is_silent_from_its_first_import(deployment: dict[str, Any]) -> None:
    assert deployment["work_pool"]["job_variables"]["env"] == SILENT


def test_the_watch_has_the_charters_schedule_and_the_examples_times() -> None:
    watch, path = BY_ENTRYPOINT["drift_watch"], BY_ENTRYPOINT["governed_path"]
    assert [item["cron"] for item in watch["schedules"]] == [load(TEMPLATE).charter.monitoring.schedule]
    assert (path["parameters"]["as_of"], watch["parameters"]["as_of"]) == (f"{AS_OF:%Y-%m-%d}", f"{WATCHED:%Y-%m-%d}")
