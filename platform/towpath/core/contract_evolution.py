"""Whether a candidate's contracts may take the place of those that the champion was made by. Pure; default deny.

A breaking change is refused unless its readers were told in time: every column that it is about was deprecated in the
champion's contract with a `removalDate`, and that day has come. Any change is refused under a version that is too low
for it. What cannot be compared is no pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from towpath.core.contract_changes import Change, Comparison, Impact, compare
from towpath.core.contract_changes_deprecation import announced
from towpath.core.errors import DeclarationError
from towpath.core.evidence import Finding, Outcome, Severity
from towpath.core.promises import Column, Contract

CODE: Final = "data.contract_change"
SAME: Final = Finding(
    code=CODE,
    outcome=Outcome.PASS,
    measured=0,
    bound="0 changes",
    unit="changes",
    reason="The contracts say what those of the champion say, where there is a champion.",
)
"""Of the first model too: a promotion that changes no contract gives the stage no other evidence."""
_OF_TABLES: Final = ("primaryKey", "quality", "relationships", "freshness", "physicalName", "physicalType")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A champion's contract and the candidate's in its place, with the documents that they were read from."""

    before: Contract
    after: Contract
    old: Mapping[str, Any]
    new: Mapping[str, Any]

    def compared(self, as_of: date) -> Comparison:
        """Raises `DeclarationError` when a version is no semantic one."""
        return compare(self.before, self.after, self.old, self.new, as_of=as_of)


@dataclass(frozen=True, kw_only=True)
class Untold:
    """A contract of the champion that cannot be compared, and why."""

    contract: str
    why: str


def judged(found: Sequence[Pair | Untold], *, as_of: date, severity: Severity = Severity.ERROR) -> tuple[Finding, ...]:
    """A finding of each refused change and of each version that is too low; one that passes where nothing is refused.

    `severity`: of what is refused.
    """
    findings = [finding for one in found for finding in _judged(one, as_of, severity)]
    return tuple(findings) or (SAME,)


def _judged(one: Pair | Untold, as_of: date, severity: Severity) -> Iterator[Finding]:
    if isinstance(one, Untold):
        yield _untold(one.contract, one.why, severity)
        return
    try:
        compared = one.compared(as_of)
    except DeclarationError as error:
        yield _untold(one.after.id, error.message, severity)
        return
    if not compared.changes and compared.enough:
        return
    refused = [change for change in compared.changes if not allowed(change, one.before, as_of)]
    yield from (_breaking(change, one, severity) for change in refused)
    if not compared.enough:
        yield _too_low(compared, one, severity)
    if compared.enough and not refused:
        yield _good(compared, one)


def allowed(change: Change, before: Contract, as_of: date) -> bool:
    """Whether the change breaks nobody, or nobody who was not told in time."""
    if change.impact is not Impact.BREAKING:
        return True
    columns = list(_about(change.where, before))
    return bool(columns) and all(announced(column, as_of) for column in columns)


def _about(where: str, before: Contract) -> Iterator[Column]:
    """The columns of the old contract that a place in it is about: one, or all of a table or of the contract."""
    for name, table in before.tables.items():
        at = f"schema[{name}]"
        if where.startswith("schema[") and where != at and not where.startswith((f"{at}.", f"{at}[")):
            continue
        rest = where.removeprefix(f"{at}.")
        one = [
            column
            for column in table.columns.values()
            if column.name not in _OF_TABLES
            and (rest == column.name or rest.startswith((f"{column.name}.", f"{column.name}[")))
        ]
        yield from one if rest != where and one else table.columns.values()


def _breaking(change: Change, one: Pair, severity: Severity) -> Finding:
    return Finding(
        code=CODE,
        outcome=Outcome.FAIL,
        severity=severity,
        subject=f"{one.after.id}/{change.where}",
        measured=change.what,
        bound="no breaking change without a deprecation window",
        source=f"{one.before.id} {one.before.version} to {one.after.version}",
        reason=f"{change.where}: {change.what}, which breaks who reads it: {change.reason}.",
    )


def _too_low(compared: Comparison, one: Pair, severity: Severity) -> Finding:
    count = len(compared.changes)
    why = f"{_counted(count)} {'needs' if count == 1 else 'need'} a {compared.bump} bump"
    return Finding(
        code=CODE,
        outcome=Outcome.FAIL,
        severity=severity,
        subject=f"{one.after.id}/version",
        measured=str(compared.after),
        bound=f">= {compared.least}",
        source=f"{one.before.id} {one.before.version} to {one.after.version}",
        reason=f"{one.after.id} is version {compared.after} after the champion's {compared.before}: "
        f"{why if count else 'a version does not go back'}. Set its version to {compared.least} or higher.",
    )


def _good(compared: Comparison, one: Pair) -> Finding:
    count = len(compared.changes)
    told = sum(change.impact is Impact.BREAKING for change in compared.changes)
    passed = f", {told} of them after {'its' if told == 1 else 'their'} deprecation window" if told else ""
    return Finding(
        code=CODE,
        outcome=Outcome.PASS,
        subject=one.after.id,
        measured=str(compared.after),
        bound=f">= {compared.least}",
        source=f"{one.before.id} {one.before.version} to {one.after.version}",
        reason=f"{_counted(count)} since the champion's {compared.before}{passed}; version {compared.after} is enough.",
    )


def _untold(contract: str, why: str, severity: Severity) -> Finding:
    return Finding(
        code=CODE,
        outcome=Outcome.INCONCLUSIVE,
        severity=severity,
        subject=contract,
        reason=f"The champion's contract cannot be compared with {contract}: {why.rstrip('.')}.",
    )


def _counted(count: int) -> str:
    return "1 change" if count == 1 else f"{count} changes"
