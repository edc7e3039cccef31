"""What a model was made of, part by part, and what of it moved: a comparison of values that others gathered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MOST_SHOWN: Final = 4
"""Parts that are shown one by one; of more, only how many there are."""


class What(StrEnum):
    """What decides what a model becomes, in the order in which it comes in."""

    DATA = "data"
    FEATURES = "features"
    CODE = "code"
    LIBRARIES = "libraries"
    PARAMETERS = "parameters"
    SEED = "seed"
    PYTHON = "python"
    PLATFORM = "platform"


class Standing(StrEnum):
    """Whether something is as it was recorded."""

    SAME = "same"
    MOVED = "moved"
    NOT_PINNED = "not pinned"
    """The evidence does not say what it was."""
    NOT_HAD = "not to be had"
    """The evidence says what it was, and there is nothing to compare with it."""


Parts = Mapping[str, str]
"""Each part of something by its name: a library's version, a table's rows and digest."""


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One thing as it was recorded and as it is found. `changes`: every part that differs, from what to what."""

    what: What
    recorded: str
    standing: Standing
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure as it was recorded and as it came out; NaN where none came out, which is the same as none."""

    name: str
    recorded: float
    found: float

    @property
    def same(self) -> bool:
        """To the last bit: on one machine nothing may differ."""
        return self.recorded == self.found


def compare(recorded: Mapping[What, Parts], found: Mapping[What, Parts]) -> tuple[Pin, ...]:
    """Every `What`, as it was recorded and as it is found. What is absent from a mapping is not known there."""
    return tuple(_pin(what, recorded.get(what), found.get(what)) for what in What)


def changes(recorded: Parts, found: Parts) -> tuple[str, ...]:
    """The parts that differ, in words."""
    told = []
    for name in sorted({*recorded, *found}):
        before, after = recorded.get(name), found.get(name)
        named = f"{name}: " if name else ""
        if before is None:
            told.append(f"{named}not there before, now {after}")
        elif after is None:
            told.append(f"{named}was {before}, now not there")
        elif before != after:
            told.append(f"{named}was {before}, now {after}")
    return tuple(told)


def _pin(what: What, recorded: Parts | None, found: Parts | None) -> Pin:
    if recorded is None:
        return Pin(what=what, recorded="", standing=Standing.NOT_PINNED)
    if found is None:
        return Pin(what=what, recorded=summary(recorded), standing=Standing.NOT_HAD)
    told = changes(recorded, found)
    return Pin(what=what, recorded=summary(recorded), standing=Standing.MOVED if told else Standing.SAME, changes=told)


def summary(parts: Parts) -> str:
    """The parts in one line, or how many there are."""
    if len(parts) > MOST_SHOWN:
        return f"{len(parts)} in all"
    return ", ".join(f"{name} {value}" if name else value for name, value in parts.items()) or "none"
