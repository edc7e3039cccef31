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
    match = _WINDOW.fullmatch(str(window)) if window is not None else None
    if window is not None and match is None:
        notes.refuse(f"{at}.{WINDOW}", f"it is {window!r}.", value=window, valid=["24h", "28d", "4w"])
    span = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else default.window
    return Objective(percent=float(share), window=span)


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
            promise = _latency(item, column, found[table], notes, hours)
            found[table] = replace(found[table], latencies=(*found[table].latencies, promise))
    return found


def _latency(
    item: ServiceLevelAgreementProperty, column: str, table: Table, notes: Notes, hours: Mapping[str, float]
) -> Latency:
    at = f"slaProperties[latency of {table.name}.{column}]"
    extras = notes.custom(at, item.customProperties, (OBJECTIVE, WINDOW))
    wanted = objective(extras, at, notes)
    unit, value, happened = hours.get((item.unit or "").lower()), item.value, table.columns.get(column)
    if happened is None or happened.logical_type is not LogicalType.TIMESTAMP:
        why = f"{column or 'its element'} is no timestamp of the table; name the time at which something happened"
        return Latency(column=column, objective=wanted, why=why)
    known = table.columns.get(happened.known_at or "")
    if known is None or known.logical_type is not LogicalType.TIMESTAMP:
        why = f"{column} has no knownAt that is a timestamp: the time at which it became known"
        return Latency(column=column, objective=wanted, why=why)
    if unit is None or isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return Latency(column=column, objective=wanted, why=f"{value!r} {item.unit or ''} is no length of time")
    return Latency(column=column, known_at=known.name, bound=timedelta(hours=unit * value), objective=wanted)
