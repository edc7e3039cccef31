"""Whether quality rules and references became stronger or weaker, and the bounds that they are held to.

A bound is a set of numbers that it accepts: within the old set, it is stronger. Two queries cannot be compared, so
another one is held to be breaking.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from towpath.core.contract_changes_limits import limits
from towpath.core.contract_changes_values import Change, Impact, breaking, compatible, metadata
from towpath.core.evidence import Severity
from towpath.core.promises import Bound, Limits, LogicalType, Metric, Operator, Reference, Rule, Unit

# --- bounds -----------------------------------------------------------------------------------------------------------

_Span = tuple[float, bool, float, bool]  # low, without it, high, without it


def _spans(bound: Bound, metric: Metric | None) -> list[_Span]:
    """The numbers that a bound accepts. Counts are from 0, and whole when they count rows."""
    low, high = bound.values[0], bound.values[-1]
    inf = math.inf
    spans: dict[Operator, list[_Span]] = {
        Operator.MUST_BE: [(low, False, low, False)],
        Operator.MUST_NOT_BE: [(-inf, True, low, True), (low, True, inf, True)],
        Operator.GREATER: [(low, True, inf, True)],
        Operator.GREATER_OR_EQUAL: [(low, False, inf, True)],
        Operator.LESS: [(-inf, True, low, True)],
        Operator.LESS_OR_EQUAL: [(-inf, True, low, False)],
        Operator.BETWEEN: [(low, False, high, False)],
        Operator.NOT_BETWEEN: [(-inf, True, low, True), (high, True, inf, True)],
    }
    found = spans[bound.operator]
    if metric is not None:
        ceiling = 100.0 if bound.unit is Unit.PERCENT else inf
        found = [_clipped(span, ceiling, whole=bound.unit is Unit.ROWS) for span in found]
    return [one for one in found if one[0] < one[2] or (one[0] == one[2] and not (one[1] or one[3]))]


def _clipped(span: _Span, ceiling: float, *, whole: bool) -> _Span:
    low, low_open, high, high_open = span
    if low < 0:
        low, low_open = 0.0, False
    if high > ceiling:
        high, high_open = ceiling, False
    if whole:
        low, low_open = (math.floor(low) + 1.0 if low_open else float(math.ceil(low))), False
        if high != math.inf:
            high, high_open = (math.ceil(high) - 1.0 if high_open else float(math.floor(high))), False
    return low, low_open, high, high_open


def _within(inner: Sequence[_Span], outer: Sequence[_Span]) -> bool:
    """Whether every number of `inner` is in `outer`, whose spans do not touch."""
    return all(
        any((one[0], one[1]) >= (two[0], two[1]) and (one[2], not one[3]) <= (two[2], not two[3]) for two in outer)
        for one in inner
    )


def bounds(where: str, metric: Metric | None, before: Bound, after: Bound) -> Iterator[Change]:
    """The change of what a measured number must be."""
    if before == after:
        return
    what = f"{before.text()} becomes {after.text()}"
    old, new = _spans(before, metric), _spans(after, metric)
    if before.unit is not after.unit and (before.tolerates or after.tolerates):
        yield breaking(where, what, "a share and a count cannot be compared without knowing the rows")
    elif old == new or not (before.tolerates or after.tolerates):
        yield metadata(where, what, "the same numbers are accepted, said in other words")
    elif _within(new, old):
        yield compatible(where, what, "every number accepted now was accepted before")
    else:
        yield breaking(where, what, "numbers are accepted that were refused before")


# --- rules and references ---------------------------------------------------------------------------------------------


def severities(where: str, before: Severity, after: Severity) -> Iterator[Change]:
    if before is after:
        return
    what = f"{before.value} becomes {after.value}".lower()
    if after is Severity.ERROR:
        yield compatible(where, what, "what only warned is now refused")
    else:
        yield breaking(where, what, "what was refused only warns now")


def quarantines(where: str, before: bool | None, after: bool | None) -> Iterator[Change]:
    if before == after:
        return
    what = f"{_said(before)} becomes {_said(after)}"
    if after:
        yield compatible(where, what, "failing rows are set aside and reach nobody")
    else:
        yield breaking(where, what, "failing rows may reach readers that were set aside before")


def _said(value: bool | None) -> str:
    return "not said" if value is None else str(value).lower()


def _promised(changes: Iterator[Change], severity: Severity) -> Iterator[Change]:
    """What only warned before refused no row: nobody could rely on it."""
    for change in changes:
        if severity is not Severity.ERROR and change.impact is Impact.BREAKING:
            yield replace(change, impact=Impact.COMPATIBLE, reason="it only warned, so nobody could rely on it")
        else:
            yield change


def rules(where: str, kind: LogicalType, before: Sequence[Rule], after: Sequence[Rule]) -> Iterator[Change]:
    """The changes of quality rules: paired when equal, else by name, else by what they measure."""
    gone, new = list(before), list(after)
    for same in (_bare, _by_name, _by_subject):
        for old in list(gone):
            found = next((one for one in new if same(old) is not None and same(old) == same(one)), None)
            if found is not None:
                gone.remove(old)
                new.remove(found)
                yield from _promised(_rule(f"{where}[{_name(old)}]", kind, old, found), old.severity)
    for old in gone:
        found_gone = breaking(f"{where}[{_name(old)}]", "the rule is gone", "what it refused reaches readers")
        yield from _promised(iter([found_gone]), old.severity)
    for rule in new:
        yield compatible(f"{where}[{_name(rule)}]", "the rule is new", "more is checked than before")


def _bare(rule: Rule) -> object:
    return replace(rule, name="", description="")


def _by_name(rule: Rule) -> object:
    return (rule.name, rule.metric) if rule.name else None


def _by_subject(rule: Rule) -> object:
    return (rule.metric, frozenset(rule.columns)) if rule.metric else rule.query


def _name(rule: Rule) -> str:
    return rule.name or (rule.metric.value if rule.metric else "sql")


def _rule(where: str, kind: LogicalType, before: Rule, after: Rule) -> Iterator[Change]:
    yield from severities(f"{where}.severity", before.severity, after.severity)
    yield from quarantines(f"{where}.quarantine", before.quarantine, after.quarantine)
    if before.query != after.query:
        reason = "whether the new query refuses as much as the old cannot be told"
        yield breaking(f"{where}.query", "the query is another", reason)
    if set(before.columns) != set(after.columns):
        yield breaking(f"{where}.properties", "it is asked of other columns", "the old columns are checked no longer")
    yield from bounds(f"{where}.bound", before.metric, before.bound, after.bound)
    counted = [*limits(f"{where}.arguments", kind, before.limits or Limits(), after.limits or Limits())]
    if set(before.missing) != set(after.missing):
        more = set(before.missing) <= set(after.missing)
        change = compatible if more else breaking
        reason = "more counts as missing than before" if more else "a value that counted as missing does no longer"
        counted.append(change(f"{where}.missingValues", "other values count as missing", reason))
    # Stricter arguments count more rows as failing; that is a stronger promise only where fewer failures are better.
    spans = _spans(after.bound, after.metric)
    for change_ in counted:
        if (len(spans) == 1 and spans[0][0] == 0 and not spans[0][1]) or change_.impact is Impact.METADATA:
            yield change_
        else:
            yield replace(change_, impact=Impact.BREAKING, reason="the number that is bound counts something else")


def references(where: str, before: Sequence[Reference], after: Sequence[Reference]) -> Iterator[Change]:
    """The changes of foreign keys, paired by their columns and the table they name."""
    old = {(one.columns, one.table, one.to): one for one in before}
    new = {(one.columns, one.table, one.to): one for one in after}
    for key, one in old.items():
        at = f"{where}[{', '.join(one.columns)} to {one.table}.{', '.join(one.to)}]"
        if key not in new:
            change = breaking(at, "the reference is gone", "references may come that find no row")
            yield from _promised(iter([change]), one.severity)
            continue
        other = new[key]
        yield from _promised(_reference(at, one, other), one.severity)
    for key, one in new.items():
        if key not in old:
            at = f"{where}[{', '.join(one.columns)} to {one.table}.{', '.join(one.to)}]"
            yield compatible(at, "the reference is new", "more is checked than before")


def _reference(where: str, before: Reference, after: Reference) -> Iterator[Change]:
    yield from severities(f"{where}.severity", before.severity, after.severity)
    yield from quarantines(f"{where}.quarantine", before.quarantine, after.quarantine)
    yield from bounds(f"{where}.bound", Metric.INVALID_VALUES, before.bound, after.bound)
