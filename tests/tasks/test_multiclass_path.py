"""A multiclass model goes the whole path: 178 wines of three growers, named in words."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from sklearn.datasets import load_wine

from path import small
from tasks import tables
from towpath.core.errors import Denied
from towpath.core.evidence import Candidate, Outcome
from towpath.core.gates import GATES, Stage
from towpath.core.task import Task
from towpath.path import ORDER
from towpath.stages.serving import Head, servable

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:::mlflow")]

FIT = """\
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def fit(frame, target, *, params, seed):
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, **params)).fit(frame, target)
"""
GATES_OF = {
    "rocAuc": 0.9,
    "logLoss": 0.5,
    "calibration": 0.3,
    "slices": [{"by": "strong", "minRows": 20, "logLoss": 0.6}],
}


def table() -> pd.DataFrame:
    wine = load_wine(as_frame=True)
    frame: pd.DataFrame = wine.frame.rename(columns=lambda name: name.replace("/", "_"))
    frame["strong"] = (frame["alcohol"] > 13).astype("int64")
    frame["proline"] = frame["proline"].astype("float64")
    frame["target"] = frame["target"].map({0: "Barolo", 1: "Grignolino", 2: "Barbera"})
    return frame


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tables.build(
        tmp_path_factory.mktemp("wine") / "project",
        table(),
        target="target",
        training={"task": "multiclass", "sweep": [{"C": 0.5}, {"C": 0.0001}]},
        gates=GATES_OF,
        fit=FIT,
        request=["alcohol", "strong"],
    )


def test_it_passes_every_gate_of_a_multiclass_model(registered: Candidate) -> None:
    assert registered.outcome is Outcome.PASS, [
        (item.code, item.reason) for item in registered.findings if item.outcome is not Outcome.PASS
    ]
    asked = {code for code, gate in GATES.items() if gate.required and Task.MULTICLASS in gate.tasks}
    measured = {finding.code for finding in registered.findings}
    assert asked <= measured
    assert not measured & {"eval.rmse", "eval.mae", "eval.r2"}


def test_its_evidence_holds_the_classes_in_order(registered: Candidate) -> None:
    facts = registered.entry(Stage.TRAIN).facts
    assert (facts["task"], facts["classes"]) == ("multiclass", ["Barbera", "Barolo", "Grignolino"])
    assert facts["params"] == {"C": 0.5}
    metrics = registered.entry(Stage.EVALUATE).facts["metrics"]
    assert set(metrics) == {"roc_auc", "log_loss", "accuracy", "calibration"}
    assert metrics["accuracy"]["value"] > 0.9


def test_the_plots_predictions_and_card_are_of_classes(registered: Candidate, project: Path, state: Path) -> None:
    evaluation = registered.entry(Stage.EVALUATE)
    assert {item.name for item in evaluation.attachments} >= {"confusion.png", "classes.png", "slices.png"}
    with small.opened(project, state, as_of=tables.AS_OF) as work:
        stored = pd.read_parquet(work.ports.objects.fetch(evaluation.subject("predictions").digest))
        (card,) = [item for item in registered.entry(Stage.REGISTER).attachments if item.name == "model_card.md"]
        text = work.ports.objects.fetch(card.digest).read_text(encoding="utf-8")
    assert (stored["label"] == stored["predicted"]).mean() > 0.9
    assert "Accuracy" in text
    assert "Log loss of each group in nats" in text


def test_it_is_promoted_and_watched_and_refused_to_serve(
    registered: Candidate, project: Path, state: Path, tmp_path: Path
) -> None:
    with small.opened(project, state, as_of=tables.AS_OF) as work:
        small.crown(registered, work)
        with pytest.raises(Denied, match="multiclass model of 3 classes, which is registered and watched, but not"):
            servable(work.ports.ledger, None, work.name, head=Head())
    watching = (*ORDER[: ORDER.index(Stage.TRAIN)], Stage.MONITOR)
    with small.opened(project, state, as_of=tables.AS_OF, order=watching) as work:
        watched = small.walk(work)
    found = {item.code: item for item in watched.entry(Stage.MONITOR).findings}
    assert found["monitor.prediction_drift"].outcome is Outcome.PASS
    assert "over classes" in found["monitor.prediction_drift"].reason
    performance = [item for item in watched.entry(Stage.MONITOR).findings if item.code == "monitor.performance"]
    assert {item.subject for item in performance} == {"roc_auc", "log_loss", "calibration"}

    changed = Path(shutil.copytree(project, tmp_path / "changed"))
    subjects = pd.read_csv(changed / "subjects.csv")
    subjects.loc[subjects.index[-3:], "target"] = "Chianti"
    subjects.to_csv(changed / "subjects.csv", index=False)
    with small.opened(changed, state, as_of=tables.AS_OF, order=watching) as work:
        watched = small.walk(work)
    performance = [item for item in watched.entry(Stage.MONITOR).findings if item.code == "monitor.performance"]
    assert {item.subject for item in performance} == {"roc_auc", "log_loss", "calibration", "classes"}
    (new,) = [item for item in performance if item.subject == "classes"]
    assert (new.outcome, new.measured) == (Outcome.FAIL, 3)
    assert "Chianti (3)" in new.reason
