"""The differences of two contracts that the parsed contract does not hold: other agreements, and words.

The documents are compared key by key, items of lists by their names. What `towpath.core.contract` reads is judged
elsewhere and left out here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from towpath.core.contract_changes_objectives import READ, objectives
from towpath.core.contract_changes_values import Change, breaking, compatible, metadata, stated
from towpath.core.promises import Operator

_WORDS = "it is said and not promised"
_NAMES = (
    *("username", "name", "property", "channel", "server", "role", "value", "url", "synonym", "id", "metric", "to"),
    "type",
)
# Read into the contract, and judged there.
_READ = {
    "": {"id", "version", "status", "slaDefaultElement"},
    "schema": {"name"},
    "properties": {"name", "logicalType", "required", "unique", "primaryKey", "primaryKeyPosition", "classification"},
    "relationships": {"type", "from", "to"},
    "quality": {*Operator, "unit", "severity", "arguments", "query", "metric", "rule", "type"},
    "enum": {"value"},
    "logicalTypeOptions": {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength"),
        *("multipleOf", "pattern", "timezone"),
    },
}
_CUSTOM = {*READ, "knownAt", "mask", "removalDate", "severity", "quarantine", "unit", *Operator}
# Whole lists whose items come and go with what they belong to; an item of these that is new or gone is judged there.
_JUDGED_ITEMS = {"schema", "properties", "relationships", "enum"}
# Where data lie, who may read them, at what price, in which stored type: agreements that no check looks at.
_AGREED = {
    "physicalType": "the type in the store",
    "physicalName": "the name in the store",
    "servers": "a place where the data lie",
    "roles": "who may read the data",
    "price": "the price",
    "format": "the form that values are written in",
}
_LESS_IS_MORE = {"latency", "frequency", "errorrate"}
_MORE_IS_MORE = {"availability", "retention", "throughput"}
_SAME = {"fr": "freshness", "freshness": "freshness", "ly": "latency", "latency": "latency"}
_PROSE = {"description", "customProperties", "authoritativeDefinitions", "tags", "id"}


def words(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """The changes of plain documents (no dates: `odcs.plain`) beside those of the contracts read from them."""
    yield from _sla(old, new)
    yield from _mapping("", "", _without_sla(old), _without_sla(new))


def _without_sla(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "slaProperties"}


def _mapping(where: str, part: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    read = _READ.get(part, set()) | (_unread_options(old, new) if part == "properties" else set())
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key), new.get(key)
        if key in read or before == after:
            continue
        at = f"{where}.{key}" if where else key
        if key in _AGREED:
            yield from _agreed(at, key, before, after)
        elif key == "deprecated":
            what = "it is deprecated" if after else "it is deprecated no longer"
            yield compatible(at, what, "readers are told; everything holds still")
        elif _items(before) or _items(after):
            yield from _listed(at, key, before or [], after or [])
        elif isinstance(before, Mapping) or isinstance(after, Mapping):
            yield from _mapping(at, key, before or {}, after or {})
        else:
            yield metadata(at, _what(before, after), _WORDS)


def _unread_options(old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
    """The options of text are limits all of them; those of another type than before cannot be compared."""
    kinds = {old.get("logicalType"), new.get("logicalType")}
    return {"logicalTypeOptions"} if kinds == {"string"} or len(kinds) > 1 else set()


def _items(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(one, Mapping) for one in value)


def _listed(where: str, key: str, old: Any, new: Any) -> Iterator[Change]:
    if isinstance(old, Mapping) or isinstance(new, Mapping):
        yield metadata(where, "it has another form", _WORDS)
        return
    before, after = _named(old), _named(new)
    for name in dict.fromkeys([*before, *after]):
        one, other = before.get(name), after.get(name)
        if one == other or (key == "customProperties" and name.partition("#")[0] in _CUSTOM):
            continue
        if (one is None or other is None) and (key in _JUDGED_ITEMS or (key == "quality" and _checked(one or other))):
            continue
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _mapping(_column_or_item(where, key, name), key, one, other)
        else:
            yield metadata(f"{where}[{name}]", "it is new" if one is None else "it is gone", _WORDS)


def _column_or_item(where: str, key: str, name: str) -> str:
    return f"{where.removesuffix('.properties')}.{name}" if key == "properties" else f"{where}[{name}]"


def _checked(rule: Any) -> bool:
    return isinstance(rule, Mapping) and any(rule.get(key) for key in ("query", "metric", "rule"))


def _named(items: Any) -> dict[str, Any]:
    """Items by the first of their names; the second of the same name is name#2."""
    found: dict[str, Any] = {}
    for item in items:
        keys = [str(item[key]) for key in _NAMES if item.get(key) is not None] if isinstance(item, Mapping) else [item]
        name = count = str(keys[0]) if keys else "item"
        number = 1
        while count in found:
            number += 1
            count = f"{name}#{number}"
        found[count] = item
    return found


