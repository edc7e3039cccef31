"""Service level objectives of data: what was measured, what is left of the error budget, and how fast it burns. Pure.

Terms and alerts are those of Google's Site Reliability Workbook, chapter 5, "Alerting on SLOs", its sixth way
(multiwindow, multi-burn-rate, table 5-8): an alert fires while so much of the budget goes in a long window as would
spend the given share of it there, and still does in a twelfth of that window. It gives burn rates for a window of 30
days; here they follow from the share, the long window and the objective's own, and are at least 1: a budget that goes
more slowly is never spent. An alert that would look further back than the objective does not fire. Where little is
measured a rate is coarse; so an alert fires only if the faults of the long window alone are that share of the budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from towpath.core.evidence import Finding, Outcome, Severity
from towpath.core.promises import Contract, Objective

CODE: Final = "monitor.slo"
_SHORT: Final = 12  # a short window is this part of its long one

Counts = Mapping[timedelta, tuple[int, int]]
"""Of each window that ends now: how many held, of how many."""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """So much of the budget (a share) in a window. `severity`: whether it is to be answered now, or some day soon."""

    share: float
    long: timedelta
    severity: Severity

    @property
    def short(self) -> timedelta:
        return self.long / _SHORT

    def rate(self, window: timedelta) -> float:
        """The burn rate from which it fires, for an objective over that window."""
        return max(1.0, self.share * (window / self.long))


ALERTS: Final = (
    Alert(share=0.02, long=timedelta(hours=1), severity=Severity.ERROR),
    Alert(share=0.05, long=timedelta(hours=6), severity=Severity.ERROR),
    Alert(share=0.10, long=timedelta(days=3), severity=Severity.WARNING),
)


@dataclass(frozen=True, kw_only=True)
class Promised:
    """A promise of a contract. `kind`: freshness or latency; `why`: the reason for which it cannot be measured."""

    kind: str
    table: str
    column: str
    bound: timedelta | None
    objective: Objective
    contract: str
    known_at: str = ""
    why: str = ""

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.table}.{self.column}"

    @property
    def windows(self) -> tuple[timedelta, ...]:
        """Every window that is asked for, the objective's own first."""
        spans = [self.objective.window, *(span for one in ALERTS for span in (one.long, one.short))]
        return tuple(dict.fromkeys(spans))


@dataclass(frozen=True, kw_only=True)
class Event:
    """A measurement: when, and whether the promise held."""

    at: datetime
    good: bool


@dataclass(frozen=True, kw_only=True)
class Status:
    """How a promise stands."""

    promised: Promised
    counts: Counts

    @property
    def good(self) -> int:
        return self.counts.get(self.promised.objective.window, (0, 0))[0]

    @property
    def total(self) -> int:
        return self.counts.get(self.promised.objective.window, (0, 0))[1]

    @property
    def allowed(self) -> float:
        """The share of faults that the objective lets be."""
        return 1 - self.promised.objective.percent / 100

    @property
    def budget_left(self) -> float | None:
        """The share of the error budget that is left, negative when it is overspent; None when nothing was measured."""
        if not self.total:
            return None
        return round(1 - (self.total - self.good) / (self.total * self.allowed), 9)

    def burn(self, window: timedelta) -> float | None:
        """How many times faster than allowed faults came in that window; None when nothing was measured in it."""
        good, total = self.counts.get(window, (0, 0))
        return round((total - good) / total / self.allowed, 9) if total else None

    @property
    def firing(self) -> Alert | None:
        """The first alert that fires."""
        return next((one for one in ALERTS if self._fires(one)), None)

    def _fires(self, alert: Alert) -> bool:
        window = self.promised.objective.window
        if alert.long > window:
            return False
        rates = [self.burn(span) for span in (alert.long, alert.short)]
        good, total = self.counts.get(alert.long, (0, 0))
        spent = (total - good) / (self.total * self.allowed) if self.total else 0.0
        return spent >= alert.share and all(rate is not None and rate >= alert.rate(window) for rate in rates)

    @property
    def document(self) -> dict[str, Any]:
        """As JSON; durations in hours, shares as fractions."""
        promised, firing = self.promised, self.firing
        return {
            "slo": promised.name,
            "contract": promised.contract,
            "promise_hours": _hours(promised.bound) if promised.bound is not None else None,
            "objective": promised.objective.percent / 100,
            "window_hours": _hours(promised.objective.window),
            "good": self.good,
            "total": self.total,
            "budget_left": self.budget_left,
            "burn": {f"{_hours(alert.long):g}h": self.burn(alert.long) for alert in ALERTS},
            "alert": f"{_hours(firing.long):g}h" if firing is not None else None,
            "unmeasured": promised.why,
        }


def promises(contracts: Mapping[str, Contract]) -> tuple[Promised, ...]:
    """The freshness and latency promises of a project's tables; `contracts` are by table."""
    found: list[Promised] = []
    for name, contract in contracts.items():
        table = contract.table(name)
        if (fresh := table.freshness) is not None:
            found.append(
                Promised(
                    kind="freshness",
                    table=name,
                    column=fresh.column,
                    bound=fresh.bound,
                    objective=fresh.objective,
                    contract=contract.id,
                )
            )
        found += [
            Promised(
                kind="latency",
                table=name,
                column=late.column,
                bound=late.bound,
                objective=late.objective,
                contract=contract.id,
                known_at=late.known_at,
                why=late.why,
            )
            for late in table.latencies
        ]
    return tuple(found)


def counted(events: Iterable[Event], windows: Sequence[timedelta], *, until: datetime) -> Counts:
    """The events of each window that ends, included, at `until`."""
    known = list(events)
    inside = {span: [one.good for one in known if until - span < one.at <= until] for span in windows}
    return {span: (sum(held), len(held)) for span, held in inside.items()}


def judged(status: Status) -> Finding:
    """FAIL when the budget is spent, or burns too fast; a slow burn and what was not measured are warnings."""
    left, promised = status.budget_left, status.promised
    outcome, severity = Outcome.PASS, Severity.ERROR
    if left is None:
        outcome, severity = Outcome.INCONCLUSIVE, Severity.WARNING
    elif left <= 0:
        outcome = Outcome.FAIL
    elif (alert := status.firing) is not None:
        outcome, severity = Outcome.FAIL, alert.severity
    return Finding(
        code=CODE,
        outcome=outcome,
        severity=severity,
        subject=promised.name,
        measured=None if left is None else round(100 * left, 2),
        bound="> 0 % of the error budget left",
        unit="%",
        sample_size=status.total or None,
        source=promised.contract,
        reason=_reason(status),
    )


def _reason(status: Status) -> str:
    promised, left = status.promised, status.budget_left
    if left is None:
        return f"{promised.name} is promised and was not measured: {promised.why or 'no measurement in its window'}."
    what = "rows" if promised.kind == "latency" else "measurements"
    held = (
        f"{promised.name} held in {status.good:,} of {status.total:,} {what} of {_span(promised.objective.window)} "
        f"(objective {promised.objective.percent:g} %)"
    )
    if left <= 0:
        return f"{held}: the error budget is spent."
    told = f"{held}: {100 * left:.4g} % of the error budget is left"
    if (alert := status.firing) is None:
        return f"{told}."
    return f"{told}, and it burns {status.burn(alert.long):.3g} times too fast over {_span(alert.long)}."


def _hours(span: timedelta) -> float:
    return span.total_seconds() / 3600


def _span(span: timedelta) -> str:
    hours = _hours(span)
    if hours >= 48 and hours % 24 == 0:
        return f"{hours / 24:g} days"
    return "1 hour" if hours == 1 else f"{hours:g} hours"
