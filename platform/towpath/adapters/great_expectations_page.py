"""The page of the checks, for people: self-contained HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import jinja2

from towpath.core.evidence import Finding, Outcome, Severity, worst
from towpath.core.gates import gate
from towpath.core.promises import Contract
from towpath.ports import TableChecked

_WORST_FIRST = [Outcome.ERROR, Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The first quarantined rows of a table, as text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class _Section:
    """One table's part of the page."""

    table: str
    contract: Contract
    findings: tuple[Finding, ...]
    checked: TableChecked | None
    sample: Sample | None

    @property
    def outcome(self) -> Outcome:
        return worst(self.findings)


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("towpath.adapters"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip


def write_page(
    file: Path,
    contracts: Sequence[Contract],
    findings: Sequence[Finding],
    tables: Mapping[str, TableChecked],
    samples: Mapping[str, Sample],
    *,
    as_of: datetime,
) -> Path:
    """Write the page. The same findings give the same bytes."""
    sections = [
        _Section(
            table=name,
            contract=contract,
            findings=_of_table(findings, name),
            checked=tables.get(name),
            sample=samples.get(name),
        )
        for contract in contracts
        for name in contract.tables
    ]
    html = (
        _environment()
        .get_template("checks.html.j2")
        .render(
            sections=sorted(sections, key=lambda one: (_WORST_FIRST.index(one.outcome), one.table)),
            outcome=worst(findings),
            totals=[(outcome, sum(one.outcome is outcome for one in findings)) for outcome in reversed(_WORST_FIRST)],
            warnings=sum(one.severity is Severity.WARNING and one.outcome is not Outcome.PASS for one in findings),
            as_of=as_of.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            gate=gate,
            rows=sum(one.rows for one in tables.values()),
            quarantined=sum(one.quarantined for one in tables.values()),
            passed=Outcome.PASS,
        )
    )
    file.write_text(html, encoding="utf-8")
    return file


def _of_table(findings: Sequence[Finding], table: str) -> tuple[Finding, ...]:
    """A table's findings, the worst first."""
    own = [one for one in findings if one.subject.partition(".")[0] == table]
    return tuple(sorted(own, key=lambda one: _WORST_FIRST.index(one.outcome)))
