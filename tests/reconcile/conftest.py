"""The small project with two models, once for the session, and what every test here opens of a copy of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import served
from gateway.served import Built
from once import once
from reconcile import desk
from reconcile.desk import Desk


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Nobody writes into it."""
    return once(tmp_path_factory, "served", served.build)


@pytest.fixture
def at(built: Built, tmp_path: Path) -> Iterator[Desk]:
    """A reconciler over a state of one's own, without a feature store, and somebody who moves things in MLflow."""
    with served.house(built, tmp_path) as house, desk.opened(house) as found:
        yield found


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of this machine's settings."""
    for name in ("TOWPATH_STATE", "TOWPATH_ALERTS", "TOWPATH_GATEWAYS", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The services' own warnings are not errors of the reconciler."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:::mlflow"))
            item.add_marker(pytest.mark.filterwarnings("ignore:.*stages.*:FutureWarning"))
