"""The plan of a drafted project: which columns are inputs, where they come from, and how rows are told apart and dated.

Three shapes of table:

- each row is a thing of its own and nothing names it: its columns come with the request;
- a key names each row once: its columns are facts of the key, a feature view looked up by it;
- a key names many rows, dated by a time: each row is an event, whose columns come with the request, and the view is the
  key's history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from towpath.core.draft_columns import DraftColumn, Role, judged
from towpath.core.draft_names import identifiers
from towpath.core.draft_split import share_held_out
from towpath.core.draft_target import Target, target
from towpath.core.errors import BadInput
from towpath.core.profile import TIMES, ColumnProfile, TableProfile
from towpath.core.promises import LogicalType

MOST_LOOKED_UP = 3_000_000  # values; more are not copied into an online store one by one on a first try
_TRAINED_ROWS = 400_000  # of more, one in so many is kept by its content
_KEYS = (LogicalType.STRING, LogicalType.INTEGER)


class Shape(StrEnum):
    """How rows are told apart."""

    ROWS = "rows"
    FACTS = "facts"
    EVENTS = "events"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a person asked for: the project's name, the table's, and the columns by their delivered names."""

    project: str
    table: str
    target: str
    key: str | None = None
    time: str | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The drafted project. `share` of the rows is held out; `every`: one row in so many is trained on."""

    asked: Asked
    rows: int
    columns: tuple[DraftColumn, ...]
    target: Target
    shape: Shape
    share: float
    every: int = 1

    @property
    def inputs(self) -> tuple[DraftColumn, ...]:
        return tuple(column for column in self.columns if column.is_input)

    @property
    def requested(self) -> tuple[DraftColumn, ...]:
        """The inputs that come with the request."""
        return () if self.shape is Shape.FACTS else self.inputs

    @property
    def looked_up(self) -> tuple[DraftColumn, ...]:
        """The inputs of the feature view by the key."""
        return self.inputs if self.shape is Shape.FACTS else ()

    @property
    def left_out(self) -> tuple[DraftColumn, ...]:
        return tuple(column for column in self.columns if column.role is Role.LEFT_OUT)

    def of(self, role: Role) -> DraftColumn | None:
        return next((column for column in self.columns if column.role is role), None)

    @property
    def label(self) -> str:
        """The target as the features call it."""
        found = self.of(Role.TARGET)
        assert found is not None
        return found.name

    @property
    def key(self) -> DraftColumn | None:
        return self.of(Role.KEY)

    @property
    def too_many(self) -> bool:
        """Whether a key names each row, of which there are too many to look them up."""
        return self.shape is Shape.ROWS and self.key is not None

    @property
    def time(self) -> DraftColumn | None:
        return self.of(Role.TIME)

    def without(self, proxies: Mapping[str, str]) -> Plan:
        """The plan without these inputs, each with the reason."""
        columns = tuple(
            DraftColumn(profile=one.profile, name=one.name, role=Role.LEFT_OUT, why=proxies[one.name])
            if one.name in proxies
            else one
            for one in self.columns
        )
        return replace(self, columns=columns)


def require_columns(asked: Asked, table: TableProfile) -> None:
    """Raises `BadInput` for a named column that is not there, or one named twice; lists those that are."""
    named = {"--target": asked.target, "--key": asked.key, "--time": asked.time}
    for option, column in named.items():
        if column is not None and column not in table.columns:
            raise BadInput(
                f"{option} names {column!r}, which is no column of {asked.table}.", value=column, valid=table.columns
            )
    given = [column for column in named.values() if column is not None]
    twice = next((column for column in given if given.count(column) > 1), None)
    if twice is not None:
        raise BadInput(f"Column {twice!r} is named twice.", value=twice, hint="Target, key and time are three columns.")
    for name, profile in table.columns.items():
        if profile.kind is None:
            raise BadInput(
                f"Column {name!r} is of type {profile.native}, which no contract describes.",
                value=name,
                hint="Write the file without it, or store it as text.",
            )
        if '"' in name or name == "_reasons":
            raise BadInput(f"A contract takes no column named {name!r}.", value=name, hint="Rename it.")


def plan(asked: Asked, table: TableProfile, *, keys: int | None) -> Plan:
    """The plan for a table whose columns were found good. `keys`: distinct keys when a key was named.

    Raises `BadInput` for a target, key or time that cannot be one, and when no input is left.
    """
    aim = target(table.columns[asked.target], valid=[one.name for one in table.columns.values() if one.distinct > 1])
    found = table.columns[asked.target]
    rarest = min(found.values.values()) if aim.classes else None
    share = share_held_out(found.filled - found.infinite, rarest, task=aim.task, table=asked.table)
    if asked.time is not None:
        _require_time(table.columns[asked.time], [one.name for one in table.columns.values() if one.kind in TIMES])
    named = identifiers(table.columns)
    roles = {asked.target: Role.TARGET, asked.key: Role.KEY, asked.time: Role.TIME}
    columns = [
        DraftColumn(profile=profile, name=named[name], role=roles[name])
        if name in roles
        else judged(profile, named[name])
        for name, profile in table.columns.items()
    ]
    inputs = sum(column.is_input for column in columns)
    if not inputs:
        raise _nothing_left(columns, asked)
    shape = _shape(asked, table, keys)
    if shape is Shape.FACTS and table.rows * inputs > MOST_LOOKED_UP:
        shape = Shape.ROWS
    return Plan(
        asked=asked,
        rows=table.rows,
        columns=tuple(columns),
        target=aim,
        shape=shape,
        share=share,
        every=max(1, table.rows // _TRAINED_ROWS),
    )


def _require_time(column: ColumnProfile, valid: Sequence[str]) -> None:
    if column.kind not in TIMES:
        raise BadInput(
            f"--time names {column.name!r}, which is of type {column.native} and no date or time.",
            value=column.name,
            valid=valid,
            hint="Dates and times in CSV are read in ISO 8601: 2024-03-31, 2024-03-31T10:00:00Z.",
        )
    if column.distinct < 2:
        raise BadInput(
            f"--time names {column.name!r}, which holds a single time, so nothing can be held out by it.",
            value=column.name,
            valid=[name for name in valid if name != column.name],
            hint="Leave out --time: rows are then held out by their content.",
        )


def _shape(asked: Asked, table: TableProfile, keys: int | None) -> Shape:
    if asked.key is None or keys is None:
        return Shape.ROWS
    column = table.columns[asked.key]
    if column.kind not in _KEYS:
        raise BadInput(
            f"--key names {column.name!r}, which is of type {column.native}; a key is text or a whole number.",
            value=column.name,
            valid=[one.name for one in table.columns.values() if one.kind in _KEYS],
        )
    if keys == column.filled:
        return Shape.FACTS
    if asked.time is None:
        raise BadInput(
            f"--key names {column.name!r}, whose {keys:,} values name {column.filled:,} rows, and no --time says which "
            "of a key's rows is the newest.",
            value=column.name,
            hint="Give --time, or a key that names each row once, or leave out --key.",
        )
    return Shape.EVENTS


def _nothing_left(columns: Sequence[DraftColumn], asked: Asked) -> BadInput:
    reasons = "; ".join(f"{one.profile.name!r} is {one.why}" for one in columns if one.role is Role.LEFT_OUT)
    return BadInput(
        f"No column of {asked.table} is left to learn from" + (f": {reasons[:500]}." if reasons else "."),
        value=asked.target,
        hint="A model needs a column of numbers or categories beside the target.",
    )
