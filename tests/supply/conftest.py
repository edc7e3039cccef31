"""A good model, saved and compiled once, and the watch that proves that nothing was loaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from supply.house import Good, House, copied, make_good, template
from supply.watch import Watch, watching


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Good:
    """Nobody writes into it."""
    return make_good(tmp_path_factory.mktemp("good"))


@pytest.fixture
def folder(good: Good, tmp_path: Path) -> Path:
    """A copy of the good model's folder, to be changed."""
    return Path(shutil.copytree(good.saved, tmp_path / "model"))


@pytest.fixture(scope="session")
def built(good: Good, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Nobody writes into it."""
    with template(good, tmp_path_factory.mktemp("house")) as found:
        yield found


@pytest.fixture
def house(built: House, tmp_path: Path) -> Iterator[House]:
    """A house of one's own, both candidates attested."""
    with copied(built, tmp_path, attested=True) as found:
        yield found


@pytest.fixture
def bare(built: House, tmp_path: Path) -> Iterator[House]:
    """A house of one's own, whose candidate is registered and not attested."""
    with copied(built, tmp_path, attested=False) as found:
        yield found


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    with watching(tmp_path / "canary") as found:
        yield found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The libraries' own warnings are not errors of ours."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            for kind in ("DeprecationWarning", "FutureWarning", "UserWarning", "RuntimeWarning"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore::{kind}"))
