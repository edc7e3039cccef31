"""`decide`: nothing but a whole, passed chain is promoted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from towpath.core import digest as digests
from towpath.core.evidence import Candidate, Entry, Finding, Outcome, Severity
from towpath.core.gates import GATES
from towpath.core.policy import Policy, Verdict, Waiver, decide
from towpath.core.task import Task
from unit.cases import case

NOW = datetime(2024, 1, 1, tzinfo=UTC)
POLICY = Policy()
REQUIRED = sorted(POLICY.gates)


def candidate(
    *,
    changed: dict[str, Finding] | None = None,
    without: frozenset[str] = frozenset(),
    stages: int = 6,
    task: Task = Task.BINARY,
) -> Candidate:
    """A candidate of a task that passed every gate of it, but for those `changed` or left out."""
    grown = Candidate(project="p")
    for stage in POLICY.stages[:stages]:
        findings = tuple(
            (changed or {}).get(code, Finding(code=code, outcome=Outcome.PASS, reason="good"))
            for code in REQUIRED
            if GATES[code].stage == stage and code not in without
        )
        key = digests.of_json([stage, len(findings)])
        grown = grown.append(
            Entry(
                stage=stage,
                project="p",
                key=key,
                previous=grown.digest,
                inputs={},
                findings=findings,
                facts={"task": task.value} if stage == "train" and task is not Task.BINARY else {},
            )
        )
    return grown


def test_a_whole_passed_chain_is_promoted() -> None:
    assert decide(POLICY, candidate(), case(NOW)).verdict is Verdict.PROMOTE


@given(st.sampled_from(REQUIRED), st.sampled_from([Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.ERROR]))
def test_one_finding_that_is_no_pass_stops_it(code: str, outcome: Outcome) -> None:
    decision = decide(POLICY, candidate(changed={code: Finding(code=code, outcome=outcome, reason="bad")}), case(NOW))
    assert decision.verdict is (Verdict.REJECT if outcome is Outcome.FAIL else Verdict.HOLD)
    assert decision.reasons == (f"{code}: bad",)


@given(st.sets(st.sampled_from(REQUIRED), min_size=1), st.sampled_from(Task))
def test_a_gate_of_its_task_that_was_not_measured_holds(missing: set[str], task: Task) -> None:
    decision = decide(POLICY, candidate(without=frozenset(missing), task=task), case(NOW))
    asked = {code for code in missing if task in GATES[code].tasks}
    assert decision.verdict is (Verdict.HOLD if asked else Verdict.PROMOTE)
    told = {code for code in missing if any(f"gate {code} was not" in reason for reason in decision.reasons)}
    assert told == asked


@given(st.integers(0, 5))
def test_a_stage_that_is_missing_holds(stages: int) -> None:
    decision = decide(POLICY, candidate(stages=stages), case(NOW))
    assert decision.verdict is Verdict.HOLD
    assert f"stage {POLICY.stages[stages]} has no entry" in decision.reasons


def test_a_warning_stops_nothing() -> None:
    warned = {"eval.slice": Finding(code="eval.slice", outcome=Outcome.FAIL, severity=Severity.WARNING, reason="small")}
    assert decide(POLICY, candidate(changed=warned), case(NOW)).verdict is Verdict.PROMOTE


FAILED = Finding(code="eval.slice", subject="carrier=US", outcome=Outcome.FAIL, reason="too weak")


def waiver(subject: str = "carrier=US", *, of: Candidate, expires: datetime = NOW + timedelta(days=1)) -> Waiver:
    return Waiver(candidate=of.id, code="eval.slice", subject=subject, author="a", reason="known", expires=expires)


def test_a_waiver_covers_one_finding_of_one_candidate_until_it_expires() -> None:
    failed = candidate(changed={"eval.slice": FAILED})
    waived = decide(POLICY, failed, case(NOW, waivers=(waiver(of=failed),)))
    assert waived.verdict is Verdict.PROMOTE
    assert waived.waived == ("eval.slice (carrier=US): too weak",)
    for useless in (
        waiver(of=failed, expires=NOW),
        waiver("carrier=AA", of=failed),
        waiver(of=candidate()),
    ):
        assert decide(POLICY, failed, case(NOW, waivers=(useless,))).verdict is Verdict.REJECT


def test_an_entry_without_findings_holds() -> None:
    empty = Candidate(project="p").append(
        Entry(stage="ingest", project="p", key="k", previous=None, inputs={}, findings=())
    )
    assert "stage ingest found nothing" in decide(POLICY, empty, case(NOW)).reasons
