"""The columns of a contract that a set of changes is about."""

from __future__ import annotations

from collections.abc import Iterable

from towpath.core.contract_changes_values import Change
from towpath.core.promises import Contract


def touched(changes: Iterable[Change], before: Contract, after: Contract) -> tuple[tuple[str, str], ...]:
    """Pairs of table and column of the old contract; all columns of a table that is gone. New ones are left out."""
    places = [change.where for change in changes]
    return tuple(
        (name, column)
        for name, table in before.tables.items()
        for column in table.columns
        if name not in after.tables or any(_of(f"schema[{name}].{column}", place) for place in places)
    )


def _of(column: str, place: str) -> bool:
    return place == column or place.startswith((f"{column}.", f"{column}["))
