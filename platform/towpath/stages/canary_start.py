"""Starting a rollout: who may, against whom, by which policy, and what is frozen."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from towpath.core import judge
from towpath.core.errors import Denied
from towpath.core.evidence import Candidate
from towpath.core.gates import Stage
from towpath.core.guardrails import bound_of
from towpath.core.policy import Verdict
from towpath.core.rollout import Contender, Phase, Rollout, policy_digest
from towpath.core.rollout_decision import Command, Order, RolloutDecision
from towpath.core.rollout_orders import begin
from towpath.core.rollout_policy import RolloutPolicy
from towpath.core.rollout_power import Planned, admit
from towpath.core.task import Task
from towpath.core.terms import terms
from towpath.ports import Baseline
from towpath.project import Project
from towpath.stages.attested import require_attested
from towpath.stages.canary import CanaryPorts, opening
from towpath.stages.verdict import Ruled, again, reasoned, rule
from towpath.stages.work import champion

WATCHED: Final = timedelta(days=7)
"""How far back the champion's log is read for thresholds and traffic."""
_JUDGED: Final = (Task.BINARY.value, Task.MULTICLASS.value)


@dataclass(frozen=True, kw_only=True)
class Started:
    """A rollout that was started, what it can be expected to find out, and the log it was planned from (if any)."""

    rollout: Rollout
    decision: RolloutDecision
    plan: tuple[Planned, ...]
    baseline: Baseline | None


def start(
    candidate: Candidate,
    project: Project | None,
    ports: CanaryPorts,
    *,
    author: str,
    reason: str,
    now: datetime,
    thresholds: Mapping[str, float] | None = None,
    salt: str | None = None,
) -> Started:
    """Admit the candidate as challenger and freeze champion, policy, thresholds and a new salt.

    `project`: None where its folder is not at hand; then the policy is the one that was frozen with the candidate.
    `salt`: 16 bytes, hexadecimal, instead of random ones. Only for a rollout that shall split its units as another did.

    Raises `Denied` when the candidate may not be promoted (a gate refused it, those who must agree did not), when there
    is no champion, policy or threshold, when one of the two is a regression or they are not of the same task and
    classes, or when another rollout is open; `Problems` when the policy cannot decide at the observed traffic;
    `IntegrityError` when the ledger is not what was written.
    """
    reasoned(reason, "An order")
    given: dict[str, Any] = {"author": author, "reason": reason, "now": now, "thresholds": thresholds, "salt": salt}
    return again(lambda: _once(candidate, project, ports, **given))


def _once(
    candidate: Candidate,
    project: Project | None,
    ports: CanaryPorts,
    *,
    author: str,
    reason: str,
    now: datetime,
    thresholds: Mapping[str, float] | None,
    salt: str | None,
) -> Started:
    name, policy = candidate.project, _declared(candidate, project)
    current = _incumbent(ports, name, candidate)
    if Stage.TRAIN in candidate.stages:  # else the ruling says what it lacks
        _require_comparable(candidate, current)
    incumbent = contender(current)
    ruled = _approved(ports, candidate, project.charter_digest if project is not None else None, now)
    baseline = ports.evidence.baseline(name, model=incumbent.model, policy=policy, since=now - WATCHED)
    frozen = _thresholds(policy, baseline, thresholds or {})
    plan = admit(policy, baseline.rates, _units_per_day(baseline)) if baseline is not None and baseline.units else ()
    rollout = Rollout(
        rollout_id=f"{name}-r{len(ports.rollouts.history(name)) + 1}",
        project=name,
        generation=0,
        phase=Phase.PENDING,
        step=0,
        weight=0,
        salt=salt or secrets.token_hex(16),
        unit=policy.unit,
        champion=incumbent,
        challenger=contender(candidate),
        policy=policy,
        policy_digest=policy_digest(policy),
        thresholds=frozen,
        phase_since=now,
        step_since=now,
        judge=judge.begin(policy),
        started_by=author,
        started_at=now,
    )
    decision = begin(rollout, Command(order=Order.START, author=author, reason=reason), now)
    ports.rollouts.create(rollout, opening(decision, ruled.governance), actor=author, behind=ruled.head.hash)
    return Started(rollout=rollout, decision=decision, plan=plan, baseline=baseline)


def contender(candidate: Candidate) -> Contender:
    """The candidate as a rollout names it. Raises `OutOfOrder` for one that was never registered."""
    return Contender(
        candidate=candidate.id,
        digest=str(candidate.digest),
        model=candidate.entry(Stage.TRAIN).subject("model").digest,
        version=str(candidate.entry(Stage.REGISTER).notes["version"]),
    )


