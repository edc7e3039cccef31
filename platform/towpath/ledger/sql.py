"""The ledger in a database."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

from sqlalchemy import Connection, RowMapping, Select, insert, select

from towpath.core.errors import Conflict, IntegrityError
from towpath.core.evidence import Record, RecordKind
from towpath.core.tampering import Tampering
from towpath.ledger import chain, schema
from towpath.ledger.chain import Stored
from towpath.ledger.checkpoints import Checkpoint
from towpath.ledger.diagnosis import Place
from towpath.ledger.engine import Database, connect
from towpath.ledger.noted import Noted
from towpath.ledger.signing import Pen
from towpath.ledger.table import records
from towpath.ledger.trust import Trust
from towpath.ledger.verification import BEGINNING, Walk, alone
from towpath.ports import Draft, Fault, Keys, Verification

_PAGE: Final = 256  # rows held in memory at once


class SqlLedger:
    """The append-only, hash-chained record in SQLite or PostgreSQL.

    Safe for threads and for any number of processes. Every method raises `Unreachable` when the database does not
    answer (temporary), `Unwritable` when it cannot be written, `Misconfigured` when it refuses the settings, and
    `IntegrityError` when its contents are not what was written.
    """

    def __init__(self, database: Database, pen: Pen, *, owner: Self | None = None) -> None:
        self._database = database
        self._pen = pen
        self._owner = owner
        self._whole: _Whole | None = None

    @classmethod
    def open(
        cls,
        url: str,
        *,
        clock: Callable[[], datetime],
        keys: Keys | None = None,
        via: str | None = None,
        noted: Path | None = None,
    ) -> Self:
        """Open the ledger at `sqlite:///PATH` or `postgresql://…`, creating or upgrading its table.

        `clock` tells the time of each record, with a time zone; `keys` sign it, and `via` says in it how it was known
        who acts. `noted`: the file of the checkpoint that is kept of it, with which every verification compares. Close
        the ledger after use, or use it in a `with`.
        """
        database = connect(url)
        try:
            schema.upgrade(database)
        except BaseException:
            database.engine.dispose()
            raise
        kept = Noted(file=noted, keys=keys) if noted is not None and keys is not None else None
        return cls(database, Pen(clock=clock, keys=keys, via=via, noted=kept))

    def speaking(self, via: str | None) -> Self:
        """The same ledger for one who is known otherwise; it shares the connections, and closing it keeps them."""
        return type(self)(self._database, replace(self._pen, via=via), owner=self._owner or self)

    def close(self) -> None:
        """Give back every connection."""
        if self._owner is None:
            self._database.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, draft: Draft, *, actor: str, behind: str | None = None) -> Record:
        """Write a record in one transaction, or return the one already written under the draft's key.

        When this returns, the record outlives the process and the machine's power. Killed before it returns, either
        nothing was written or the whole record; repeating a draft that has a key is then safe. Raises `BadInput` for a
        draft that cannot be a record, `Misconfigured` for a process without a key, and `Denied` for a clock that is
        behind the record.
        """
        chain.check(draft, actor)
        with self._database.writing() as connection:
            found = keyed(connection, draft.key)
            if found is not None:
                return found
            if behind is not None:
                require_last(connection, behind)
            record = write(connection, draft, actor=actor, pen=self._pen)
        note(self._database, record, self._pen)
        return record

    def find(self, key: str) -> Record | None:
        """The record written under that key."""
        chain.check_text(key=key)
        with self._database.reading() as connection:
            return keyed(connection, key)

    def head(self) -> Record | None:
        """The last record. Its sequence and hash, noted elsewhere, show later whether the end was cut off."""
        with self._database.reading() as connection:
            last = _one(connection, _last())
        return chain.read(last) if last else None

    def records(
        self,
        *,
        project: str | None = None,
        candidate: str | None = None,
        kind: RecordKind | None = None,
        after: int = 0,
    ) -> Iterator[Record]:
        """Records in order of their sequence, those beyond `after`, a page at a time.

        No transaction stays open between pages: a reader may be slow, stop half-way, or append meanwhile.
        """
        chain.check_text(project=project, candidate=candidate)
        query = _rows().order_by(records.c.sequence).limit(_PAGE)
        if project is not None:
            query = query.where(records.c.project == project)
        if candidate is not None:
            query = query.where(records.c.candidate == candidate)
        if kind is not None:
            query = query.where(records.c.kind == kind.value)
        while True:
            with self._database.reading() as connection:
                page = [_stored(row) for row in connection.execute(query.where(records.c.sequence > after)).mappings()]
            yield from map(chain.read, page)
            if len(page) < _PAGE:
                return
            after = page[-1].sequence

    def require_written(self, record: Record) -> None:
        """Recompute the record's hash and digest, and check its signature: by a key that counted at its place."""
        trust = Trust.of(self._pen.keys) if self._pen.keys is not None else None
        if wrong := alone(chain.store(record), trust, signed_before=False):
            raise IntegrityError(
                f"Record {record.sequence} of the ledger is not as it was written. {wrong[0]}",
                gate=chain.GATE,
                value=record.sequence,
                hint="Someone changed the database. `towpath ledger verify` names every bad record.",
            )

    def verify(self, *, trusting: timedelta | None = None) -> Verification:
        """Recompute every hash, digest, link and signature, over one state of the whole table, a page at a time.

        `trusting`: for how long after a verification of everything what it found whole is taken for whole still; then
        only the last record of then and those behind it are looked at. See `towpath.ledger.chain` for what a chain
        cannot show by itself.
        """
        owner = self._owner or self
        known = owner._whole if trusting is not None else None
        if known is not None and trusting is not None and time.monotonic() - known.since < trusting.total_seconds():
            found = self._walk(known)
            if found is not None:
                return found
        began = time.monotonic()
        whole = self._walk(None, began=began)
        assert whole is not None
        return whole

    def _walk(self, known: _Whole | None, *, began: float = 0.0) -> Verification | None:
        """Verify from the beginning, or behind what is known to be whole; None where that is no longer there."""
        keys = self._pen.keys
        checkpoint, unread = self._noted()  # before the records: it may grow meanwhile, and they do
        place = known.place if known is not None else BEGINNING
        walk = Walk(
            trust=Trust.of(keys) if keys is not None else None,
            place=place,
            signed=known.signed if known is not None else 0,
            checkpoints=[checkpoint] if checkpoint is not None and checkpoint.size > place.sequence else (),
        )
        with self._database.reading() as connection:
            query = _rows().where(records.c.sequence >= place.sequence).order_by(records.c.sequence)
            with connection.execute(query.execution_options(yield_per=_PAGE)) as result:
                rows = (_stored(row) for row in result.mappings())
                if known is not None and ((last := next(rows, None)) is None or not _is_still(last, place)):
                    return None
                for row in rows:
                    walk.step(row)
        found = _with(walk.result(), unread)
        if found.whole and found.records:
            since = known.since if known is not None else began
            (self._owner or self)._whole = _Whole(place=walk.place, signed=walk.signed, since=since)
        return found

    def _noted(self) -> tuple[Checkpoint | None, str]:
        """The checkpoint that is kept of this ledger; else why it cannot be read."""
        try:
            return (self._pen.noted.read() if self._pen.noted is not None else None), ""
        except IntegrityError as error:
            return None, error.message


