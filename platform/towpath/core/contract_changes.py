"""Every difference of two data contracts, what each means to who reads the data, and the version it needs.

Breaking: a reader who relied on the old contract may fail or be misled, for a promise is weaker, gone or another.
Compatible: a promise is stronger or new. Metadata: words that promise nothing. The stricter class where it cannot be
told. A column's or a table's name is what readers call it, so another name is one thing gone and one new. A column that
goes on or after the day that its readers were told goes as promised.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from towpath.core import odcs
from towpath.core.contract_changes_deprecation import announced, dates, left, removed
from towpath.core.contract_changes_limits import limits
from towpath.core.contract_changes_masks import masks
from towpath.core.contract_changes_rules import references, rules, severities
from towpath.core.contract_changes_values import Change, Impact, breaking, compatible, metadata, stated
from towpath.core.contract_changes_words import words
from towpath.core.contract_versions import Bump, Version
from towpath.core.promises import Column, Contract, Freshness, LogicalType, Table

__all__ = ["Change", "Comparison", "Impact", "compare"]

_BUMPS = {Impact.BREAKING: Bump.MAJOR, Impact.COMPATIBLE: Bump.MINOR, Impact.METADATA: Bump.PATCH}
_STATUS_HOLDS = ("active", "deprecated")
_CLASSES = ("public", "internal", "confidential", "restricted")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The changes from one version of a contract to another, the worst first."""

    changes: tuple[Change, ...]
    before: Version
    after: Version

    @property
    def bump(self) -> Bump:
        """The least bump that the changes need."""
        return next((_BUMPS[one] for one in Impact if any(change.impact is one for change in self.changes)), Bump.NONE)

    @property
    def least(self) -> Version:
        """The least version that the new contract may have."""
        return self.before.bumped(self.bump)

    @property
    def enough(self) -> bool:
        return self.after >= self.least


def compare(
    before: Contract, after: Contract, old: Mapping[str, Any], new: Mapping[str, Any], *, as_of: date
) -> Comparison:
    """Two contracts and the documents that they were read from; `as_of` is the day on which the new one comes.

    Raises `DeclarationError` when a version is no semantic one.
    """
    versions = [Version.parse(one.version, where=one.origin or one.id) for one in (before, after)]
    old, new = odcs.plain(old), odcs.plain(new)
    found = [*_contract(before, after), *_tables(before.tables, after.tables, as_of), *words(old, new)]
    if not found and {**old, "version": ""} != {**new, "version": ""}:
        found = [metadata("contract", "it is written in another way", "it promises the same")]
    rank = list(Impact)
    found.sort(key=lambda change: rank.index(change.impact))
    return Comparison(changes=tuple(found), before=versions[0], after=versions[1])


def _contract(before: Contract, after: Contract) -> Iterator[Change]:
    if before.id != after.id:
        yield breaking("id", f"{before.id} becomes {after.id}", "it is another contract to who refers to it")
    if before.status != after.status:
        what = f"{before.status} becomes {after.status}"
        if after.status == "retired":
            yield breaking("status", what, "nothing is promised any more")
        elif before.status in _STATUS_HOLDS and after.status not in _STATUS_HOLDS:
            yield breaking("status", what, "a contract in force becomes a plan")
        elif after.status == "deprecated":
            yield compatible("status", what, "readers are told in time; everything holds still")
        else:
            yield compatible("status", what, "more is in force than before")


def _tables(before: Mapping[str, Table], after: Mapping[str, Table], as_of: date) -> Iterator[Change]:
    for name, table in before.items():
        if name not in after:
            yield breaking(f"schema[{name}]", "the table is gone", "who reads it finds it no more")
        else:
            yield from _table(f"schema[{name}]", table, after[name], as_of)
    for name in after:
        if name not in before:
            yield compatible(f"schema[{name}]", "the table is new", "nobody reads it yet")


