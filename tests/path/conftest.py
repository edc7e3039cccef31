"""The small project, the states it goes through on its way, and processes that may be killed on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from path import small
from path.mortal import Mortals
from path.trail import Trail


@pytest.fixture(scope="session")
def base_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small project as it is. Nobody writes into it."""
    return small.build(tmp_path_factory.mktemp("small") / "flights")


@pytest.fixture
def project(base_project: Path, tmp_path: Path) -> Path:
    """A copy of the small project, to be changed."""
    return Path(shutil.copytree(base_project, tmp_path / "flights"))


@pytest.fixture(scope="session")
def trail(base_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Trail:
    """The small project gone along the path once, uninterrupted, with its state after every stage."""
    return Trail.go(base_project, tmp_path_factory.mktemp("trail"))


@pytest.fixture(scope="session")
def mortals() -> Iterator[Mortals]:
    """Starts processes that go along the path."""
    with Mortals.start() as started:
        yield started


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of this machine's settings."""
    for name in list(os.environ):
        if name.startswith("TOWPATH_"):
            monkeypatch.delenv(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The services' own warnings are not errors of the path."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:::mlflow"))
