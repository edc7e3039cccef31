"""The charter's section `rollout`: what it may say, what it is refused for, and what it can find out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from towpath.core.errors import BadInput, Problems
from towpath.core.guardrails import Mean, PredictionDrift, Rate, SampleRatio
from towpath.core.rollout_policy import OnInconclusive, RolloutPolicy, basis_points
from towpath.core.rollout_power import Planned, admit, power

TEXT = """
unit: tailnum
shadow: {percent: 10, minUnits: 500}
steps:
  - {weight: 1,  until: {minUnits: 100}}
  - {weight: 5,  until: {minUnits: 300}}
  - {weight: 25, until: {minUnits: 1000}}
  - {weight: 50, until: {promotion: true, maxDuration: 14d}}
alpha: 0.05
guardrails:
  - {name: errors,  type: rate,       event: error,      share: 0.4}
  - {name: latency, type: exceedance, of: latency_ms, threshold: championP99, share: 0.2}
  - {name: loss,    type: mean,       of: log_loss, cap: championP99, share: 0.4, labels: delayed}
promotion:
  - {metric: errors, nonInferior: {ratio: 1.5}}
  - {metric: loss,   nonInferior: {absolute: 0.02}, minLabelCoverage: 0.8}
holds:
  - {name: srm,   type: sampleRatio, alpha: 0.001}
  - {name: drift, type: predictionDrift, distance: jensenShannon, max: 0.1}