def _declared(candidate: Candidate, project: Project | None) -> RolloutPolicy:
    """The policy of the charter, or that of the terms that were frozen with the candidate."""
    if project is not None:
        policy = project.charter.rollout
    elif (frozen := terms(candidate)) is not None:
        policy = frozen.rollout
    else:
        raise Denied(
            f"{candidate.id} says nothing of a rollout: no terms of its charter were frozen at its registration.",
            value=candidate.id,
            hint="Run the path again, or start it in the project's folder: towpath rollout start --project DIR.",
        )
    if policy is None:
        raise Denied(
            f"The charter of {candidate.project} declares no rollout.",
            value=candidate.project,
            hint="Add a section `rollout`, or promote in one step: `towpath promote`.",
        )
    return policy


def _incumbent(ports: CanaryPorts, name: str, candidate: Candidate) -> Candidate:
    current = champion(ports.ledger, name)
    if current is None:
        raise Denied(
            f"Project {name} has no champion to be compared with.",
            value=candidate.id,
            hint="The first champion is promoted directly: `towpath promote`.",
        )
    if current.candidate.digest == candidate.digest:
        raise Denied(f"{candidate.id} is the champion already.", value=candidate.id)
    return current.candidate


def _require_comparable(candidate: Candidate, incumbent: Candidate) -> None:
    """No gateway would split units between models that answer otherwise, and no measure would compare them."""
    hint = "Leave `rollout` out of the charter, run the path again, and promote in one step: `towpath promote`."
    (task, classes), (before, known) = _kind(candidate), _kind(incumbent)
    for who, named in ((candidate, task), (incumbent, before)):
        if named not in _JUDGED:
            raise Denied(
                f"{who.id} is a {named} model, and a rollout judges probabilities of classes.",
                value=named,
                valid=_JUDGED,
                hint=hint,
            )
    if task != before:
        raise Denied(
            f"{candidate.id} is a {task} model, and the champion {incumbent.id} is a {before} one.",
            value=task,
            valid=[before],
            hint=hint,
        )
    if classes != known:
        raise Denied(
            f"{candidate.id} is a model of the classes {', '.join(classes[:20])}, and the champion {incumbent.id} of "
            "others, or of these in another order.",
            value=", ".join(classes),
            valid=known[:20],
            hint=hint,
        )


def _kind(candidate: Candidate) -> tuple[str, list[str]]:
    """Its task, and the classes in the order of its probabilities, as a JSON document says them."""
    facts = candidate.entry(Stage.TRAIN).facts
    classes: Any = facts.get("classes", ())
    return str(facts.get("task", Task.BINARY.value)), [json.dumps(one, ensure_ascii=False) for one in classes]


def _approved(ports: CanaryPorts, candidate: Candidate, charter: str | None, now: datetime) -> Ruled:
    found = rule(ports.ledger, candidate, now=now, charter=charter)
    if found.decision.verdict is not Verdict.PROMOTE:
        raise Denied(
            f"{candidate.id} may not be promoted, so it gets no traffic: {'; '.join(found.decision.reasons[:3])}.",
            value=candidate.id,
            hint=f"`towpath show {candidate.id}` says what it lacks.",
        )
    if ports.keys is not None:
        require_attested(ports.ledger, ports.keys, candidate)
    return found


def _thresholds(policy: RolloutPolicy, baseline: Baseline | None, given: Mapping[str, float]) -> dict[str, float]:
    """The threshold or cap of each guardrail that has one: declared, given, or measured on the champion."""
    measured = baseline.thresholds if baseline is not None else {}
    frozen: dict[str, float] = {}
    for guardrail in policy.guardrails:
        bound = bound_of(guardrail)
        if isinstance(bound, int | float):
            frozen[guardrail.name] = float(bound)
        elif bound is not None and guardrail.name in {**measured, **given}:
            frozen[guardrail.name] = given.get(guardrail.name, measured.get(guardrail.name, 0.0))
    if unknown := sorted(set(given) - set(policy.frozen)):
        raise Denied(
            f"A threshold is given for {', '.join(unknown)}.", value=unknown[0], valid=policy.frozen or ["none"]
        )
    if missing := [name for name in policy.frozen if name not in frozen]:
        raise Denied(
            f"The champion's 99th percentile is not known for {', '.join(missing)}: its log says nothing of it.",
            value=missing[0],
            hint=f"Let the champion serve a while, or give it: --threshold {missing[0]}=NUMBER.",
        )
    return frozen


def _units_per_day(baseline: Baseline) -> float:
    days = (baseline.until - baseline.since) / timedelta(days=1)
    return baseline.units / max(days, 1 / 24)
