"""Verifying a chain as it lies: every fault of every row, and of the first bad one what was done to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from towpath.core.evidence import Record
from towpath.ledger import chain
from towpath.ledger.chain import Stored
from towpath.ledger.checkpoints import Checkpoint, Comparison
from towpath.ledger.diagnosis import Link, Place, diagnose
from towpath.ledger.trust import Trust
from towpath.ports import Fault, Verification

BEGINNING: Final = Place(sequence=0, hash=None, at="", signed=False)


def verify_records(
    records: Iterable[Record], *, trust: Trust | None = None, checkpoints: Sequence[Checkpoint] = ()
) -> Verification:
    """Verify a whole chain, from its first record, in the order given; as `verify_stored`."""
    return verify_stored((chain.store(record) for record in records), trust=trust, checkpoints=checkpoints)


def verify_stored(
    rows: Iterable[Stored | Fault], *, trust: Trust | None = None, checkpoints: Sequence[Checkpoint] = ()
) -> Verification:
    """Verify a whole chain as it lies, one row at a time; a `Fault` among them is a row that could not be read.

    Without `trust` signatures are not looked at. `checkpoints` show what a chain cannot: that its end was cut off.
    Memory grows only behind the first bad row, by a few words a row: what was done to it shows in those that follow.
    """
    walk = Walk(trust=trust, checkpoints=checkpoints)
    for row in rows:
        walk.step(row)
    return walk.result()


class Walk:
    """A verification under way, from a place up to which the chain is known to be whole."""

    def __init__(
        self,
        *,
        trust: Trust | None,
        place: Place = BEGINNING,
        signed: int = 0,
        checkpoints: Sequence[Checkpoint] = (),
    ) -> None:
        self.place = place
        self.records = place.sequence
        self.signed = signed
        """How many records have a signature that was found good."""
        self._trust = trust
        self._comparison = Comparison(checkpoints)
        self._faults: list[Fault] = []
        self._first: _First | None = None

    def step(self, row: Stored | Fault) -> None:
        """Look at the next row."""
        self.records += 1
        if self._first is not None:
            self._first.behind.append(Link.of(row))
        found = [row] if isinstance(row, Fault) else [*self._alone(row), *_misplaced(row, self.place)]
        if found and self._first is None:
            self._first = _First(row=row, place=self.place, said=found[0].what, behind=[])
        self._faults.extend(found)
        self.place = self._moved(row)
        if isinstance(row, Stored):
            self._comparison.step(row.sequence, row.hash, str(row.at))

    def result(self) -> Verification:
        first = self._first
        verdict = diagnose(first.row, first.place, first.behind, first.said, self._trust) if first else None
        compared = self._comparison.faults(self.records)
        return Verification(
            records=self.records,
            head=self.place.hash,
            faults=(*self._faults, *compared),
            verdict=verdict or next(iter(compared), None),
            signed=self.signed,
        )

    def _moved(self, row: Stored | Fault) -> Place:
        if isinstance(row, Fault):
            return replace(self.place, sequence=self.place.sequence + 1, hash=None, known=False)
        if row.sequence <= self.place.sequence:
            return self.place
        signed = self.place.signed or row.signer is not None
        return Place(sequence=row.sequence, hash=row.hash, at=str(row.at), signed=signed)

    def _alone(self, row: Stored) -> Iterator[Fault]:
        found = alone(row, self._trust, signed_before=self.place.signed)
        if self._trust is not None and not found and row.signer is not None:
            self.signed += 1
        return (Fault(sequence=row.sequence, what=what) for what in found)


def alone(row: Stored, trust: Trust | None, *, signed_before: bool) -> list[str]:
    """What is wrong with a row by itself and by its signature, each in a sentence; not whether it is in its place.

    `signed_before`: whether a record before it is signed, as far as that is known.
    """
    found = chain.contradictions(row)
    if trust is not None and not found:
        complaint = trust.complaint(row, signed_before=signed_before)
        return [complaint] if complaint is not None else []
    return found


@dataclass(frozen=True, kw_only=True)
class _First:
    """The first bad row, where it should have followed, and what stands behind it."""

    row: Stored | Fault
    place: Place
    said: str
    behind: list[Link]


def _misplaced(row: Stored, last: Place) -> Iterator[Fault]:
    """What is wrong between a record and the one before it. Behind a gap there is no hash to compare with."""
    if row.sequence <= last.sequence:
        what = f"It stands behind record {last.sequence}: it is there twice or out of order."
        yield Fault(sequence=row.sequence, what=what)
    elif (missing := row.sequence - last.sequence - 1) > 0:
        first = last.sequence + 1
        are = f"Record {first} is" if missing == 1 else f"Records {first} to {row.sequence - 1} are"
        yield Fault(sequence=first, what=f"{are} missing before record {row.sequence}.")
    elif last.known and row.previous != last.hash:
        stands = f"record {last.sequence} has the hash {last.hash}" if last.hash else "there is none before it"
        what = f"It follows {row.previous}, but {stands}: one of the two was replaced."
        yield Fault(sequence=row.sequence, what=what)
    elif row.signer is not None and str(row.at) < last.at:
        # Clocks of before were not held to the record, so unsigned records may go back.
        what = f"It is dated {row.at}, before record {last.sequence}, which is of {last.at}."
        yield Fault(sequence=row.sequence, what=what)