def _agreed(where: str, key: str, before: Any, after: Any) -> Iterator[Change]:
    if not _items(before) and not _items(after):
        bare = [_bare(one) for one in (before, after)]
        if bare[0] == bare[1]:
            yield metadata(where, "its words are others", _WORDS)
        else:
            yield from stated(where, bare[0], bare[1], of=_AGREED[key])
        return
    old, new = _named(before or []), _named(after or [])
    for name in dict.fromkeys([*old, *new]):
        one, other, at = old.get(name), new.get(name), f"{where}[{name}]"
        if one is None:
            yield compatible(at, "it is new", f"{_AGREED[key]} is added to those that were")
        elif other is None:
            yield breaking(at, "it is gone", f"{_AGREED[key]} is promised no longer")
        elif _bare(one) != _bare(other):
            yield breaking(at, "it is another", f"{_AGREED[key]} is another one than readers rely on")
        elif one != other:
            yield metadata(at, "its words are others", _WORDS)


def _bare(value: Any) -> Any:
    return {key: one for key, one in value.items() if key not in _PROSE} if isinstance(value, Mapping) else value


def _what(before: object, after: object) -> str:
    if before is None:
        return "it is new"
    return "it is gone" if after is None else "its words are others"


def _sla(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Service levels beside freshness, whose promises the contract holds."""
    before, after = _levels(old), _levels(new)
    for name in dict.fromkeys([*before, *after]):
        one, other, where = before.get(name), after.get(name), f"slaProperties[{name}]"
        if one is None or other is None:
            if not _fresh(name):
                yield from stated(where, _level(one), _level(other), of="a service level")
            continue
        if not _fresh(name) and _level(one) != _level(other):
            yield _moved(where, name, one, other)
        yield from objectives(where, one, other)
        judged = {"value", "valueExt", "unit", "element", "customProperties"}
        for key in dict.fromkeys([*one, *other]):
            if key not in judged and one.get(key) != other.get(key):
                yield metadata(f"{where}.{key}", _what(one.get(key), other.get(key)), _WORDS)
        yield from _listed(
            f"{where}.customProperties",
            "customProperties",
            one.get("customProperties") or [],
            other.get("customProperties") or [],
        )


def _levels(document: Mapping[str, Any]) -> dict[str, Any]:
    default = document.get("slaDefaultElement")
    items = [{"element": default, **item} if default else item for item in document.get("slaProperties") or []]
    found: dict[str, Any] = {}
    for item in items:
        word = str(item.get("property"))
        word = _SAME.get(word.lower(), word)
        name = count = f"{word} of {item['element']}" if item.get("element") else word
        number = 1
        while count in found:  # such as one for each driver
            number += 1
            count = f"{name}#{number}"
        found[count] = item
    return found


def _fresh(name: str) -> bool:
    return name.partition(" of ")[0].lower() == "freshness"


def _level(item: Mapping[str, Any] | None) -> str | None:
    if item is None:
        return None
    return " ".join(str(item[key]) for key in ("value", "valueExt", "unit") if item.get(key) is not None)


def _moved(where: str, name: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> Change:
    what = f"{_level(one)} becomes {_level(other)}"
    word, numbers = name.partition(" of ")[0].lower(), [one.get("value"), other.get("value")]
    same = all(one.get(key) == other.get(key) for key in ("unit", "valueExt"))
    counted = [float(number) for number in numbers if isinstance(number, int | float) and not isinstance(number, bool)]
    if same and len(counted) == 2 and word in _LESS_IS_MORE | _MORE_IS_MORE:
        if (counted[1] < counted[0]) is (word in _LESS_IS_MORE):
            return compatible(where, what, "the service is better than before")
        return breaking(where, what, "the service is worse than before")
    return breaking(where, what, "whether the service is as good as before cannot be told")