def _table(where: str, before: Table, after: Table, as_of: date) -> Iterator[Change]:
    yield from masks(where, before, after, as_of)
    for name, column in before.columns.items():
        at = f"{where}.{name}"
        if name in after.masks and name not in after.columns:
            continue  # it is dropped
        if name not in after.columns:
            yield removed(at, "the column is gone", column, as_of)
        else:
            yield from dates(f"{at}.removalDate", column, after.columns[name], as_of)
            yield from _column(at, column, after.columns[name])
    for name in after.columns:
        if name not in before.columns and name not in before.masks:
            yield compatible(f"{where}.{name}", "the column is new", "nobody reads it yet; readers name their columns")
    kept = [
        [name for name in one.columns if name in other.columns] for one, other in ((before, after), (after, before))
    ]
    if kept[0] != kept[1]:
        yield metadata(where, "its columns stand in another order", "readers name their columns")
    yield from _key(f"{where}.primaryKey", before.primary_key, after.primary_key)
    gone = {name for name, one in before.columns.items() if name not in after.columns and announced(one, as_of)}
    yield from rules(f"{where}.quality", LogicalType.OBJECT, left(before.rules, gone), after.rules)
    yield from references(f"{where}.relationships", left(before.references, gone), after.references)
    yield from _freshness(f"{where}.freshness", before.freshness, after.freshness)


def _key(where: str, before: Sequence[str], after: Sequence[str]) -> Iterator[Change]:
    if set(before) == set(after) and before != after:
        what = f"{', '.join(before)} becomes {', '.join(after)}"
        yield metadata(where, what, "the same columns name a row, in another order")
    else:
        yield from stated(where, ", ".join(before) or None, ", ".join(after) or None, of="a key that names one row")


def _column(where: str, before: Column, after: Column) -> Iterator[Change]:
    if before.logical_type is not after.logical_type:
        what = f"{before.logical_type} becomes {after.logical_type}"
        yield breaking(f"{where}.logicalType", what, "readers take the values for what they were, whichever is wider")
        return  # limits and rules of another type cannot be compared
    yield from _flag(f"{where}.required", before.required, after.required, "empty values may come")
    yield from _flag(f"{where}.unique", before.unique, after.unique, "a value may come twice")
    yield from stated(
        f"{where}.timezone", _zone(before.timezone), _zone(after.timezone), of="whether times carry a zone"
    )
    yield from limits(where, before.logical_type, before.limits, after.limits)
    yield from rules(f"{where}.quality", before.logical_type, before.rules, after.rules)
    if before.known_at != after.known_at:
        what = f"{before.known_at or 'always known'} becomes {after.known_at or 'always known'}"
        yield breaking(f"{where}.knownAt", what, "values become known at another time: past features change")
    yield from _classification(f"{where}.classification", before.classification, after.classification)


def _zone(value: bool | None) -> str | None:
    return None if value is None else "with a zone" if value else "without a zone"


def _flag(where: str, before: bool, after: bool, weaker: str) -> Iterator[Change]:
    if after and not before:
        yield compatible(where, "false becomes true", "it is promised that was not promised before")
    elif before and not after:
        yield breaking(where, "true becomes false", weaker)


def _classification(where: str, before: str | None, after: str | None) -> Iterator[Change]:
    if before == after:
        return
    what = f"{before or 'none'} becomes {after or 'none'}"
    ranks = [_CLASSES.index(one) if one in _CLASSES else None for one in _lowered(before, after)]
    if ranks[0] is None or ranks[1] is None:
        yield breaking(where, what, "whether readers may still see the values cannot be told from its name")
    elif ranks[1] > ranks[0]:
        yield breaking(where, what, "readers may lose the right to see the values")
    elif ranks[1] < ranks[0]:
        yield compatible(where, what, "who may see the values may see them still")
    else:
        yield metadata(where, what, "the same readers may see the values")


def _lowered(*names: str | None) -> list[str]:
    return [(name or "public").lower() for name in names]


def _freshness(where: str, before: Freshness | None, after: Freshness | None) -> Iterator[Change]:
    if before is None or after is None:
        told = [f"at most {one.bound} by {one.column}" if one else None for one in (before, after)]
        yield from stated(where, *told, of="an age of the newest row")
        return
    yield from stated(f"{where}.element", before.column, after.column, of="the time that freshness is measured by")
    yield from severities(f"{where}.severity", before.severity, after.severity)
    if after.bound < before.bound:
        yield compatible(where, f"at most {before.bound} becomes {after.bound}", "rows come earlier than before")
    elif after.bound > before.bound:
        yield breaking(where, f"at most {before.bound} becomes {after.bound}", "rows may come later than before")
