"""Every evaluation gate seen to PASS, to FAIL and to be INCONCLUSIVE."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from towpath.core.charter import Champion, Gates, Slice
from towpath.core.digest import of_json
from towpath.core.errors import BadInput
from towpath.core.evidence import Finding, Outcome, Severity
from towpath.core.gates import GATES
from towpath.core.task import Task
from towpath.measure.gates import (
    Holdout,
    baseline_finding,
    champion_findings,
    evaluate,
    latency_finding,
    metric_findings,
)
from towpath.measure.metrics import Estimate, Gain, Metrics
from towpath.measure.slices import MISSING, labelled

PASS, FAIL, UNSURE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=1_000)


def bounds(**changed: object) -> Gates:
    return Gates.model_validate(
        {"roc_auc": 0.7, "log_loss": 0.5, "slices": [Slice(by="origin", roc_auc=0.6, min_rows=100)], **changed}
    )


def metrics(**changed: Estimate) -> Metrics:
    found = {
        "roc_auc": estimate(0.8, 0.75, 0.85),
        "log_loss": estimate(0.4, 0.35, 0.45),
        "brier": estimate(0.1, 0.09, 0.11),
        "calibration": estimate(0.02, 0.01, 0.03),
    }
    return Metrics(positives=200, **{**found, **changed})


def one(findings: tuple[Finding, ...], code: str, subject: str = "") -> Finding:
    (found,) = [item for item in findings if (item.code, item.subject) == (code, subject)]
    return found


@pytest.mark.parametrize(
    ("name", "measured", "outcome"),
    [
        ("roc_auc", estimate(0.75, 0.70, 0.8), PASS),  # on the bound
        ("roc_auc", estimate(0.75, 0.69, 0.8), UNSURE),
        ("roc_auc", estimate(0.69, 0.60, 0.8), FAIL),
        ("roc_auc", estimate(0.60, 0.55, 0.65), FAIL),
        ("log_loss", estimate(0.45, 0.4, 0.50), PASS),
        ("log_loss", estimate(0.45, 0.4, 0.51), UNSURE),
        ("log_loss", estimate(0.51, 0.4, 0.60), FAIL),
        ("calibration", estimate(0.02, 0.0, 0.05), PASS),
        ("calibration", estimate(0.04, 0.0, 0.06), UNSURE),
        ("calibration", estimate(0.06, 0.04, 0.08), FAIL),
    ],
)
def test_a_metric_passes_by_its_unfavourable_end(name: str, measured: Estimate, outcome: Outcome) -> None:
    found = one(metric_findings(metrics(**{name: measured}), bounds()), f"eval.{name}")
    assert found.outcome is outcome
    assert found.interval == (measured.low, measured.high)
    assert found.sample_size == 1_000
    assert found.reason.endswith(".")
    assert "interval" in found.reason
    others = [item for item in metric_findings(metrics(**{name: measured}), bounds()) if item.code != found.code]
    assert {item.outcome for item in others} == {PASS}


@pytest.mark.parametrize(
    ("loss", "wanted", "outcome"),
    [
        (estimate(0.05, 0.01, 0.09), 0.0, PASS),
        (estimate(0.05, 0.01, 0.09), 0.02, UNSURE),
        (estimate(0.01, -0.01, 0.03), 0.0, UNSURE),
        (estimate(0.0, 0.0, 0.0), 0.0, FAIL),  # the base rate itself is no gain
        (estimate(-0.1, -0.2, -0.05), 0.0, FAIL),
    ],
)
def test_the_baseline_must_be_beaten_beyond_chance(loss: Estimate, wanted: float, outcome: Outcome) -> None:
    found = baseline_finding(Gain(roc_auc=loss, log_loss=loss), "the base rate", bounds(baseline_log_loss_gain=wanted))
    assert found.outcome is outcome


@pytest.mark.parametrize(
    ("measured", "outcome"),
    [
        (estimate(0.0, -0.01, 0.01), PASS),  # no better, within the margin
        (estimate(0.0, -0.02, 0.02), UNSURE),
        (estimate(-0.05, -0.06, -0.04), FAIL),
    ],
)
@pytest.mark.parametrize("subject", ["roc_auc", "log_loss"])
def test_the_champion_may_not_be_missed_by_more_than_the_margin(
    subject: str, measured: Estimate, outcome: Outcome
) -> None:
    fine = estimate(0.1, 0.05, 0.15)
    found = champion_findings(
        Gain(**{"roc_auc": fine, "log_loss": fine, subject: measured}),
        bounds(champion=Champion(roc_auc_margin=0.01, log_loss_margin=0.01)),
        instead="the base rate",
    )
    assert one(found, "eval.champion", subject).outcome is outcome
    assert len(found) == 2


def test_no_champion_passes_and_says_what_that_means() -> None:
    (found,) = champion_findings(None, bounds(), instead="the base rate")
    assert found.outcome is PASS
    assert "no champion" in found.reason


@pytest.mark.parametrize(
    ("times", "outcome"), [([5.0] * 30, PASS), ([5.0] * 27 + [500.0] * 3, FAIL), ([5.0] * 19, UNSURE), ([], UNSURE)]
)
def test_latency_is_the_95th_percentile_and_volatile(times: list[float], outcome: Outcome) -> None:
    found = latency_finding(times, 100)
    assert (found.outcome, found.volatile) == (outcome, True)


def holdout(rows: int = 6_000, *, seed: int = 0, noise: float = 0.0) -> dict[str, NDArray[np.generic]]:
    """A model that ranks well at EWR and JFK, and by chance alone where `noise` is 1 at LGA."""
    generator = np.random.default_rng(seed)
    chance = 1 / (1 + np.exp(1.5 - 1.5 * generator.normal(size=rows)))
    labels = (generator.random(rows) < chance).astype(int)
    origin = generator.choice(np.array(["EWR", "JFK", "LGA"], dtype=object), rows)
    given = np.where((origin == "LGA") & (generator.random(rows) < noise), generator.permutation(chance), chance)
    return {"labels": labels, "candidate": given, "origin": origin}


def run(data: dict[str, NDArray[np.generic]], gates: Gates, **changed: object) -> tuple[Finding, ...]:
    given = {
        "labels": data["labels"],
        "candidate": data["candidate"],
        "base_rate": 0.25,
        "columns": {"origin": data["origin"]},
        "latencies_ms": [1.0] * 30,
    }
    return evaluate(Holdout(**{**given, **changed}), gates, resamples=100).findings  # type: ignore[arg-type]


def test_a_good_model_passes_every_evaluation_gate() -> None:
    found = run(holdout(), bounds())
    assert {item.outcome for item in found} == {PASS}
    asked = {code for code, gate in GATES.items() if code.startswith("eval.") and Task.BINARY in gate.tasks}
    assert {item.code for item in found} == asked


def test_findings_are_the_same_on_every_run_and_can_be_digested() -> None:
    first, second = run(holdout(), bounds()), run(holdout(), bounds())
    assert first == second
    assert of_json([item.digestible() for item in first]) == of_json([item.digestible() for item in second])


def test_a_slice_served_by_chance_fails_and_the_others_pass() -> None:
    found = run(holdout(noise=1.0), bounds())
    outcomes = {item.subject: item.outcome for item in found if item.code == "eval.slice"}
    assert outcomes == {"origin=EWR": PASS, "origin=JFK": PASS, "origin=LGA": FAIL}
    assert "origin is LGA" in one(found, "eval.slice", "origin=LGA").reason


def test_a_slice_that_only_its_estimate_passes_is_inconclusive() -> None:
    data = holdout(400)
    found = run(data, bounds(slices=[Slice(by="origin", roc_auc=0.77, min_rows=50)]))
    assert UNSURE in {item.outcome for item in found if item.code == "eval.slice"}


def test_small_groups_are_named_as_a_warning() -> None:
    data = holdout()
    data["origin"][:7] = "TEB"
    data["origin"][7:9] = None
    found = one(run(data, bounds()), "eval.slice", "origin")
    assert (found.outcome, found.severity, found.measured, found.sample_size) == (UNSURE, Severity.WARNING, 2, 9)
    assert "TEB (7)" in found.reason
    assert f"{MISSING} (2)" in found.reason


def test_a_slice_column_without_any_group_large_enough_closes_the_gate() -> None:
    found = run(holdout(), bounds(slices=[Slice(by="origin", roc_auc=0.6, min_rows=5_000)]))
    (finding,) = [item for item in found if item.code == "eval.slice"]
    assert (finding.outcome, finding.severity) == (UNSURE, Severity.ERROR)
    assert "No group of origin was judged" in finding.reason


def test_a_group_of_one_class_is_not_judged() -> None:
    data = holdout()
    data["labels"][data["origin"] == "JFK"] = 0
    found = run(data, bounds())
    assert "JFK" in one(found, "eval.slice", "origin").reason


def test_the_champion_is_compared_on_the_same_rows() -> None:
    data = holdout()
    worse = np.full(6_000, 0.3) + np.random.default_rng(1).normal(0, 0.01, 6_000)
    assert one(run(data, bounds(), champion=worse), "eval.champion", "roc_auc").outcome is PASS
    found = run({**data, "candidate": worse}, bounds(), champion=data["candidate"])
    assert one(found, "eval.champion", "roc_auc").outcome is FAIL
    assert one(found, "eval.champion", "log_loss").outcome is FAIL


def test_misuse_is_refused_with_what_is_valid() -> None:
    data = holdout(500)
    with pytest.raises(BadInput, match=r"no column 'carrier'.*Valid: origin"):
        run(data, bounds(slices=[Slice(by="carrier", roc_auc=0.6)]))
    with pytest.raises(BadInput, match="base rate"):
        run(data, bounds(), base_rate=1.0)
    with pytest.raises(BadInput, match="499 values for 500 rows"):
        run(data, bounds(), columns={"origin": data["origin"][:-1]})
    with pytest.raises(BadInput, match="both classes"):
        run({**data, "labels": np.zeros(500)}, bounds())


def test_group_names_are_for_people() -> None:
    assert labelled([5.0, 6, "JFK", None, float("nan"), 1.5, True]).tolist() == [
        "5",
        "6",
        "JFK",
        MISSING,
        MISSING,
        "1.5",
        "True",
    ]
