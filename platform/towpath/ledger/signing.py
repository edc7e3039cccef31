"""Signatures over records: what is signed, and who may write a record at all.

A signature covers actor, hash and via, and the hash covers the rest: somebody who may change the database, and
recomputes every hash, still cannot sign. That it covers actor and via once more beside the hash tells a forged actor
from any other edit.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from towpath.core.errors import Denied, Misconfigured
from towpath.core.evidence import Record
from towpath.ledger import chain
from towpath.ledger.canonical import plain, stamp
from towpath.ledger.chain import Stored
from towpath.ledger.noted import Noted
from towpath.ports import Draft, Keys, Purpose

TOLERANCE: Final = timedelta(seconds=60)
"""How far a writer's clock may be behind the last record; clocks of several machines differ."""


@dataclass(frozen=True, kw_only=True)
class Pen:
    """Who writes records: the clock that dates them, the keys that sign them, and how it is known who acts.

    Without `keys` records are not signed, which only a ledger that has no signed record takes. `noted`: where the
    checkpoint is that this installation keeps of the ledger.
    """

    clock: Callable[[], datetime]
    keys: Keys | None = None
    via: str | None = None
    noted: Noted | None = None

    def write(self, draft: Draft, *, actor: str, last: Stored | None) -> Record:
        """The record that the draft becomes behind the last one, signed.

        Raises `Misconfigured` for a process that has no key, or none of this ledger's, and `Denied` for a clock that is
        more than `TOLERANCE` behind the last record.
        """
        at = self._time(last)
        _require_ours(self.keys, last)
        while True:
            signer = self.keys.key_id(Purpose.LEDGER) if self.keys is not None else None
            record = chain.seal(
                draft,
                previous=last.hash if last else None,
                sequence=last.sequence + 1 if last else 1,
                at=at,
                actor=actor,
                via=self.via,
                signer=signer,
            )
            if self.keys is None:
                return record
            key_id, signature = self.keys.sign(Purpose.LEDGER, payload(actor, record.hash, self.via))
            if key_id == signer:  # else the key was rotated in between
                return record.model_copy(update={"signature": base64.b64encode(signature).decode("ascii")})

    def _time(self, last: Stored | None) -> datetime:
        """The clock's time; a little behind the last record, that record's: time never goes back in the record."""
        now = self.clock()
        stamp(now)  # refuses a time without a zone
        at = now.astimezone(UTC)
        before = chain.read(last).at if last is not None else at
        if before - at > TOLERANCE:
            raise Denied(
                f"The clock is behind the record: it says {at:%Y-%m-%d %H:%M:%S} UTC, and the last record was written "
                f"at {before:%Y-%m-%d %H:%M:%S} UTC.",
                value=at.isoformat(),
                hint="Set this machine's clock. Where the record is ahead of time, find out who wrote it.",
            )
        return max(at, before)


def payload(actor: str, hash_: str, via: str | None) -> bytes:
    """The bytes that are signed: canonical JSON (RFC 8785) of `{"actor", "hash", "via"}`."""
    return f'{{"actor":{plain(actor)},"hash":{plain(hash_)},"via":{plain(via)}}}'.encode()


def signature_of(stored: Stored) -> bytes | None:
    """The signature's bytes; None for what is not base64 of 64 bytes, written the one way."""
    try:
        found = base64.b64decode(str(stored.signature).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    return found if len(found) == 64 and base64.b64encode(found).decode("ascii") == stored.signature else None


def _require_ours(keys: Keys | None, last: Stored | None) -> None:
    """A record goes behind signed ones only signed, and only by somebody who trusts the one that signed the last."""
    if last is None or last.signer is None:
        return
    if keys is None:
        raise Misconfigured(
            "The ledger's records are signed, and this process has no keys.",
            value=last.signer,
            hint="Set TOWPATH_KEYS to the folder that has them, or leave the writing to a process that has one.",
        )
    if last.signer not in keys.trusted(Purpose.LEDGER):
        raise Misconfigured(
            f"The ledger's last record is signed by the key {last.signer}, which this installation does not trust.",
            value=last.signer,
            valid=sorted(keys.trusted(Purpose.LEDGER)),
            hint="Give every process that writes this ledger the same folder of keys: TOWPATH_KEYS.",
        )
