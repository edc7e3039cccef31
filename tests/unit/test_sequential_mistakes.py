"""Four mistakes that break a valid test (ROLLOUT.md): each is shown to fail without a difference, and its cure to hold.

Small simulations with fixed seeds: the mistakes are so gross that 150 rollouts tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from towpath.core import judge as judges
from towpath.core.judge import Arm, Look, Stratum
from towpath.core.rollout_policy import RolloutPolicy
from towpath.core.sequential import Bet, Count, wager

RUNS = 150
LOOKS = 100
RAMP = [0.05, 0.25, 0.5]
SURELY_VALID = 0.06
BOUND = math.log(20)


def harmed(looks: Iterable[Sequence[Count]]) -> bool:
    """Whether the challenger was ever found worse."""
    bet = Bet()
    for increments in looks:
        bet = wager(bet, increments)
        if bet.peak >= BOUND:
            return True
    return False


def swapped(count: Count) -> Count:
    """The same with the arms' names changed: what finds the champion worse calls the challenger better."""
    return Count(share=1 - count.share, challenger=count.total - count.challenger, total=count.total)


def share_of(runs: Iterable[bool]) -> float:
    return float(np.mean(list(runs)))


def test_pooling_over_a_ramp_while_the_base_rate_drifts() -> None:
    """Bad events became more frequent while the weight rose, so that the challenger has more than its pooled share."""
    rng = np.random.default_rng(1)

    def run() -> tuple[bool, bool]:
        right, wrong, bet = [], False, Bet()
        units = challenger_units = bad = challenger_bad = 0
        for look in range(LOOKS):
            share, rate = RAMP[look * 3 // LOOKS], 0.005 + 0.035 * look / LOOKS
            new = rng.binomial(200, share)
            events = int(rng.binomial(new, rate)), int(rng.binomial(200 - new, rate))
            right.append([Count(share=share, challenger=events[0], total=sum(events))])
            units, challenger_units = units + 200, challenger_units + new
            bad, challenger_bad = bad + sum(events), challenger_bad + events[0]
            pooled = Count(share=challenger_units / units, challenger=challenger_bad, total=bad)
            bet = wager(Bet(), [pooled])
            wrong = wrong or bet.peak >= BOUND
        return wrong, harmed(right)

    runs = [run() for _ in range(RUNS)]
    assert share_of(wrong for wrong, _ in runs) > 0.4
    assert share_of(right for _, right in runs) <= SURELY_VALID


def test_counting_requests_when_assignment_is_sticky_by_entity() -> None:
    """Some entities have many errors, all in one arm. The unit is the entity: its first error counts, once."""
    rng = np.random.default_rng(2)
    entities = 1_500

    def run() -> tuple[bool, bool]:
        challenger = rng.random(entities) < 0.1
        rate = rng.gamma(0.02, 0.01 / 0.02, entities).clip(0, 1)
        bad_already = np.zeros(entities, dtype=bool)
        requests, first = [], []
        for _ in range(LOOKS):
            who = rng.integers(0, entities, 200)
            bad = who[rng.random(200) < rate[who]]
            requests.append([Count(share=0.1, challenger=int(challenger[bad].sum()), total=len(bad))])
            fresh = np.unique(bad[~bad_already[bad]])
            bad_already[fresh] = True
            first.append([Count(share=0.1, challenger=int(challenger[fresh].sum()), total=len(fresh))])
        return harmed(requests), harmed(first)

    runs = [run() for _ in range(RUNS)]
    assert share_of(wrong for wrong, _ in runs) > 0.1
    assert share_of(right for _, right in runs) <= SURELY_VALID


def test_judging_a_delayed_label_with_the_weight_at_its_arrival() -> None:
    """Labels of the 5 % step arrive in the 50 % step: the challenger then seems to have hardly any bad ones."""
    rng = np.random.default_rng(3)

    def run() -> tuple[bool, bool, bool]:
        wrong, right = [], []
        for look in range(LOOKS):
            arrived, assigned = RAMP[look * 3 // LOOKS], RAMP[max(0, look - 33) * 3 // LOOKS]
            new = rng.binomial(200, assigned)
            events = int(rng.binomial(new, 0.02)), int(rng.binomial(200 - new, 0.02))
            wrong.append([swapped(Count(share=arrived, challenger=events[0], total=sum(events)))])
            right.append(Count(share=assigned, challenger=events[0], total=sum(events)))
        return harmed(wrong), harmed([swapped(one)] for one in right), harmed([one] for one in right)

    runs = [run() for _ in range(RUNS)]
    assert share_of(wrong for wrong, _, _ in runs) > 0.95
    assert share_of(right for _, right, _ in runs) <= SURELY_VALID
    assert share_of(right for _, _, right in runs) <= SURELY_VALID


def test_stopping_a_look_early_and_calling_it_success() -> None:
    """No harm was found, however early and however often one stops: nothing measured and little measured never pass."""
    policy = RolloutPolicy.model_validate(
        {
            "steps": [{"weight": 50, "until": {"promotion": True}}],
            "guardrails": [{"name": "errors", "type": "rate", "event": "error", "share": 1}],
            "promotion": [{"metric": "errors", "nonInferior": {"ratio": 1.5}}],
            "holds": [],
        }
    )
    rng = np.random.default_rng(4)
    wrong = right = 0
    for _ in range(RUNS):
        events = rng.binomial(100, 0.02, 2).tolist()
        arms = [Arm(units=100, bad={"errors": bad}) for bad in events]
        stratum = Stratum(step=0, weight=5_000, champion=arms[0], challenger=arms[1])
        _, judgement = judges.judge(
            policy, {}, judges.begin(policy), Look(watermark="1", requests=200, strata=(stratum,))
        )
        wrong += judgement.harm is None
        right += judgement.promotable
    assert wrong > 0.95 * RUNS
    assert right == 0
    _, nothing = judges.judge(policy, {}, judges.begin(policy), Look(watermark="", requests=0))
    assert not nothing.promotable
    assert nothing.reasons == ("errors was not measured", "errors: errors was not measured")
