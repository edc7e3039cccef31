"""How a rollout moves: each rule with the case that moves it and the case that does not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rollout import story
from rollout.story import GOOD, MINUTE, START, at, heard, look, order
from towpath.core.errors import Denied
from towpath.core.policy import Verdict as Succession
from towpath.core.rollout import EXPOSED, FINAL, Phase, Rollout, Telemetry
from towpath.core.rollout_decision import Order, Reason, RolloutDecision, Verdict
from towpath.core.rollout_machine import TRANSITIONS, tick
from towpath.core.rollout_orders import begin, obey, possible, replay
from towpath.core.rollout_rules import RULES

NOW = START + timedelta(hours=1)
OPEN = [phase for phase in Phase if phase not in FINAL]


def once(rollout: Rollout, *strata: Any, now: Any = NOW, telemetry: Telemetry | None = None) -> Any:
    """One tick, whose decision replays."""
    seen = look(*strata) if strata else None
    after, decision = tick(rollout, seen, telemetry or heard(now), now)
    if decision is not None:
        assert replay(decision, previous=None).differences == ()
        assert RolloutDecision.model_validate_json(decision.model_dump_json()) == decision
    return after, decision


def told(decision: RolloutDecision) -> tuple[str, str, int, int]:
    return decision.verdict, decision.reason_code, decision.weight_before, decision.weight_after


def test_the_table_names_every_phase_and_final_ones_lead_nowhere() -> None:
    assert set(TRANSITIONS) == set(RULES) == set(Phase)
    assert {phase for phase, following in TRANSITIONS.items() if not following} == FINAL


def test_a_good_challenger_goes_all_the_way() -> None:
    lease = {"lease_until": START + timedelta(days=99)}
    current = story.rollout(declared=story.policy(shadow=story.SHADOW), **lease)
    seen = []
    looks = [(), (), (), GOOD[:1], GOOD[:2], GOOD, GOOD, story.BAKED]
    for number, strata in enumerate(looks):
        now = NOW + number * MINUTE + (timedelta(days=1) if strata is story.BAKED else timedelta())
        current, decision = once(current, *strata, now=now, telemetry=heard(now, shadowed=60))
        seen.append((current.phase, current.weight, current.shadow, decision.verdict))
    assert seen == [
        (Phase.PREPARING, 0, 0, "continue"),
        (Phase.SHADOWING, 0, 1_000, "continue"),
        (Phase.PROGRESSING, 500, 0, "step_up"),
        (Phase.PROGRESSING, 2_500, 0, "step_up"),
        (Phase.PROGRESSING, 5_000, 0, "step_up"),
        (Phase.PROMOTING, 5_000, 0, "promote"),
        (Phase.BAKING, 9_500, 0, "continue"),
        (Phase.SUCCEEDED, 10_000, 0, "continue"),
    ]
    assert once(current, now=NOW + timedelta(days=9)) == (current, None)


@pytest.mark.parametrize(
    ("rollout", "strata"),
    [
        (at(Phase.PREPARING), ()),
        (at(Phase.PROGRESSING), GOOD[:1]),
        (at(Phase.PROGRESSING, step=1), GOOD[:2]),
        (at(Phase.PROMOTING, step=2), GOOD),
    ],
)
@pytest.mark.parametrize("missing", ["ready", "lease", "no lease", "telemetry", "no telemetry"])
def test_raising_exposure_needs_readiness_a_lease_and_telemetry(rollout: Rollout, strata: Any, missing: str) -> None:
    seen = {
        "ready": heard(NOW, ready=False),
        "telemetry": heard(NOW - 6 * MINUTE),
        "no telemetry": Telemetry(ready=True),
    }.get(missing, heard(NOW))
    leases = {"lease": NOW, "no lease": None}
    heard_last = NOW - 6 * MINUTE if missing == "telemetry" else NOW
    lease = leases.get(missing, rollout.lease_until)
    short = rollout.model_copy(update={"lease_until": lease, "last_evidence_at": heard_last})
    after, _ = once(short, *strata, telemetry=seen)
    assert after.weight == rollout.weight
    raised, _ = once(rollout, *strata)
    assert raised.weight > rollout.weight


@pytest.mark.parametrize("phase", sorted(EXPOSED))
@pytest.mark.parametrize(
    ("strata", "code"), [(story.BAD, Reason.HARM), (story.CRASHING, Reason.HARD_LIMIT)], ids=["harm", "limit"]
)
def test_harm_pulls_traffic_back_in_every_exposed_phase_and_needs_nothing(phase: Phase, strata: Any, code: str) -> None:
    rollout = at(phase, lease_until=None)
    after, decision = once(rollout, *strata, telemetry=heard(NOW, ready=False))
    assert (after.phase, after.weight) == (Phase.ROLLING_BACK, 0)
    assert told(decision) == ("rollback", code, rollout.weight, 0)
    last, decision = once(after)
    assert (last.phase, last.weight, decision.reason_code) == (Phase.ROLLED_BACK, 0, "withdrawn")


def test_harm_is_not_forgotten_while_telemetry_or_lease_is_missing() -> None:
    after, _ = once(at(Phase.PROGRESSING), *story.BAD, telemetry=Telemetry())
    assert after.phase is Phase.ROLLING_BACK


def test_too_few_units_take_no_step_but_their_evidence_is_kept() -> None:
    rollout = at(Phase.PROGRESSING)
    few = (0, 500, 1_881, 19, 99, 1)
    after, decision = once(rollout, few)
    assert decision is None
    assert (after.generation, after.weight) == (rollout.generation + 1, rollout.weight)
    assert (after.judge.looks, after.watermark) == (1, look(few).watermark)
    assert once(after, few) == (after, None), "the same look changes nothing"


def test_a_step_counts_its_own_units() -> None:
    assert once(at(Phase.PROGRESSING, step=1), (0, 500, 9_000, 90, 500, 5), (1, 2_500, 10, 0, 10, 0))[1] is None


def test_inconclusive_evidence_never_promotes_and_holds_when_the_time_is_over() -> None:
    little = (*GOOD[:2], (2, 5_000, 100, 1, 100, 1))
    rollout = at(Phase.PROGRESSING, step=2)
    assert once(rollout, *little)[1] is None
    after, decision = once(rollout, *little, now=START + timedelta(days=2, minutes=1))
    assert (after.phase, after.held, after.weight) == (Phase.HELD, "inconclusive", 5_000)
    assert decision.verdict == "hold"
    declared = story.policy(onInconclusive="rollback")
    rollout = rollout.model_copy(update={"policy": declared, "policy_digest": story.policy_digest(declared)})
    after, decision = once(rollout, *little, now=START + timedelta(days=2, minutes=1))
    assert (after.phase, after.weight, decision.verdict) == (Phase.ROLLING_BACK, 0, "ended_without_evidence")


def test_nothing_measured_is_never_a_pass() -> None:
    assert once(at(Phase.PROGRESSING, step=2))[1] is None
    assert once(at(Phase.PROGRESSING, step=2), (2, 5_000, 0, 0, 0, 0))[1] is None


def test_a_hold_stops_stepping_until_a_person_resumes_and_then_stops_it_no_more() -> None:
    skewed = (0, 500, 100, 0, 900, 0)
    after, decision = once(at(Phase.PROGRESSING), skewed)
    assert (after.phase, after.held, after.weight) == (Phase.HELD, "holds:srm", 500)
    assert told(decision)[:2] == ("hold", "hold")
    assert once(after, skewed)[1] is None, "it does not resume by itself"
    resumed, decision = obey(after, order(Order.RESUME), NOW)
    assert (resumed.phase, resumed.acknowledged, resumed.judge) == (Phase.PROGRESSING, ("srm",), after.judge)
    assert (decision.actor, decision.reason) == ("ada", "because I say so")
    stepped, _ = once(resumed, skewed)
    assert (stepped.step, stepped.weight) == (1, 2_500)


def test_an_acknowledged_hold_does_not_stop_promotion() -> None:
    skewed = (*GOOD[:2], (2, 5_000, 20_000, 400, 15_000, 300))
    assert once(at(Phase.PROGRESSING, step=2), *skewed)[0].phase is Phase.HELD
    resumed = at(Phase.PROGRESSING, step=2, acknowledged=("srm",))
    assert once(resumed, *skewed)[0].phase is Phase.PROMOTING
    unmeasured = look(*skewed).model_copy(update={"hard": {}})
    assert tick(resumed, unmeasured, heard(NOW), NOW)[1] is None, "what was not measured is no pass, whoever resumed"


def test_lost_telemetry_freezes_thaws_and_rolls_back() -> None:
    rollout = at(Phase.PROGRESSING, last_evidence_at=NOW)
    assert once(rollout, now=NOW + 5 * MINUTE, telemetry=Telemetry())[1] is None
    frozen, decision = once(rollout, now=NOW + 6 * MINUTE, telemetry=Telemetry())
    assert (frozen.phase, frozen.held, frozen.weight) == (Phase.HELD, "telemetry_lost", 500)
    assert told(decision)[:2] == ("hold", "telemetry_lost")
    thawed, decision = once(frozen, now=NOW + 7 * MINUTE, telemetry=heard(NOW + 7 * MINUTE))
    assert (thawed.phase, decision.reason_code) == (Phase.PROGRESSING, "telemetry_back")
    back, decision = once(frozen, now=NOW + 31 * MINUTE, telemetry=Telemetry())
    assert (back.phase, back.weight, decision.reason_code) == (Phase.ROLLING_BACK, 0, "telemetry_lost")


@pytest.mark.parametrize("phase", [Phase.HELD, Phase.PROMOTING, Phase.BAKING])
def test_other_exposed_phases_wait_out_the_freeze_and_are_rolled_back(phase: Phase) -> None:
    rollout = at(phase, last_evidence_at=NOW)
    assert once(rollout, now=NOW + 20 * MINUTE, telemetry=Telemetry())[1] is None
    assert once(rollout, now=NOW + 31 * MINUTE, telemetry=Telemetry())[0].phase is Phase.ROLLING_BACK


def test_a_person_who_paused_is_not_overruled_by_telemetry_that_comes_back() -> None:
    assert once(at(Phase.HELD), *GOOD[:1])[1] is None


def test_a_shadow_that_fails_is_never_exposed() -> None:
    rollout = at(Phase.SHADOWING).model_copy(update={"policy": story.policy(shadow=story.SHADOW), "shadow": 1_000})
    seen = heard(NOW, shadowed=60, failed=40)
    after, decision = once_unchecked(rollout, seen)
    assert (after.phase, after.weight, after.shadow) == (Phase.ROLLING_BACK, 0, 0)
    assert decision.reason_code == "shadow_failed"


def once_unchecked(rollout: Rollout, telemetry: Telemetry) -> Any:
    return tick(rollout, None, telemetry, NOW)


def test_baking_makes_champions_both_ways() -> None:
    _, decision = once(at(Phase.PROMOTING, step=2), *GOOD)
    assert decision.crowned() == (Succession.PROMOTE, story.CHALLENGER)
    _, decision = once(at(Phase.BAKING, step=2), *story.BAD)
    assert decision.crowned() == (Succession.ROLLBACK, story.CHAMPION)
    _, decision = once(at(Phase.PROGRESSING), *story.BAD)
    assert decision.crowned() is None


def test_baking_takes_its_time() -> None:
    rollout = at(Phase.BAKING, step=2)
    assert once(rollout, *story.BAKED, now=START + timedelta(hours=23))[1] is None
    assert once(rollout, *story.BAKED, now=START + timedelta(hours=24))[0].phase is Phase.SUCCEEDED


# --- orders -----------------------------------------------------------------------------------------------------------

EXPECTED = {
    Order.PAUSE: ({Phase.PROGRESSING}, Phase.HELD, Verdict.HOLD),
    Order.RESUME: ({Phase.HELD}, Phase.PROGRESSING, Verdict.CONTINUE),
    Order.PROMOTE: ({Phase.PROGRESSING, Phase.HELD}, Phase.PROMOTING, Verdict.PROMOTE),
    Order.ROLLBACK: ({*OPEN} - {Phase.ROLLING_BACK}, Phase.ROLLING_BACK, Verdict.ROLLBACK),
    Order.ABORT: ({*OPEN} - {Phase.ROLLING_BACK, Phase.BAKING}, Phase.ABORTED, None),
    Order.SUPERSEDE: ({*OPEN}, Phase.SUPERSEDED, None),
}


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("what", EXPECTED)
def test_orders_are_taken_where_they_can_be_and_refused_elsewhere(phase: Phase, what: Order) -> None:
    sources, to, verdict = EXPECTED[what]
    rollout = at(phase)
    if phase not in sources:
        with pytest.raises(Denied, match=f"is {phase}; it takes no {what}") as caught:
            obey(rollout, order(what), NOW)
        assert set(caught.value.valid) == {item for item in possible(phase) if item is not Order.SUPERSEDE}
        return
    after, decision = obey(rollout, order(what), NOW, look=look(*GOOD[:1]))
    assert (after.phase, after.generation) == (to, rollout.generation + 1)
    assert after.judge == rollout.judge, "an order resets no evidence"
    assert after.weight <= rollout.weight
    assert replay(decision, previous=None).differences == ()
    assert decision.inputs.command == order(what)
    assert decision.exposure == {"champion": 1_900, "challenger": 100}
    if verdict is None:
        verdict = Verdict.ENDED_WITHOUT_EVIDENCE if rollout.exposed else Verdict.ABORT
    assert decision.verdict is verdict


@pytest.mark.parametrize(("author", "reason"), [(" ", "a good reason"), ("ada", "because"), ("ada", "")])
def test_an_order_needs_an_author_and_a_reason(author: str, reason: str) -> None:
    command = story.Command(order=Order.PAUSE, author=author, reason=reason)
    with pytest.raises(Denied, match="needs a"):
        obey(at(Phase.PROGRESSING), command, NOW)
    with pytest.raises(Denied, match="needs a"):
        begin(story.rollout(), command, NOW)


def test_harm_overrules_a_person_who_promotes() -> None:
    promoting, _ = obey(at(Phase.PROGRESSING), order(Order.PROMOTE), NOW)
    assert once(promoting, *story.BAD)[0].phase is Phase.ROLLING_BACK


# --- deciding again ---------------------------------------------------------------------------------------------------


def test_a_start_replays() -> None:
    decision = begin(story.rollout(), order(Order.START), START)
    assert (decision.from_state, decision.to_state, decision.verdict) == ("pending", "pending", "continue")
    assert replay(decision, previous=None).differences == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": Verdict.CONTINUE},
        {"weight_after": 9_000},
        {"to_state": Phase.PROMOTING},
        {"exposure": {"champion": 1, "challenger": 1}},
        {"metrics": ()},
        {"decided_at": NOW + MINUTE},
        {"policy_digest": "sha256:other"},
    ],
    ids=str,
)
def test_a_replay_sees_a_changed_decision(changes: dict[str, Any]) -> None:
    _, decision = once(at(Phase.PROGRESSING), *GOOD[:1])
    assert replay(decision.model_copy(update=changes), previous=None).differences


def test_a_replay_sees_changed_evidence_and_a_changed_policy() -> None:
    _, decision = once(at(Phase.PROGRESSING), *GOOD[:1])
    worse = decision.inputs.model_copy(update={"look": look(*story.BAD)})
    assert any(
        "verdict" in line for line in replay(decision.model_copy(update={"inputs": worse}), previous=None).differences
    )
    nothing = decision.inputs.model_copy(update={"look": None})
    assert replay(decision.model_copy(update={"inputs": nothing}), previous=None).differences == (
        "deciding again moves nothing",
    )
    lax = decision.inputs.before.model_copy(update={"policy": story.policy(alpha=0.01)})
    inputs = decision.inputs.model_copy(update={"before": lax})
    assert (
        "the policy is not the one whose digest was frozen"
        in replay(decision.model_copy(update={"inputs": inputs}), previous=None).differences
    )


def test_a_replay_sees_a_break_between_decisions() -> None:
    stepped, first = once(at(Phase.PROGRESSING), *GOOD[:1])
    _, second = once(stepped, *GOOD[:2])
    assert replay(second, previous=first).differences == ()
    _, jumped = once(stepped.model_copy(update={"weight": 2_600, "salt": "11" * 16}), *GOOD[:2])
    assert replay(jumped, previous=first).differences == (
        "its weight is not that of the decision before",
        "its salt is not that of the decision before",
    )
