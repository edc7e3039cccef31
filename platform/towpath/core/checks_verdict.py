"""From what a check saw to its finding: the outcome, the figures, and a sentence a person understands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from towpath.core.checks import OF_ROWS, Check, Kind
from towpath.core.evidence import Finding, Outcome
from towpath.core.gates import GATES
from towpath.core.promises import Unit

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CODES = list(GATES)


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What was seen of one check.

    `rows`: rows of the table. `looked_at`: those with a value. `failing`: those that the predicate finds.
    `sharing`: for a key, every row whose key another row has, the first copy among them.
    `counted`: what the engine counted, to compare.
    `value`: the number of a table's rule, or the newest time in microseconds since 1970 (UTC).
    `examples`: pairs of row (from 1, in file order) and value.
    `unasked`: why it could not be asked. `fault`: what went wrong while asking.
    """

    rows: int = 0
    looked_at: int = 0
    failing: int = 0
    sharing: int | None = None
    counted: int | None = None
    value: float | None = None
    examples: tuple[tuple[int, str], ...] = ()
    unasked: str = ""
    fault: str = ""


def judge(check: Check, seen: Observed, *, as_of: datetime) -> Finding:
    """The one finding of a check."""
    if seen.fault:
        return _finding(check, Outcome.ERROR, seen, f"The check could not be carried out: {seen.fault}")
    if seen.unasked:
        return _finding(check, Outcome.INCONCLUSIVE, seen, f"Not asked: {seen.unasked}")
    if seen.counted is None:
        return _finding(check, Outcome.ERROR, seen, "The check engine gave no result.")
    if check.kind in OF_ROWS:
        return _of_rows(check, seen)
    if check.kind is Kind.FRESH:
        return _fresh(check, seen, as_of)
    if check.kind is Kind.ROWS:
        return _rows(check, seen)
    return _table_rule(check, seen)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings in one order for all engines and runs: by table, gate, subject, bound."""
    return tuple(
        sorted(
            findings,
            key=lambda one: (
                one.subject.partition(".")[0],
                _CODES.index(one.code),
                one.subject,
                one.severity,
                one.bound,
                one.reason,
            ),
        )
    )


def breach(check: Check) -> str:
    """What is wrong with a failing value, as it stands behind the column's name: `is outside 1 to 2400`."""
    return {
        Kind.FILLED: "is missing",
        Kind.PRESENT: f"stands for missing ({check.limit})",
        Kind.RANGE: f"is {_outside(check)}",
        Kind.LENGTH: f"has not {check.limit}",
        Kind.STEP: f"is not {check.limit}",
        Kind.LISTED: f"is none of {check.limit}",
        Kind.PATTERN: f"does not match {check.limit}",
        Kind.UNIQUE: "repeats that of an earlier row",
        Kind.REFERENCE: f"is not in {check.limit}",
        Kind.ROW_RULE: f"breaks the rule: {rule_text(check)}",
    }[check.kind]


def _well(check: Check) -> str:
    """What is right, likewise."""
    return {
        Kind.FILLED: "is there",
        Kind.PRESENT: "is there",
        Kind.RANGE: f"is {check.limit}",
        Kind.LENGTH: f"has {check.limit}",
        Kind.STEP: f"is {check.limit}",
        Kind.LISTED: f"is one of {check.limit}",
        Kind.PATTERN: f"matches {check.limit}",
        Kind.UNIQUE: "is its own",
        Kind.REFERENCE: f"is in {check.limit}",
    }[check.kind]


def rule_text(check: Check) -> str:
    """A rule in words: its description, else its name, else its query."""
    return (check.description or check.name or " ".join(check.query.split())).rstrip(".")


def _of_rows(check: Check, seen: Observed) -> Finding:
    ours = seen.failing if seen.sharing is None else seen.sharing
    if seen.counted != ours:
        return _finding(
            check,
            Outcome.ERROR,
            seen,
            f"Great Expectations counted {seen.counted:,} failing rows and the row predicate {ours:,}. They read the "
            "same rows, so one of them is wrong, or the rows changed in between.",
        )
    if seen.looked_at == 0:
        nothing = f"No row has a value of {check.subject} to look at." if seen.rows else "The table is empty."
        return _finding(check, Outcome.INCONCLUSIVE, seen, nothing)
    share = 100 * seen.failing / seen.looked_at
    measured = round(share, 4) if check.bound.unit is Unit.PERCENT else seen.failing
    holds = check.bound.holds(share if check.bound.unit is Unit.PERCENT else seen.failing)
    return _finding(
        check,
        Outcome.PASS if holds else Outcome.FAIL,
        seen,
        _sentence(check, seen, share),
        measured=measured,
        unit=str(check.bound.unit),
    )


def _sentence(check: Check, seen: Observed, share: float) -> str:
    """`In 312 of 111,296 rows (0.28 %) dep_time is outside 1 to 2400; for example 2761 in row 5.`"""
    with_value = "" if seen.looked_at == seen.rows else " with a value"
    rows = f"{seen.looked_at:,} row{'s' if seen.looked_at != 1 else ''}{with_value}"
    what = f"the key ({', '.join(check.columns)})" if check.kind is Kind.UNIQUE else ", ".join(check.columns)
    allowed = f"; the contract asks for {check.bound.text()}" if check.bound.tolerates else ""
    if not seen.failing:
        well = f"the rule holds: {rule_text(check)}" if check.kind is Kind.ROW_RULE else f"{what} {_well(check)}"
        return f"In {'all ' if seen.looked_at > 1 else ''}{rows} {well}{allowed}."
    shown = f"{share:.2f}" if share >= 0.005 else "below 0.01"
    wrong = f"the rule is broken: {rule_text(check)}" if check.kind is Kind.ROW_RULE else f"{what} {breach(check)}"
    return f"In {seen.failing:,} of {rows} ({shown} %) {wrong}{allowed}{_examples(seen)}."


