from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from governance import town
from governance.town import Town


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Town]:
    with town.opened(tmp_path) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    database: str = request.getfixturevalue("postgres_database")
    return database
