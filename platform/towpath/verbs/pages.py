"""Pages of what grows: a cursor says up to where somebody has read, and what the record was when they began."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from towpath.core.errors import BadInput

_MOST: Final = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """Where the next page begins: behind (or, of what is listed newest first, before) `at`.

    `until`: the last record when the first page was asked for; what came later belongs to no page of this listing.
    `of`: what was listed; a cursor is good for that alone.
    """

    at: int
    until: int
    of: str

    @property
    def text(self) -> str:
        """As the caller gets it. Nothing is to be read from it."""
        raw = json.dumps([self.at, self.until, self.of], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def read(text: str, of: str) -> Cursor:
    """The cursor that somebody gives back. Raises `BadInput` for anything else, and for one of another listing."""
    try:
        at, until, named = json.loads(base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", True))
        if not all(type(number) is int and 0 <= number <= _MOST for number in (at, until)):
            raise ValueError("no places")
    except (ValueError, TypeError, binascii.Error, UnicodeError, RecursionError) as error:
        raise BadInput("The cursor is none that was given out.", hint="Take `next` of the page before.") from error
    if named != of:
        raise BadInput("The cursor belongs to another listing.", hint="Ask for the next page as for the first.")
    return Cursor(at=at, until=until, of=of)


def listing(what: str, filters: Mapping[str, object]) -> str:
    """What is listed, in a text that a cursor can hold."""
    return json.dumps([what, sorted((name, str(value)) for name, value in filters.items() if value is not None)])
