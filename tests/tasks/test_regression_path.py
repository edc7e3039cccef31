"""A regression goes the whole path: 442 patients, a year later the progression of their diabetes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from sklearn.datasets import load_diabetes

from path import small
from tasks import tables
from towpath.cli import run as towpath
from towpath.core.evidence import Candidate, Outcome
from towpath.core.gates import GATES, Stage
from towpath.core.task import Task
from towpath.path import ORDER

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:::mlflow")]

FIT = """\
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def fit(frame, target, *, params, seed):
    return make_pipeline(StandardScaler(), Ridge(**params)).fit(frame, target)
"""
GATES_OF = {
    "rmse": 80,
    "mae": 65,
    "r2": 0.1,
    "slices": [{"by": "sex", "minRows": 20, "mae": 70}],
}


def table() -> pd.DataFrame:
    frame: pd.DataFrame = load_diabetes(as_frame=True, scaled=False).frame
    return frame.astype({"sex": "int64"})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tables.build(
        tmp_path_factory.mktemp("diabetes") / "project",
        table(),
        target="target",
        training={"task": "regression", "sweep": [{"alpha": 1.0}, {"alpha": 1e6}]},
        gates=GATES_OF,
        fit=FIT,
        request=["age", "sex", "bmi"],
    )


def test_it_passes_every_gate_of_a_regression(registered: Candidate) -> None:
    assert registered.outcome is Outcome.PASS, [
        (item.code, item.reason) for item in registered.findings if item.outcome is not Outcome.PASS
    ]
    assert registered.stages[-1] == Stage.REGISTER
    asked = {code for code, gate in GATES.items() if gate.required and Task.REGRESSION in gate.tasks}
    measured = {finding.code for finding in registered.findings}
    assert asked <= measured
    assert not measured & {"eval.roc_auc", "eval.log_loss", "eval.calibration"}


def test_its_evidence_says_the_task_and_chooses_by_rmse(registered: Candidate) -> None:
    facts = registered.entry(Stage.TRAIN).facts
    assert facts["task"] == "regression"
    assert facts["params"] == {"alpha": 1.0}
    assert "positive_rate" not in facts
    metrics = registered.entry(Stage.EVALUATE).facts["metrics"]
    assert set(metrics) == {"rmse", "mae", "r2"}
    assert 40 < metrics["rmse"]["value"] < 70


def test_its_card_speaks_of_errors(registered: Candidate, project: Path, state: Path) -> None:
    with small.opened(project, state, as_of=tables.AS_OF) as work:
        (found,) = [item for item in registered.entry(Stage.REGISTER).attachments if item.name == "model_card.md"]
        text = work.ports.objects.fetch(found.digest).read_text(encoding="utf-8")
    for words in ("Root mean squared error", "R²", "mean absolute error of each group", "absolute error when a column"):
        assert words.lower() in text.lower(), words
    assert "ROC AUC" not in text


def test_it_is_promoted_scores_files_and_is_watched_and_compared(
    registered: Candidate, project: Path, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small.opened(project, state, as_of=tables.AS_OF) as work:
        small.crown(registered, work)
        features = registered.entry(Stage.FEATURIZE).subject("features", "holdout")
        rows = pd.read_parquet(work.ports.objects.fetch(features.digest))
        judged = pd.read_parquet(
            work.ports.objects.fetch(registered.entry(Stage.EVALUATE).subject("predictions").digest)
        )
    rows.to_parquet(tmp_path / "rows.parquet", index=False)
    monkeypatch.setenv("TOWPATH_STATE", str(state))
    files = ("--input", str(tmp_path / "rows.parquet"), "--output", str(tmp_path / "scored.parquet"))
    assert towpath(["batch", str(project), *files]) == 0
    scored = pd.read_parquet(tmp_path / "scored.parquet")["prediction"]
    assert scored.to_numpy() == pytest.approx(judged["score"].to_numpy(), rel=1e-9)
    assert scored.max() > 1
    watching = (*ORDER[: ORDER.index(Stage.TRAIN)], Stage.MONITOR)
    with small.opened(project, state, as_of=tables.AS_OF, order=watching) as work:
        watched = small.walk(work)
    found = {item.code: item for item in watched.entry(Stage.MONITOR).findings}
    assert found["monitor.performance"].outcome is Outcome.PASS, found["monitor.performance"].reason
    assert found["monitor.prediction_drift"].outcome is Outcome.PASS
    small.edit(project / "charter.yaml", "alpha: 1.0", "alpha: 3000.0")
    try:
        with small.opened(project, state, as_of=tables.AS_OF) as work:
            worse = small.walk(work)
    finally:
        small.edit(project / "charter.yaml", "alpha: 3000.0", "alpha: 1.0")
    rivals = {item.subject: item for item in worse.findings if item.code == "eval.champion"}
    assert rivals["rmse"].outcome is Outcome.FAIL, rivals["rmse"].reason
    assert worse.outcome is Outcome.FAIL
