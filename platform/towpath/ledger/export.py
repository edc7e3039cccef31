"""The chain as a file: JSON Lines, one record a line in canonical form (RFC 8785), verified without the database.

Each line holds every field of a record, its body as a value. The hash of a line is the SHA-256 of its canonical form
without the fields `hash` and `signature`, so any implementation of RFC 8785 can verify the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from towpath.core.errors import IntegrityError
from towpath.core.evidence import Record
from towpath.ledger import chain
from towpath.ledger.canonical import parse
from towpath.ledger.chain import Stored
from towpath.ledger.checkpoints import Checkpoint
from towpath.ledger.trust import Trust
from towpath.ledger.verification import verify_stored
from towpath.ports import Fault, Verification


def export(records: Iterable[Record], stream: BinaryIO) -> int:
    """Write records to a binary stream; returns how many.

    Only a whole ledger verifies afterwards: an export of some of its records has gaps, and `verify_export` names them.
    """
    count = 0
    for record in records:
        stream.write(chain.line_of(chain.store(record)).encode("utf-8") + b"\n")
        count += 1
    return count


def verify_export(
    stream: BinaryIO, *, trust: Trust | None = None, checkpoints: Sequence[Checkpoint] = ()
) -> Verification:
    """Verify an exported ledger as `SqlLedger.verify` would. Lines cut off the end only a checkpoint shows.

    Without `trust` signatures are not looked at.
    """
    return verify_stored(rows_of(stream), trust=trust, checkpoints=checkpoints)


def read_export(stream: BinaryIO) -> Iterator[Record]:
    """The records of an exported ledger, a line at a time. Raises `IntegrityError` at a line that is no record.

    Whether they are as they were written, only `verify_export` says.
    """
    for row in rows_of(stream):
        if isinstance(row, Fault):
            raise IntegrityError(row.what, gate=chain.GATE, value=row.sequence, hint="Export the ledger again.")
        yield chain.read(row)


def rows_of(stream: BinaryIO) -> Iterator[Stored | Fault]:
    """The rows of an exported ledger, a line at a time; a `Fault` for each line that is no record."""
    for number, line in enumerate(stream, start=1):
        try:
            text = line.decode("utf-8").removesuffix("\n")
            value = parse(text)
            if not isinstance(value, dict):
                raise TypeError("it is no JSON object")
            yield chain.stored_of(value, text)
        except chain.UNREADABLE as error:
            yield Fault(sequence=number, what=f"Line {number} is no record: {str(error).rstrip('.')}.")
