"""A candidate that was compared with another champion than the present one is held, unless it was a champion itself."""

from __future__ import annotations

from datetime import UTC, datetime

from towpath.core import digest as digests
from towpath.core.evidence import Candidate, Entry, Finding, Outcome, Subject
from towpath.core.gates import GATES, Stage
from towpath.core.policy import Policy, Verdict, decide
from unit.cases import case

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def candidate(model: str, *, rival: str) -> Candidate:
    """A candidate that passed every required gate; its evaluation compared it with the model `rival`."""
    grown = Candidate(project="p")
    for stage in Policy().stages:
        findings = tuple(
            Finding(code=gate.code, outcome=Outcome.PASS, reason="good")
            for gate in GATES.values()
            if gate.required and gate.stage == stage
        )
        entry = Entry(
            stage=stage,
            project="p",
            key=digests.of_json([stage, model, rival]),
            previous=grown.digest,
            inputs={"champion": rival} if stage == Stage.EVALUATE else {},
            subjects=(Subject(kind="model", name="p", digest=model),) if stage == Stage.TRAIN else (),
            findings=findings,
        )
        grown = grown.append(entry)
    return grown


def test_the_first_champion_needs_no_rival() -> None:
    assert decide(Policy(), candidate("sha256:a", rival=""), case(NOW)).verdict is Verdict.PROMOTE


def test_a_candidate_compared_with_the_present_champion_is_promoted() -> None:
    found = decide(Policy(), candidate("sha256:b", rival="sha256:a"), case(NOW, champions=("sha256:a",)))
    assert found.verdict is Verdict.PROMOTE


def test_a_candidate_compared_with_an_earlier_champion_is_held() -> None:
    found = decide(Policy(), candidate("sha256:c", rival="sha256:a"), case(NOW, champions=("sha256:a", "sha256:b")))
    assert found.verdict is Verdict.HOLD
    assert found.reasons == ("it was compared with champion a, but the champion is now b: run the path again",)


def test_a_candidate_from_before_the_first_champion_is_held() -> None:
    found = decide(Policy(), candidate("sha256:c", rival=""), case(NOW, champions=("sha256:a",)))
    assert found.verdict is Verdict.HOLD
    assert "compared with no champion" in found.reasons[0]


def test_a_former_champion_may_come_back() -> None:
    found = decide(Policy(), candidate("sha256:a", rival=""), case(NOW, champions=("sha256:a", "sha256:b")))
    assert found.verdict is Verdict.PROMOTE
