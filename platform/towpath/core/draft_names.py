"""Names for drafts: whatever a column is called, an identifier that SQL, Feast and a charter take without quotes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from towpath.core import names

_PROJECT = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LONGEST = 60
# Columns that the drafts make themselves, or that Feast and pandas keep for themselves.
RESERVED = frozenset(
    {
        names.EVENT_TIME,
        names.LABEL_TIME,
        "created_timestamp",
        "row_id",
        "all_rows",
        "schema_version",
        "index",
        "_reasons",
    }
)


def is_project(name: str) -> bool:
    """Whether a charter takes it for a project's name."""
    return _PROJECT.fullmatch(name) is not None


def identifier(text: str, *, fallback: str) -> str:
    """`text` in lower case, with `_` for all but letters and digits of ASCII; `fallback` when nothing is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    found = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")[:_LONGEST].strip("_")
    if not found:
        return fallback
    return found if found[0].isalpha() else f"{fallback.partition('_')[0]}_{found}"


def unused(wanted: str, columns: Iterable[str]) -> str:
    """`wanted`, or with a number behind it what no column is called; SQL does not tell case apart."""
    taken = {column.casefold() for column in columns}
    name, number = wanted, 2
    while name.casefold() in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name


def identifiers(columns: Iterable[str]) -> dict[str, str]:
    """An identifier for each column, no two the same and none of them reserved."""
    found: dict[str, str] = {}
    taken = set(RESERVED)
    for place, column in enumerate(columns, start=1):
        wanted = identifier(column, fallback=f"column_{place}")
        name, number = wanted, 2
        while name in taken:
            name, number = f"{wanted}_{number}", number + 1
        taken.add(name)
        found[column] = name
    return found