def _examples(seen: Observed) -> str:
    if not seen.examples:
        return ""
    if not any(value for _, value in seen.examples):
        rows = ", ".join(f"{row:,}" for row, _ in seen.examples)
        return f"; for example row{'s' if len(seen.examples) > 1 else ''} {rows}"
    return "; for example " + ", ".join(f"{value or repr(value)} in row {row:,}" for row, value in seen.examples)


def _outside(check: Check) -> str:
    limits = check.limits
    if limits.minimum is not None and limits.maximum is not None:
        return f"outside {check.limit}"
    if limits.minimum is not None:
        return f"{'not above' if limits.exclusive_minimum else 'below'} {limits.minimum}"
    return f"{'not below' if limits.exclusive_maximum else 'above'} {limits.maximum}"


def _fresh(check: Check, seen: Observed, as_of: datetime) -> Finding:
    column = check.columns[0]
    if seen.value is None:
        return _finding(check, Outcome.INCONCLUSIVE, seen, f"No row has a {column}, so the age of the data is unknown.")
    age = ((as_of - _EPOCH) / _MICROSECOND - seen.value) / 3.6e9
    holds = check.bound.holds(age)
    if (seen.counted == 0) is not holds:
        return _disagree(check, seen, f"{age:.2f} hours")
    distance = f"{_hours(age)} before" if age >= 0 else f"{_hours(-age)} after"
    reason = (
        f"The newest {column} is {_time(seen.value)}, {distance} the as-of time "
        f"({as_of.astimezone(UTC):%Y-%m-%d %H:%M} UTC); the contract asks for at most {_hours(check.bound.values[0])}."
    )
    return _finding(check, _passes(holds), seen, reason, measured=round(age, 2), unit="hours")


def _time(microseconds: float) -> str:
    try:
        return f"{_EPOCH + timedelta(microseconds=microseconds):%Y-%m-%d %H:%M} UTC"
    except OverflowError:  # a database's calendar is longer than Python's
        return f"{'before the year 1' if microseconds < 0 else 'after the year 9999'}"


def _hours(hours: float) -> str:
    if hours >= 48:
        return f"{hours / 24:,.1f} days".replace(".0 ", " ")
    return f"{hours:.1f} hours".replace(".0 ", " ") if hours != 1 else "1 hour"


def _rows(check: Check, seen: Observed) -> Finding:
    if seen.counted != seen.rows:
        return _disagree(check, seen, f"{seen.rows:,} rows")
    reason = f"The table has {seen.rows:,} rows; the contract asks for {check.bound.text('rows')}."
    holds = check.bound.holds(seen.rows)
    return _finding(check, _passes(holds), seen, reason, measured=seen.rows, unit="rows")


def _table_rule(check: Check, seen: Observed) -> Finding:
    if seen.rows == 0 or seen.value is None:
        return _finding(check, Outcome.INCONCLUSIVE, seen, f"The rule has no value here: {rule_text(check)}.")
    holds = check.bound.holds(seen.value)
    if (seen.counted == 0) is not holds:
        return _disagree(check, seen, f"{seen.value:,.10g}")
    verdict = "The rule holds" if holds else "The rule is broken"
    reason = (
        f"{verdict}: {rule_text(check)}. It measures {seen.value:,.10g}; the contract asks for {check.bound.text('')}."
    )
    # Ten digits: the last ones of a sum of decimals differ with the order in which a database adds.
    value = int(seen.value) if float(seen.value).is_integer() else float(f"{seen.value:.10g}")
    return _finding(check, _passes(holds), seen, reason, measured=value)


def _passes(holds: bool) -> Outcome:
    return Outcome.PASS if holds else Outcome.FAIL


def _disagree(check: Check, seen: Observed, ours: str) -> Finding:
    return _finding(
        check,
        Outcome.ERROR,
        seen,
        f"Great Expectations ({seen.counted:,}) and our own reading ({ours}) disagree. They read the same rows, so one "
        "of them is wrong, or the rows changed in between.",
    )


def _finding(
    check: Check,
    outcome: Outcome,
    seen: Observed,
    reason: str,
    *,
    measured: float | None = None,
    unit: str = "",
) -> Finding:
    bound = {
        Kind.FRESH: lambda: check.bound.text("hours"),
        Kind.ROWS: lambda: check.bound.text("rows"),
        Kind.TABLE_RULE: lambda: check.bound.text(""),
    }.get(check.kind, lambda: f"{check.bound.text()} {_bound_words(check)}")()
    return Finding(
        code=check.code,
        outcome=outcome,
        severity=check.severity,
        subject=check.subject,
        measured=measured,
        bound=bound,
        unit=unit,
        sample_size=seen.rows if check.kind not in OF_ROWS else seen.looked_at,
        source=f"contract {check.contract}",
        reason=reason,
    )


def _bound_words(check: Check) -> str:
    """What the bound counts: `0 rows outside 1 to 2400`."""
    return {
        Kind.FILLED: "missing",
        Kind.PRESENT: "missing",
        Kind.RANGE: _outside(check) if check.kind is Kind.RANGE else "",
        Kind.LENGTH: f"not {check.limit}",
        Kind.STEP: f"not {check.limit}",
        Kind.LISTED: f"not of {check.limit}",
        Kind.PATTERN: f"not matching {check.limit}",
        Kind.UNIQUE: "repeated",
        Kind.REFERENCE: f"not in {check.limit}",
        Kind.ROW_RULE: "breaking the rule",
    }[check.kind]
