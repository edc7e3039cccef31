"""Columns that their contracts deprecate, and what it means that a model reads one: a warning, then a refusal. Pure.

From its `removalDate` on, the producer may take a column away without another word; a model that reads it then has no
tomorrow, however well it does today.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from towpath.core.evidence import Finding, Outcome, Severity
from towpath.core.promises import Contract

CODE: Final = "data.deprecated"


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """A deprecated column of a source, the day from which it may be gone (None: not said), and who answers for it."""

    table: str
    column: str
    day: date | None
    contract: str
    owner: str

    @property
    def name(self) -> str:
        return f"{self.table}.{self.column}"


@dataclass(frozen=True, kw_only=True)
class Reads:
    """What reads a column; `untold`: why that cannot be told."""

    by: tuple[str, ...] = ()
    untold: str = ""


def leaving(contracts: Mapping[str, Contract]) -> tuple[Leaving, ...]:
    """The deprecated columns of a project's sources; `contracts` are by table."""
    return tuple(
        Leaving(
            table=table, column=column.name, day=column.removal_date, contract=contract.id, owner=contract.owner
        )
        for table, contract in contracts.items()
        for column in contract.table(table).columns.values()
        if column.deprecated
    )  # fmt: skip


def judged(reads: Mapping[Leaving, Reads], *, as_of: date) -> tuple[Finding, ...]:
    """A finding of each deprecated column that is read, or of which that cannot be told; else one that passes."""
    found = tuple(_finding(one, read, as_of) for one, read in reads.items() if read.by or read.untold)
    if found:
        return found
    told = ", ".join(one.name for one in reads)
    reason = f"Deprecated and read by nothing: {told}." if told else "The contracts deprecate no column."
    return (Finding(code=CODE, outcome=Outcome.PASS, measured=0, bound="0 columns", unit="columns", reason=reason),)


def _finding(one: Leaving, read: Reads, as_of: date) -> Finding:
    due = one.day is not None and one.day <= as_of
    return Finding(
        code=CODE,
        outcome=Outcome.FAIL if read.by else Outcome.INCONCLUSIVE,
        severity=Severity.ERROR if due else Severity.WARNING,
        subject=one.name,
        measured=as_of.isoformat(),
        bound=f"before {one.day}" if one.day else "",
        source=one.contract,
        reason=f"{_when(one, as_of, due=due)} {_what(one, read, due=due)}",
    )


def _when(one: Leaving, as_of: date, *, due: bool) -> str:
    if one.day is None:
        return f"{one.name} is deprecated, and its contract has no removalDate."
    if due:
        return f"{one.name} is deprecated and may be gone since {one.day} (it is {as_of})."
    return f"{one.name} is deprecated and may be gone from {one.day} on (it is {as_of})."


def _what(one: Leaving, read: Reads, *, due: bool) -> str:
    if not read.by:
        return f"Whether the model reads it cannot be told: {read.untold.rstrip('.')}."
    by = f"{', '.join(read.by)} {'reads' if len(read.by) == 1 else 'read'} it."
    if one.day is None:
        return f"{by} Leave it out, and ask {one.owner} when it goes."
    if due:
        return f"{by} Leave it out, or agree with {one.owner} on a later removalDate."
    return f"{by} Leave it out before that day: from then on this refuses."
