"""What only people and live traffic refuse: challengers that every gate lets pass, and a word for one's own model."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from docs.conftest import Shell
from towpath.example.sabotage import SABOTAGES, Moment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HARMED = {"bad-challenger": "loss", "slow-challenger": "latency", "crashing-challenger": "errors"}
OWN = "self-approval"


@pytest.mark.parametrize(
    ("name", "guardrail"),
    [
        pytest.param(*item, marks=() if place == 0 else pytest.mark.exhaustive)
        for place, item in enumerate(HARMED.items())
    ],
)
def test_a_bad_challenger_is_rolled_back(name: str, guardrail: str, shell_after_demo: Callable[[], Shell]) -> None:
    shell = shell_after_demo()
    before = shell.run("towpath status --json")
    ran = shell.run(f"towpath demo --sabotage {name} --json")
    assert ran.code == 0, ran.out + ran.err
    told = json.loads(ran.out)
    assert told["refused_by"] == ["rollout.harm"]
    assert f"The challenger harms {guardrail}:" in told["findings"][0]["reason"]
    canary = told["canary"]
    assert canary["phase"] == "rolled-back"
    assert canary["failed"] == 0, "the champion answers for it"
    assert 0 < canary["arms"]["challenger"] < canary["requests"] / 10
    assert _champion(shell.run("towpath status --json").out) == _champion(before.out)
    assert shell.run("towpath rollout replay").code == 0


def test_who_submitted_a_model_does_not_agree_to_it(shell_after_demo: Callable[[], Shell]) -> None:
    shell = shell_after_demo()
    before = shell.run("towpath status --json")
    ran = shell.run(f"towpath demo --sabotage {OWN} --json")
    assert ran.code == 0, ran.out + ran.err
    told = json.loads(ran.out)
    assert told["refused_by"] == ["promote.approvals"]
    assert "submitted it" in told["findings"][0]["reason"]
    assert _champion(shell.run("towpath status --json").out) == _champion(before.out)


def test_every_one_is_tried() -> None:
    with_people = (Moment.ROLLOUT, Moment.APPROVAL)
    assert {*HARMED, OWN} == {name for name, item in SABOTAGES.items() if item.moment in with_people}


def _champion(status: str) -> list[str]:
    return [item["candidate"] for item in json.loads(status)["candidates"] if item["champion"]]
