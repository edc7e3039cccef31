"""Whether the objective of a service level became stronger or weaker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from towpath.core.contract_changes_values import Change, breaking, compatible
from towpath.core.contract_levels import OBJECTIVE, WINDOW
from towpath.core.promises import Objective

READ: Final = frozenset({OBJECTIVE, WINDOW})


def objectives(where: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[Change]:
    """The changes of how often a promise is to hold. What is not said is the default."""
    before, after = (_percent(item) for item in (one, other))
    if before != after:
        what = f"{before:g} % becomes {after:g} %"
        if after > before:
            yield compatible(f"{where}.{OBJECTIVE}", what, "it holds more often than before")
        else:
            yield breaking(f"{where}.{OBJECTIVE}", what, "it holds less often than before")
    spans = [_custom(item).get(WINDOW) or "28d" for item in (one, other)]
    if spans[0] != spans[1]:
        why = "over another time more faults may come at once; whether fewer do cannot be told"
        yield breaking(f"{where}.{WINDOW}", f"{spans[0]} becomes {spans[1]}", why)


def _percent(item: Mapping[str, Any]) -> float:
    return float(_custom(item).get(OBJECTIVE, Objective().percent))


def _custom(item: Mapping[str, Any]) -> dict[str, Any]:
    return {str(one.get("property")): one.get("value") for one in item.get("customProperties") or []}