hardLimits: [{metric: errors, max: 0.2, minUnits: 20}]
onInconclusive: hold
onTelemetryLost: {after: 5m, action: freeze, then: {after: 30m, action: rollback}}
bake: {duration: 24h, holdback: 5}
"""
POLICY = RolloutPolicy.model_validate(yaml.safe_load(TEXT))
BASE = {"errors": 0.01, "latency": 0.01, "loss": 0.5}


def test_the_policy_of_the_specification_is_read_whole() -> None:
    assert [step.basis_points for step in POLICY.steps] == [100, 500, 2_500, 5_000]
    assert POLICY.steps[3].until.max_duration == timedelta(days=14)
    assert isinstance(POLICY.guardrail("errors"), Rate)
    assert isinstance(POLICY.guardrail("loss"), Mean)
    assert POLICY.frozen == ("latency", "loss")
    assert isinstance(POLICY.holds[0], SampleRatio)
    assert isinstance(POLICY.holds[1], PredictionDrift)
    assert POLICY.on_inconclusive is OnInconclusive.HOLD
    assert POLICY.bake.basis_points == 500
    assert POLICY.shadow is not None
    assert POLICY.shadow.basis_points == 1_000
    assert POLICY.margin("latency") is None
    with pytest.raises(KeyError):
        POLICY.guardrail("typos")


def test_it_survives_json_under_both_kinds_of_names() -> None:
    assert RolloutPolicy.model_validate_json(POLICY.model_dump_json()) == POLICY
    assert RolloutPolicy.model_validate_json(POLICY.model_dump_json(by_alias=True)) == POLICY


def test_what_is_left_out_is_watched_all_the_same() -> None:
    least = RolloutPolicy.model_validate(
        {
            "steps": [{"weight": 10, "until": {"promotion": True}}],
            "guardrails": [{"name": "errors", "type": "rate", "event": "error", "share": 1}],
            "promotion": [{"metric": "errors", "nonInferior": {"ratio": 1.5}}],
        }
    )
    assert [hold.type for hold in least.holds] == ["sampleRatio", "predictionDrift"]
    assert least.on_telemetry_lost.after == timedelta(minutes=5)
    assert least.unit is None


@settings(deadline=None)
@given(st.integers(1, 9_999))
def test_every_whole_basis_point_is_a_weight(points: int) -> None:
    assert basis_points(points / 100) == points


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(yaml.safe_load(TEXT))
    change(document)
    return document


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d["guardrails"][0].update(share=0.5), r"shares of the guardrails sum to 1\.1, not 1"),
        (lambda d: d["steps"][2].update(weight=4), r"weights of steps fall: \[1.0, 5.0, 4.0, 50.0\]"),
        (lambda d: d["steps"][0].update(weight=1.234), "more than two decimals"),
        (lambda d: d["steps"][3].update(weight=100), "less than 100"),
        (lambda d: d["steps"][0]["until"].clear(), r"steps\[0\]\.until\.minUnits is missing"),
        (lambda d: d["steps"][3]["until"].update(promotion=False), r"steps\[3\]\.until\.promotion is False"),
        (lambda d: d["steps"][1]["until"].update(promotion=True), r"steps\[1\]\.until\.promotion is True"),
        (lambda d: d.pop("unit"), "unit is missing; loss waits for labels"),
        (lambda d: d["promotion"][0].update(metric="typos"), "'typos'; valid: errors, latency, loss"),
        (lambda d: d["hardLimits"][0].update(metric="loss"), "'loss'; valid: errors, latency"),
        (lambda d: d["promotion"][0].update(nonInferior={"absolute": 0.1}), "of a rate is ratio"),
        (lambda d: d["promotion"][1].update(nonInferior={"ratio": 1.5}), "of a mean is absolute"),
        (lambda d: d["promotion"][1]["nonInferior"].update(floor=0.1), "of a mean is absolute"),
        (lambda d: d["promotion"][0]["nonInferior"].update(ratio=1), "greater than 1"),
        (lambda d: d["promotion"].append(d["promotion"][0]), "promotion names 'errors' twice"),
        (lambda d: d["guardrails"][1].update(name="errors"), "guardrails names 'errors' twice"),
        (lambda d: d["holds"][1].update(type="sampleRatio"), "Extra inputs are not permitted"),
        (lambda d: d["holds"].append({"name": "again", "type": "sampleRatio"}), "holds has sampleRatio twice"),
        (lambda d: d["guardrails"][0].update(event="typo"), "'error' or 'fallback'"),
        (lambda d: d["guardrails"][0].update(type="typo"), "'rate', 'exceedance', 'mean'"),
        (lambda d: d["guardrails"][1].update(of="log_loss"), "latency_ms"),
        (lambda d: d["guardrails"][2].pop("labels"), "log_loss needs labels; write labels: delayed"),
        (lambda d: d["guardrails"][2].update(of="latency_ms"), "latency_ms needs no label"),
        (lambda d: d.update(guardrails=[]), "at least 1 item"),
        (lambda d: d.update(promotion=[]), "at least 1 item"),
        (lambda d: d.update(onInconclusive="promote"), "'hold' or 'rollback'"),
        (lambda d: d["onTelemetryLost"]["then"].update(after="1m"), "not later than"),
        (lambda d: d["onTelemetryLost"]["then"].update(action="freeze"), "rollback"),
        (lambda d: d.update(speed=1), "Extra inputs are not permitted"),
        (lambda d: d.update(alpha=0.5), "less than 0.5"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(change: Callable[[dict[str, Any]], object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        RolloutPolicy.model_validate(changed(change))


def test_several_mistakes_are_told_at_once() -> None:
    def spoil(document: dict[str, Any]) -> None:
        document["guardrails"][0]["share"] = 0.1
        document["promotion"][0]["metric"] = "typos"

    with pytest.raises(ValidationError, match=r"sum to 0\.7, not 1.*'typos'"):
        RolloutPolicy.model_validate(changed(spoil))


def one(plan: tuple[Planned, ...], step: int, metric: str, test: str) -> Planned:
    return next(each for each in plan if (each.step, each.metric, each.test) == (step, metric, test))


def test_the_plan_holds_every_test_of_every_step() -> None:
    plan = power(POLICY, BASE, 5_000)
    assert [(each.step, each.metric, each.test) for each in plan if each.step == 3] == [
        (3, "errors", "harm"),
        (3, "errors", "promotion"),
        (3, "latency", "harm"),
        (3, "loss", "harm"),
        (3, "loss", "promotion"),
    ]
    assert len(plan) == 3 * 3 + 5
    assert one(plan, 0, "errors", "harm").effect == 1.5
    assert one(plan, 0, "latency", "harm").effect == 2.0


def test_rarer_events_need_more_units_and_small_weights_fewer_of_the_challenger() -> None:
    plan, rare = power(POLICY, BASE, 5_000), power(POLICY, {**BASE, "errors": 0.001}, 5_000)
    common, seldom = one(plan, 3, "errors", "promotion"), one(rare, 3, "errors", "promotion")
    assert common.units is not None
    assert seldom.units == pytest.approx(10 * common.units, rel=0.01)
    units = [one(plan, step, "errors", "harm").units or 0 for step in range(4)]
    days = [one(plan, step, "errors", "harm").days or 0 for step in range(4)]
    assert units == sorted(units)
    assert days == sorted(days, reverse=True)


def test_of_an_unknown_base_rate_nothing_is_planned_or_refused() -> None:
    plan = admit(POLICY, {}, 1)
    assert all(each.units is None and not each.known for each in plan)


@pytest.mark.parametrize(
    ("base", "units_per_day", "told"),
    [
        (BASE, 500.0, "promotion of errors takes about 8[0-9]+ units of the challenger, 3[0-9].[0-9] days"),
        ({"errors": 0.0}, 1e6, "can never be shown: the champion has no bad unit.*nonInferior.floor"),
        ({"loss": 0.0}, 1e6, "promotion of loss can never be shown"),
    ],
)
def test_a_policy_that_cannot_decide_in_time_is_refused(
    base: dict[str, float], units_per_day: float, told: str
) -> None:
    with pytest.raises(Problems, match=told):
        admit(POLICY, base, units_per_day)


def test_a_step_that_cannot_get_its_units_in_time_is_refused() -> None:
    slow = RolloutPolicy.model_validate(changed(lambda d: d["steps"][0]["until"].update(maxDuration="1d")))
    with pytest.raises(Problems, match=r"steps\[0\]: 100 units at weight 1 take 10.0 days"):
        admit(slow, {}, 1_000)
    assert admit(slow, {}, 10_000)


def test_a_floor_decides_where_a_ratio_cannot() -> None:
    floor = RolloutPolicy.model_validate(changed(lambda d: d["promotion"][0]["nonInferior"].update(floor=0.005)))
    planned = one(admit(floor, {"errors": 0.0}, 5_000), 3, "errors", "promotion")
    assert planned.units is not None
    assert 700 < planned.units < 1_200


@pytest.mark.parametrize(
    ("base", "units_per_day"), [({"typos": 0.1}, 10.0), ({"errors": -1.0}, 10.0), (BASE, 0.0), (BASE, float("nan"))]
)
def test_figures_that_cannot_be_are_refused(base: dict[str, float], units_per_day: float) -> None:
    with pytest.raises(BadInput):
        power(POLICY, base, units_per_day)
