"""What was done to a chain, from its first bad row and what stands behind it.

A hash covers the sequence number, so a row that was moved or renumbered still shows the number that it was written
under: the one with which its hash fits. Where the rows behind the last good one still form its continuation, what
stands in between was put there; where they do not, something is missing. The signature covers actor, hash and via, so a
changed field under a good signature is another than those three.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from towpath.core.tampering import Tampering
from towpath.ledger import chain
from towpath.ledger.chain import Stored
from towpath.ledger.trust import Trust
from towpath.ports import Fault

_NEAR: Final = 64  # how far from a row's number the one it was written under is looked for, when no link tells it


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a chain stands: the last sequence, hash and time, and whether there were signed records.

    `known` is false behind a row that could not be read: there is no hash to compare with.
    """

    sequence: int
    hash: str | None
    at: str
    signed: bool
    known: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """What a row behind the first bad one says of its place; nothing of one that could not be read."""

    sequence: int
    previous: str | None
    hash: str | None
    readable: bool

    @classmethod
    def of(cls, row: Stored | Fault) -> Self:
        if isinstance(row, Fault):
            return cls(sequence=row.sequence, previous=None, hash=None, readable=False)
        return cls(sequence=row.sequence, previous=row.previous, hash=row.hash, readable=True)


def diagnose(row: Stored | Fault, last: Place, behind: Sequence[Link], said: str, trust: Trust | None) -> Fault:
    """The first bad record by its number, the kind of tampering, and a sentence. `said` is what was found first."""
    expected = last.sequence + 1
    rival = next((link for link in behind if link.readable and link.previous == last.hash), None)
    if rival is not None:
        return _out_of_place(row, last, behind, expected)
    if isinstance(row, Fault):
        return _fault(expected, Tampering.EDITED, f"Record {expected} was changed: {_lower(row.what)}")
    real = _written_as(row, behind)
    if row.sequence != expected:
        return _misnumbered(row, real, last, expected)
    if row.previous != last.hash and real is not None:
        return _elsewhere(row, real, last, said, trust)
    return _in_place(row, said, trust)


def _out_of_place(row: Stored | Fault, last: Place, behind: Sequence[Link], expected: int) -> Fault:
    """Behind stands a row that follows the last good one: this one was put before it, or belongs further down."""
    name = f"Record {expected}"
    if isinstance(row, Stored) and _belongs(row, last, behind):
        what = f"{name} is not the one that was written there: records were moved from their places."
        return _fault(expected, Tampering.REORDERED, what)
    after = f"record {last.sequence}" if last.sequence else "the beginning"
    what = f"{name} was put in between: another record follows {after} by its hash, and this one has no place there."
    return _fault(expected, Tampering.INSERTED, what)


def _belongs(row: Stored, last: Place, behind: Sequence[Link]) -> bool:
    """Whether the chain that follows the last good record comes to the row, and the row is there once."""
    if Counter(link.hash for link in behind)[row.hash]:
        return False
    following = {link.previous: link.hash for link in (Link.of(row), *behind) if link.readable}
    reached, seen = following.get(last.hash), set[str | None]()
    while reached is not None and reached not in seen:
        if reached == row.hash:
            return True
        seen.add(reached)
        reached = following.get(reached)
    return False


def _misnumbered(row: Stored, real: int | None, last: Place, expected: int) -> Fault:
    if real == expected and row.previous == last.hash:
        what = f"Record {expected} stands as number {row.sequence}: it was written as number {expected}."
        return _fault(expected, Tampering.REORDERED, what)
    if row.sequence > expected:
        return _deleted(expected, row.sequence - expected)
    what = f"A record numbered {row.sequence} was put behind record {last.sequence}."
    return _fault(row.sequence, Tampering.INSERTED, what)


def _elsewhere(row: Stored, real: int, last: Place, said: str, trust: Trust | None) -> Fault:
    """The row is whole by itself, but follows another than the one before it."""
    expected = last.sequence + 1
    if real > expected:
        return _deleted(expected, real - expected, closed=True)
    if real < expected:
        put = f"Record {real} was put" if real == last.sequence else f"Records {real} to {last.sequence} were put"
        what = f"{put} in between: record {expected} was written as number {real}, and those behind were renumbered."
        return _fault(real, Tampering.INSERTED, what)
    if trust is None or (row.signer is not None and trust.complaint(row, signed_before=last.signed) is None):
        what = f"Record {last.sequence} was replaced: record {expected} follows another one than stands there now."
        return _fault(last.sequence, Tampering.EDITED, what)
    return _in_place(row, said, trust)


def _in_place(row: Stored, said: str, trust: Trust | None) -> Fault:
    """The row stands where it should: it, its time or its signature was changed."""
    name = f"Record {row.sequence}"
    if trust is None or not _sealed(row):
        kind = _edit(row, trust)
    elif trust.fits(row) and trust.complaint(row, signed_before=False) is None:
        kind = Tampering.REWOUND
    else:
        kind = Tampering.FORGED if row.signer or row.signature or not chain.contradictions(row) else Tampering.EDITED
    match kind:
        case Tampering.FORGED_ACTOR:
            what = f"{name} was not written by whom it names, or not known as it says: the signature is for another."
        case Tampering.FORGED:
            what = f"{name} is not signed by a trusted key: {_lower(said)}"
        case Tampering.REWOUND:
            what = f"{name} is dated back: {_lower(said)}"
        case _:
            what = f"{name} was changed after it was written: {_lower(said)}"
    return _fault(row.sequence, kind, what)


def _edit(row: Stored, trust: Trust | None) -> Tampering:
    """Which kind of edit a row shows whose hash does not fit."""
    if trust is None:
        return Tampering.EDITED
    if any(_sealed(replace(row, signer=key_id)) for key_id in trust.others(row)):
        return Tampering.FORGED  # all but the signer is as it was: a signature was taken off or put in its place
    if row.signer is None and row.signature is None:
        return Tampering.EDITED
    recomputed = _hash(row)
    if trust.fits(row) or (recomputed is not None and trust.fits(row, hash_=recomputed)):
        return Tampering.EDITED
    return Tampering.FORGED_ACTOR


def _written_as(row: Stored, behind: Sequence[Link]) -> int | None:
    """The number under which the row's hash fits; None when it was changed otherwise."""
    linked = [link.sequence + shift for link in behind if link.hash == row.previous for shift in (0, 1, 2)]
    near = [row.sequence + sign * step for step in range(_NEAR + 1) for sign in (1, -1)]
    tried = dict.fromkeys(number for number in (*near, *linked) if number >= 1)
    return next((number for number in tried if _sealed(replace(row, sequence=number))), None)


def _sealed(row: Stored) -> bool:
    return _hash(row) == row.hash


def _hash(row: Stored) -> str | None:
    try:
        return chain.hash_of(row)
    except chain.UNREADABLE:
        return None


def _deleted(first: int, count: int, *, closed: bool = False) -> Fault:
    which = f"Record {first} was" if count == 1 else f"Records {first} to {first + count - 1} were"
    how = ", and those behind were renumbered" if closed else ""
    return _fault(first, Tampering.DELETED, f"{which} taken out{how}.")


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _fault(sequence: int, kind: Tampering, what: str) -> Fault:
    return Fault(sequence=sequence, what=what, kind=kind)