def _with(found: Verification, unread: str) -> Verification:
    """With the fault of a checkpoint that could not be read, which stands behind those of the records."""
    if not unread:
        return found
    fault = Fault(sequence=found.records, what=unread, kind=Tampering.FORGED)
    return replace(found, faults=(*found.faults, fault), verdict=found.verdict or fault)


@dataclass(frozen=True, kw_only=True)
class _Whole:
    """Up to where a ledger was found whole, and when everything up to there was last looked at (monotonic seconds)."""

    place: Place
    signed: int
    since: float


def _is_still(row: Stored, place: Place) -> bool:
    """Whether the row is the one that was the last, and is as it was."""
    return (row.sequence, row.hash) == (place.sequence, place.hash) and not chain.contradictions(row)


def keyed(connection: Connection, key: str | None) -> Record | None:
    """The record written under that key."""
    found = None if key is None else _one(connection, _rows().where(records.c.key == key))
    return chain.read(found) if found else None


def write(connection: Connection, draft: Draft, *, actor: str, pen: Pen) -> Record:
    """Append a record in a transaction that holds the lock of writers."""
    record = pen.write(draft, actor=actor, last=_one(connection, _last()))
    connection.execute(insert(records), asdict(chain.store(record)))
    return record


def note(database: Database, record: Record, pen: Pen) -> None:
    """Note a checkpoint behind a record that was written, where one is due."""
    if pen.noted is not None and pen.noted.due(record):
        with database.reading() as connection:
            first = _one(connection, _rows().where(records.c.sequence == 1))

            def at(sequence: int) -> str | None:
                found = _one(connection, _rows().where(records.c.sequence == sequence))
                return found.hash if found is not None else None

            if first is not None:
                pen.noted.note(chain.read(first), record, at)


def require_last(connection: Connection, behind: str) -> None:
    """Raises `Conflict` unless the last record is the one with that hash."""
    last = _one(connection, _last())
    if last is None or last.hash != behind:
        raise Conflict(
            "The record moved on while this was decided.",
            value=behind,
            valid=[last.hash] if last is not None else (),
            hint="Look again, and decide again.",
        )


def _rows() -> Select[Any]:
    return select(*(records.c[name] for name in chain.FIELDS))


def _last() -> Select[Any]:
    return _rows().order_by(records.c.sequence.desc()).limit(1)


def _stored(row: RowMapping) -> Stored:
    return Stored(**{str(name): value for name, value in row.items()})


def _one(connection: Connection, query: Select[Any]) -> Stored | None:
    row = connection.execute(query).mappings().one_or_none()
    return _stored(row) if row is not None else None
