"""A rollout in sentences: where it is, why, and what it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from towpath.core.rollout import EXPOSED, WHOLE, Phase, Rollout
from towpath.core.rollout_decision import Order, RolloutDecision
from towpath.core.rollout_orders import possible
from towpath.core.rollout_rules import HELD_BY_TELEMETRY, Scene, obstacles, open_holds, promotable


def explain(scene: Scene, decisions: Sequence[RolloutDecision], faults: Sequence[str]) -> list[str]:
    """Why a rollout is where it is, and what must happen for it to go on."""
    rollout = scene.rollout
    told = [_standing(rollout)]
    if decisions:
        last = decisions[-1]
        when = f"{last.decided_at:%Y-%m-%d %H:%M}"
        told.append(f"It came there on {when} from {last.from_state}, by {last.actor}: {_sentence(last.reason)}")
    if rollout.open:
        told += [f"The evidence cannot be read: {_sentence(fault)}" for fault in faults]
        told += _waits(scene)
        told += _evidence(scene)
        told += _leased(scene)
        orders = [order.value for order in possible(rollout.phase) if order is not Order.SUPERSEDE]
        told.append(f"A person can order: {', '.join(orders) or 'nothing'}.")
    return told


def _standing(rollout: Rollout) -> str:
    challenger, champion = rollout.challenger.candidate, rollout.champion.candidate
    share = f"{rollout.weight / 100:g} % of units"
    unit = f"by {rollout.unit}" if rollout.unit else "by request"
    if rollout.phase is Phase.PROGRESSING:
        place = f"in step {rollout.step + 1} of {len(rollout.policy.steps)}"
        return f"{rollout.rollout_id} is {place}: {challenger} answers {share} ({unit}), {champion} the others."
    if rollout.phase is Phase.BAKING:
        held = (WHOLE - rollout.weight) / 100
        return f"{rollout.rollout_id} bakes: {challenger} is the champion, and {champion} keeps {held:g} % of units."
    answers = f"{challenger} answers {share}" if rollout.weight else f"{challenger} answers nobody"
    mirrored = f", {rollout.shadow / 100:g} % of units are mirrored to it" if rollout.shadow else ""
    return f"{rollout.rollout_id} is {rollout.phase}: {answers}{mirrored}."


def _waits(scene: Scene) -> list[str]:
    match scene.rollout.phase:
        case Phase.PENDING:
            return ["It waits for a controller: `towpath rollout run`."]
        case Phase.PREPARING | Phase.PROMOTING:
            return [f"It waits: {reason}" for reason in obstacles(scene)] or ["It goes on at the next tick."]
        case Phase.SHADOWING:
            return _shadowing(scene)
        case Phase.PROGRESSING:
            return _progressing(scene)
        case Phase.HELD:
            return _held(scene)
        case Phase.BAKING:
            return _baking(scene)
        case _:
            return []


def _shadowing(scene: Scene) -> list[str]:
    shadow = scene.rollout.policy.shadow
    wanted = shadow.min_units if shadow else 0
    told = [
        f"{scene.telemetry.shadowed:,} of {wanted:,} units were mirrored, {scene.telemetry.shadow_failed:,} failed."
    ]
    return told + [f"Beyond that it waits: {reason}" for reason in obstacles(scene)]


def _progressing(scene: Scene) -> list[str]:
    until, told = scene.step.until, []
    if until.min_units is not None:
        told.append(f"The challenger has {scene.units:,} of the {until.min_units:,} units that this step asks for.")
    if scene.last:
        passed = "says pass" if promotable(scene) else "does not say pass"
        told.append(f"This is the last step; it ends with the promotion test, which {passed} at this look.")
    if until.max_duration is not None:
        left = until.max_duration - (scene.now - scene.rollout.step_since)
        then = scene.rollout.policy.on_inconclusive
        told.append(f"Without a verdict within {span(left)}, the policy says {then}.")
    return told + [f"No step is taken now: {reason}" for reason in obstacles(scene)]


def _held(scene: Scene) -> list[str]:
    held = scene.rollout.held or ""
    if held == HELD_BY_TELEMETRY:
        return ["Telemetry was lost. It goes on by itself when gateways are heard again.", *_silence(scene)]
    if held.startswith("holds:"):
        names = held.removeprefix("holds:").replace(",", ", ")
        return [f"{names} stopped it. A person looks, and resumes or aborts it; the hold then stops it no more."]
    if held == "paused":
        return ["A person paused it. Guardrails are judged all the same."]
    return ["Its time was over without a verdict. A person promotes, resumes (as long again) or aborts it."]


def _baking(scene: Scene) -> list[str]:
    left = scene.rollout.policy.bake.duration - (scene.now - scene.rollout.phase_since)
    return [
        f"It bakes for {span(left)} more." if left > timedelta() else "Its time is over.",
        *(f"Then it waits: {reason}" for reason in obstacles(scene)),
    ]


def _silence(scene: Scene) -> list[str]:
    then = scene.rollout.policy.on_telemetry_lost.then
    return [] if then is None else [f"In {span(then.after - scene.silence)} more of silence it is rolled back."]


def _evidence(scene: Scene) -> list[str]:
    judgement = scene.judgement
    if scene.rollout.phase not in EXPOSED:
        return []
    if judgement is None:
        return ["There is no evidence yet; nothing measured is never a pass."]
    told = []
    for metric in judgement.metrics:
        harm = f"log e-value of harm {metric.harm_log_e:.2f} of {metric.harm_bound:.2f}"
        champion, challenger = metric.events
        theirs, ours = metric.units
        passing = {"pass": "non-inferior", "inconclusive": "not shown to be non-inferior", "none": "not asked"}
        counted = "labelled" if metric.type == "mean" else "bad"
        told.append(
            f"{metric.name}: {champion:,} of {theirs:,} units of the champion are {counted}, {challenger:,} of "
            f"{ours:,} of the challenger; {harm}; promotion: {passing[metric.promotion]}."
        )
    told += [_sentence(reason) for reason in judgement.reasons]
    if holds := open_holds(scene):
        told.append(f"Holds in force: {', '.join(holds)}.")
    return told


def _leased(scene: Scene) -> list[str]:
    until: datetime | None = scene.rollout.lease_until
    if until is not None and scene.now < until:
        return [f"The exposure lease holds until {until:%H:%M:%S} UTC."]
    if scene.rollout.exposed:
        return ["The exposure lease has run out: gateways send everybody to the champion. Is a controller running?"]
    return []


def span(given: timedelta) -> str:
    """A time span for people, in its largest unit of which there are two."""
    seconds = max(0, int(given.total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
