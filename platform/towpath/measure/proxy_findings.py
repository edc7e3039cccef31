"""Findings about inputs that alone say too much of a target of any task, as `proxy` and `proxy_tasks` measure it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from towpath.core.evidence import Finding, Outcome
from towpath.measure.verdicts import count, number, rounded


@dataclass(frozen=True, kw_only=True)
class Strength:
    """How much one column alone says of the target: by which of its aspects, on how many rows."""

    column: str
    value: float
    aspect: str
    rows: int


def findings(
    found: Sequence[Strength], *, bound: float, what: str, inputs: int, rows: int, source: str
) -> tuple[Finding, ...]:
    """One FAIL for each input that alone says more of the target than `bound`, else one PASS naming the strongest.

    `found`: the strongest first. `what`: what an input does, as a sentence has it before the figure ("ranks the target
    with ROC AUC"). `source`: the part of the data that `found` was measured on. INCONCLUSIVE when no input has two
    distinct values.
    """
    if not found:
        reason = f"None of {count(inputs, 'model input')} has two distinct values, so none could be judged."
        return (_finding(Outcome.INCONCLUSIVE, None, bound, "", rows, source, reason),)
    guilty = [one for one in found if one.value > bound]
    if not guilty:
        best = found[0]
        reason = (
            f"The strongest of {count(len(found), 'model input')} alone is {best.column}, whose {best.aspect} {what} "
            f"{number(best.value)} on {count(best.rows)}; more than {number(bound)} would be too good to be honest."
        )
        return (_finding(Outcome.PASS, best.value, bound, "", best.rows, source, reason),)
    return tuple(
        _finding(
            Outcome.FAIL,
            one.value,
            bound,
            one.column,
            one.rows,
            source,
            f"Column {one.column} alone {what} {number(one.value)} (by its {one.aspect}, on {count(one.rows)}), over "
            f"the bound {number(bound)}: it is likely the target in disguise, known only afterwards.",
        )
        for one in guilty
    )


def _finding(
    outcome: Outcome, value: float | None, bound: float, subject: str, rows: int, source: str, reason: str
) -> Finding:
    return Finding(
        code="leakage.target_proxy",
        outcome=outcome,
        subject=subject,
        measured=None if value is None else rounded(value),
        bound=f"<= {number(bound)}",
        sample_size=rows,
        source=source,
        reason=reason,
    )
