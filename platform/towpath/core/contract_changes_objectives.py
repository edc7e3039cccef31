"""Whether the objective of a service level became stronger or weaker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from towpath.core.contract_changes_values import Change, breaking, compatible
from towpath.core.contract_levels import OBJECTIVE, WINDOW, span
from towpath.core.promises import Objective

READ: Final = frozenset({OBJECTIVE, WINDOW})
_DEFAULT: Final = "28d"


def objectives(where: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[Change]:
    """The changes of how often a promise is to hold. What is not said is the default.

    Only of freshness and latency of a table is it known to be a share and a window; of others it may be anything.
    """
    old, new = (_custom(item) for item in (one, other))
    before, after = (said.get(OBJECTIVE, Objective().percent) for said in (old, new))
    if before != after:
        yield _often(f"{where}.{OBJECTIVE}", before, after)
    windows = [_DEFAULT if said.get(WINDOW) is None else said[WINDOW] for said in (old, new)]
    spans = [span(window) or window for window in windows]
    if spans[0] != spans[1]:
        why = "over another time more faults may come at once; whether fewer do cannot be told"
        yield breaking(f"{where}.{WINDOW}", f"{windows[0]} becomes {windows[1]}", why)


def _often(where: str, before: Any, after: Any) -> Change:
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in (before, after)):
        return breaking(where, f"{before!r} becomes {after!r}", "whether it holds as often as before cannot be told")
    what = f"{before:g} % becomes {after:g} %"
    if after > before:
        return compatible(where, what, "it holds more often than before")
    return breaking(where, what, "it holds less often than before")


def _custom(item: Mapping[str, Any]) -> dict[str, Any]:
    return {str(one.get("property")): one.get("value") for one in item.get("customProperties") or []}
