"""`judge`: what stops a challenger, what promotes it, and what says nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towpath.core import judge as judges
from towpath.core.errors import BadInput
from towpath.core.judge import Arm, Judgement, JudgeState, Look, MetricStatus, Moments, Stratum
from towpath.core.rollout_policy import RolloutPolicy

THRESHOLDS = {"latency": 40.0, "loss": 2.0}
LIKE = tuple([50, 30, 10, 5, 5] + [0] * 15)
UNLIKE = tuple([5, 5, 10, 30, 50] + [0] * 15)


def policy(**changed: Any) -> RolloutPolicy:
    """Three guardrails, both kinds of promotion, both holds, a hard limit."""
    return RolloutPolicy.model_validate(
        {
            "unit": "plane",
            "steps": [{"weight": 10, "until": {"minUnits": 100}}, {"weight": 50, "until": {"promotion": True}}],
            "guardrails": [
                {"name": "errors", "type": "rate", "event": "error", "share": 0.4},
                {"name": "latency", "type": "exceedance", "of": "latency_ms", "threshold": "championP99", "share": 0.2},
                {"name": "loss", "type": "mean", "of": "log_loss", "cap": 2.0, "labels": "delayed", "share": 0.4},
            ],
            "promotion": [
                {"metric": "errors", "nonInferior": {"ratio": 1.5}},
                {"metric": "loss", "nonInferior": {"absolute": 0.05}, "minLabelCoverage": 0.8},
            ],
            "hardLimits": [{"metric": "errors", "max": 0.2, "minUnits": 20}],
            **changed,
        }
    )


def arm(
    units: int, errors: int = 0, *, slow: int = 0, loss: float = 0.4, labels: float = 1.0, scores: Sequence[int] = LIKE
) -> Arm:
    n = round(units * labels)
    return Arm(
        units=units,
        bad={"errors": errors, "latency": slow},
        means={"loss": Moments(n=n, total=n * loss, squares=n * (loss**2 + 0.25))},
        scores=tuple(scores),
    )


def look(*strata: tuple[int, int, Arm, Arm], hard: tuple[int, int] | None = None, watermark: str = "w") -> Look:
    built = tuple(Stratum(step=step, weight=weight, champion=old, challenger=new) for step, weight, old, new in strata)
    new = [one.challenger for one in built]
    seen = hard or (sum(one.bad.get("errors", 0) for one in new), sum(one.units for one in new))
    return Look(
        watermark=watermark,
        requests=sum(one.champion.units + one.challenger.units for one in built),
        strata=built,
        hard={"errors": seen},
    )


def of(asked: RolloutPolicy, *looks: Look, thresholds: dict[str, float] | None = None) -> Judgement:
    """The judgement of the last of several looks."""
    state = judges.begin(asked)
    for one in looks:
        state, judgement = judges.judge(asked, THRESHOLDS if thresholds is None else thresholds, state, one)
    return judgement


def metric(judgement: Judgement, name: str) -> MetricStatus:
    return next(one for one in judgement.metrics if one.name == name)


GOOD = look((1, 5_000, arm(20_000, 200, slow=200), arm(20_000, 200, slow=200)))


def test_a_challenger_shown_to_be_no_worse_in_every_metric_is_promotable() -> None:
    judgement = of(policy(), GOOD)
    assert judgement.promotable
    assert (judgement.harm, judgement.hard_limit, judgement.holds, judgement.unmeasured) == (None, None, (), ())
    assert [one.promotion for one in judgement.metrics] == ["pass", "none", "pass"]
    assert metric(judgement, "errors").estimate == pytest.approx(1.0)
    assert metric(judgement, "loss").coverage == (1.0, 1.0)
    assert metric(judgement, "errors").events == (200, 200)


def test_no_harm_found_is_no_pass() -> None:
    judgement = of(policy(), look((1, 5_000, arm(500, 5), arm(500, 5))))
    assert judgement.harm is None
    assert not judgement.promotable
    assert metric(judgement, "errors").promotion == "inconclusive"
    assert "not shown to be non-inferior" in metric(judgement, "errors").reason


@pytest.mark.parametrize(
    ("challenger", "harmed"),
    [
        (arm(1_000, 60, slow=10), "errors"),
        (arm(1_000, 10, slow=70), "latency"),
        (arm(1_000, 10, slow=10, loss=0.6), "loss"),
    ],
)
def test_harm_in_any_guardrail_is_found_and_nothing_else_makes_up_for_it(challenger: Arm, harmed: str) -> None:
    judgement = of(policy(), look((0, 1_000, arm(9_000, 90, slow=90), challenger)))
    assert judgement.harm == harmed
    assert not judgement.promotable
    status = metric(judgement, harmed)
    assert status.harm_log_e >= status.harm_bound
    assert judgement.reasons[0].startswith(f"{harmed}: the challenger is worse")


def test_alpha_is_split_over_harm_and_whole_for_promotion() -> None:
    judgement = of(policy(), GOOD)
    bounds = {one.name: (one.harm_bound, one.noninferiority_bound) for one in judgement.metrics}
    assert bounds["errors"] == pytest.approx((math.log(50), math.log(20)))
    assert bounds["latency"] == (pytest.approx(math.log(100)), None)


def test_harm_that_was_found_stays_found() -> None:
    early = (0, 1_000, arm(9_000, 90), arm(1_000, 60))
    later = look(early, (1, 5_000, arm(90_000, 4_000), arm(90_000, 2_000)))
    judgement = of(policy(), look(early), later)
    assert judgement.harm == "errors"
    assert metric(judgement, "errors").harm_log_e < metric(judgement, "errors").harm_bound


def test_a_hard_limit_needs_no_test_but_its_least_units() -> None:
    few = look((0, 1_000, arm(171, 0), arm(19, 10)))
    enough = look((0, 1_000, arm(180, 0), arm(20, 5)))
    at_limit = look((0, 1_000, arm(180, 40), arm(20, 4)))
    assert [of(policy(), one).hard_limit for one in (few, enough, at_limit)] == [None, "errors", None]
    assert of(policy(), enough).reasons[0] == "errors of the challenger is beyond its hard limit of 0.2"


def test_arms_out_of_their_ratio_hold() -> None:
    judgement = of(policy(), look((1, 5_000, arm(20_000, 200), arm(18_000, 180))))
    assert [hold.name for hold in judgement.holds] == ["srm"]
    assert judgement.sample_ratio_log_e >= judgement.holds[0].bound
    assert not judgement.promotable


def test_predictions_that_lie_apart_hold_even_when_nothing_is_harmed() -> None:
    scores = [100 * one for one in UNLIKE]
    judgement = of(policy(), look((1, 5_000, arm(20_000, 200, slow=200), arm(20_000, 200, slow=200, scores=scores))))
    assert [hold.type for hold in judgement.holds] == ["predictionDrift"]
    assert judgement.prediction_distance == pytest.approx(judgement.holds[0].measured)
    assert not judgement.promotable


def test_predictions_that_drift_with_the_weights_are_no_difference() -> None:
    old, new = [10 * one for one in LIKE], [10 * one for one in UNLIKE]
    early = (0, 1_000, arm(9_000, 90, scores=[9 * one for one in old]), arm(1_000, 10, scores=old))
    late = (
        1,
        5_000,
        arm(20_000, 200, scores=[8 * one for one in new]),
        arm(20_000, 200, scores=[8 * one for one in new]),
    )
    judgement = of(policy(), look(early, late))
    assert judgement.prediction_distance == 0
    assert judgement.holds == ()


def without(old: Arm, **changed: Any) -> Arm:
    return old.model_copy(update=changed)


@pytest.mark.parametrize(
    ("stratum", "thresholds", "told"),
    [
        ((arm(20_000, 200), without(arm(20_000, 200), bad={"errors": 200})), THRESHOLDS, "latency was not measured"),
        ((without(arm(20_000, 200), means={}), arm(20_000, 200)), THRESHOLDS, "loss was not measured"),
        ((arm(20_000, 200, scores=()), arm(20_000, 200)), THRESHOLDS, "drift: fewer than 100 predictions"),
        ((arm(20_000, 200), arm(20_000, 200)), {}, "latency has no threshold"),
    ],
)
def test_what_was_not_measured_never_passes(stratum: tuple[Arm, Arm], thresholds: dict[str, float], told: str) -> None:
    judgement = of(policy(), look((1, 5_000, *stratum)), thresholds=thresholds)
    assert not judgement.promotable
    assert any(told in reason for reason in judgement.reasons)
    assert any(told in one for one in judgement.unmeasured)
    assert judgement.harm is None


def test_an_unmeasured_hard_limit_does_not_pass() -> None:
    judgement = of(policy(), GOOD.model_copy(update={"hard": {}}))
    assert not judgement.promotable
    assert "hard limit of errors was not measured" in judgement.reasons


def test_labels_must_have_come_for_both_arms() -> None:
    judgement = of(policy(), look((1, 5_000, arm(20_000, 200), arm(20_000, 200, labels=0.7))))
    assert metric(judgement, "loss").promotion == "inconclusive"
    assert metric(judgement, "loss").coverage == (1.0, 0.7)
    assert "80% are needed" in metric(judgement, "loss").reason
    assert not judgement.promotable


def test_an_empty_look_passes_nothing_and_stops_nothing() -> None:
    judgement = of(policy(), Look(watermark="", requests=0))
    assert not judgement.promotable
    assert (judgement.harm, judgement.hard_limit, judgement.holds) == (None, None, ())
    assert "errors was not measured" in judgement.reasons


def test_without_any_error_only_a_floor_can_pass() -> None:
    none = look((1, 5_000, arm(2_000), arm(2_000)))
    floor = [
        {"metric": "errors", "nonInferior": {"ratio": 1.5, "floor": 0.005}},
        {"metric": "loss", "nonInferior": {"absolute": 0.2}},
    ]
    assert metric(of(policy(), none), "errors").promotion == "inconclusive"
    assert metric(of(policy(promotion=floor), none), "errors").promotion == "pass"
    bad = look((1, 5_000, arm(2_000), arm(2_000, 20)))
    assert metric(of(policy(promotion=floor), bad), "errors").promotion == "inconclusive"


def test_a_floor_counts_units_of_the_last_step_alone() -> None:
    floor = [{"metric": "errors", "nonInferior": {"ratio": 1.5, "floor": 0.005}}]
    early = look((0, 1_000, arm(18_000), arm(2_000)))
    assert metric(of(policy(promotion=floor), early), "errors").promotion == "inconclusive"


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        ([GOOD, look((1, 5_000, arm(20_000, 199, slow=200), arm(20_000, 200, slow=200)))], "fell from"),
        ([GOOD, Look(watermark="x", requests=1)], "fell from"),
        ([look((0, 0, arm(10), arm(1)))], "the arm that gets none"),
        ([look((1, 5_000, arm(10), Arm(units=10, bad={"typos": 1})))], "typos"),
        ([look((1, 5_000, arm(10), arm(10)), (1, 5_000, arm(10), arm(10)))], "twice"),
    ],
)
def test_evidence_that_cannot_be_is_an_error(looks: list[Look], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        of(policy(), *looks)


@st.composite
def growing(draw: st.DrawFn) -> list[Look]:
    """Looks of one rollout whose counts grow, over both steps."""
    looks, counts = [], {(0, 1_000): [0] * 8, (1, 5_000): [0] * 8}
    for number in range(draw(st.integers(1, 4))):
        for key in counts if number else [(0, 1_000)]:
            fresh = [draw(st.integers(0, most)) for most in (900, 20, 9, 300, 100, 20, 9, 90)]
            counts[key] = [old + new for old, new in zip(counts[key], fresh, strict=True)]
        strata = [
            (
                *key,
                arm(c[0], min(c[1], c[0]), slow=c[2], labels=0.9, loss=0.4, scores=[c[3], *LIKE[1:]]),
                arm(c[4], min(c[5], c[4]), slow=c[6], labels=0.9, loss=0.5, scores=[c[7], *LIKE[1:]]),
            )
            for key, c in counts.items()
        ]
        looks.append(look(*strata, watermark=str(number)))
    return looks


@settings(deadline=None)
@given(growing())
def test_the_same_looks_give_the_same_judgements_and_both_survive_json(looks: list[Look]) -> None:
    asked = policy()
    state, stored = judges.begin(asked), judges.begin(asked)
    for one in looks:
        state, judgement = judges.judge(asked, THRESHOLDS, state, one)
        again = Look.model_validate_json(one.model_dump_json())
        stored, replayed = judges.judge(
            asked, THRESHOLDS, JudgeState.model_validate_json(stored.model_dump_json()), again
        )
        assert (stored, replayed) == (state, judgement)
        assert Judgement.model_validate_json(judgement.model_dump_json()) == judgement


@settings(deadline=None)
@given(growing())
def test_looking_again_at_the_same_evidence_changes_no_verdict(looks: list[Look]) -> None:
    once, twice = of(policy(), *looks), of(policy(), *looks, looks[-1])
    assert once == twice


@settings(deadline=None)
@given(growing())
def test_the_order_of_strata_does_not_matter(looks: list[Look]) -> None:
    turned = [one.model_copy(update={"strata": one.strata[::-1]}) for one in looks]
    assert of(policy(), *looks) == of(policy(), *turned)


@settings(deadline=None)
@given(growing(), st.integers(1, 50))
def test_more_errors_of_the_challenger_never_help_it(looks: list[Look], more: int) -> None:
    last = looks[-1]
    stratum = last.strata[-1]
    bad = {**stratum.challenger.bad, "errors": stratum.challenger.bad["errors"] + more}
    worse = stratum.model_copy(update={"challenger": without(stratum.challenger, bad=bad)})
    changed = last.model_copy(update={"strata": (*last.strata[:-1], worse)})
    before, after = of(policy(), *looks), of(policy(), *looks[:-1], changed)
    assert metric(after, "errors").harm_log_e >= metric(before, "errors").harm_log_e - 1e-9
    assert not (after.promotable and not before.promotable)
