"""Service levels of a contract that become objectives: how often freshness and latency are to hold, over which window.

Read from `slaProperties`. Of `latency`, the element is the time at which something happened, and its `knownAt` the time
at which it became known; what lies between them is measured row by row. Where a contract does not say so, latency is
promised and cannot be measured, which is said and never passed over.

Custom properties of a freshness or latency promise: `sloObjective` (percent of measurements or rows, 95 when left out)
and `sloWindow` (such as 28d, which it is when left out).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from open_data_contract_standard.model import OpenDataContractStandard, ServiceLevelAgreementProperty

from towpath.core.odcs import Notes
from towpath.core.promises import Latency, LogicalType, Objective, Table

OBJECTIVE: Final = "sloObjective"
WINDOW: Final = "sloWindow"
_WINDOW = re.compile(r"([1-9]\d{0,3})([hdw])")
_UNITS: Final = {"h": "hours", "d": "days", "w": "weeks"}
_MOST_HOURS: Final = 24 * 36_525  # of a promise: a century


def span(text: object) -> timedelta | None:
    """The window that `sloWindow` says; None when it says none."""
    match = _WINDOW.fullmatch(text) if isinstance(text, str) else None
    return timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None


def length(value: object, hours: float | None) -> timedelta | None:
    """A promised length of time, of units of so many hours; None when it is no number above 0, or over a century."""
    if hours is None or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return timedelta(hours=hours * value) if 0 < value <= _MOST_HOURS / hours else None


def objective(extras: Mapping[str, Any], at: str, notes: Notes) -> Objective:
    """How often a promise is to hold, and over which window."""
    default = Objective()
    share, window = extras.get(OBJECTIVE, default.percent), extras.get(WINDOW)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 50 <= share < 100:
        notes.refuse(
            f"{at}.{OBJECTIVE}",
            f"it is {share!r}.",
            value=share,
            hint="Write percent from 50 to less than 100; an objective of 100 leaves no budget for any fault.",
        )
        share = default.percent
    said = span(window)
    if window is not None and said is None:
        notes.refuse(f"{at}.{WINDOW}", f"it is {window!r}.", value=window, valid=["24h", "28d", "4w"])
    return Objective(percent=float(share), window=said or default.window)


def with_latency(
    tables: Mapping[str, Table], standard: OpenDataContractStandard, notes: Notes, *, hours: Mapping[str, float]
) -> dict[str, Table]:
    """The tables with their latency promises. One without an element in a table is of the whole contract: no table's.

    `hours`: of each unit of time.
    """
    found = dict(tables)
    for item in standard.slaProperties or []:
        if (item.property or "").lower() not in ("latency", "ly"):
            continue
        table, _, column = (item.element or standard.slaDefaultElement or "").partition(".")
        if table in found:
            if any(one.column == column for one in found[table].latencies):
                at = f"slaProperties[latency of {table}.{column}]"
                notes.refuse(at, "it is promised twice.", value=column, hint="Leave one promise of each element.")
            promise = _latency(item, column, found[table], notes, hours)
            found[table] = replace(found[table], latencies=(*found[table].latencies, promise))
    return found


def _latency(
    item: ServiceLevelAgreementProperty, column: str, table: Table, notes: Notes, hours: Mapping[str, float]
) -> Latency:
    at = f"slaProperties[latency of {table.name}.{column}]"
    extras = notes.custom(at, item.customProperties, (OBJECTIVE, WINDOW))
    wanted = objective(extras, at, notes)
    bound, happened = length(item.value, hours.get((item.unit or "").lower())), table.columns.get(column)
    if happened is None or happened.logical_type is not LogicalType.TIMESTAMP:
        why = f"{column or 'its element'} is no timestamp of the table; name the time at which something happened"
        return Latency(column=column, objective=wanted, why=why)
    known = table.columns.get(happened.known_at or "")
    if known is None or known.logical_type is not LogicalType.TIMESTAMP:
        why = f"{column} has no knownAt that is a timestamp: the time at which it became known"
        return Latency(column=column, objective=wanted, why=why)
    if bound is None:
        why = f"{item.value!r} {item.unit or ''} is no length of time, or more than a century"
        return Latency(column=column, objective=wanted, why=why)
    return Latency(column=column, known_at=known.name, bound=bound, objective=wanted)
