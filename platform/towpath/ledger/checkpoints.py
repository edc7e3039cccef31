"""Checkpoints: signed words of how long a ledger was and which record was its last, for whoever keeps them elsewhere.

The form is that of C2SP's signed notes (https://c2sp.org/signed-note) with the lines of a checkpoint
(https://c2sp.org/tlog-checkpoint): origin, size, and in place of a tree's root the SHA-256 that is the last record's
hash, which covers every record before; then, as an extension line, that record's time. Any implementation of signed
notes verifies one.

    towpath.dev/ledger/5f0c…      the first record's hash
    1234
    zDkQ…=                        base64 of the last record's hash
    at 2026-01-31T05:00:00.000000Z

    — towpath.dev/key/3f2a… kLs7…
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from towpath.core import digest as digests
from towpath.core.errors import BadInput, IntegrityError
from towpath.core.evidence import Record
from towpath.core.tampering import Tampering
from towpath.ledger.canonical import stamp
from towpath.ledger.chain import GATE
from towpath.ports import Fault, Keys, Purpose

_ORIGIN: Final = "towpath.dev/ledger/"
_KEY: Final = "towpath.dev/key/"
_ED25519: Final = b"\x01"  # the signature's type in a key's hash
_BODY: Final = re.compile(r"(?P<origin>[^\n]+)\n(?P<size>[1-9][0-9]{0,15})\n(?P<head>[^\n]+)\nat (?P<at>[^\n]+)\n")
_SIGNATURE: Final = re.compile(r"— (?P<name>[^ +\n]+) (?P<signature>[A-Za-z0-9+/=]+)")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A ledger as it was: whose first record has the hash in `origin`, with `size` records, `head` the last's hash.

    `at` is the last record's time, as it is hashed.
    """

    origin: str
    size: int
    head: str
    at: str


def checkpoint_of(first: Record, last: Record) -> Checkpoint:
    """The checkpoint of the ledger from its first to its last record."""
    return Checkpoint(origin=origin(first.hash), size=last.sequence, head=last.hash, at=stamp(last.at))


def origin(first: str) -> str:
    """The name of the ledger that begins with the record of that hash."""
    return _ORIGIN + first.removeprefix(digests.PREFIX)[:32]


def write(checkpoint: Checkpoint, keys: Keys) -> str:
    """The signed note. Raises `Misconfigured` where this process has no key."""
    head = base64.b64encode(bytes.fromhex(checkpoint.head.removeprefix(digests.PREFIX))).decode()
    body = f"{checkpoint.origin}\n{checkpoint.size}\n{head}\nat {checkpoint.at}\n"
    key_id, signature = keys.sign(Purpose.LEDGER, body.encode())
    pem = keys.trusted(Purpose.LEDGER)[key_id].pem
    signed = base64.b64encode(_key_hash(key_id, pem) + signature).decode()
    return f"{body}\n— {_KEY}{key_id} {signed}\n"


def read(text: str, keys: Keys) -> Checkpoint:
    """The checkpoint of a signed note, which may bear signatures of others too.

    Raises `BadInput` for text that is none, and `IntegrityError` for one without a signature by a trusted key.
    """
    body, _, lines = text.partition("\n\n")
    body += "\n"
    found = _BODY.fullmatch(body)
    head = _decoded(found["head"]) if found else None
    if found is None or head is None or len(head) != 32:
        raise BadInput(
            "This is no checkpoint of a ledger.",
            value=text[:60],
            hint="`towpath ledger checkpoint --out FILE` writes one: origin, size, hash and time, then signatures.",
        )
    size = int(found["size"])
    if not any(_signed(line, body.encode(), size, keys) for line in lines.splitlines()):
        raise IntegrityError(
            f"The checkpoint of {size:,} records is not signed by a trusted key.",
            gate=GATE,
            value=str(size),
            valid=sorted(keys.trusted(Purpose.LEDGER)),
            hint="Get the checkpoint, or the trusted public keys, from where they are kept.",
        )
    return Checkpoint(origin=found["origin"], size=size, head=digests.PREFIX + head.hex(), at=found["at"])


class Comparison:
    """What a ledger shows of what its checkpoints say, while its records pass by."""

    def __init__(self, checkpoints: Sequence[Checkpoint]) -> None:
        self._checkpoints = sorted(checkpoints, key=lambda item: item.size)
        self._hashes: dict[int, str] = {}
        self._sizes = {1, *(item.size for item in checkpoints)}
        self._later: dict[int, int] = {}

    def step(self, sequence: int, hash_: str, at: str) -> None:
        """Note what a checkpoint speaks of; nothing of it is held otherwise."""
        if sequence in self._sizes:
            self._hashes[sequence] = hash_
        for item in self._checkpoints:
            if sequence <= item.size and at > item.at:
                self._later.setdefault(item.size, sequence)

    def faults(self, records: int) -> tuple[Fault, ...]:
        """What does not agree with a ledger of that many records, the first place first."""
        found = [fault for item in self._checkpoints if (fault := self._fault(item, records)) is not None]
        return tuple(sorted(found, key=lambda fault: fault.sequence))

    def _fault(self, item: Checkpoint, records: int) -> Fault | None:
        begins = self._hashes.get(1)  # not known where only the end is looked at
        if begins is not None and origin(begins) != item.origin:
            what = "Record 1 is not the one that the checkpoint's ledger begins with: rewritten, or another ledger."
            return Fault(sequence=1, what=what, kind=Tampering.REWRITTEN)
        if records < item.size:
            what = (
                f"{_records(records + 1, item.size)} cut off the end: a checkpoint knows {item.size:,} records, "
                f"the last of {item.at}."
            )
            return Fault(sequence=records + 1, what=what, kind=Tampering.TRUNCATED)
        if self._hashes.get(item.size) == item.head:
            return None
        later = self._later.get(item.size)
        if later is not None:
            what = (
                f"{_records(later, item.size)} cut off the end, and others were written in their stead: record {later} "
                f"is later than the {item.size:,} records of a checkpoint, the last of {item.at}."
            )
            return Fault(sequence=later, what=what, kind=Tampering.TRUNCATED)
        agreed = max((one.size for one in self._checkpoints if self._hashes.get(one.size) == one.head), default=0)
        what = (
            f"Record {item.size} is another than a checkpoint noted there: one of the records {agreed + 1} to "
            f"{item.size}, or all, were rewritten."
        )
        return Fault(sequence=item.size, what=what, kind=Tampering.REWRITTEN)


def _records(first: int, last: int) -> str:
    return f"Record {first} was" if first == last else f"Records {first} to {last} were"


def _signed(line: str, body: bytes, size: int, keys: Keys) -> bool:
    """Whether the line is a signature over the body by a key that was trusted when the ledger had that many records."""
    found = _SIGNATURE.fullmatch(line)
    if found is None or not found["name"].startswith(_KEY):
        return False
    key = keys.trusted(Purpose.LEDGER).get(found["name"].removeprefix(_KEY))
    raw = _decoded(found["signature"])
    if key is None or raw is None or raw[:4] != _key_hash(key.key_id, key.pem):
        return False
    if key.revoked_after is not None and size > key.revoked_after:
        return False
    return keys.verifies(Purpose.LEDGER, key.key_id, body, raw[4:])


def _key_hash(key_id: str, pem: str) -> bytes:
    """As signed notes have it: the first 4 bytes of SHA-256 over name, line end, type and the 32 bytes of the key."""
    der = base64.b64decode("".join(line for line in pem.splitlines() if not line.startswith("-----")))
    return sha256(f"{_KEY}{key_id}\n".encode() + _ED25519 + der[-32:]).digest()[:4]


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
