"""Masks: what a column's values become before they are stored, so that no later stage ever sees what they were.

A pseudonym is a keyed BLAKE2b-128 (RFC 7693) of the value's text: the same value under the same key is the same
pseudonym, so joins still work, and nobody without the key can tell or try values. It begins with its key's version, so
that pseudonyms of different versions never pass for each other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Final

from pydantic import JsonValue

PSEUDONYM: Final = re.compile(r"p[1-9][0-9]{0,8}-[0-9a-f]{32}")
DEFAULT_KEY: Final = "default"
KEY_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
SECRET_BYTES: Final = 32
_MIDNIGHT = r"(?:[T ]00:00(?::00(?:\.0+)?)?(?:Z|[+-]00:?00)?)?"
_MONTH_BEGINS: Final = re.compile(r"-?\d{4,}-\d\d-01" + _MIDNIGHT)
_YEAR_BEGINS: Final = re.compile(r"-?\d{4,}-01-01" + _MIDNIGHT)
Masks = Mapping[str, "Mask"]  # by column
_VALUE, _NAME = b"towpath.value", b"towpath.keyid"


class Method(StrEnum):
    """How a column is masked."""

    PSEUDONYM = "pseudonym"
    """A keyed pseudonym: equal where the values were equal."""
    YEAR = "year"
    """The first of the year of a date, or of an instant in UTC."""
    MONTH = "month"
    """The first of the month of a date, or of an instant in UTC."""
    BUCKET = "bucket"
    """The lower end of the number's bucket, the buckets counted from 0."""
    FIRST = "first"
    """The first characters of a text."""
    DROP = "drop"
    """Nothing: the column is not stored."""


@dataclass(frozen=True, kw_only=True)
class Mask:
    """A column's mask. `key` names a pseudonym's key; `width` is a bucket's, `length` counts characters."""

    method: Method
    key: str = ""
    width: float | int = 0
    length: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", Method(self.method))

    @property
    def text(self) -> str:
        """For people, and for digests."""
        match self.method:
            case Method.PSEUDONYM:
                return f"pseudonym by key {self.key}"
            case Method.BUCKET:
                return f"bucket of {self.width}"
            case Method.FIRST:
                return f"first {self.length} characters"
            case Method.YEAR | Method.MONTH | Method.DROP:
                return self.method.value

    def recorded(self) -> dict[str, JsonValue]:
        """The mask as the ledger holds it; `Mask(**it)` reads it again."""
        told = {"key": self.key, "width": self.width, "length": self.length}
        return {"method": self.method.value, **{name: value for name, value in told.items() if value}}

    def gives(self, value: object) -> bool:
        """Whether a value may be one that this mask gave: False for one that is surely not masked.

        What is missing is missing masked or not. Of times only a text that is no first of its year or month can be
        told from a masked one.
        """
        if value is None:
            return True
        match self.method:
            case Method.PSEUDONYM:
                return isinstance(value, str) and PSEUDONYM.fullmatch(value) is not None
            case Method.FIRST:
                return len(str(value)) <= self.length
            case Method.BUCKET:
                return isinstance(value, int | float) and self._begins_a_bucket(value)
            case Method.DROP:
                return False
            case Method.YEAR:
                return not isinstance(value, str) or _YEAR_BEGINS.fullmatch(value) is not None
            case Method.MONTH:
                return not isinstance(value, str) or _MONTH_BEGINS.fullmatch(value) is not None

    def _begins_a_bucket(self, value: float) -> bool:
        """Whether it is a multiple of the width: exactly for whole numbers, else but for a double's last places."""
        if isinstance(value, int) and isinstance(self.width, int):
            return value % self.width == 0
        if not math.isfinite(value):
            return True
        lower = math.floor(value / self.width + 0.5) * self.width
        return abs(value - lower) <= min(4 * math.ulp(value), 1e-6 * self.width)


def masked_everywhere(columns: Mapping[str, Iterable[str]], masks: Mapping[str, Masks]) -> Masks:
    """The masks of the column names that are masked in every table that has them.

    `columns` and `masks` are by table, of what is stored. A name that is masked in one table and not in another means
    two things, and is left out; of two masks the first table's is taken.
    """
    open_names = {name for table, names in columns.items() for name in names if name not in masks.get(table, {})}
    found: dict[str, Mask] = {}
    for table in masks.values():
        for name, mask in table.items():
            if name not in open_names:
                found.setdefault(name, mask)
    return found


@dataclass(frozen=True, kw_only=True)
class PseudonymKey:
    """One version of a named key. `secret`: 32 bytes, kept out of its text form."""

    name: str
    version: int
    secret: bytes = field(repr=False)

    @property
    def key_id(self) -> str:
        """16 hex digits that tell this key from another of the same name and version, and nothing about it."""
        return blake2b(self.name.encode(), key=self.secret, digest_size=8, person=_NAME).hexdigest()

    def pseudonym(self, value: str) -> str:
        """What stands for the value: `p<version>-<32 hex digits>`."""
        digest = blake2b(value.encode(), key=self.secret, digest_size=16, person=_VALUE).hexdigest()
        return f"p{self.version}-{digest}"


@dataclass(frozen=True, kw_only=True)
class Masking:
    """The masks of a table, with the keys that they need, by name.

    `columns`: those that the contract declares, the dropped among them. A table with masks is taken only with these: a
    renamed column would come unmasked.
    """

    columns: tuple[str, ...]
    masks: Mapping[str, Mask]
    keys: Mapping[str, PseudonymKey]

    def recorded(self) -> dict[str, JsonValue]:
        """What the ledger is told: how each column was masked, and which keys were used; no key."""
        return {
            "columns": {column: mask.recorded() for column, mask in self.masks.items()},
            "keys": {key.name: {"version": key.version, "key_id": key.key_id} for key in self.keys.values()},
        }
