"""The masks that a contract declares, and what a masked column can still promise.

A property's custom property `mask` is `pseudonym` or `pseudonym: KEY`, `year`, `month`, `bucket: WIDTH`,
`first: CHARACTERS` or `drop`. Everything else that the contract says of the column is said of it after masking: that
is how it is stored, checked and read. A column that is classified or tagged as personal data and has no mask is
refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from open_data_contract_standard.model import SchemaProperty

from towpath.core import odcs
from towpath.core.masking import DEFAULT_KEY, KEY_NAME, Mask, Method
from towpath.core.odcs import Notes
from towpath.core.promises import NO_LIMITS, Column, LogicalType, Metric, Table

PERSONAL: Final = ("personal", "personal data", "pii", "phi", "sensitive", "special category")
"""Classes and tags of a property that say it is about a person; in any case, with `-` or `_` for a blank."""

_FORMS = ("pseudonym", "pseudonym: KEY", "year", "month", "bucket: WIDTH", "first: CHARACTERS", "drop")
_TIMES = (LogicalType.DATE, LogicalType.TIMESTAMP)
_NUMBERS = (LogicalType.NUMBER, LogicalType.INTEGER)
_KINDS: Mapping[Method, tuple[LogicalType, ...]] = {
    Method.PSEUDONYM: (LogicalType.STRING,),
    Method.YEAR: _TIMES,
    Method.MONTH: _TIMES,
    Method.BUCKET: _NUMBERS,
    Method.FIRST: (LogicalType.STRING,),
}


def read(
    items: Sequence[SchemaProperty], columns: Mapping[str, Column], at: str, notes: Notes
) -> tuple[dict[str, Mask], dict[str, Column]]:
    """The masks of a table's columns, and the columns that are left for its readers."""
    masks: dict[str, Mask] = {}
    for item in items:
        column = columns.get(item.name or "")
        if column is None:
            continue
        where = f"{at}.properties[{column.name}]"
        extras = odcs.custom(item.customProperties)
        if "mask" not in extras:
            _require_mask(item, where, notes)
        elif mask := _mask(extras["mask"], where, notes):
            masks[column.name] = mask
            _promises(mask, item, column, where, notes)
    return masks, {name: one for name, one in columns.items() if not _dropped(masks.get(name))}


def clocks(tables: Mapping[str, Table], notes: Notes) -> None:
    """Refuse masks of the columns that tell when a row happened or a value became known."""
    for table in tables.values():
        told = [column.known_at or "" for column in table.columns.values()]
        told.append(table.freshness.column if table.freshness else "")
        for name in sorted({one for one in told if one in table.masks}):
            notes.refuse(
                f"schema[{table.name}].properties[{name}]",
                "it tells when rows happened or values became known, and cannot be masked.",
                value=name,
                hint="Coarser times would show a model what was not known yet. Promise freshness by another column.",
            )


def _dropped(mask: Mask | None) -> bool:
    return mask is not None and mask.method is Method.DROP


def _require_mask(item: SchemaProperty, at: str, notes: Notes) -> None:
    said = [item.classification or "", *(item.tags or [])]
    personal = next((one for one in said if " ".join(re.split(r"[\s_-]+", one.strip().lower())) in PERSONAL), None)
    if personal is not None:
        notes.refuse(
            at,
            f"it is classified as {personal} and has no mask.",
            value=personal,
            valid=_FORMS,
            hint="Add the custom property `mask`, or class the column as what it is when it is no personal data.",
        )


def _mask(value: Any, at: str, notes: Notes) -> Mask | None:
    name, argument = next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else (value, None)
    reader = _READERS.get(str(name)) if isinstance(name, str) else None
    found = reader(argument) if reader else None
    if found is None:
        notes.refuse(f"{at}.mask", f"{value!r} is no mask.", value=str(value), valid=_FORMS, hint=_HINT)
    return found


_HINT = "A key is named in small letters; a width is a number above 0, characters a whole one."


def _pseudonym(argument: Any) -> Mask | None:
    key = DEFAULT_KEY if argument is None else argument
    named = isinstance(key, str) and KEY_NAME.fullmatch(key)
    return Mask(method=Method.PSEUDONYM, key=key) if named else None


def _bucket(argument: Any) -> Mask | None:
    number = isinstance(argument, int | float) and not isinstance(argument, bool) and 0 < argument < float("inf")
    return Mask(method=Method.BUCKET, width=argument) if number else None


def _first(argument: Any) -> Mask | None:
    whole = isinstance(argument, int) and not isinstance(argument, bool) and argument > 0
    return Mask(method=Method.FIRST, length=argument) if whole else None


def _plain(method: Method) -> Callable[[Any], Mask | None]:
    return lambda argument: Mask(method=method) if argument is None else None


_READERS: Mapping[str, Callable[[Any], Mask | None]] = {
    Method.PSEUDONYM: _pseudonym,
    Method.BUCKET: _bucket,
    Method.FIRST: _first,
    **{method: _plain(method) for method in (Method.YEAR, Method.MONTH, Method.DROP)},
}


def _promises(mask: Mask, item: SchemaProperty, column: Column, at: str, notes: Notes) -> None:
    """Refuse what cannot be promised of a column so masked."""
    if mask.method is Method.DROP:
        said = [key for key in ("required", "unique", "primaryKey", "quality", "relationships") if getattr(item, key)]
        if said or column.limits != NO_LIMITS:
            notes.refuse(
                at,
                f"it is dropped, and the contract promises more of it ({', '.join(said) or 'limits'}).",
                value=column.name,
                hint="Nobody gets it, so nothing can be checked: leave the promises out.",
            )
        return
    kinds = _KINDS[mask.method]
    if column.logical_type not in kinds:
        what = "a pseudonym is text" if mask.method is Method.PSEUDONYM else f"{mask.method} is not for it"
        notes.refuse(
            at,
            f"logicalType is {column.logical_type}; {what}.",
            value=column.logical_type.value,
            valid=kinds,
            hint="A masked column is described as its readers get it.",
        )
    if mask.method is Method.BUCKET and column.logical_type is LogicalType.INTEGER and not isinstance(mask.width, int):
        notes.refuse(at, f"buckets of {mask.width} are not of integers.", value=mask.width, hint="Give a whole width.")
    if mask.method is not Method.PSEUDONYM and (item.unique or item.primaryKey):
        notes.refuse(
            at,
            "many values become one: it is no key.",
            value=column.name,
            hint="Use a pseudonym, which keeps keys, or leave out `unique` and `primaryKey`.",
        )
    counted = any(rule.metric is Metric.INVALID_VALUES for rule in column.rules)
    if mask.method is Method.PSEUDONYM and (column.limits != NO_LIMITS or counted):
        notes.refuse(
            at,
            "it is checked after masking, and a pseudonym has no pattern, length or list of values.",
            value=column.name,
            hint="Leave these promises out, or check the values where they come from.",
        )
