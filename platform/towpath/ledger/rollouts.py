"""The rollouts in the ledger's database: rows that change, each change in one transaction with its record.

Where records are signed a row is sealed with the same key: what the judge has seen between two decisions is in no
record, and whoever may write the database and has no key cannot change it. The lease has no seal.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from pydantic import ValidationError
from sqlalchemy import Connection, RowMapping, Select, insert, or_, select, update

from towpath.core.errors import Denied, IntegrityError, NotFound
from towpath.core.evidence import Record
from towpath.core.rollout import Rollout
from towpath.ledger import chain, schema
from towpath.ledger.canonical import canonical, parse, stamp
from towpath.ledger.engine import Database, connect
from towpath.ledger.noted import Noted
from towpath.ledger.signing import Pen
from towpath.ledger.sql import keyed, note, require_last, write
from towpath.ledger.table import rollouts
from towpath.ports import Draft, Keys, Purpose

_SEAL: Final = "seal"


class SqlRollouts:
    """Every rollout, in SQLite or PostgreSQL. Safe for threads and for any number of processes.

    Raises what `SqlLedger` raises, and `Denied` to whoever comes second.
    """

    def __init__(self, database: Database, pen: Pen, *, owns: bool = True) -> None:
        self._database = database
        self._pen = pen
        self._owns = owns

    @classmethod
    def at(
        cls,
        url: str,
        *,
        clock: Callable[[], datetime],
        keys: Keys | None = None,
        via: str | None = None,
        noted: Path | None = None,
    ) -> Self:
        """The rollouts of the ledger at that URL, whose tables are created or upgraded. Close it after use.

        `clock`, `keys`, `via` and `noted` are as of `SqlLedger.open`.
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
        """The same rollouts for one who is known otherwise; closing them keeps the connections."""
        return type(self)(self._database, replace(self._pen, via=via), owns=False)

    def close(self) -> None:
        """Give back every connection."""
        if self._owns:
            self._database.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, project: str) -> Rollout | None:
        """The project's rollout that is in no final phase."""
        chain.check_text(project=project)
        with self._database.reading() as connection:
            return self._open(connection, project)

    def get(self, rollout_id: str) -> Rollout:
        """Raises `NotFound`."""
        chain.check_text(rollout_id=rollout_id)
        with self._database.reading() as connection:
            row = connection.execute(_rows().where(rollouts.c.rollout_id == rollout_id)).mappings().one_or_none()
        if row is None:
            raise NotFound(
                f"There is no rollout {rollout_id!r}.", value=rollout_id, hint="`towpath rollout status` lists them."
            )
        return self._read(row)

    def history(self, project: str) -> tuple[Rollout, ...]:
        """Every rollout of the project, the newest first."""
        chain.check_text(project=project)
        query = _rows().where(rollouts.c.project == project).order_by(rollouts.c.started_at.desc())
        with self._database.reading() as connection:
            return tuple(self._read(row) for row in connection.execute(query).mappings())

    def create(self, rollout: Rollout, draft: Draft, *, actor: str, behind: str | None = None) -> Record:
        """Begin a rollout, row and record in one transaction. Raises `Denied` while another of the project is open.

        `behind`: as of `SqlLedger.append`.
        """
        chain.check(draft, actor)
        with self._database.writing() as connection:
            if (other := self._open(connection, rollout.project)) is not None:
                raise Denied(
                    f"Rollout {other.rollout_id} of {rollout.project} is {other.phase}; one at a time.",
                    value=other.rollout_id,
                    hint="Let it come to its end, or end it: `towpath rollout abort`, `towpath rollout rollback`.",
                )
            fields = {"rollout_id": rollout.rollout_id, "project": rollout.project}
            started = stamp(rollout.started_at)
            if behind is not None:
                require_last(connection, behind)
            connection.execute(
                insert(rollouts), {**fields, "started_at": started, "lease": None, **self._moving(rollout)}
            )
            record = _recorded(connection, draft, actor=actor, pen=self._pen)
        note(self._database, record, self._pen)
        return record

    def advance(
        self, before: Rollout, after: Rollout, draft: Draft | None, *, actor: str, behind: str | None = None
    ) -> Record | None:
        """Replace `before` by `after`, row and record in one transaction.

        Raises `Denied`, and writes nothing, when the generation is no longer that of `before`, or when a record has the
        draft's key already. The lease stays what it is. `behind`: as of `SqlLedger.append`.
        """
        if draft is not None:
            chain.check(draft, actor)
        mine = (rollouts.c.rollout_id == before.rollout_id) & (rollouts.c.generation == before.generation)
        with self._database.writing() as connection:
            changed = connection.execute(update(rollouts).where(mine), self._moving(after))
            if changed.rowcount != 1:
                raise Denied(
                    f"Rollout {before.rollout_id} has moved on from generation {before.generation}.",
                    value=before.generation,
                    hint="Look where it is now (`towpath rollout status`), and decide again.",
                )
            if behind is not None:
                require_last(connection, behind)
            record = None if draft is None else _recorded(connection, draft, actor=actor, pen=self._pen)
        if record is not None:
            note(self._database, record, self._pen)
        return record

    def renew(self, rollout_id: str, generation: int, until: datetime) -> bool:
        """Extend the lease of that generation, never shorten it; False when the rollout has moved on."""
        mine = (rollouts.c.rollout_id == rollout_id) & (rollouts.c.generation == generation)
        shorter = or_(rollouts.c.lease.is_(None), rollouts.c.lease < stamp(until))
        with self._database.writing() as connection:
            connection.execute(update(rollouts).where(mine & shorter), {"lease": stamp(until)})
            return connection.execute(select(rollouts.c.rollout_id).where(mine)).first() is not None

    def _open(self, connection: Connection, project: str) -> Rollout | None:
        query = _rows().where((rollouts.c.project == project) & (rollouts.c.is_open == 1))
        row = connection.execute(query).mappings().one_or_none()
        return self._read(row) if row is not None else None

    def _moving(self, rollout: Rollout) -> dict[str, Any]:
        """The columns that a new generation changes. The lease has one of its own: it is renewed without a new one."""
        body = rollout.model_dump(mode="json", exclude={"lease_until"})
        moving = {"generation": rollout.generation, "is_open": int(rollout.open)}
        if self._pen.keys is None:
            return {**moving, "body": canonical(body)}
        signer, signature = self._pen.keys.sign(Purpose.LEDGER, _payload(body))
        seal = {"signer": signer, "signature": base64.b64encode(signature).decode("ascii")}
        return {**moving, "body": canonical({**body, _SEAL: seal})}

    def _read(self, row: RowMapping) -> Rollout:
        """Raises `IntegrityError` when the row holds no rollout, another than its key and generation say, or none that
        was written with a trusted key. A process without keys can tell nothing of the last, as of no record.
        """
        try:
            body = parse(row["body"])
            seal = body.pop(_SEAL, None)
            found = Rollout.model_validate({**body, "lease_until": row["lease"]})
        except (ValueError, TypeError, AttributeError, ValidationError) as error:
            raise _changed(row, "holds no rollout") from error
        if (found.rollout_id, found.generation) != (row["rollout_id"], row["generation"]):
            raise _changed(row, "holds another rollout or generation")
        if self._pen.keys is not None and not _sealed(self._pen.keys, body, seal):
            raise _changed(row, "was written or changed by hand: its seal is not ours")
        return found


