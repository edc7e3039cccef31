"""What a target asks for: two classes, several, or a number. Decided from its values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from towpath.core.draft_split import MIN_OF_SEVERAL
from towpath.core.errors import BadInput
from towpath.core.profile import LISTED, NUMBERS, TIMES, ColumnProfile, Value
from towpath.core.promises import LogicalType
from towpath.core.task import Task

_FEW_NUMBERS = 20  # so many distinct whole numbers are classes, when none of them is rare; else they are an amount
_YES = (
    "yes",
    "y",
    "true",
    "t",
    "1",
    "positive",
    "pos",
    "churned",
    "late",
    "bad",
    "fraud",
    "spam",
    "default",
    "survived",
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """The target's column, what it asks for, and its classes, the most frequent first; a number has none.

    `positive`: of two classes the one that is predicted, `negative` the other.
    """

    column: str
    task: Task
    classes: tuple[Value, ...] = ()
    positive: Value | None = None
    negative: Value | None = None

    @property
    def in_words(self) -> bool:
        """Whether the classes are text; else they are whole numbers."""
        return any(isinstance(one, str) for one in self.classes)


def target(column: ColumnProfile, *, valid: Sequence[str] = ()) -> Target:
    """What the column asks for. `valid`: columns that hold more than one value.

    Raises `BadInput` for a column of one value, of times, or of text that is no class."""
    said = f"The target {column.name!r}"
    if column.distinct < 2:
        only = f"only the value {next(iter(column.values))!r}" if column.values else "no value"
        raise BadInput(
            f"{said} holds {only}, so there is nothing to learn.",
            value=column.name,
            valid=valid,
            hint="Name a column whose value differs between rows, or add rows that ended otherwise.",
        )
    if column.kind in (*TIMES, LogicalType.TIME) or column.kind in (None, LogicalType.OBJECT, LogicalType.ARRAY):
        raise BadInput(
            f"{said} is of type {column.native}; a target is a class or a number.",
            value=column.name,
            hint="Make a column of the file that says what is to be predicted.",
        )
    classes = tuple(column.values)
    if len(classes) == 2:
        positive = _positive(column)
        return Target(
            column=column.name,
            task=Task.BINARY,
            classes=classes,
            positive=positive,
            negative=next(value for value in classes if value != positive),
        )
    if column.kind in NUMBERS:
        few = column.whole and len(classes) <= _FEW_NUMBERS and min(column.values.values()) >= 2 * MIN_OF_SEVERAL
        return Target(
            column=column.name, task=Task.MULTICLASS if few else Task.REGRESSION, classes=classes if few else ()
        )
    if not classes:
        raise BadInput(
            f"{said} is text of {column.counted} distinct values; classes are at most {LISTED}.",
            value=column.name,
            hint="Name another column, or group its values in the file.",
        )
    return Target(column=column.name, task=Task.MULTICLASS, classes=classes)


def _positive(column: ColumnProfile) -> Value:
    """The greater number; of texts the one that means yes, else the later in the alphabet."""
    values = sorted(column.values, key=lambda value: value if isinstance(value, int | float) else str(value).lower())
    meant = [value for value in values if str(value).strip().lower() in _YES]
    return meant[0] if column.kind is LogicalType.STRING and len(meant) == 1 else values[-1]
