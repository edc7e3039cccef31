"""A controller that is killed (SIGKILL) anywhere: the rollout ends the same, with the same decisions, each once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rollout import house
from rollout.child import START, STORIES

_CHILD = Path(__file__).with_name("child.py")
_TESTS = Path(__file__).parents[1]


@pytest.fixture(params=["sqlite", "postgresql"])
def template(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a ledger with a rollout that was just started."""
    url: str = f"sqlite:///{tmp_path / 'ledger.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_database")
    with house.opened(tmp_path, url=url) as home:
        home.start(now=START)
    return url


def told(
    template: str, folder: Path, name: str, points: str, every: int = 1
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    folder.mkdir()
    path = os.pathsep.join([str(_TESTS), str(_TESTS.parent / "platform")])
    ran = subprocess.run(
        [sys.executable, str(_CHILD), template, str(folder), name, points, str(every)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    whole, *killed = [json.loads(line) for line in ran.stdout.splitlines()]
    return whole, killed


def check(whole: dict[str, Any], killed: list[dict[str, Any]]) -> None:
    *deaths, outlived = killed
    assert not outlived["killed"]
    end = {name: whole[name] for name in ("row", "decisions", "champions", "whole")}
    by_generation = {row["generation"]: row for row in whole["rows"]}
    assert end["whole"]
    assert all(death["killed"] for death in deaths)
    for death in killed:
        after = death["after"]
        assert death["end"] == end, death["where"]
        # What a kill leaves is a state of the rollout that was not interrupted, with its decisions and no other.
        assert after["row"] == by_generation[after["row"]["generation"]], death["where"]
        assert after["decisions"] == end["decisions"][: len(after["decisions"])], death["where"]
        assert after["row"]["weight"] == after["decisions"][-1]["weight_after"], death["where"]
        assert after["whole"], death["where"]


def test_killed_here_and_there(template: str, tmp_path: Path) -> None:
    whole, killed = told(template, tmp_path / "killed", "harmful while baking", "all", every=29)
    check(whole, killed)
    assert len(killed) > 4


@pytest.mark.slow
@pytest.mark.parametrize("name", STORIES)
def test_killed_before_and_after_every_commit(template: str, tmp_path: Path, name: str) -> None:
    whole, killed = told(template, tmp_path / "killed", name, "commits")
    check(whole, killed)
    phases = [decision["to_state"] for decision in whole["decisions"]]
    assert phases[:7] == [*("pending", "preparing", "progressing", "progressing", "progressing", "promoting", "baking")]
    assert phases[7:] == (["succeeded"] if name == "promoted" else ["rolling-back", "rolled-back"])
    assert len(whole["champions"]) == (2 if name == "promoted" else 3)
    committed = {death["after"]["row"]["generation"] for death in killed}
    assert committed == {row["generation"] for row in whole["rows"]}, "a kill was met in every state"


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", STORIES)
def test_killed_between_any_two_statements(template: str, tmp_path: Path, name: str) -> None:
    """In PostgreSQL, where a point takes 0.4 s, at every tenth; before and after every commit is another test's."""
    every = 10 if template.startswith("postgresql") else 1
    whole, killed = told(template, tmp_path / "killed", name, "all", every)
    check(whole, killed)
    statements = [death["where"] for death in killed]
    assert sum("UPDATE towpath_rollouts" in where for where in statements) * every >= 20
    assert sum("INSERT INTO towpath_records" in where for where in statements) * every >= 10
