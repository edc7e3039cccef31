"""A drafted contract and the one that a person has edited since: the draft's news, and everything else theirs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import yaml

from towpath.core import odcs
from towpath.core.contract import Contract, parse
from towpath.core.contract_changes import Comparison, compare

Document = dict[str, Any]


def proposed(
    now: Contract,
    theirs: Mapping[str, Any],
    *,
    before: Mapping[str, Any] | None,
    drafted: Mapping[str, Any],
    as_of: date,
) -> tuple[str, Comparison] | None:
    """The contract to propose as text, and what it changes in theirs; None when the draft says nothing new.

    A column's promises are the draft's only where the last draft (`before`) said otherwise of it. The version is the
    least that the changes need on the day `as_of`. Raises `Problems` when the result is no contract.
    """
    merged = _merged(odcs.plain(theirs), odcs.plain(before or {}), odcs.plain(drafted))
    found = compare(now, _parsed(merged), theirs, merged, as_of=as_of)
    if not found.changes:
        return None
    merged["version"] = str(found.least)
    return _text(merged), compare(now, _parsed(merged), theirs, merged, as_of=as_of)


def _merged(theirs: Document, before: Document, drafted: Document) -> Document:
    earlier = {table["name"]: table for table in before.get("schema", [])}
    here = {table["name"]: table for table in theirs.get("schema", [])}
    tables = [
        _table(here.get(table["name"]), earlier.get(table["name"], {}), table) for table in drafted.get("schema", [])
    ]
    return {**theirs, "schema": tables}


def _table(theirs: Document | None, before: Document, drafted: Document) -> Document:
    if theirs is None:
        return drafted
    mine, then = _columns(theirs), _columns(before)
    columns = [
        mine[name] if name in mine and then.get(name, column) == column else column
        for name, column in _columns(drafted).items()
    ]
    # a column that no draft ever spoke of is a person's own
    columns += [column for name, column in mine.items() if name not in then and name not in _columns(drafted)]
    found = {**theirs, "properties": columns}
    if before.get("quality", drafted.get("quality")) != drafted.get("quality"):
        found["quality"] = _rules(theirs, before, drafted)
    return found


def _columns(table: Document) -> dict[str, Document]:
    return {column["name"]: column for column in table.get("properties", [])}


def _rules(theirs: Document, before: Document, drafted: Document) -> list[Document]:
    """A person's own rules, and the draft's instead of those that it drafted before."""
    drafts = {rule.get("id") for table in (before, drafted) for rule in table.get("quality", [])}
    own = [rule for rule in theirs.get("quality", []) if rule.get("id") not in drafts]
    return [*drafted.get("quality", []), *own]


def _parsed(document: Document) -> Contract:
    return parse(document, origin="the draft")


def _text(document: Document) -> str:
    told = "# Proposed by `towpath init`: the contract as it is, and what the data changed. No comments are copied.\n"
    return told + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
