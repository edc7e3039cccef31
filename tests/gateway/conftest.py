"""One small project with two models for the whole session, and a gateway over it for who only asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import served
from gateway.served import Built, House, Served
from once import once


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Nobody writes into it."""
    return once(tmp_path_factory, "served", served.build)


@pytest.fixture(scope="session")
def gateway(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway with the champion alone and its feature store, for tests that change nothing."""
    with (
        served.house(built, tmp_path_factory.mktemp("shared"), online=True) as house,
        served.serving(house) as running,
    ):
        yield running


@pytest.fixture
def house(built: Built, tmp_path: Path) -> Iterator[House]:
    """A state of one's own, without a feature store."""
    with served.house(built, tmp_path) as found:
        yield found


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of this machine's settings."""
    monkeypatch.delenv("TOWPATH_STATE", raising=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The services' own warnings are not errors of the gateway."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:::mlflow"))