def _sealed(keys: Keys, body: dict[str, Any], seal: object) -> bool:
    """Whether a key that is trusted, or was, sealed the row. Which rows a stolen one could seal the record bounds."""
    if not isinstance(seal, dict):
        return False
    try:
        signature = base64.b64decode(str(seal.get("signature")), validate=True)
    except ValueError:
        return False
    return keys.verifies(Purpose.LEDGER, str(seal.get("signer")), _payload(body), signature)


def _payload(body: dict[str, Any]) -> bytes:
    """The bytes that seal a row: canonical JSON of `{"rollout": {…}}`, which no record's signature covers."""
    return canonical({"rollout": body}).encode("utf-8")


def _recorded(connection: Connection, draft: Draft, *, actor: str, pen: Pen) -> Record:
    """Append the draft, or end the transaction: what stands under its key was decided by another."""
    if (other := keyed(connection, draft.key)) is not None:
        raise Denied(
            f"{other.actor} decided this before, in record {other.sequence}.",
            value=other.sequence,
            hint="Look where it is now (`towpath rollout status`), and decide again.",
        )
    return write(connection, draft, actor=actor, pen=pen)


def _rows() -> Select[Any]:
    return select(rollouts.c.rollout_id, rollouts.c.generation, rollouts.c.lease, rollouts.c.body)


def _changed(row: RowMapping, what: str) -> IntegrityError:
    return IntegrityError(
        f"The row of rollout {row['rollout_id']} {what}.",
        gate=chain.GATE,
        value=row["rollout_id"],
        hint="Someone changed the database. Restore it from its backup; until then the champion serves alone.",
    )
