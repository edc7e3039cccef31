"""The date on which a deprecated column goes: a property's custom property `removalDate`, `YYYY-MM-DD`.

Until then it is there for its readers, who are warned; from that day on (UTC) it may be taken away, and who still reads
it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from open_data_contract_standard.model import SchemaProperty

from towpath.core.odcs import Notes

REMOVAL_DATE: Final = "removalDate"

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def removal_date(item: SchemaProperty, extras: Mapping[str, Any], at: str, notes: Notes) -> date | None:
    """The day from which the property may be gone; None when no day is said."""
    if REMOVAL_DATE not in extras:
        return None
    value = extras[REMOVAL_DATE]
    found = _day(value)
    if found is None:
        hint = "Write the day only, as 2026-12-31, between 0001-01-01 and 9999-12-31."
        notes.refuse(f"{at}.{REMOVAL_DATE}", f"{value!r} is no date.", value=value, hint=hint)
    if not item.deprecated:
        notes.refuse(
            f"{at}.{REMOVAL_DATE}",
            f"it is {value}, and the property is not deprecated.",
            value=value,
            hint="Add `deprecated: true`, which tells readers, or leave the date out.",
        )
    return found


def _day(value: Any) -> date | None:
    if not (isinstance(value, str) and _DATE.fullmatch(value)):
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None
