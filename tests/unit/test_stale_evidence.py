"""A candidate that was compared with another champion than the present one is held, unless it was a champion itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from towpath.core import digest as digests
from towpath.core.contract_held import held_to
from towpath.core.evidence import Candidate, Entry, Finding, Outcome, Subject
from towpath.core.gates import GATES, Stage
from towpath.core.policy import Policy, Verdict, decide
from unit.cases import case

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def candidate(model: str, *, rival: str, validated: Mapping[str, str] | None = None) -> Candidate:
    """A candidate that passed every required gate; its evaluation compared it with the model `rival`."""
    inputs = {Stage.EVALUATE: {"champion": rival}, Stage.VALIDATE: validated or {}}
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
            inputs=inputs.get(Stage(stage), {}),
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


THEIRS = {"contract/a": "sha256:1"}


@pytest.mark.parametrize(("inputs", "verdict"), [
    ({"contract/a": "sha256:1", "contract/b": "sha256:7"}, Verdict.PROMOTE),
    ({"contract/a": "sha256:2", **held_to(THEIRS, {})}, Verdict.PROMOTE),
    ({"contract/a": "sha256:2"}, Verdict.HOLD),
    ({"contract/a": "sha256:2", **held_to({"contract/a": "sha256:0"}, {})}, Verdict.HOLD),
])  # fmt: skip
def test_contracts_are_held_to_the_present_champions_though_its_model_is_the_same(
    inputs: dict[str, str], verdict: Verdict
) -> None:
    """A contract leaves no trace in the bytes of a model, so the comparison of models sees nothing of it."""
    same = candidate("sha256:a", rival="sha256:a", validated=inputs)
    found = decide(Policy(), same, case(NOW, champions=("sha256:a",), contracts=THEIRS))
    assert found.verdict is verdict
    assert verdict is Verdict.PROMOTE or found.reasons == (
        "its contracts were not held to those of the present champion: run the path again",
    )


def test_a_former_champion_may_come_back() -> None:
    found = decide(Policy(), candidate("sha256:a", rival=""), case(NOW, champions=("sha256:a", "sha256:b")))
    assert found.verdict is Verdict.PROMOTE
