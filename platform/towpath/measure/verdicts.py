"""From an estimate and a bound to an outcome. One rule for every gate that has an interval.

PASS needs the unfavourable end of the interval to meet the bound. When only the estimate meets it, chance alone could
explain that: INCONCLUSIVE. When the estimate itself misses it: FAIL, however wide the interval.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from towpath.core.evidence import Finding, Outcome
from towpath.measure.metrics import Estimate

_PLACES = 6  # sums differ beyond this between machines; a digest must not


class Side(StrEnum):
    """On which side of its bound a measurement must lie."""

    AT_LEAST = ">="
    ABOVE = ">"
    AT_MOST = "<="

    @property
    def words(self) -> str:
        return {">=": "at least", ">": "more than", "<=": "at most"}[self.value]

    def holds(self, value: float, bound: float) -> bool:
        if self is Side.AT_LEAST:
            return value >= bound
        return value > bound if self is Side.ABOVE else value <= bound


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What a gate asks of an estimate: the code, what is measured (as a sentence begins), the side, the bound, the
    unit. `cause` is added to a reason that is no PASS.
    """

    code: str
    what: str
    side: Side
    bound: float
    unit: str = ""
    subject: str = ""
    source: str = "holdout"
    cause: str = ""


def rounded(value: float) -> float:
    """The value as findings hold it: six decimals, no negative zero."""
    return round(float(value), _PLACES) + 0.0


def number(value: float) -> str:
    """A figure for people: up to four decimals, more when it would vanish."""
    text = f"{value:.4f}".rstrip("0").rstrip(".")
    return f"{value:.2g}" if value and float(text) == 0 else "0" if text == "-0" else text


def percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def count(rows: int, noun: str = "row") -> str:
    """`1 row`, `1,204 rows`."""
    return f"{rows:,} {noun}" if rows == 1 else f"{rows:,} {noun}s"


def judge_each(
    demanded: Iterable[tuple[Demand, Estimate]], *, confidence: float, code: str = "", source: str = "holdout"
) -> tuple[Finding, ...]:
    """A finding for each estimate. `code` puts them under one gate, each with the end of its own code for a subject."""
    found = []
    for demand, estimate in demanded:
        subject = demand.code.rpartition(".")[2] if code else demand.subject
        asked = replace(demand, code=code or demand.code, subject=subject, source=source)
        found.append(judge(asked, estimate, confidence=confidence))
    return tuple(found)


def judge(demand: Demand, estimate: Estimate, *, confidence: float) -> Finding:
    """The finding of one estimate against its demand."""
    lower = demand.side is not Side.AT_MOST
    end = rounded(estimate.low if lower else estimate.high)
    value = rounded(estimate.value)
    name = "lower" if lower else "upper"
    unit = f" {demand.unit}" if demand.unit else ""
    opening = (
        f"{demand.what} is {number(value)}{unit} on {count(estimate.n)} of the {demand.source} "
        f"({percent(confidence)} interval {number(estimate.low)} to {number(estimate.high)})"
    )
    bound = f"the bound of {demand.side.words} {number(demand.bound)}"
    if demand.side.holds(end, demand.bound):
        outcome, closing = Outcome.PASS, f": its {name} end meets {bound}."
    elif demand.side.holds(value, demand.bound):
        outcome = Outcome.INCONCLUSIVE
        closing = f": it meets {bound}, its {name} end does not, so chance alone could explain it."
    else:
        outcome, closing = Outcome.FAIL, f": it misses {bound}."
    return Finding(
        code=demand.code,
        outcome=outcome,
        subject=demand.subject,
        measured=value,
        bound=f"{demand.side.value} {number(demand.bound)}",
        unit=demand.unit,
        interval=(rounded(estimate.low), rounded(estimate.high)),
        sample_size=estimate.n,
        source=demand.source,
        reason=opening + closing + (f" {demand.cause}" if demand.cause and outcome is not Outcome.PASS else ""),
    )
