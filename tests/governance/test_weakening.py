"""Every way in which a charter can ask less than the champion's is named; asking more is none."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from towpath.core.charter import Charter, parse
from towpath.core.governance import Drifted
from towpath.core.terms import Terms
from towpath.core.weakening import weakened

BASE: dict[str, Any] = {
    "towpath": 1,
    "project": "p",
    "owner": {"name": "Ada", "email": "ada@example.com"},
    "purpose": "Tell what will happen next.",
    "risk": "medium",
    "sources": {"t": {"uri": "t.csv", "contract": "t.odcs.yaml"}},
    "features": {"service": "s", "rowId": "id"},
    "training": {"target": "y", "span": "30d", "holdout": "7d"},
    "gates": {
        "rocAuc": 0.8,
        "logLoss": 0.4,
        "calibration": 0.05,
        "baselineLogLossGain": 0.1,
        "champion": {"rocAucMargin": 0.01, "logLossMargin": 0.01},
        "slices": [{"by": "a", "minRows": 100, "rocAuc": 0.7}, {"by": "b", "minRows": 100, "rocAuc": 0.7}],
        "latencyMs": 100,
        "singleFeatureRocAuc": 0.95,
        "confidence": 0.95,
    },
    "serving": {"parityTolerance": 1e-6, "features": {"missing": "refuse"}},
    "rollout": {
        "unit": "u",
        "shadow": {"percent": 10, "minUnits": 50},
        "steps": [
            {"weight": 5, "until": {"minUnits": 100}},
            {"weight": 50, "until": {"promotion": True, "maxDuration": "2d"}},
        ],
        "alpha": 0.05,
        "guardrails": [
            {"name": "errors", "type": "rate", "event": "error", "share": 0.5},
            {"name": "slow", "type": "exceedance", "of": "latency_ms", "threshold": 50, "share": 0.5},
        ],
        "promotion": [{"metric": "errors", "nonInferior": {"ratio": 1.5}}],
        "holds": [
            {"name": "srm", "type": "sampleRatio", "alpha": 0.001},
            {"name": "drift", "type": "predictionDrift", "max": 0.1},
        ],
        "hardLimits": [{"metric": "errors", "max": 0.2, "minUnits": 20}],
        "onTelemetryLost": {"after": "5m", "action": "freeze", "then": {"after": "30m", "action": "rollback"}},
        "bake": {"duration": "24h", "holdback": 5},
    },
    "governance": {"approvals": {"count": 2, "expires": "14d"}, "evidence": "90d"},
    "monitoring": {"window": "7d"},
    "outcome": {"metric": "m", "target": "more", "review": "90d"},
}
GONE = object()
WEAKER: list[tuple[str, Any, str]] = [
    ("risk", "low", "risk is low instead of medium"),
    ("governance.approvals.count", 1, "governance.approvals.count is 1 instead of 2"),
    ("governance.approvals.roles", ["release-manager", "auditor"], "lets auditor approve too"),
    ("governance.approvals.expires", "15d", "governance.approvals.expires is 15 days"),
    ("governance.evidence", "91d", "governance.evidence is 91 days"),
    ("gates.rocAuc", 0.79, "gates.rocAuc is 0.79 instead of 0.8"),
    ("gates.logLoss", 0.41, "gates.logLoss"),
    ("gates.calibration", 0.06, "gates.calibration"),
    ("gates.baselineLogLossGain", 0.09, "gates.baselineLogLossGain"),
    ("gates.champion.rocAucMargin", 0.02, "gates.champion.rocAucMargin"),
    ("gates.champion.logLossMargin", 0.02, "gates.champion.logLossMargin"),
    ("gates.latencyMs", 101, "gates.latencyMs"),
    ("gates.singleFeatureRocAuc", 0.96, "gates.singleFeatureRocAuc"),
    ("gates.confidence", 0.9, "gates.confidence"),
    ("gates.slices.1", GONE, "gates.slices no longer judges by b"),
    ("gates.slices.0.rocAuc", 0.6, "gates.slices (a) rocAuc"),
    ("gates.slices.0.minRows", 200, "gates.slices (a) minRows"),
    ("serving.parityTolerance", 1e-5, "serving.parityTolerance"),
    ("serving.features.missing", "default", "serving.features.missing is default instead of refuse"),
    ("rollout", GONE, "rollout is gone"),
    ("rollout.unit", "v", "rollout.unit is v instead of u"),
    ("rollout.shadow", GONE, "rollout.shadow is gone"),
    ("rollout.shadow.minUnits", 49, "rollout.shadow.minUnits"),
    ("rollout.steps.0.until.minUnits", 99, "rollout.steps reach 50 % after 99 units of the challenger instead of 100"),
    ("rollout.steps.0", GONE, "rollout.steps reach 50 % after 0 units"),
    ("rollout.alpha", 0.04, "rollout.alpha is 0.04 instead of 0.05"),
    ("rollout.alpha", 0.06, "rollout.alpha is 0.06 instead of 0.05"),
    ("rollout.guardrails.1.threshold", 51, "rollout.guardrails (slow) threshold"),
    ("rollout.guardrails.1.threshold", "championP99", "rollout.guardrails (slow) threshold"),
    ("rollout.guardrails.0.event", "fallback", "rollout.guardrails (errors) event"),
    ("rollout.guardrails.1.name", "other", "rollout.guardrails (slow) is gone"),
    ("rollout.promotion.0.nonInferior.ratio", 1.6, "rollout.promotion (errors) ratio"),
    ("rollout.promotion.0.nonInferior.floor", 0.01, "rollout.promotion (errors) floor"),
    ("rollout.promotion.0.minLabelCoverage", 0.7, "rollout.promotion (errors) minLabelCoverage"),
    ("rollout.holds.0", GONE, "rollout.holds (sampleRatio) is gone"),
    ("rollout.holds.0.alpha", 0.0001, "rollout.holds (sampleRatio) alpha"),
    ("rollout.holds.1.max", 0.2, "rollout.holds (predictionDrift) max"),
    ("rollout.hardLimits.0", GONE, "rollout.hardLimits (errors) is gone"),
    ("rollout.hardLimits.0.max", 0.3, "rollout.hardLimits (errors) max"),
    ("rollout.hardLimits.0.minUnits", 30, "rollout.hardLimits (errors) minUnits"),
    ("rollout.onTelemetryLost.after", "6m", "rollout.onTelemetryLost.after"),
    ("rollout.onTelemetryLost.then.after", "40m", "rollout.onTelemetryLost.then.after"),
    ("rollout.bake.duration", "1h", "rollout.bake.duration"),
    ("rollout.bake.holdback", 1, "rollout.bake.holdback"),
    ("governance.reconcile", "flag", "governance.reconcile is flag instead of restore"),
]


def changed(path: str, value: Any) -> Charter:
    document = deepcopy(BASE)
    *parents, last = path.split(".")
    place: Any = document
    for key in parents:
        place = place[int(key) if key.isdigit() else key]
    key = int(last) if last.isdigit() else last
    if value is GONE:
        del place[key]
    else:
        place[key] = value
    return parse(document)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    WEAKER,
    ids=[f"{path}={'gone' if value is GONE else value}" for path, value, _ in WEAKER],
)
def test_weaker_is_named(path: str, value: Any, sentence: str) -> None:
    before, after = Terms.of(parse(BASE)), Terms.of(changed(path, value))
    found = weakened(before, after)
    assert any(sentence in line for line in found), found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("risk", "high"),
        ("governance.approvals.count", 3),
        ("governance.approvals.expires", "7d"),
        ("gates.rocAuc", 0.9),
        ("gates.logLoss", 0.3),
        ("gates.slices.0.minRows", 50),
        ("rollout.steps.0.until.minUnits", 200),
        ("rollout.promotion.0.nonInferior.ratio", 1.2),
        ("rollout.hardLimits.0.max", 0.1),
        ("rollout.bake.duration", "48h"),
        ("purpose", "Tell it in other words."),
        ("training.seed", 7),
    ],
)
def test_as_much_or_more_is_none(path: str, value: Any) -> None:
    assert weakened(Terms.of(parse(BASE)), Terms.of(changed(path, value))) == ()


def test_terms_survive_the_record() -> None:
    terms = Terms.of(parse(BASE))
    assert Terms.model_validate(terms.body) == terms


def test_terms_of_before_the_reconciler_was_frozen_are_read() -> None:
    """As they were written then: without the key. What was moved was put back, and still is."""
    told = Terms.of(changed("governance.reconcile", "flag"))
    assert (told.reconcile, told.body["reconcile"]) == (Drifted.FLAG, "flag")
    old = {name: value for name, value in told.body.items() if name != "reconcile"}
    assert Terms.model_validate(old).reconcile is Drifted.RESTORE
    assert weakened(told, Terms.model_validate(old)) == ()
