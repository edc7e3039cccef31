"""Whether readers had time to leave a column before it goes: its removal, and changes of the day that was said for it.

A removal is announced when the old contract had the column deprecated with a removal date, and that day has come.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import TypeVar

from towpath.core.contract_changes_values import Change, breaking, compatible
from towpath.core.promises import Column, Reference, Rule

_Promise = TypeVar("_Promise", Rule, Reference)


def announced(column: Column, as_of: date) -> bool:
    """Whether the column may be gone on that day by what its readers were told."""
    return column.removal_date is not None and column.removal_date <= as_of


def removed(where: str, what: str, column: Column, as_of: date) -> Change:
    """The change that takes a column from its readers; `column` is as the old contract has it."""
    day = column.removal_date
    if day is not None and day <= as_of:
        return compatible(where, what, f"it was deprecated until {day}, and that day has come")
    if day is not None:
        return breaking(where, what, f"it is deprecated until {day}, and readers were promised it until then")
    if column.deprecated:
        reason = "it is deprecated, but its readers were told no removalDate, so no deprecation window has passed"
        return breaking(where, what, reason)
    return breaking(where, what, "who reads it finds it no more: it was not deprecated with a removalDate before")


def dates(where: str, before: Column, after: Column, as_of: date) -> Iterator[Change]:
    """The change of the day from which a column may be gone. A day that has come gives nobody time."""
    old, new = before.removal_date, after.removal_date
    if old == new:
        return
    if new is None:
        yield compatible(where, f"{old} is gone", "readers have the column for longer than they were told")
    elif old is not None and new >= old:
        yield compatible(where, f"{old} becomes {new}", "readers have the column for longer than they were told")
    elif new <= as_of:
        what = f"{new} is new" if old is None else f"{old} becomes {new}"
        yield breaking(where, what, f"the day is not after {as_of}, so readers have no deprecation window")
    elif old is None:
        yield compatible(where, f"{new} is new", "readers are told in time; everything holds until then")
    else:
        yield breaking(where, f"{old} becomes {new}", "readers have less time than they were told")


def left(promises: Sequence[_Promise], gone: set[str]) -> list[_Promise]:
    """Rules or references without those of columns that went as announced: they go with their columns."""
    return [one for one in promises if not gone.intersection(one.columns)]
