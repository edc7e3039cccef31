"""Whether readers still get the values that they relied on when a mask is set, changed or taken off."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from towpath.core.contract_changes_deprecation import removed
from towpath.core.contract_changes_values import Change, breaking, compatible, metadata
from towpath.core.masking import Mask, Method
from towpath.core.promises import Table


def masks(where: str, before: Table, after: Table, as_of: date) -> Iterator[Change]:
    """The changes of a table's masks, and the columns that are dropped now or are dropped no longer."""
    for name in dict.fromkeys([*before.masks, *after.masks]):
        old, new, at = before.masks.get(name), after.masks.get(name), f"{where}.{name}.mask"
        if old == new:
            continue
        if name not in before.columns and name not in after.columns:
            yield metadata(at, _told(old, new), "it reached nobody, and reaches nobody")
        elif name not in after.columns and new is not None:
            yield removed(at, _told(old, new), before.columns[name], as_of)
        elif name not in before.columns:
            if old is not None:
                yield compatible(at, _told(old, new), "the column reaches readers for the first time")
        elif name in after.columns:
            yield breaking(at, _told(old, new), _why(old, new))


def _why(old: Mask | None, new: Mask | None) -> str:
    if new is None:
        return "values are stored that readers may have no right to see"
    if old is not None and old.method is new.method is Method.PSEUDONYM:
        return "a value gets another pseudonym: it joins with nothing that was stored before"
    return "the same value is stored as another one: what was learnt from it holds no longer"


def _told(old: Mask | None, new: Mask | None) -> str:
    return " becomes ".join(one.text if one else "no mask" for one in (old, new))
