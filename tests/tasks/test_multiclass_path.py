"""A multiclass model goes the whole path: 178 wines of three growers, named in words."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_wine

from gateway import served
from gateway.served import Built
from path import small
from tasks import tables
from towpath.cli import run as towpath
from towpath.core.evidence import Candidate, Outcome
from towpath.core.gates import GATES, Stage
from towpath.core.task import Task
from towpath.path import ORDER

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:::mlflow")]

GROWERS = ["Barbera", "Barolo", "Grignolino"]
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


@pytest.fixture(scope="module")
def crowned(registered: Candidate, project: Path, state: Path) -> Candidate:
    with small.opened(project, state, as_of=tables.AS_OF) as work:
        small.crown(registered, work)
    return registered


@pytest.fixture(scope="module")
def holdout(crowned: Candidate, project: Path, state: Path) -> pd.DataFrame:
    """What the model was judged on, with what the evidence says that it answered."""
    with small.opened(project, state, as_of=tables.AS_OF) as work:
        objects, features = work.ports.objects, crowned.entry(Stage.FEATURIZE).subject("features", "holdout")
        rows = pd.read_parquet(objects.fetch(features.digest))
        judged = pd.read_parquet(objects.fetch(crowned.entry(Stage.EVALUATE).subject("predictions").digest))
    return rows.assign(told=judged["predicted"], score=judged["score"])


def test_it_is_compiled_with_parity_over_every_class(registered: Candidate) -> None:
    register = registered.entry(Stage.REGISTER)
    (parity,) = [item for item in register.findings if item.code == "register.parity"]
    assert (parity.subject, parity.outcome) == ("onnx", Outcome.PASS)
    assert "onnx" in register.subjects_of("runtime")


def test_a_file_is_scored_by_class_and_logged(
    holdout: pd.DataFrame, project: Path, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = holdout.drop(columns=["told", "score"])
    rows.to_parquet(tmp_path / "rows.parquet", index=False)
    monkeypatch.setenv("TOWPATH_STATE", str(state))
    files = ("--input", str(tmp_path / "rows.parquet"), "--output", str(tmp_path / "scored.csv"))
    assert towpath(["batch", str(project), *files]) == 0
    scored = pd.read_csv(tmp_path / "scored.csv")
    assert list(scored.columns) == [*rows.columns, "prediction", *(f"probability_{name}" for name in GROWERS)]
    chances = scored[[f"probability_{name}" for name in GROWERS]]
    assert scored["prediction"].tolist() == holdout["told"].tolist()
    assert chances.max(axis=1).to_numpy() == pytest.approx(holdout["score"].to_numpy(), abs=1e-6)
    assert chances.sum(axis=1).to_numpy() == pytest.approx(1.0)
    (file,) = (state / "predictions/table/predictions").rglob("*.parquet")
    logged = pq.read_table(file)
    assert logged["predicted"].to_pylist() == holdout["told"].tolist()
    assert {tuple(name for name, _ in one) for one in logged["probabilities"].to_pylist()} == {tuple(GROWERS)}
    kept = np.array([[chance for _, chance in one] for one in logged["probabilities"].to_pylist()])
    assert kept == pytest.approx(chances.to_numpy())
    rows[["subject", "target"]].to_csv(tmp_path / "growers.csv", index=False)
    labels = ("--labels", str(tmp_path / "growers.csv"), "--key", "subject", "--label", "target")
    assert towpath(["feedback", str(project), *labels]) == 0
    (file,) = (state / "predictions/table/labels").rglob("*.parquet")
    came = pq.read_table(file).to_pandas().set_index("key")["class"]
    assert came.to_dict() == dict(zip(rows["subject"].astype(str), rows["target"], strict=True))
    again = ("--input", str(tmp_path / "scored.csv"), "--output", str(tmp_path / "twice.csv"))
    assert towpath(["batch", str(project), *again]) != 0  # the columns are there already
    assert not (tmp_path / "twice.csv").exists()


def test_a_gateway_answers_by_class_and_takes_classes_for_labels(
    crowned: Candidate, holdout: pd.DataFrame, project: Path, state: Path, tmp_path: Path
) -> None:
    built = Built(project=project, state=state, champion=crowned, challenger=crowned)
    inputs: Any = crowned.entry(Stage.TRAIN).facts["inputs"]
    rows = holdout[["subject", *inputs]].astype({"subject": "str"}).to_dict("records")
    told, score = holdout["told"].tolist(), holdout["score"].to_numpy()
    tensors = served.tensors(rows)
    with served.house(built, tmp_path) as house, served.serving(house) as gateway:
        metadata = gateway.get("/v2/models/table").json
        assert metadata["outputs"] == [
            {"name": "probability", "datatype": "FP64", "shape": [-1, 3]},
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
        ]
        assert metadata["parameters"]["classes"] == GROWERS
        assert metadata["platform"] == "towpath_onnx"

        reply = gateway.post("/v2/models/table/infer", {"id": "wine-1", **tensors})
        assert reply.status == 200, reply.body
        chances, label = reply.json["outputs"]
        assert (chances["shape"], chances["parameters"]) == ([len(rows), 3], {"classes": GROWERS})
        table = np.array(chances["data"]).reshape(-1, 3)
        assert table.max(axis=1) == pytest.approx(score, abs=1e-6)
        assert (label["shape"], label["data"]) == ([len(rows)], told)
        one = gateway.post("/v2/models/table/infer", {**tensors, "outputs": [{"name": "label"}]}).json["outputs"]
        assert [(item["name"], item["data"]) for item in one] == [("label", told)]
        assert gateway.post("/v2/models/table/infer", {**tensors, "outputs": [{"name": "odds"}]}).status == 400

        assert gateway.post("/invocations", {"dataframe_records": rows}).json == {"predictions": told}
        asked = {"dataframe_records": rows, "params": {"pyfunc_predict_fn": "predict_proba"}}
        assert np.array(gateway.post("/invocations", asked).json["predictions"]) == pytest.approx(table)
        refused = gateway.post("/invocations", {**asked, "params": {"pyfunc_predict_fn": "transform"}})
        assert refused.status == 400
        assert "predict_proba" in refused.json["error"]

        named = {"request": "wine-1", "row": 0, "label": "Barolo"}
        keyed = {"key": int(rows[1]["subject"]), "label": "Chianti"}  # a grower that nobody was taught
        assert gateway.post("/v1/feedback", {"labels": [named, keyed]}).json == {"accepted": 2}
        assert gateway.post("/v1/feedback", {"labels": [{**named, "label": ""}]}).status == 400
        page = gateway.get("/openapi.json").json
        assert "each class" in page["paths"]["/v2/models/table/infer"]["post"]["summary"]
        gateway.stop()
    log = tmp_path / "state" / "predictions" / "table"
    found = duckdb.execute(
        _TRUTH, {"log": f"{log}/predictions/*/[!b]*.parquet", "labels": f"{log}/labels/*/*.parquet"}
    ).fetchall()
    assert found == [(told[0], "Barolo", pytest.approx(table[0][1])), (told[1], "Chianti", None)]


_TRUTH = """
SELECT predicted, class, probabilities[class]
FROM read_parquet($log, union_by_name = true) AS log
JOIN read_parquet($labels, union_by_name = true) AS labels
ON (log.request = labels.request AND log.row = labels.row) OR log.key = labels.key
WHERE log.request = 'wine-1' ORDER BY log.row
"""


def test_it_is_exported_and_answers_by_class_alone(
    crowned: Candidate, holdout: pd.DataFrame, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOWPATH_STATE", str(state))
    assert towpath(["export", crowned.id, "--to", str(tmp_path / "edge")]) == 0
    inputs: Any = crowned.entry(Stage.TRAIN).facts["inputs"]
    holdout[inputs].to_json(tmp_path / "rows.json", orient="records", double_precision=15)
    ran = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "edge" / "run.py"), str(tmp_path / "rows.json")],
        capture_output=True,
        check=True,
        text=True,
    )
    answers = json.loads(ran.stdout)
    assert [one["prediction"] for one in answers] == holdout["told"].tolist()
    assert [max(one["probabilities"].values()) for one in answers] == pytest.approx(holdout["score"].tolist(), abs=1e-6)
    assert {tuple(one["probabilities"]) for one in answers} == {tuple(GROWERS)}


def test_it_is_watched(crowned: Candidate, project: Path, state: Path, tmp_path: Path) -> None:
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
