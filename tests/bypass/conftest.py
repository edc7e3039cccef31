"""The small project with a champion and an insider's candidates, once for the session, and a copy for each attack."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bypass import databases
from bypass import scene as scenes
from bypass.scene import Built, Scene
from cli.conftest import Ran
from towpath.cli import run as towpath

Typed = Callable[..., Ran]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Nobody writes into it."""
    return scenes.build(tmp_path_factory.mktemp("bypass"))


@pytest.fixture
def scene(request: pytest.FixtureRequest, built: Built, tmp_path: Path) -> Iterator[Scene]:
    """Its ledger is in SQLite, or where `databases.EITHER` says."""
    with scenes.opened(built, tmp_path) as made:
        if getattr(request, "param", "sqlite") == "postgresql":
            databases.moved(made, request.getfixturevalue("postgres_database"))
        yield made


@pytest.fixture
def typed(scene: Scene, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Runs a command with somebody's token, or with none, as they would type it."""

    def call(account: str | None, *arguments: str, **more: str) -> Ran:
        capsys.readouterr()
        token = scene.tokens.get(account, account) if account is not None else None
        with scenes.environment(scene, TOWPATH_TOKEN=token, **more):
            code = towpath(arguments)
        captured = capsys.readouterr()
        return Ran(code=code, out=captured.out, err=captured.err)

    return call


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of this machine's settings."""
    for name in list(os.environ):
        if name.startswith(("TOWPATH_", "PREFECT_")):
            monkeypatch.delenv(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The services' own warnings are not errors of ours."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            if item.path.name != "test_table.py":  # it takes an installation of its own, and a minute to build
                item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.filterwarnings("ignore:::mlflow"))
            item.add_marker(pytest.mark.filterwarnings("ignore:.*stages.*:FutureWarning"))
