"""Values as text, one way only: JSON in the canonical form of RFC 8785, and times in UTC."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

import rfc8785

from towpath.core.errors import BadInput

_BASIC: Final = "\uffff"  # names with characters beyond are in another order in UTF-16, by which RFC 8785 sorts
_plain: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False).encode
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


def parse_canonical(text: str) -> Any:
    """The value of JSON that is in canonical form. Raises `ValueError` for text that is not.

    Most text is found canonical by the standard library, which is some ten times as fast as writing it anew by the
    rules; what it writes otherwise than RFC 8785 (some numbers, and names beyond the basic plane) goes the long way.
    """
    odd = False

    def fraction(digits: str) -> float:
        nonlocal odd
        value = float(digits)
        # With an exponent, or with nothing behind the point, ECMAScript's form is not Python's.
        odd = odd or digits != repr(value) or "e" in digits or digits.endswith(".0")
        return value

    def whole(digits: str) -> int | float:
        nonlocal odd
        value = int(digits)
        odd = odd or abs(value) > _EXACT
        return value if abs(value) <= _EXACT else float(digits)

    value = json.loads(text, parse_float=fraction, parse_int=whole, parse_constant=_refuse)
    if not odd and max(text) <= _BASIC and plain(value) == text:
        text.encode("utf-8")  # a lone surrogate is no text
        return value
    if canonical(value) != text:
        raise ValueError("it is not in canonical form")
    return value


def plain(value: Any) -> str:
    """JSON as the standard library writes it: canonical for text, null and small whole numbers."""
    return _plain(value)


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
