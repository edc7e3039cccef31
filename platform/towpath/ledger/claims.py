"""Requests that bore an Idempotency-Key, in the ledger's database: who comes again gets the first answer again.

A key is claimed in a transaction of its own before anything is done, and answered in another one after. Whoever was
killed in between leaves a claim without an answer: it holds for `LEASE`, and then the request may be done again, which
the record's own keys and heads keep from being done twice where it matters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from sqlalchemy import delete, insert, select, update

from towpath.core.errors import BadInput, Conflict
from towpath.ledger import schema
from towpath.ledger.canonical import stamp
from towpath.ledger.engine import Database, connect
from towpath.ledger.table import claims

KEPT: Final = timedelta(hours=24)
"""How long an answer is given again."""
LEASE: Final = timedelta(minutes=5)
"""How long a request may take before another may do it again."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """An answer that was given: HTTP status and JSON text."""

    status: int
    answer: str


class Claims:
    """The claims of an installation. Safe for threads and processes. Raises what `SqlLedger` raises."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    @classmethod
    def at(cls, url: str, *, clock: Callable[[], datetime]) -> Self:
        """The claims in the ledger's database at that URL. Close it after use."""
        database = connect(url)
        try:
            schema.upgrade(database)
        except BaseException:
            database.engine.dispose()
            raise
        return cls(database, clock=clock)

    def close(self) -> None:
        """Give back every connection."""
        self._database.engine.dispose()

    def claim(self, person: str, key: str, request: str) -> Kept | None:
        """Claim a key for a request (its digest); None: it is the caller's to do. Else the answer that was given.

        Raises `BadInput` for a key that was another request's, and `Conflict` while the first is being done.
        """
        name, now = _name(person, key), self._clock()
        with self._database.writing() as connection:
            connection.execute(delete(claims).where(claims.c.claimed_at < stamp(now - KEPT)))
            row = connection.execute(select(claims).where(claims.c.claim == name)).mappings().one_or_none()
            if row is None:
                fresh = {"claim": name, "request": request, "claimed_at": stamp(now), "status": None, "answer": None}
                connection.execute(insert(claims), fresh)
                return None
            if row["request"] != request:
                raise BadInput(
                    "The Idempotency-Key was used for another request.",
                    value=key,
                    hint="Take a new key for each thing that is asked; keep it for asking that again.",
                )
            if row["status"] is not None:
                return Kept(status=row["status"], answer=row["answer"])
            if now - datetime.fromisoformat(row["claimed_at"]) < LEASE:
                raise Conflict("The same request is being done.", value=key, hint="Ask again in a moment.")
            connection.execute(update(claims).where(claims.c.claim == name), {"claimed_at": stamp(now)})
            return None

    def answer(self, person: str, key: str, kept: Kept) -> None:
        """Keep the answer for whoever asks again."""
        mine = claims.c.claim == _name(person, key)
        with self._database.writing() as connection:
            connection.execute(update(claims).where(mine), {"status": kept.status, "answer": kept.answer})

    def release(self, person: str, key: str) -> None:
        """Nothing came of it that would be the same again: who comes next does it."""
        mine = (claims.c.claim == _name(person, key)) & claims.c.status.is_(None)
        with self._database.writing() as connection:
            connection.execute(delete(claims).where(mine))


def _name(person: str, key: str) -> str:
    return hashlib.sha256(f"{person}\0{key}".encode()).hexdigest()
