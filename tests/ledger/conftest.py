from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from ledger.drafts import ticking
from towpath.ledger.sql import SqlLedger

Raw = Callable[[], AbstractContextManager[Connection]]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database: every behaviour holds on both."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    database: str = request.getfixturevalue("postgres_database")
    return database


@pytest.fixture
def ledger(url: str) -> Iterator[SqlLedger]:
    with SqlLedger.open(url, clock=ticking()) as opened:
        yield opened


@pytest.fixture
def raw(url: str) -> Raw:
    """A connection to the same database that knows nothing of the ledger, as a person with a SQL prompt has."""

    @contextmanager
    def begin() -> Iterator[Connection]:
        engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=NullPool)
        with engine.connect() as connection:
            yield connection
            connection.commit()

    return begin
