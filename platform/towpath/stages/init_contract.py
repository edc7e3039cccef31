"""A drafted contract and the one that a person has edited since: the draft's news, and everything else theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import yaml

from towpath.core import odcs
from towpath.core.contract import Contract, parse
from towpath.core.contract_changes import Comparison, compare

Document = dict[str, Any]
Items = Sequence[Mapping[str, Any]]

_ITEMS = {"properties": "name", "quality": "id"}  # lists of things, and what names one
_SEEN = "description"


def proposed(
    now: Contract,
    theirs: Mapping[str, Any],
    *,
    before: Mapping[str, Any] | None,
    drafted: Mapping[str, Any],
    as_of: date,
) -> tuple[str, Comparison] | None:
    """The contract to propose as text, and what it changes in theirs; None when the draft says nothing new.

    Key by key, the draft's word is taken only where the last draft that was taken over (`before`) said otherwise. The
    version is the least that the changes need on the day `as_of`. Raises `Problems` when the result is no contract.
    """
    merged = _merged(odcs.plain(theirs), odcs.plain(before or {}), odcs.plain(drafted))
    found = compare(now, _parsed(merged), theirs, merged, as_of=as_of)
    if not found.changes:
        return None
    merged["version"] = str(found.least)
    return _text(merged), compare(now, _parsed(merged), theirs, merged, as_of=as_of)


def _merged(theirs: Document, before: Document, drafted: Document) -> Document:
    said = {table["name"] for table in before.get("schema", [])}
    # of a table that no draft spoke of before, every column that is not there is news
    unsaid = [{**table, "properties": []} for table in drafted.get("schema", []) if table["name"] not in said]
    earlier = [*before.get("schema", []), *unsaid]
    return {**theirs, "schema": _items(theirs.get("schema", []), earlier, drafted.get("schema", []), by="name")}


def _items(theirs: Items, before: Items, drafted: Items, *, by: str) -> list[Document]:
    """Theirs in their order with the draft's news, without what the draft dropped, then what is new in the draft.

    What a person added stays, what they deleted stays away until the draft says something else of it.
    """
    then, new = ({item.get(by): item for item in items} for items in (before, drafted))
    found = []
    for item in theirs:
        name = item.get(by)
        if name in new:
            found.append(_news(item, then.get(name, new[name]), new[name]))
        elif name not in then:
            found.append(dict(item))
    here = {item.get(by) for item in theirs}
    return [
        *found,
        *(
            dict(item)
            for name, item in new.items()
            if name not in here and (name not in then or _bare(then[name]) != _bare(item))
        ),
    ]


def _news(theirs: Mapping[str, Any], before: Mapping[str, Any], drafted: Mapping[str, Any]) -> Document:
    """Theirs, but for the keys of which the draft says something else than before.

    A description tells what was seen, which each delivery changes a little: it follows other news, and is none itself.
    """
    found = dict(theirs)
    for key in dict.fromkeys([*drafted, *before]):
        old, new = before.get(key), drafted.get(key)
        if key == _SEEN or _bare(old) == _bare(new):
            continue
        if key not in drafted:
            found.pop(key, None)
        else:
            found[key] = _value(key, theirs.get(key), old, new)
    if found != theirs and theirs.get(_SEEN) == before.get(_SEEN) and _SEEN in drafted:
        found[_SEEN] = drafted[_SEEN]
    return found


def _value(key: str, theirs: Any, before: Any, drafted: Any) -> Any:
    """What one key is to hold, where the draft says something else than before."""
    if key in _ITEMS:
        return _items(theirs or [], before or [], drafted, by=_ITEMS[key])
    if all(isinstance(one, Mapping) for one in (theirs, before, drafted)):
        return _news(theirs, before, drafted)
    if all(isinstance(one, list) for one in (theirs, before, drafted)):
        kept = [one for one in theirs if one in drafted or one not in before]
        return [*kept, *(one for one in drafted if one not in before and one not in kept)]
    return drafted


def _bare(value: Any) -> Any:
    """The same without descriptions."""
    if isinstance(value, Mapping):
        return {key: _bare(held) for key, held in value.items() if key != _SEEN}
    return [_bare(one) for one in value] if isinstance(value, list) else value


def _parsed(document: Document) -> Contract:
    return parse(document, origin="the draft")


def _text(document: Document) -> str:
    told = "# Proposed by `towpath init`: the contract as it is, and what the data changed. No comments are copied.\n"
    return told + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
