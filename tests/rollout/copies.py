"""Databases that begin as copies of one: files, or databases of one PostgreSQL server."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol

import psycopg

FILE = "sqlite:///"


class Copies(Protocol):
    """Copies of a database, by name."""

    def make(self, name: str) -> str:
        """The URL of a new copy."""

    def drop(self, name: str) -> None:
        """A copy that nobody needs any more."""


class Files:
    def __init__(self, template: str, folder: Path) -> None:
        self._template = Path(template.removeprefix(FILE))
        self._folder = folder

    def make(self, name: str) -> str:
        file = self._folder / f"{name}.db"
        shutil.copyfile(self._template, file)
        return f"{FILE}{file}"

    def drop(self, name: str) -> None:
        for stale in self._folder.glob(f"{name}.db*"):
            stale.unlink()


class Databases:
    """Nobody may be connected to the template meanwhile. The server is administered in its database `postgres`."""

    def __init__(self, template: str) -> None:
        self._server, self._template = template.rsplit("/", 1)

    def make(self, name: str) -> str:
        self._say(f"CREATE DATABASE {self._template}_{name} TEMPLATE {self._template} STRATEGY wal_log")
        return f"{self._server}/{self._template}_{name}"

    def drop(self, name: str) -> None:
        self._say(f"DROP DATABASE {self._template}_{name} WITH (FORCE)")

    def _say(self, statement: str) -> None:
        with psycopg.connect(f"{self._server}/postgres", autocommit=True) as connection:
            connection.execute(statement.encode())


def copies(template: str, folder: Path) -> Copies:
    return Files(template, folder) if template.startswith(FILE) else Databases(template)
