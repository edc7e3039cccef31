"""`decide(policy, candidate)`: whether a candidate may be promoted. Pure; default deny."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from towpath.core import digest as digests
from towpath.core.approvals import Standing
from towpath.core.contract_held import unheld
from towpath.core.evidence import Candidate, Finding, Outcome, Severity
from towpath.core.gates import GATES, Stage
from towpath.core.task import Task


class Verdict(StrEnum):
    """What is done with a candidate."""

    PROMOTE = "PROMOTE"
    HOLD = "HOLD"
    REJECT = "REJECT"
    ROLLBACK = "ROLLBACK"


class Waiver(BaseModel):
    """A person's word that one failed finding shall not stop one candidate, until a time. It erases nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate: str
    code: str
    subject: str = ""
    author: str
    reason: str
    expires: datetime

    def covers(self, candidate: str, finding: Finding, now: datetime) -> bool:
        return (self.candidate, self.code, self.subject) == (
            candidate,
            finding.code,
            finding.subject,
        ) and now < self.expires


class Policy(BaseModel):
    """What a promotion needs: the stages that must have passed, and a finding of each required gate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stages: tuple[str, ...] = ("ingest", "validate", "featurize", "train", "evaluate", "register")
    gates: frozenset[str] = frozenset(code for code, gate in GATES.items() if gate.required)


class Decision(BaseModel):
    """A verdict with its reasons, on one digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Verdict
    candidate: str
    digest: str | None
    reasons: tuple[str, ...]
    waived: tuple[str, ...] = ()


class Case(BaseModel):
    """What a decision looks at beside the candidate: everything the record says about it, and the time.

    `champions`: model digests of all champions so far, the present one last. `contracts`: those that the present one
    was validated by; none for a candidate that was champion itself. `evidence_at`: when its newest entry was recorded.
    `charter`: digest of the project's charter as it is now, where one is at hand. `unwritten`: emergencies of the
    project whose follow-up is missing. `emergency`: the one that two persons invoke for this candidate, and
    `emergency_faults` why it does not hold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    standing: Standing
    champions: tuple[str, ...] = ()
    contracts: Mapping[str, str] = Field(default_factory=dict)
    waivers: tuple[Waiver, ...] = ()
    evidence_at: datetime
    charter: str | None = None
    unwritten: tuple[str, ...] = ()
    emergency: str | None = None
    emergency_faults: tuple[str, ...] = ()
    now: datetime


def decide(policy: Policy, candidate: Candidate, case: Case) -> Decision:
    """PROMOTE only when all that is required was measured and passed, and who must agree did; else HOLD or REJECT.

    A failed finding rejects. A missing stage, gate or approval, an inconclusive or erroneous finding, evidence that is
    too old, a charter that was edited since, and an emergency that nobody wrote about: each holds. A candidate must
    have been compared with the present champion, and its contracts with that one's, unless it was a champion itself.
    Waivers cover findings; an emergency that holds stands in for approvals and for inconclusive findings, and for
    nothing else.
    """
    rejections: list[str] = []
    holds: list[str] = []
    waived: list[str] = []
    spared = case.emergency is not None and not case.emergency_faults
    holds += [f"stage {stage} has no entry" for stage in policy.stages if stage not in candidate.stages]
    holds += _stale(candidate, case.champions)
    if unheld(candidate, case.contracts):
        holds.append("its contracts were not held to those of the present champion: run the path again")
    task = _task(candidate)
    seen = {finding.code for finding in candidate.findings}
    holds += [f"gate {code} was not measured" for code in sorted(policy.gates - seen) if _asked(code, task)]
    for entry in candidate.entries:
        if not entry.findings:
            holds.append(f"stage {entry.stage} found nothing")
        for finding in entry.findings:
            if finding.outcome is Outcome.PASS or finding.severity is Severity.WARNING:
                continue
            line = f"{finding.code}{f' ({finding.subject})' if finding.subject else ''}: {finding.reason}"
            if _answered_for(finding, candidate, case, spared):
                waived.append(line)
            elif finding.outcome is Outcome.FAIL:
                rejections.append(line)
            else:
                holds.append(line)
    holds += [*_governed(candidate, case), *case.emergency_faults]
    waived += case.standing.missing if spared else ()
    holds += [] if spared else [f"promote.approvals: {sentence}" for sentence in case.standing.missing]
    verdict = Verdict.REJECT if rejections else Verdict.HOLD if holds else Verdict.PROMOTE
    reasons = tuple(rejections + holds) or (_good(case, spared),)
    return Decision(
        verdict=verdict, candidate=candidate.id, digest=candidate.digest, reasons=reasons, waived=tuple(waived)
    )


def _asked(code: str, task: Task) -> bool:
    gate = GATES.get(code)
    return gate is None or task in gate.tasks


def _task(candidate: Candidate) -> Task:
    """What the candidate predicts, as its training recorded; every gate of a binary model where nothing is recorded."""
    if Stage.TRAIN not in candidate.stages:
        return Task.BINARY
    named = candidate.entry(Stage.TRAIN).facts.get("task", Task.BINARY)
    return next((task for task in Task if task == named), Task.BINARY)


def _answered_for(finding: Finding, candidate: Candidate, case: Case, spared: bool) -> bool:
    """Whether somebody answers for a finding that did not pass. Nobody can for one that is never waived."""
    gate = GATES.get(finding.code)
    if gate is None or not gate.waivable:
        return False
    if spared and finding.outcome is Outcome.INCONCLUSIVE:
        return True
    return any(waiver.covers(candidate.id, finding, case.now) for waiver in case.waivers)


def _governed(candidate: Candidate, case: Case) -> list[str]:
    """What holds it that no finding says: age, an edited charter, an emergency that nobody wrote about."""
    found = []
    required = case.standing.requirement
    if required is not None and (age := case.now - case.evidence_at) > timedelta(seconds=required.evidence_seconds):
        longest = timedelta(seconds=required.evidence_seconds)
        found.append(
            f"its newest evidence is {age.days} days old, and governance.evidence allows {longest.days}: run the path "
            "again"
        )
    if case.charter is not None and Stage.REGISTER in candidate.stages:
        registered = candidate.entry(Stage.REGISTER).inputs.get("charter", "")
        if registered != case.charter:
            found.append("the charter was edited after it was registered: run the path again")
    found += [
        f"emergency {name} waits for its follow-up; until it is written nothing else is promoted: "
        f"towpath emergency follow-up {name} --report TEXT"
        for name in case.unwritten
    ]
    return found


def _good(case: Case, spared: bool) -> str:
    good = "every required stage passed and every required gate was measured"
    if spared:
        return f"emergency {case.emergency}: two persons stand in for what is missing"
    people = [one.person for one in case.standing.counted]
    return f"{good}; approved by {', '.join(people)}" if people else good


def _stale(candidate: Candidate, champions: tuple[str, ...]) -> list[str]:
    if not champions or not {Stage.TRAIN, Stage.EVALUATE} <= set(candidate.stages):
        return []
    if candidate.entry(Stage.TRAIN).subject("model").digest in champions:
        return []
    rival = candidate.entry(Stage.EVALUATE).inputs.get("champion", "")
    if rival == champions[-1]:
        return []
    compared = f"champion {digests.short(rival)}" if rival else "no champion"
    present = digests.short(champions[-1])
    return [f"it was compared with {compared}, but the champion is now {present}: run the path again"]
