from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.conftest import cli, place, recorded
from towpath.adapters.keys_local import LocalKeys
from towpath.core.grants import granted
from towpath.core.identity import Identity, Kind, claimed
from towpath.ledger.sql import SqlLedger
from towpath.ledger.tokens import SqlTokens
from towpath.ports import Token, TokenGrant

__all__ = ["cli", "place", "recorded"]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ADMIN = claimed("ada")


@dataclass(kw_only=True)
class Clock:
    """A clock that tests set."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass(kw_only=True)
class Installation:
    """A ledger's database with its tokens, keys in a folder, and a clock."""

    url: str
    keys: LocalKeys
    clock: Clock = field(default_factory=Clock)

    def tokens(self, *, keys: LocalKeys | None = None) -> SqlTokens:
        return SqlTokens.at(self.url, clock=self.clock, keys=keys or self.keys)

    def ledger(self) -> SqlLedger:
        return SqlLedger.open(self.url, clock=self.clock, keys=self.keys)


@pytest.fixture(params=["sqlite", "postgresql"])
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Installation:
    keys = LocalKeys(tmp_path / "keys")
    keys.ensure(at=NOW)
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    return Installation(
        url=url if request.param == "sqlite" else request.getfixturevalue("postgres_database"), keys=keys
    )


@pytest.fixture
def tokens(installation: Installation) -> Iterator[SqlTokens]:
    with installation.tokens() as opened:
        yield opened


def grant(
    *roles: str, person: str = "grace", account: str | None = None, kind: Kind = Kind.PERSON, days: float = 90
) -> TokenGrant:
    return TokenGrant(
        person=person,
        account=account or person,
        kind=kind,
        grants=granted(roles),
        expires_at=NOW + timedelta(days=days),
    )


Make = Callable[..., tuple[Token, str]]


@pytest.fixture
def admin(tokens: SqlTokens) -> Identity:
    """The holder of the first token."""
    _, text = tokens.create(grant("platform-admin", person="ada"), by=ADMIN)
    return tokens.identify(text)
