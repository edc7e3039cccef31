"""The columns of a drafted contract: what was seen, as promises that a person confirms or takes back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from towpath.core.draft import Plan, Shape
from towpath.core.draft_columns import DraftColumn, Role
from towpath.core.profile import NUMBERS, TIMES
from towpath.core.promises import LogicalType

_LISTED = 20  # values; a longer list is no promise
_WIDE = 100  # columns; of more, how often each may be empty is left unsaid
_ROOM = 10  # percent of rows that may be empty beyond those that were


def properties(plan: Plan) -> list[Mapping[str, Any]]:
    """The properties of the table in the standard's own words, in its order."""
    wide = len(plan.columns) > _WIDE
    return [_property(column, plan, wide=wide) for column in plan.columns]


def _property(column: DraftColumn, plan: Plan, *, wide: bool) -> dict[str, Any]:
    profile = column.profile
    found: dict[str, Any] = {
        "name": profile.name,
        "logicalType": str(profile.kind),
        "physicalType": profile.native,
        "description": _seen(column),
    }
    if not profile.nulls:
        found["required"] = True
    if column.role is Role.KEY and plan.shape is not Shape.EVENTS and not profile.nulls:
        found |= {"unique": True, "primaryKey": True, "primaryKeyPosition": 1}
    if profile.kind is LogicalType.TIMESTAMP:
        found["logicalTypeOptions"] = {"timezone": profile.zoned}
    rules = [rule for rule in (None if wide else _known(column), _listed(column)) if rule is not None]
    if rules:
        found["quality"] = rules
    return found


def _seen(column: DraftColumn) -> str:
    """What was seen of the values, in a sentence."""
    profile = column.profile
    empty = f", {profile.nulls:,} of {profile.rows:,} empty" if profile.nulls else ""
    if profile.kind in (*NUMBERS, *TIMES, LogicalType.TIME) and profile.low:
        said = f"Seen: {profile.low} to {profile.high}{empty}."
    else:
        said = f"Seen: {profile.counted} distinct values{empty}."
    return said + (f" {column.why[0].upper()}{column.why[1:]}." if column.why else "")


def _known(column: DraftColumn) -> dict[str, Any] | None:
    profile = column.profile
    if not profile.nulls or not profile.rows:
        return None
    bound = math.ceil(100 * profile.nulls / profile.rows) + _ROOM
    if bound >= 100:
        return None
    return {
        "id": f"{column.name}-known",
        "metric": "nullValues",
        "unit": "percent",
        "mustBeLessThan": bound,
        "severity": "warning",
        "dimension": "completeness",
        "description": f"It was empty in {100 * profile.nulls / profile.rows:.1f} of 100 rows.",
    }


def _listed(column: DraftColumn) -> dict[str, Any] | None:
    profile = column.profile
    if not profile.values or len(profile.values) > _LISTED or column.role not in (Role.CATEGORY, Role.TARGET):
        return None
    if profile.kind not in (LogicalType.STRING, LogicalType.INTEGER):
        return None
    return {
        "id": f"{column.name}-listed",
        "metric": "invalidValues",
        "arguments": {"validValues": sorted(profile.values)},
        "mustBe": 0,
        "severity": "error" if column.role is Role.TARGET else "warning",
        "dimension": "conformity",
        "description": "The values that were seen.",
    }
