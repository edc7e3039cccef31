"""What SQLite and PostgreSQL say when they refuse, as our errors: by code where there is one, else by their words."""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError

from towpath.core.errors import IntegrityError, Misconfigured, TowpathError, Unreachable, Unwritable
from towpath.ledger.chain import GATE

_LATER: Final = "Start it or correct the address, then try again."
_WRITE: Final = "Free space on the disk, or give this user the right to write."
_SETTINGS: Final = "Correct user, password, database name or rights."

# https://www.postgresql.org/docs/current/errcodes-appendix.html; the longest prefix counts.
_STATES: Final[dict[str, type[TowpathError]]] = {
    "08": Unreachable,  # connection
    "40": Unreachable,  # rolled back in favour of another transaction
    "53": Unreachable,  # resources, such as connections
    "53100": Unwritable,  # disk full
    "55P03": Unreachable,  # the lock was not to be had
    "57": Unreachable,  # cancelled, shutting down, starting up
    "58": Unwritable,  # the server's own input and output
    "23": IntegrityError,
    "25006": Unwritable,  # read-only: a standby, or so configured
    "25P03": Unreachable,  # we were silent in the middle of a transaction for too long
    "XX001": IntegrityError,  # corrupted table
    "XX002": IntegrityError,  # corrupted index
}
# A refused connection carries no code. FATAL is the server's own word: it answered.
_REFUSED: Final = (
    "FATAL:",
    "no password supplied",
    "SSL",
    "certificate",
    "invalid port",
    "invalid connection option",
)
_BUSY: Final = (
    "starting up",
    "shutting down",
    "not yet accepting",
    "recovery mode",
    "too many",
    "remaining connection slots",
)

_SQLITE: Final[dict[int, type[TowpathError]]] = {
    sqlite3.SQLITE_BUSY: Unreachable,
    sqlite3.SQLITE_LOCKED: Unreachable,
    sqlite3.SQLITE_READONLY: Unwritable,
    sqlite3.SQLITE_CANTOPEN: Unwritable,
    sqlite3.SQLITE_FULL: Unwritable,
    sqlite3.SQLITE_IOERR: Unwritable,
    sqlite3.SQLITE_PERM: Unwritable,
    sqlite3.SQLITE_CONSTRAINT: IntegrityError,
    sqlite3.SQLITE_CORRUPT: IntegrityError,
}


def refusal(error: DBAPIError, name: str) -> TowpathError:
    """The error of ours that a driver's error is. `name` is the database's, without its password."""
    said = " ".join(str(error.orig).split()).rstrip(".")
    if isinstance(error.orig, sqlite3.Error):
        kind = _SQLITE.get(getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF, Misconfigured)
        return _error(kind, name, said, later="Another process holds it; try again.")
    state = getattr(error.orig, "sqlstate", None)
    return _error(_by_words(said) if state is None else _by_state(state), name, said, later=_LATER)


def _by_state(state: str) -> type[TowpathError]:
    for length in (5, 2):
        if state[:length] in _STATES:
            return _STATES[state[:length]]
    return Misconfigured


def _by_words(said: str) -> type[TowpathError]:
    refused = any(words in said for words in _REFUSED) and not any(words in said for words in _BUSY)
    return Misconfigured if refused else Unreachable


def _error(kind: type[TowpathError], name: str, said: str, *, later: str) -> TowpathError:
    if kind is Unreachable:
        return Unreachable(f"The ledger {name} does not answer: {said}.", value=name, hint=later)
    if kind is Unwritable:
        return Unwritable(f"The ledger {name} cannot be written: {said}.", value=name, hint=_WRITE)
    if kind is IntegrityError:
        hint = "Run `towpath ledger verify`; nothing was written."
        return IntegrityError(f"The ledger {name} refuses what is asked: {said}.", gate=GATE, value=name, hint=hint)
    return Misconfigured(f"The ledger {name} refuses what was configured: {said}.", value=name, hint=_SETTINGS)
