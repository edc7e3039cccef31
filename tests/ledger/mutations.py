"""Every kind of single change to a ledger, each with what it must be called and the record that must be named.

A mutation takes the rows of a whole, signed ledger and a position, and gives the rows as somebody left them who may
write the database and has no key. Rows are in the order in which a database would give them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from towpath.core import digest as digests
from towpath.core.tampering import Tampering
from towpath.ledger import chain
from towpath.ledger.canonical import canonical, parse
from towpath.ledger.chain import Stored

Rows = list[Stored]
OTHER = "sha256:" + "0" * 64


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """`at`: positions (from 0) that it can be done at, of a ledger of that many rows; `names`: the record it is at."""

    name: str
    kind: Tampering
    do: Callable[[Rows, int], Rows]
    fits: Callable[[int, int], bool] = lambda _, __: True
    names: Callable[[int], int] = lambda position: position + 1


def mutations() -> Iterator[Mutation]:
    yield from _edits()
    yield Mutation(name="delete", kind=Tampering.DELETED, do=_delete, fits=_not_last)
    yield Mutation(name="delete, renumber", kind=Tampering.DELETED, do=_delete_and_renumber, fits=_not_last)
    for renumber in (False, True):
        for name, forge in (("unsigned", _unsigned), ("copied signature", _stolen), ("replayed", _replayed)):
            how = "renumber" if renumber else "two of one number"
            yield Mutation(
                name=f"insert, {name}, {how}",
                kind=Tampering.INSERTED,
                do=lambda rows, at, forge=forge, renumber=renumber: _insert(rows, at, forge, renumber),  # type: ignore[misc]
                fits=lambda at, count, renumber=renumber: renumber or at < count - 1,  # type: ignore[misc]
            )
    yield Mutation(name="append, unsigned", kind=Tampering.FORGED, do=_append, fits=_last, names=lambda at: at + 2)
    yield Mutation(name="swap with the next", kind=Tampering.REORDERED, do=_swap, fits=_not_last)
    yield Mutation(
        name="swap with the last", kind=Tampering.REORDERED, do=lambda rows, at: _swap(rows, at, -1), fits=_not_last
    )
    yield Mutation(name="rewrite from there, signatures kept", kind=Tampering.FORGED, do=_rewrite)
    yield Mutation(
        name="rewrite from there, signatures off",
        kind=Tampering.FORGED,
        do=lambda rows, at: _rewrite(rows, at, signer=None, signature=None),
        fits=lambda at, _: at > 0,  # from the first on, it is a ledger of before there were keys: a checkpoint's work
    )
    yield Mutation(
        name="rewrite from there, another's key",
        kind=Tampering.FORGED,
        do=lambda rows, at: _rewrite(rows, at, signer="f" * 32),
    )


def _edits() -> Iterator[Mutation]:
    """Each column of a row, one at a time, with and without a hash that fits again."""
    changes: dict[str, Callable[[Stored], Any]] = {
        "previous": lambda _: OTHER,
        "hash": lambda _: OTHER,
        "kind": lambda row: "waiver" if row.kind != "waiver" else "hold",
        "project": lambda row: row.project + "x",
        "candidate": lambda row: row.candidate + "x",
        "stage": lambda row: row.stage + "x",
        "key": lambda row: None if row.key else "k",
        "digest": lambda _: OTHER,
        "at": lambda row: row.at[:-2] + ("1Z" if row.at[-2] != "1" else "2Z"),
        "body": lambda row: canonical({**parse(row.body), "edited": True}),
        "actor": lambda _: "eve",
        "via": lambda row: None if row.via else "token:1 (eve)",
        "signer": lambda _: "f" * 32,
        "signature": lambda row: ("B" if row.signature[:1] == "A" else "A") + row.signature[1:],  # type: ignore[index]
    }
    kinds = {
        "actor": Tampering.FORGED_ACTOR,
        "via": Tampering.FORGED_ACTOR,
        "signer": Tampering.FORGED,
        "signature": Tampering.FORGED,
    }
    for column, value in changes.items():

        def edit(rows: Rows, at: int, column: str = column, value: Callable[[Stored], Any] = value) -> Rows:
            return _put(rows, at, replace(rows[at], **{column: value(rows[at])}))

        yield Mutation(name=f"edit {column}", kind=kinds.get(column, Tampering.EDITED), do=edit)
        if column not in ("hash", "signature"):
            yield Mutation(
                name=f"edit {column}, hash again",
                kind=Tampering.FORGED,
                do=lambda rows, at, edit=edit: _put(rows, at, _sealed(edit(rows, at)[at])),  # type: ignore[misc]
                fits=(lambda at, _: at > 0) if column == "previous" else (lambda _, __: True),
            )
    yield Mutation(
        name="edit sequence",
        kind=Tampering.REORDERED,
        do=lambda rows, at: _ordered(_put(rows, at, replace(rows[at], sequence=len(rows) + 5))),
    )
    yield Mutation(
        name="signature off",
        kind=Tampering.FORGED,
        do=lambda rows, at: _put(rows, at, replace(rows[at], signer=None, signature=None)),
    )
    yield Mutation(
        name="signature null",
        kind=Tampering.FORGED,
        do=lambda rows, at: _put(rows, at, replace(rows[at], signature=None)),
    )
    yield Mutation(
        name="signer null", kind=Tampering.FORGED, do=lambda rows, at: _put(rows, at, replace(rows[at], signer=None))
    )
    yield Mutation(
        name="body unreadable",
        kind=Tampering.EDITED,
        do=lambda rows, at: _put(rows, at, replace(rows[at], body="{")),
    )


def _not_last(at: int, count: int) -> bool:
    return at < count - 1


def _last(at: int, count: int) -> bool:
    return at == count - 1


def _put(rows: Rows, at: int, row: Stored) -> Rows:
    return [*rows[:at], row, *rows[at + 1 :]]


def _sealed(row: Stored) -> Stored:
    return replace(row, hash=chain.hash_of(row))


def _ordered(rows: Rows) -> Rows:
    return sorted(rows, key=lambda row: row.sequence)


def _renumbered(rows: Rows, by: int) -> Rows:
    return [replace(row, sequence=row.sequence + by) for row in rows]


def _delete(rows: Rows, at: int) -> Rows:
    return [*rows[:at], *rows[at + 1 :]]


def _delete_and_renumber(rows: Rows, at: int) -> Rows:
    return [*rows[:at], *_renumbered(rows[at + 1 :], -1)]


def _forged(rows: Rows, at: int) -> Stored:
    """A record as somebody without a key would write it at that place."""
    body = '{"forged":true}'
    return replace(
        rows[at],
        previous=rows[at - 1].hash if at else None,
        kind="decision",
        key=None,
        body=body,
        digest=digests.of_bytes(body.encode()),
        actor="eve",
    )


def _unsigned(rows: Rows, at: int) -> Stored:
    return _sealed(replace(_forged(rows, at), signer=None, signature=None))


def _stolen(rows: Rows, at: int) -> Stored:
    return _sealed(_forged(rows, at))


def _replayed(rows: Rows, at: int) -> Stored:
    """A record of the ledger itself, from another place."""
    other = rows[at // 2 if at > 1 else at + 1]
    return replace(other, sequence=rows[at].sequence)


def _insert(rows: Rows, at: int, forge: Callable[[Rows, int], Stored], renumber: bool) -> Rows:
    return [*rows[:at], forge(rows, at), *(_renumbered(rows[at:], 1) if renumber else rows[at:])]


def _append(rows: Rows, at: int) -> Rows:
    behind = replace(rows[at], sequence=rows[at].sequence + 1, previous=rows[at].hash, signer=None, signature=None)
    return [*rows, _sealed(replace(behind, key=None, actor="eve"))]


def _swap(rows: Rows, at: int, other: int | None = None) -> Rows:
    """Two rows change places, each with the number of the other."""
    other = at + 1 if other is None else len(rows) + other
    first, second = rows[at], rows[other]
    swapped = _put(rows, at, replace(second, sequence=first.sequence))
    return _put(swapped, other, replace(first, sequence=second.sequence))


def _rewrite(rows: Rows, at: int, **changes: Any) -> Rows:
    """Every record from there on is another's, each hash and link as it should be."""
    written = rows[:at]
    for row in rows[at:]:
        previous = written[-1].hash if written else None
        written.append(_sealed(replace(row, actor="eve", previous=previous, **changes)))
    return written
