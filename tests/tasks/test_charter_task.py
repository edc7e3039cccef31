"""`training.task`: which bounds a charter holds, and that a charter of before it is what it was."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from towpath.core import charter as charters
from towpath.core import digest as digests
from towpath.core.charter import Metric
from towpath.core.errors import Problems
from towpath.core.task import Task
from towpath.core.task_bounds import MulticlassGates, RegressionGates
from towpath.core.terms import Terms
from towpath.core.weakening import weakened

EXAMPLE = Path(__file__).parents[2] / "platform/towpath/example/project/charter.yaml"
BOUNDS: dict[str, dict[str, Any]] = {
    "multiclass": {"rocAuc": 0.8, "logLoss": 0.9, "slices": [{"by": "origin", "minRows": 20, "logLoss": 1.0}]},
    "regression": {"rmse": 12.5, "mae": 9, "slices": [{"by": "origin", "minRows": 20, "mae": 11}]},
}


@pytest.fixture
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    return copy.deepcopy(loaded)


def of(task: str, document: dict[str, Any]) -> dict[str, Any]:
    del document["rollout"], document["training"]["select"], document["serving"]
    document["training"]["task"] = task
    document["gates"] = copy.deepcopy(BOUNDS[task])
    return document


def problems(document: object) -> list[str]:
    with pytest.raises(Problems) as caught:
        charters.parse(document)
    return [str(problem) for problem in caught.value.problems]


def test_a_charter_of_before_tasks_has_the_digests_that_it_had(document: dict[str, Any]) -> None:
    charter = charters.parse(document)
    body = charter.model_dump(mode="json", by_alias=True)
    assert "task" not in body["training"]
    assert digests.of_json(body["training"]) == (
        "sha256:6a3a586cf70452e98d88b830cb5fa62fbc2d8d37c1a99294bed0f0f5b12c9c90"
    )
    assert digests.of_json(body["gates"]) == "sha256:ef73c028383fdeab0208f913d00d2fe88169cc9e8de8352768396a7757062d70"
    assert digests.of_json(body) == ("sha256:d0c5cb9cdae59ec7c2099d43b8df008f335208402cc3c98345fcedcb931f3604")
    assert digests.of_json(Terms.of(charter).body) == (
        "sha256:a76d38a15783ce85c4090c869d46868b43d8c88d66b79a2bc9e569eae4c93259"
    )


@pytest.mark.parametrize(
    ("task", "kind", "select"),
    [("multiclass", MulticlassGates, Metric.LOG_LOSS), ("regression", RegressionGates, Metric.RMSE)],
)
def test_each_task_has_bounds_of_its_own(
    document: dict[str, Any], task: str, kind: type[object], select: Metric
) -> None:
    charter = charters.parse(of(task, document))
    assert charter.training.task is Task(task)
    assert charter.training.select is select
    assert isinstance(charter.gates, kind)
    jsonschema.validate(document, charters.json_schema())
    written = charter.model_dump(mode="json", by_alias=True)
    assert written["training"]["task"] == task
    assert charters.parse(written) == charter
    assert Terms.model_validate(Terms.of(charter).body) == Terms.of(charter)


def test_a_bound_of_another_task_is_named_as_such(document: dict[str, Any]) -> None:
    of("regression", document)["gates"]["rocAuc"] = 0.8
    (only,) = problems(document)
    assert only.startswith(
        "charter.yaml: gates.rocAuc: a bound of a binary or multiclass model, and training.task is regression. "
        "Valid: baselineRmseGain, champion, confidence, latencyMs, mae, r2, rmse,"
    )


def test_bounds_of_a_regression_need_its_task(document: dict[str, Any]) -> None:
    document["gates"] = BOUNDS["regression"]
    found = problems(document)
    assert any("gates.rmse: a bound of a regression model, and training.task is binary" in text for text in found)
    assert any("gates.slices.0.mae: a bound of a regression model" in text for text in found)
    assert any(text.startswith("charter.yaml: gates.logLoss: missing.") for text in found)


def test_what_else_is_wrong_with_the_training_does_not_hide_the_task(document: dict[str, Any]) -> None:
    of("regression", document)["training"]["span"] = "a while"
    document["gates"]["rmse"] = -1
    found = problems(document)
    assert len(found) == 2
    assert any("gates.rmse" in text and "greater than 0" in text for text in found)


def test_a_task_that_there_is_not_is_refused_with_those_that_there_are(document: dict[str, Any]) -> None:
    document["training"]["task"] = "ranking"
    (only,) = problems(document)
    assert "training.task" in only
    assert "'binary', 'multiclass' or 'regression'" in only


def test_a_sweep_selects_by_a_metric_of_its_task(document: dict[str, Any]) -> None:
    of("regression", document)["training"]["select"] = "log_loss"
    assert "a regression model is selected by rmse or mae" in problems(document)[0]


def test_what_serves_fits_the_task(document: dict[str, Any]) -> None:
    rollout = copy.deepcopy(document["rollout"])
    document["serving"]["fallback"] = 1.5
    assert "a binary model answers between 0 and 1" in problems(document)[0]
    regression = of("regression", document)
    regression["serving"] = {"fallback": -40.5}
    assert charters.parse(regression).serving.fallback == -40.5
    regression["rollout"] = rollout
    assert "training.task is regression; leave it out" in problems(regression)[0]


def test_a_multiclass_model_may_be_rolled_out(document: dict[str, Any]) -> None:
    rollout = copy.deepcopy(document["rollout"])
    several = of("multiclass", document) | {"rollout": rollout}
    charter = charters.parse(several)
    assert charter.rollout is not None
    assert charter.rollout.guardrail("loss").of == "log_loss"
    jsonschema.validate(several, charters.json_schema())
    assert Terms.model_validate(Terms.of(charter).body).rollout == charter.rollout


def test_another_task_and_a_looser_bound_count_as_weaker(document: dict[str, Any]) -> None:
    binary = Terms.of(charters.parse(copy.deepcopy(document)))
    regression = Terms.of(charters.parse(of("regression", document)))
    assert any("training.task is another" in sentence for sentence in weakened(binary, regression))
    document["gates"] |= {"rmse": 13, "r2": -0.1, "champion": {"maeMargin": 0.02}}
    looser = weakened(regression, Terms.of(charters.parse(document)))
    assert looser == (
        "gates.rmse is 13 instead of 12.5",
        "gates.r2 is -0.1 instead of 0",
        "gates.champion.maeMargin is 0.02 instead of 0.01",
    )
