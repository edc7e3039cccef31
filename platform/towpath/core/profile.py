"""What a table looks like: its columns, their types, and what their values are. Measured where the rows lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from towpath.core.promises import LogicalType

Value = str | int | float | bool

NUMBERS = frozenset({LogicalType.INTEGER, LogicalType.NUMBER})
TIMES = frozenset({LogicalType.DATE, LogicalType.TIMESTAMP})
LISTED = 50  # a column of more distinct values is not listed value by value


@dataclass(frozen=True, kw_only=True)
class ColumnProfile:
    """One column. `kind` is None for a type that no contract can describe; `native` is the engine's name of the type.

    `values`: every distinct value with its number of rows, the most frequent first; empty when there are more than
    `LISTED`. `low` and `high` are the least and greatest finite value as text. `numeric`: of a text column, the values
    that read as numbers. `infinite`: numbers that are no finite number. `estimated`: whether `distinct` is an estimate.
    """

    name: str
    kind: LogicalType | None
    native: str
    zoned: bool = False
    rows: int
    nulls: int
    distinct: int
    estimated: bool = False
    values: Mapping[Value, int]
    low: str = ""
    high: str = ""
    numeric: int = 0
    infinite: int = 0

    @property
    def filled(self) -> int:
        return self.rows - self.nulls

    @property
    def counted(self) -> str:
        """How many distinct values there are, in words."""
        return f"about {self.distinct:,}" if self.estimated else f"{self.distinct:,}"

    @property
    def whole(self) -> bool:
        """Whether it holds numbers, all of them listed and whole."""
        return self.kind in NUMBERS and bool(self.values) and all(float(one).is_integer() for one in self.values)


@dataclass(frozen=True, kw_only=True)
class TableProfile:
    """A table's columns, in its order."""

    rows: int
    columns: Mapping[str, ColumnProfile]
