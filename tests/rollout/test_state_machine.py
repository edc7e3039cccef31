"""The rollout under any evidence, any silence and any orders, in any order (Hypothesis)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rollout import story
from rollout.story import START, order
from towpath.core.errors import Denied
from towpath.core.rollout import EXPOSED, FINAL, WHOLE, Phase, Rollout, Telemetry
from towpath.core.rollout_decision import Order, RolloutDecision, Verdict
from towpath.core.rollout_machine import TRANSITIONS, tick
from towpath.core.rollout_orders import obey, possible, replay

LEASE = timedelta(minutes=5)


class Rollouts(RuleBasedStateMachine):
    """Units arrive by the weight in force; time passes; gateways fall silent; people order."""

    def __init__(self) -> None:
        super().__init__()
        self.row = story.rollout()
        self.now = START
        self.heard: Any = None
        self.ready = True
        self.shadowed = 0
        self.strata: dict[tuple[int, int], list[int]] = {}
        self.last: RolloutDecision | None = None
        self.committed = [0]

    @initialize(shadow=st.booleans(), on_inconclusive=st.sampled_from(["hold", "rollback"]))
    def declared(self, shadow: bool, on_inconclusive: str) -> None:
        changes = {"shadow": story.SHADOW} if shadow else {}
        self.row = story.rollout(declared=story.policy(onInconclusive=on_inconclusive, **changes))

    # --- the world ---

    @rule(units=st.sampled_from([20, 200, 2_000, 40_000]), bad=st.sampled_from([0, 1, 1, 1, 5, 60]))
    def serve(self, units: int, bad: int) -> None:
        """Units are answered; `bad` of 100 of the challenger's are bad, 1 of 100 of the champion's."""
        self.heard = self.now
        leased = self.row.lease_until is not None and self.now < self.row.lease_until
        if self.row.phase is Phase.SHADOWING and leased:
            self.shadowed += units * self.row.shadow // WHOLE
        if not self.row.exposed or not leased:
            return
        theirs = units * self.row.weight // WHOLE
        ours = units - theirs
        counted = self.strata.setdefault((self.row.step, self.row.weight), [0, 0, 0, 0])
        for place, more in enumerate((ours, ours // 100, theirs, theirs * bad // 100)):
            counted[place] += more

    @rule(minutes=st.sampled_from([1, 4, 6, 31, 60 * 24, 60 * 49]))
    def passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(ready=st.booleans())
    def gateways(self, ready: bool) -> None:
        self.ready = ready

    # --- the controller ---

    @rule(evidence=st.sampled_from([True, True, True, False]))
    def tick(self, evidence: bool) -> None:
        look = story.look(*((*key, *counts) for key, counts in sorted(self.strata.items()))) if evidence else None
        telemetry = Telemetry(at=self.heard, ready=self.ready, shadowed=self.shadowed) if evidence else Telemetry()
        before = self.row
        after, decision = tick(before, look, telemetry, self.now)
        assert tick(before, look, telemetry, self.now) == (after, decision), "the same arguments, the same result"
        if after.weight > before.weight:
            assert telemetry.ready
            assert telemetry.at is not None
            assert self.now - telemetry.at <= before.policy.on_telemetry_lost.after
            assert before.lease_until is not None
            assert self.now < before.lease_until
        self._commit(after, decision)
        if self.row.open and self.row.phase is not Phase.ROLLING_BACK:
            self.row = self.row.model_copy(update={"lease_until": self.now + LEASE})

    @rule()
    def a_healthy_day(self) -> None:
        """What a controller and gateways in order do, so that runs get beyond the first steps."""
        self.ready = True
        for _ in range(3):
            self.serve(40_000, 1)
            self.tick(evidence=True)

    # --- people ---

    @rule(what=st.sampled_from([item for item in Order if item is not Order.START]))
    def orders(self, what: Order) -> None:
        if what not in possible(self.row.phase):
            with pytest.raises(Denied, match="it takes no"):
                obey(self.row, order(what), self.now)
            return
        after, decision = obey(self.row, order(what), self.now)
        assert after.judge == self.row.judge
        assert after.weight <= self.row.weight
        self._commit(after, decision)

    @precondition(lambda self: self.row.exposed)
    @rule()
    def a_rollback_would_be_possible(self) -> None:
        after, decision = obey(self.row, order(Order.ROLLBACK), self.now)
        assert (after.phase, after.weight, decision.weight_after) == (Phase.ROLLING_BACK, 0, 0)

    def _commit(self, after: Rollout, decision: RolloutDecision | None) -> None:
        before = self.row
        if after == before:
            assert decision is None
            return
        assert before.phase not in FINAL, "final is final"
        assert after.generation == before.generation + 1
        assert (after.salt, after.policy, after.champion) == (before.salt, before.policy, before.champion)
        if decision is None:
            assert (after.phase, after.step, after.weight) == (before.phase, before.step, before.weight)
        else:
            assert after.phase in TRANSITIONS[before.phase]
            assert replay(decision, previous=self.last).differences == ()
            self._lawful(decision)
            self.last = decision
        self.row = after
        self.committed.append(after.weight)

    def _lawful(self, decision: RolloutDecision) -> None:
        """A pass is by evidence or by a person; an inconclusive end never is one."""
        if decision.to_state is Phase.PROMOTING and decision.inputs.command is None:
            assert {metric.promotion for metric in decision.metrics} == {"pass"}
            assert decision.verdict is Verdict.PROMOTE
        if decision.to_state in (Phase.ABORTED, Phase.SUPERSEDED):
            assert decision.verdict in (Verdict.ABORT, Verdict.ENDED_WITHOUT_EVIDENCE)
        if decision.verdict is Verdict.STEP_UP:
            assert decision.weight_after >= decision.weight_before

    @invariant()
    def exposure_is_what_was_committed_and_nothing_where_nothing_is_exposed(self) -> None:
        assert self.row.weight == self.committed[-1]
        if self.row.phase not in EXPOSED and self.row.phase is not Phase.SUCCEEDED:
            assert self.row.weight == 0
        if self.row.phase in (Phase.PROGRESSING, Phase.HELD):
            assert self.row.weight == self.row.policy.steps[self.row.step].basis_points
        if self.row.shadow:
            assert self.row.phase is Phase.SHADOWING
        assert (self.row.held is not None) == (self.row.phase is Phase.HELD)

    @invariant()
    def the_row_goes_through_json(self) -> None:
        assert Rollout.model_validate_json(self.row.model_dump_json()) == self.row


TestRollouts = pytest.mark.timeout(300)(Rollouts.TestCase)
TestRollouts.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
