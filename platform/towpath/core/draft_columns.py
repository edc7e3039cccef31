"""What becomes of each column of a delivered table: an input of the model, or left out and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from towpath.core.profile import NUMBERS, TIMES, ColumnProfile
from towpath.core.promises import LogicalType

_CATEGORIES = 0.2  # of the rows: a text of more distinct values names single rows
_ALWAYS_CATEGORIES = 12
_MOSTLY = 0.5
_IDENTIFIER = re.compile(r"(^|_)(id|uuid|guid|key|number|no|nr|index|idx|rownum|row)$")


class Role(StrEnum):
    """How a column is used."""

    TARGET = "target"
    KEY = "key"
    TIME = "time"
    NUMBER = "number"
    FLAG = "flag"  # true or false, as 1 and 0
    MIXED = "mixed"  # text that is mostly numbers, as numbers; the rest as missing
    MOMENT = "moment"  # a date or time, as days or hours
    CATEGORY = "category"
    LEFT_OUT = "left out"


INPUTS = frozenset({Role.NUMBER, Role.FLAG, Role.MIXED, Role.MOMENT, Role.CATEGORY})


@dataclass(frozen=True, kw_only=True)
class DraftColumn:
    """A column as it is drafted: `name` as the features call it, `why` it is left out or what a person must know."""

    profile: ColumnProfile
    name: str
    role: Role
    why: str = ""

    @property
    def is_input(self) -> bool:
        return self.role in INPUTS

    @property
    def is_text(self) -> bool:
        return self.role is Role.CATEGORY


def judged(profile: ColumnProfile, name: str) -> DraftColumn:
    """The column's role by its values, for a column that is neither target nor key nor time."""
    role, why = _judged(profile, name)
    return DraftColumn(profile=profile, name=name, role=role, why=why)


def _judged(profile: ColumnProfile, name: str) -> tuple[Role, str]:
    kind = profile.kind
    if kind in (None, LogicalType.OBJECT, LogicalType.ARRAY):
        return Role.LEFT_OUT, f"of type {profile.native}, which no model reads as it is"
    if profile.distinct < 1:
        return Role.LEFT_OUT, "empty in every row"
    if profile.distinct == 1 and not profile.nulls:
        return Role.LEFT_OUT, "the same value in every row"
    if kind is LogicalType.BOOLEAN:
        return Role.FLAG, ""
    if kind in TIMES:
        return Role.MOMENT, "days since 1970: a model that reads it may only learn when the table was made"
    if kind is LogicalType.TIME:
        return Role.MOMENT, "hours since midnight"
    if kind in NUMBERS:
        return _number(profile, name)
    return _text(profile)


def _number(profile: ColumnProfile, name: str) -> tuple[Role, str]:
    if profile.kind is LogicalType.INTEGER and profile.distinct == profile.rows and _IDENTIFIER.search(name):
        return Role.LEFT_OUT, "a number of its own in every row, named like an identifier"
    if profile.kind is LogicalType.INTEGER and profile.distinct == profile.rows and _running(profile):
        return Role.LEFT_OUT, "a running number of the rows"
    return Role.NUMBER, f"{profile.infinite:,} infinite values count as missing" if profile.infinite else ""


def _running(profile: ColumnProfile) -> bool:
    return int(profile.high) - int(profile.low) + 1 == profile.rows


def _text(profile: ColumnProfile) -> tuple[Role, str]:
    # All of it numbers and yet text: leading zeros and the like, a code and no amount.
    if _MOSTLY * profile.filled <= profile.numeric < profile.filled:
        others = profile.filled - profile.numeric
        return Role.MIXED, f"text, mostly numbers: {others:,} values that are none count as missing"
    if profile.distinct > max(_ALWAYS_CATEGORIES, _CATEGORIES * profile.filled):
        return Role.LEFT_OUT, f"text of {profile.counted} distinct values in {profile.filled:,} rows"
    return Role.CATEGORY, ""
