"""The ledger's database as its owner has it, SQLite or PostgreSQL: SQL without the triggers, and whole copies."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psycopg
import pytest

from bypass.scene import Scene
from towpath import wiring
from towpath.ledger.backup import backup, restore

EITHER = pytest.mark.parametrize("scene", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)
"""For attacks by SQL: the scene over each database."""
_FILE: Final = "sqlite:///"


@dataclass(frozen=True, kw_only=True)
class Database:
    """An open connection to either; `?` marks a value in both."""

    connection: Any
    mark: str

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """The driver's own cursor."""
        return self.connection.execute(statement.replace("?", self.mark), values)


@contextmanager
def sql(scene: Scene) -> Iterator[Database]:
    """As its owner opens it: the triggers that let it only grow are dropped. Committed at the end."""
    with _connected(scene.settings.ledger) as (database, triggers):
        for name, table in database.execute(triggers).fetchall():
            database.execute(f'drop trigger "{name}"' + (f' on "{table}"' if table else ""))
        database.connection.commit()
        with database.connection:
            yield database


@contextmanager
def _connected(url: str) -> Iterator[tuple[Database, str]]:
    """A connection, and the query for its triggers."""
    if url.startswith(_FILE):
        with closing(sqlite3.connect(url.removeprefix(_FILE))) as connection:
            named = "select name, null from sqlite_master where type = 'trigger'"
            yield Database(connection=connection, mark="?"), named
        return
    with closing(psycopg.connect(url)) as connected:
        named = "select tgname, tgrelid::regclass::text from pg_trigger where not tgisinternal"
        yield Database(connection=connected, mark="%s"), named


def moved(scene: Scene, url: str) -> None:
    """Move the scene's ledger into an empty database, as an installation grows: by backup and restore."""
    keys, file = wiring.open_keys(scene.settings), scene.state / "moved.zip"
    backup(scene.settings.ledger, file, keys=keys)
    restore(file, url, keys=keys)
    for left in scene.state.glob("ledger.db*"):
        left.unlink()
    scene.environment["TOWPATH_LEDGER"] = url


def copied(scene: Scene) -> str:
    """A copy of the whole database under another address."""
    url = scene.settings.ledger
    if url.startswith(_FILE):
        file = scene.state / f"{uuid4().hex}.db"
        with sql(scene) as database:
            database.execute("vacuum into ?", (str(file),))
        return f"{_FILE}{file}"
    place, _, name = url.rpartition("/")
    copy = f"copy_{uuid4().hex}"
    _administer(place, f"create database {copy} template {name}")
    return f"{place}/{copy}"


def put_back(scene: Scene, copy: str) -> None:
    """The copy takes the place of the database, whole."""
    url = scene.settings.ledger
    if url.startswith(_FILE):
        for file in scene.state.glob("ledger.db*"):
            file.unlink()
        shutil.copyfile(Path(copy.removeprefix(_FILE)), Path(url.removeprefix(_FILE)))
        return
    place, _, name = url.rpartition("/")
    _administer(
        place,
        f"drop database {name} with (force)",
        f"alter database {copy.rpartition('/')[2]} rename to {name}",
    )


def _administer(place: str, *statements: str) -> None:
    with psycopg.connect(f"{place}/postgres", autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())
