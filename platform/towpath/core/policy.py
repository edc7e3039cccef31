"""`decide(policy, candidate)`: whether a candidate may be promoted. Pure; default deny."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from towpath.core import digest as digests
from towpath.core.evidence import Candidate, Finding, Outcome, Severity
from towpath.core.gates import GATES, Stage


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


def decide(
    policy: Policy,
    candidate: Candidate,
    *,
    champions: tuple[str, ...] = (),
    waivers: tuple[Waiver, ...] = (),
    now: datetime,
) -> Decision:
    """PROMOTE only when every required stage passed and every required gate was measured; else HOLD or REJECT.

    A failed finding rejects. A missing stage, a missing gate, an inconclusive or erroneous finding holds: more evidence
    may settle it. `champions`: model digests of all champions so far, the present one last; a candidate must have been
    compared with the present one, unless it was a champion itself.
    """
    rejections: list[str] = []
    holds: list[str] = []
    waived: list[str] = []
    holds += [f"stage {stage} has no entry" for stage in policy.stages if stage not in candidate.stages]
    holds += _stale(candidate, champions)
    seen = {finding.code for finding in candidate.findings}
    holds += [f"gate {code} was not measured" for code in sorted(policy.gates - seen)]
    for entry in candidate.entries:
        if not entry.findings:
            holds.append(f"stage {entry.stage} found nothing")
        for finding in entry.findings:
            if finding.outcome is Outcome.PASS or finding.severity is Severity.WARNING:
                continue
            line = f"{finding.code}{f' ({finding.subject})' if finding.subject else ''}: {finding.reason}"
            if any(waiver.covers(candidate.id, finding, now) for waiver in waivers):
                waived.append(line)
            elif finding.outcome is Outcome.FAIL:
                rejections.append(line)
            else:
                holds.append(line)
    verdict = Verdict.REJECT if rejections else Verdict.HOLD if holds else Verdict.PROMOTE
    reasons = tuple(rejections + holds) or ("every required stage passed and every required gate was measured",)
    return Decision(
        verdict=verdict, candidate=candidate.id, digest=candidate.digest, reasons=reasons, waived=tuple(waived)
    )


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
