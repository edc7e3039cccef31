"""A server of its own process over a real ledger, and a token for everybody who may and may not."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from access.conftest import grant
from cli.conftest import cli, place
from rollout import house
from towpath import wiring
from towpath.core.evidence import Record
from towpath.core.grants import granted
from towpath.core.identity import Identity, Kind, Role, claimed
from towpath.ports import Purpose, TokenGrant
from towpath.settings import Settings
from towpath.stages import holds
from towpath.stages.canary import CanaryPorts
from towpath.stages.canary_start import start
from towpath.stages.emergency import open_emergency

__all__ = ["cli", "place"]

PROJECT = house.PROJECT
EMPTY = "empty"
"""A project that the record knows, and that never had a champion."""
UNTOUCHED = "untouched_town"
"""The database that an installation's own is copied from."""
ROOT = Path(__file__).parents[2]
EVERYBODY = {
    **{f"{role}@{PROJECT}": (role.value + f"@{PROJECT}", Kind.PERSON) for role in Role},
    **{f"{role}@other": (f"{role}@other", Kind.PERSON) for role in Role},
    **{f"{role}@*": (role.value, Kind.PERSON) for role in Role},
    "service@" + PROJECT: (f"automation@{PROJECT}", Kind.SERVICE),
    "service@other": ("automation@other", Kind.SERVICE),
    "service@*": ("automation", Kind.SERVICE),
    "watcher@*": ("viewer", Kind.SERVICE),
}


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the server answered."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def code(self) -> str:
        return str(self.json["code"])


@dataclass(frozen=True, kw_only=True)
class Town:
    """A closed installation: a champion, a challenger with an open rollout, an emergency, and everybody's tokens."""

    folder: Path
    environment: Mapping[str, str]
    candidate: str
    champion: str
    rollout: str
    emergency: str
    token: str
    key: str
    tokens: Mapping[str, str]
    identities: Mapping[str, Identity]

    @property
    def settings(self) -> Settings:
        return Settings.read(self.environment, folder=self.folder)

    def records(self) -> list[Record]:
        with closing(wiring.open_ledger(self.settings)) as ledger:
            return list(ledger.records())


@dataclass(kw_only=True)
class Server:
    """The process, and requests to it."""

    town: Town
    process: subprocess.Popen[bytes]
    port: int
    log: Path
    admin: str = field(default="platform-admin@*")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        who: str | None = None,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request, with the token of somebody of `EVERYBODY` (or none)."""
        sent = {"Content-Type": "application/json"} if body is not None or raw is not None else {}
        if who is not None:
            sent["Authorization"] = f"Bearer {self.town.tokens[who]}"
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, body=data, headers={**sent, **(headers or {})})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(status=answer.status, headers=found, text=answer.read().decode())


def build(folder: Path, ledger_url: str | None = None) -> Town:
    """Makes the installation; `fresh` copies it."""
    environment = {"TOWPATH_STATE": "state", "TOWPATH_ACTOR": "setup"}
    if ledger_url is not None:
        environment["TOWPATH_LEDGER"] = ledger_url
    settings = Settings.read(environment, folder=folder)
    house.project(folder / "project")
    with closing(wiring.open_ledger(settings)) as ledger, closing(wiring.open_tokens(settings)) as opened:
        champion = house.registered(ledger, 1)
        house.crowned(ledger, champion)
        candidate = house.registered(ledger, 2)
        token, text = opened.create(grant("platform-admin", person="ada", days=3650), by=claimed("ada"))
        admin = opened.identify(text)
        tokens, identities = {"ada": text}, {"ada": admin}
        for name, (roles, kind) in EVERYBODY.items():
            tokens[name] = opened.create(_wanted(name, roles, kind), by=admin)[1]
            identities[name] = opened.identify(tokens[name])
        broken = open_emergency(candidate, admin, ledger, reason="a test wants it", now=wiring.now())
        with closing(wiring.open_rollouts(settings)) as rollouts:
            ports = CanaryPorts(ledger=ledger, rollouts=rollouts, evidence=house.Told(), actor="ada")
            begun = start(_challenger(ledger), None, ports, author="ada", reason="a newer one", now=wiring.now())
        holds.place(ledger, EMPTY, None, reason="a test wants it", actor="ada")
        key = next(iter(wiring.open_keys(settings).trusted(Purpose.MODEL)))
    return Town(
        folder=folder,
        environment=environment,
        candidate=candidate.id,
        champion=champion.id,
        rollout=begun.rollout.rollout_id,
        emergency=broken.emergency,
        token=token.token_id,
        key=key,
        tokens=tokens,
        identities=identities,
    )


def _challenger(ledger: Any) -> Any:
    return house.registered(ledger, 3, charter=house.declared(risk="low"))


def _wanted(name: str, roles: str, kind: Kind) -> TokenGrant:
    days = grant("viewer", days=3650).expires_at
    return TokenGrant(person=name, account=name, kind=kind, grants=granted(roles.split()), expires_at=days)


@contextmanager
def served(town: Town, log: Path, **config: Any) -> Iterator[Server]:
    """A server over an installation, ended afterwards."""
    quick = {"rate": 10_000.0, "burst": 10_000, "unknown_rate": 10_000.0, "unknown_burst": 10_000}
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TOWPATH_", "PREFECT_"))}
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "towpath.console", json.dumps({**quick, **config})],
            cwd=town.folder,
            env={**clean, **town.environment, "PYTHONPATH": str(ROOT / "platform")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline() or b'{"error": "it said nothing"}')
        assert "error" not in said, f"{said} {log.read_text()}"
        yield Server(town=town, process=process, port=said["port"], log=log)
    finally:
        process.terminate()
        process.wait(timeout=30)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture(scope="session")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Over SQLite. Nobody serves it or writes to it."""
    return build(tmp_path_factory.mktemp("untouched"))


@pytest.fixture(scope="session")
def untouched_in_postgres(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Over a database that nobody connects to, so that PostgreSQL copies it."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {UNTOUCHED} TEMPLATE template0")
    return build(tmp_path_factory.mktemp("untouched"), postgres_url.removesuffix("postgres") + UNTOUCHED)


def copied(untouched: Town, folder: Path) -> Town:
    """The same installation, tokens and keys in another folder."""
    shutil.copytree(untouched.folder, folder, dirs_exist_ok=True)
    return replace(untouched, folder=folder)


@pytest.fixture(scope="session")
def town(untouched: Town, tmp_path_factory: pytest.TempPathFactory) -> Town:
    return copied(untouched, tmp_path_factory.mktemp("town"))


@pytest.fixture(scope="session")
def server(town: Town, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Shared: for what changes nothing that another test looks at."""
    with served(town, tmp_path_factory.mktemp("log") / "server.log") as found:
        yield found


Start = Callable[..., Any]


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server and an installation of one test's own, over both databases."""
    if request.param == "sqlite":
        mine = copied(request.getfixturevalue("untouched"), tmp_path / "town")
    else:
        built, url = (
            request.getfixturevalue("untouched_in_postgres"),
            request.getfixturevalue("postgres_copy")(UNTOUCHED),
        )
        mine = replace(copied(built, tmp_path / "town"), environment={**built.environment, "TOWPATH_LEDGER": url})
    with served(mine, tmp_path / "server.log") as found:
        yield found
