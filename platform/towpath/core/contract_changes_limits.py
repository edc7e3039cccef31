"""Whether the promise that each value keeps its limits became stronger or weaker.

A promise is a set of what it lets through. The new set within the old one: whoever relied on the old is served still.
Where no such comparison can be made (two patterns) the change is held to be breaking.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

from towpath.core.contract_changes_values import Change, breaking, compatible, metadata, stated
from towpath.core.promises import Limits, LogicalType


def limits(where: str, kind: LogicalType, before: Limits, after: Limits) -> Iterator[Change]:
    """The changes of what each value must be."""
    yield from _end(f"{where}.minimum", _low(kind, before), _low(kind, after), up=True)
    yield from _end(f"{where}.maximum", _high(kind, before), _high(kind, after), up=False)
    yield from _end(f"{where}.minLength", _closed(before.min_length), _closed(after.min_length), up=True)
    yield from _end(f"{where}.maxLength", _closed(before.max_length), _closed(after.max_length), up=False)
    yield from _step(f"{where}.multipleOf", before.multiple_of, after.multiple_of)
    yield from _pattern(f"{where}.pattern", before.pattern, after.pattern)
    yield from _values(f"{where}.enum", before.values, after.values)


_Limit = tuple[float | int | str, bool] | None  # where a range ends, and whether without its end


def _closed(value: int | None) -> _Limit:
    return None if value is None else (value, False)


def _low(kind: LogicalType, given: Limits) -> _Limit:
    if given.minimum is None:
        return None
    if kind is LogicalType.INTEGER and not isinstance(given.minimum, str):
        return (math.floor(given.minimum) + 1 if given.exclusive_minimum else math.ceil(given.minimum)), False
    return given.minimum, given.exclusive_minimum


def _high(kind: LogicalType, given: Limits) -> _Limit:
    if given.maximum is None:
        return None
    if kind is LogicalType.INTEGER and not isinstance(given.maximum, str):
        return (math.ceil(given.maximum) - 1 if given.exclusive_maximum else math.floor(given.maximum)), False
    return given.maximum, given.exclusive_maximum


def _end(where: str, before: _Limit, after: _Limit, *, up: bool) -> Iterator[Change]:
    """One end of a range; `up`: the range narrows as the end rises."""
    if before == after:
        return
    if before is None:
        yield compatible(where, f"{_told(after)} is new", "fewer values are let through than before")
    elif after is None:
        yield breaking(where, f"{_told(before)} is gone", "values come that were refused before")
    else:
        higher = (str(after[0]) > str(before[0])) if isinstance(after[0], str) else _above(after[0], before[0])
        narrower = after[1] if after[0] == before[0] else higher is up
        what = f"{_told(before)} becomes {_told(after)}"
        if narrower:
            yield compatible(where, what, "fewer values are let through than before")
        else:
            yield breaking(where, what, "values come that were refused before")


def _above(one: float, other: float | str) -> bool:
    return not isinstance(other, str) and one > other


def _told(end: _Limit) -> str:
    return "" if end is None else f"{end[0]} (without it)" if end[1] else str(end[0])


def _step(where: str, before: float | None, after: float | None) -> Iterator[Change]:
    if before is None or after is None or before == after:
        yield from stated(where, before, after, of="a step of the values")
    elif (Fraction(str(after)) / Fraction(str(before))).denominator == 1:
        yield compatible(where, f"{before} becomes {after}", "every multiple of the new step is one of the old")
    else:
        yield breaking(where, f"{before} becomes {after}", "values come that are no multiple of the old step")


def _pattern(where: str, before: str | None, after: str | None) -> Iterator[Change]:
    if before is not None and after is not None and before != after:
        reason = "whether the new pattern lets through less than the old cannot be told"
        yield breaking(where, f"{before} becomes {after}", reason)
    else:
        yield from stated(where, before, after, of="a form of the text")


def _values(where: str, before: Sequence[object], after: Sequence[object]) -> Iterator[Change]:
    old, new = {(type(one), one) for one in before}, {(type(one), one) for one in after}
    if not before or not after:
        listed = [", ".join(map(str, found)) or None for found in (before, after)]
        yield from stated(where, *listed, of="a list of values")
        return
    came = [str(one) for one in after if (type(one), one) not in old]
    went = [str(one) for one in before if (type(one), one) not in new]
    if came:
        yield breaking(where, f"{', '.join(came)} may come", "a value comes that no reader provided for")
    if went:
        yield compatible(where, f"{', '.join(went)} comes no more", "every value left is one that readers know")
    if not came and not went and tuple(before) != tuple(after):
        yield metadata(where, "its values stand in another order", "the same values are let through")
