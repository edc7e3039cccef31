"""Whether a candidate's terms ask less than the present champion's: each way in which they do, in a sentence. Pure.

Bounds are compared one by one. What can be looser in either direction (alpha: a smaller one finds harm later, a greater
one promotes more easily) counts as weaker whenever it changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from towpath.core.charter import Bounds
from towpath.core.governance import Drifted, Requirement, Risk
from towpath.core.guardrails import Exceedance, Guardrail, HardLimit, HoldRule, Mean, Promotion, Rate, SampleRatio
from towpath.core.rollout_policy import OnTelemetryLost, RolloutPolicy
from towpath.core.serving import OnFault, OnlineFeatures, Serving
from towpath.core.terms import Terms

_RISKS: Final = list(Risk)
_LEAST: Final = {"roc_auc", "r2", "baseline_log_loss_gain", "baseline_rmse_gain", "confidence"}
"""Bounds of `gates` of which a smaller one asks less; of every other, a greater one does."""


def weakened(before: Terms, after: Terms) -> tuple[str, ...]:
    """In which ways `after` asks less than `before`; nothing when it asks as much or more."""
    return (
        *_risk(before.risk, after.risk),
        *_governance(before.governance, after.governance),
        *_gates(before.gates, after.gates),
        *_rollout(before.rollout, after.rollout),
        *_serving(before.serving, after.serving),
        *_reconcile(before.reconcile, after.reconcile),
    )


def _risk(before: Risk, after: Risk) -> Iterator[str]:
    if _RISKS.index(after) < _RISKS.index(before):
        yield f"risk is {after.value} instead of {before.value}"


def _governance(before: Requirement, after: Requirement) -> Iterator[str]:
    yield from _lower("governance.approvals.count", before.count, after.count)
    if added := sorted(set(after.roles) - set(before.roles)):
        yield f"governance.approvals.roles lets {', '.join(added)} approve too"
    yield from _longer("governance.approvals.expires", before.expires_seconds, after.expires_seconds)
    yield from _longer("governance.evidence", before.evidence_seconds, after.evidence_seconds)


def _reconcile(before: Drifted, after: Drifted) -> Iterator[str]:
    if before is Drifted.RESTORE and after is not Drifted.RESTORE:
        yield f"governance.reconcile is {after.value} instead of {before.value}"


def _gates(before: Bounds, after: Bounds) -> Iterator[str]:
    if type(before) is not type(after):
        yield "training.task is another, so none of the champion's bounds is kept"
        return
    yield from _bounds("gates", before, after)
    kept = {one.by: one for one in after.slices}
    for old in before.slices:
        new = kept.get(old.by)
        if new is None:
            yield f"gates.slices no longer judges by {old.by}"
            continue
        yield from _bounds(f"gates.slices ({old.by})", old, new, before=" ")


def _bounds(where: str, old: BaseModel, new: BaseModel, *, before: str = ".") -> Iterator[str]:
    """Every number of a section: the least that is asked must not be less, nor the most that is allowed be more."""
    for name in type(old).model_fields:
        was, now = getattr(old, name), getattr(new, name)
        what = f"{where}{before}{to_camel(name)}"
        if isinstance(was, BaseModel):
            yield from _bounds(what, was, now)
        elif isinstance(was, int | float):
            yield from (_lower if name in _LEAST else _higher)(what, was, now)


def _rollout(before: RolloutPolicy | None, after: RolloutPolicy | None) -> Iterator[str]:
    if before is None:
        return
    if after is None:
        yield "rollout is gone: a promotion moves all of the traffic in one step"
        return
    yield from _steps(before, after)
    yield from _changed("rollout.unit", before.unit, after.unit)
    yield from _changed("rollout.alpha", before.alpha, after.alpha)
    guarded = {one.name: one for one in after.guardrails}
    for guardrail in before.guardrails:
        yield from _guardrail(guardrail, guarded.get(guardrail.name))
    for margin in before.promotion:
        yield from _margin(margin, after.margin(margin.metric))
    yield from _holds(before.holds, after.holds)
    limits = {one.metric: one for one in after.hard_limits}
    for limit in before.hard_limits:
        yield from _hard_limit(limit, limits.get(limit.metric))
    yield from _silence(before.on_telemetry_lost, after.on_telemetry_lost)
    yield from _shorter("rollout.bake.duration", before.bake.duration, after.bake.duration)
    yield from _lower("rollout.bake.holdback", before.bake.holdback, after.bake.holdback)


def _steps(before: RolloutPolicy, after: RolloutPolicy) -> Iterator[str]:
    """A challenger must not get as much traffic on fewer units than before."""
    if before.shadow is not None and after.shadow is None:
        yield "rollout.shadow is gone"
    elif before.shadow is not None and after.shadow is not None:
        yield from _lower("rollout.shadow.minUnits", before.shadow.min_units, after.shadow.min_units)
    for weight in sorted({step.weight for step in after.steps}):
        old, new = _units_before(before, weight), _units_before(after, weight)
        if new < old:
            yield f"rollout.steps reach {weight:g} % after {new:,} units of the challenger instead of {old:,}"


def _units_before(policy: RolloutPolicy, weight: float) -> int:
    """The units that the challenger has served before it gets that weight or more."""
    return sum(step.until.min_units or 0 for step in policy.steps if step.weight < weight)


def _guardrail(before: Guardrail, after: Guardrail | None) -> Iterator[str]:
    where = f"rollout.guardrails ({before.name})"
    if after is None:
        yield f"{where} is gone"
        return
    yield from _lower(f"{where} share", before.share, after.share)
    match before, after:
        case Rate(), Rate():
            yield from _changed(f"{where} event", before.event.value, after.event.value)
        case Exceedance(), Exceedance():
            yield from _bound(f"{where} threshold", before.threshold, after.threshold)
        case Mean(), Mean():
            yield from _changed(f"{where} of", before.of.value, after.of.value)
            yield from _changed(f"{where} cap", before.cap, after.cap)
        case _:
            yield f"{where} is a {after.type} instead of a {before.type}"


def _margin(before: Promotion, after: Promotion | None) -> Iterator[str]:
    where = f"rollout.promotion ({before.metric})"
    if after is None:
        yield f"{where} is gone"
        return
    old, new = before.non_inferior, after.non_inferior
    yield from _higher(f"{where} ratio", old.ratio or 0, new.ratio or 0)
    yield from _higher(f"{where} absolute", old.absolute or 0, new.absolute or 0)
    yield from _higher(f"{where} floor", old.floor or 0, new.floor or 0)
    yield from _lower(f"{where} minLabelCoverage", before.min_label_coverage, after.min_label_coverage)


def _holds(before: Sequence[HoldRule], after: Sequence[HoldRule]) -> Iterator[str]:
    kept = {one.type: one for one in after}  # at most one of a type
    for old in before:
        new = kept.get(old.type)
        where = f"rollout.holds ({old.type})"
        if new is None:
            yield f"{where} is gone"
        elif isinstance(old, SampleRatio) and isinstance(new, SampleRatio):
            yield from _lower(f"{where} alpha", old.alpha, new.alpha)
        elif not isinstance(old, SampleRatio) and not isinstance(new, SampleRatio):
            yield from _higher(f"{where} max", old.max, new.max)


def _hard_limit(before: HardLimit, after: HardLimit | None) -> Iterator[str]:
    where = f"rollout.hardLimits ({before.metric})"
    if after is None:
        yield f"{where} is gone"
        return
    yield from _higher(f"{where} max", before.max, after.max)
    yield from _higher(f"{where} minUnits", before.min_units, after.min_units)


def _silence(before: OnTelemetryLost, after: OnTelemetryLost) -> Iterator[str]:
    where = "rollout.onTelemetryLost"
    yield from _longer(f"{where}.after", before.after, after.after)
    if before.then is not None and after.then is None:
        yield f"{where}.then is gone"
    elif before.then is not None and after.then is not None:
        yield from _longer(f"{where}.then.after", before.then.after, after.then.after)


def _serving(before: Serving, after: Serving) -> Iterator[str]:
    yield from _higher("serving.parityTolerance", before.parity_tolerance, after.parity_tolerance)
    for name in ("missing", "stale", "down"):
        yield from _fault(name, before.features, after.features)


def _fault(name: str, before: OnlineFeatures, after: OnlineFeatures) -> Iterator[str]:
    old, new = getattr(before, name), getattr(after, name)
    if old is OnFault.REFUSE and new is not OnFault.REFUSE:
        yield f"serving.features.{name} is {new.value} instead of {old.value}"


def _lower(what: str, before: float, after: float) -> Iterator[str]:
    if after < before:
        yield f"{what} is {after:g} instead of {before:g}"


def _higher(what: str, before: float, after: float) -> Iterator[str]:
    if after > before:
        yield f"{what} is {after:g} instead of {before:g}"


def _bound(what: str, before: str | float, after: str | float) -> Iterator[str]:
    if isinstance(before, int | float) and isinstance(after, int | float):
        yield from _higher(what, before, after)
    else:
        yield from _changed(what, before, after)


def _changed(what: str, before: Any, after: Any) -> Iterator[str]:
    if before != after:
        yield f"{what} is {after} instead of {before}"


def _longer(what: str, before: timedelta | float, after: timedelta | float) -> Iterator[str]:
    old, new = _span(before), _span(after)
    if new > old:
        yield f"{what} is {new} instead of {old}"


def _shorter(what: str, before: timedelta, after: timedelta) -> Iterator[str]:
    if after < before:
        yield f"{what} is {after} instead of {before}"


def _span(value: timedelta | float) -> timedelta:
    return value if isinstance(value, timedelta) else timedelta(seconds=value)
