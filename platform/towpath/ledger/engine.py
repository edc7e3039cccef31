"""A database that holds a ledger: SQLite or PostgreSQL, its transactions for reading and for writing.

A writing transaction holds the ledger's one lock from its first statement, so that whoever reads the last record in it
is the only one who can append behind it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from towpath.core.errors import Misconfigured, Unreachable, Unwritable
from towpath.ledger.refusals import refusal

FORMS: Final = ("sqlite:///PATH", "postgresql://USER:PASSWORD@HOST:PORT/DATABASE")

_WAIT_SECONDS: Final = 30  # for the lock, behind other writers
_SILENT_SECONDS: Final = 10  # of a writer, after which PostgreSQL gives its lock to the next: its network may be gone
_LOCK: Final = 0x746F7770617468  # "towpath": the advisory lock's number in a PostgreSQL database
_WRITES: Final = "towpath_writes"


@dataclass(frozen=True, kw_only=True)
class Database:
    """An engine, and the name under which errors speak of it (without its password)."""

    engine: Engine
    name: str

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that writes nothing; each of its queries sees one state of the record."""
        with self.translated(), self.engine.connect() as connection:
            _limit_waiting(connection)
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that holds the lock of writers; committed at the end, rolled back on an error."""
        with self.translated(), self.engine.execution_options(**{_WRITES: True}).begin() as connection:
            _limit_waiting(connection, writes=True)
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            yield connection

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise what the driver says as one of our errors."""
        try:
            yield
        except DBAPIError as error:
            raise refusal(error, self.name) from error
        except PoolTimeout as error:
            raise Unreachable(
                f"Every connection to the ledger {self.name} is in use.", hint="Try again later."
            ) from error


def _limit_waiting(connection: Connection, *, writes: bool = False) -> None:
    """Wait for locks no longer than SQLite does, and keep none for a writer that is silent.

    Local to the transaction: a pooler may share the session.
    """
    if connection.dialect.name == "postgresql":
        limits = {"lock_timeout": _WAIT_SECONDS}
        if writes:
            limits["idle_in_transaction_session_timeout"] = _SILENT_SECONDS
        wanted = ", ".join(f"set_config('{name}', '{seconds}s', true)" for name, seconds in limits.items())
        connection.execute(text(f"SELECT {wanted}"))


def connect(url: str) -> Database:
    """The database of a URL (`FORMS`); connects at the first transaction, not here.

    Raises `Misconfigured` for another URL and `Unwritable` for a SQLite file or folder that cannot be written.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed)
    return _postgresql(parsed)


def _parsed(url: str) -> URL:
    scheme = url.partition(":")[0]
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        # The URL itself stays out of the message: it may hold a password.
        raise Misconfigured("The ledger's URL cannot be read.", value=scheme, valid=FORMS) from error
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return parsed.set(drivername="sqlite+pysqlite")
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise Misconfigured(f"The ledger cannot lie in {parsed.drivername!r}.", value=scheme, valid=FORMS)


def _sqlite(url: URL) -> Database:
    if url.database in (None, "", ":memory:") or url.query:
        raise Misconfigured(
            f"The ledger's URL {url.render_as_string()} names no plain file.",
            value=url.database,
            valid=FORMS[:1],
        )
    file = Path(str(url.database)).absolute()
    _require_writable(file)
    engine = create_engine(
        url.set(database=str(file)),
        connect_args={"timeout": _WAIT_SECONDS},
        hide_parameters=True,
        pool_timeout=_WAIT_SECONDS,
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return Database(engine=engine, name=str(file))


def _require_writable(file: Path) -> None:
    hint = "Give this user the right to write there, or name another file."
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unwritable(f"The ledger's folder {file.parent} cannot be made: {error.strerror}.", hint=hint) from error
    if file.is_dir():
        raise Unwritable(f"The ledger {file} is a folder.", value=file, hint="Name a file in it.")
    # SQLite writes its log beside the file: the folder must be writable too.
    for path in (file.parent, file):
        if path.exists() and not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise Unwritable(f"The ledger {file} cannot be written: {path} is read-only.", value=path, hint=hint)


def _set_up_sqlite(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # the driver begins no transactions of its own; `_begin_sqlite` does
    # Text that is no longer UTF-8 is a record that was tampered with, to be named by `verify` like any other.
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    connection.execute("PRAGMA synchronous = FULL")
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            # SQLite does not wait here for another process that sets up the same new file.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql(url: URL) -> Database:
    from towpath.ledger.patience import NOTICES, Patient  # the driver is loaded by who uses it

    def connected(_: object, __: object, ___: object, arguments: dict[str, Any]) -> Patient:
        return Patient.connect(**{**NOTICES, **arguments})

    engine = create_engine(
        url,
        connect_args={"prepare_threshold": None},  # a pooler between us and the server may not keep them
        hide_parameters=True,
        pool_pre_ping=True,
        pool_timeout=_WAIT_SECONDS,
        # Each statement sees what was committed before it: after the lock, the last record is the last.
        isolation_level="READ COMMITTED",
    )
    event.listen(engine, "do_connect", connected)
    return Database(engine=engine, name=url.render_as_string(hide_password=True))
