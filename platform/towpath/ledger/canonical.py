"""Values as text, one way only: JSON in the canonical form of RFC 8785, and times in UTC."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

import rfc8785

from towpath.core.errors import BadInput

_EXACT: Final = (
    2**53 - 1
)  # the largest integer that RFC 8785 writes from an integer; beyond, the digits came from a float


def canonical(value: Any) -> str:
    """The canonical JSON of a value. Raises `BadInput` for what it cannot say (NaN, 2**53, a lone surrogate)."""
    try:
        return rfc8785.dumps(value).decode("utf-8")
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise BadInput(
            f"A record's body cannot be written as canonical JSON: {error}.",
            hint="Use text, finite numbers, integers below 2**53 (larger as text), lists and string-keyed mappings.",
        ) from error


def parse(text: str) -> Any:
    """The value of canonical JSON; its canonical form is the text again, also for floats of 2**53 and more."""
    return json.loads(text, parse_int=_number, parse_constant=_refuse)


def _number(digits: str) -> int | float:
    value = int(digits)
    return value if abs(value) <= _EXACT else float(digits)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def stamp(at: datetime) -> str:
    """A time as it is hashed: `2013-01-31T05:00:00.000000Z`."""
    if at.tzinfo is None:
        raise BadInput(
            f"The time {at.isoformat()} has no time zone.",
            value=at,
            hint="Give the ledger a clock that tells UTC.",
        )
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
