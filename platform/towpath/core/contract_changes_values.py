"""One difference of two contracts as a value: where, what, what it means to readers, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Impact(StrEnum):
    """What a change means to who reads the data."""

    BREAKING = "breaking"
    COMPATIBLE = "compatible"
    METADATA = "metadata"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference: where in the contract, what it is, what it means to readers, and why."""

    where: str
    what: str
    impact: Impact
    reason: str


def breaking(where: str, what: str, reason: str) -> Change:
    return Change(where=where, what=what, impact=Impact.BREAKING, reason=reason)


def compatible(where: str, what: str, reason: str) -> Change:
    return Change(where=where, what=what, impact=Impact.COMPATIBLE, reason=reason)


def metadata(where: str, what: str, reason: str) -> Change:
    return Change(where=where, what=what, impact=Impact.METADATA, reason=reason)


def stated(where: str, before: object, after: object, *, of: str) -> Iterator[Change]:
    """A promise that is there or not, or another: only its coming is compatible."""
    if before == after:
        return
    if before is None:
        yield compatible(where, f"{after} is new", f"{of} is promised that was not promised before")
    elif after is None:
        yield breaking(where, f"{before} is gone", f"{of} is promised no longer")
    else:
        yield breaking(where, f"{before} becomes {after}", f"{of} is another one than readers rely on")
