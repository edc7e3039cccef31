"""Both protocols over real HTTP on a real model: they agree with scikit-learn and each other, and mark every answer."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest

from gateway import served
from gateway.served import PROJECT, Built, Served
from path import small
from towpath import wiring
from towpath.stages.tracked import trained

TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def flights(built: Built) -> list[dict[str, Any]]:
    return served.rows(built, 20)


@pytest.fixture(scope="module")
def truth(built: Built, flights: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """What the saved scikit-learn model says."""
    models = wiring.open_models(small.settings(built.state))
    train = built.champion.entry("train")
    model = models.load(models.verified(trained(train), target=tmp_path_factory.mktemp("model")))
    inputs: Any = train.facts["inputs"]
    frame = pd.DataFrame(flights)[inputs]
    types: Any = train.facts["types"]
    for name in inputs:
        if types[name] != "text":
            frame[name] = frame[name].astype("float64")
    return [float(value) for value in model.predict_proba(frame)[:, 1]]


def _close(found: Sequence[float], wanted: Sequence[float]) -> bool:
    return len(found) == len(wanted) and all(abs(a - b) <= TOLERANCE for a, b in zip(found, wanted, strict=True))


def test_the_answer_is_the_models(gateway: Served, flights: list[dict[str, Any]], truth: list[float]) -> None:
    reply = gateway.infer(flights)
    assert reply.status == 200
    output = reply.json["outputs"][0]
    assert (output["name"], output["datatype"], output["shape"]) == ("probability", "FP64", [20])
    assert _close(output["data"], truth)


def test_row_by_row_it_is_the_same(gateway: Served, flights: list[dict[str, Any]], truth: list[float]) -> None:
    found = [gateway.infer([row]).json["outputs"][0]["data"][0] for row in flights]
    assert _close(found, truth)


def test_nested_tensors_are_read(gateway: Served, flights: list[dict[str, Any]], truth: list[float]) -> None:
    request = served.tensors(flights[:3])
    for tensor in request["inputs"]:
        tensor["shape"], tensor["data"] = [3, 1], [[value] for value in tensor["data"]]
    assert _close(gateway.post(f"/v2/models/{PROJECT}/infer", request).json["outputs"][0]["data"], truth[:3])


@pytest.mark.parametrize("form", ["dataframe_split", "dataframe_records", "instances", "inputs"])
def test_mlflows_forms_give_the_same(
    gateway: Served, flights: list[dict[str, Any]], truth: list[float], form: str
) -> None:
    columns = list(flights[0])
    body: dict[str, Any] = {
        "dataframe_split": {"columns": columns, "data": [list(row.values()) for row in flights]},
        "dataframe_records": flights,
        "instances": flights,
        "inputs": {name: [row[name] for row in flights] for name in columns},
    }
    reply = gateway.post("/invocations", {form: body[form]})
    assert reply.status == 200
    assert _close(reply.json["predictions"], truth)


def test_csv_gives_the_same(gateway: Served, flights: list[dict[str, Any]], truth: list[float]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(flights[0]))
    writer.writeheader()
    writer.writerows(flights)
    reply = gateway.ask("POST", "/invocations", text.getvalue().encode(), {"content-type": "text/csv"})
    assert reply.status == 200
    assert _close(reply.json["predictions"], truth)


def test_answers_say_who_answered(gateway: Served, built: Built, flights: list[dict[str, Any]]) -> None:
    for reply in (
        gateway.post(f"/v2/models/{PROJECT}/infer", {**served.tensors(flights[:1]), "id": "mine-1"}),
        gateway.post("/invocations", {"instances": flights[:1]}, x_request_id="mine-1"),
    ):
        assert reply.headers["x-request-id"] == "mine-1"
        assert reply.headers["x-towpath-model"] == built.champion.entry("train").subject("model").digest
        assert (reply.headers["x-towpath-version"], reply.headers["x-towpath-arm"]) == ("1", "champion")
        assert "x-towpath-fallback" not in reply.headers
    said = gateway.post(f"/v2/models/{PROJECT}/infer", {**served.tensors(flights[:1]), "id": "mine-1"}).json
    assert (said["id"], said["model_name"], said["model_version"]) == ("mine-1", PROJECT, "1")
    assert (said["parameters"]["arm"], said["parameters"]["fallback"]) == ("champion", None)


def test_a_parameter_stands_for_a_column(gateway: Served, flights: list[dict[str, Any]]) -> None:
    row = dict(flights[0])
    tail = row.pop("tailnum")
    whole = gateway.infer([flights[0]]).json["outputs"]
    assert gateway.infer([row], tailnum=tail).json["outputs"] == whole


@pytest.mark.parametrize(
    ("path", "holds"),
    [
        ("/v2", "extensions"),
        ("/v2/health/live", "live"),
        ("/v2/health/ready", "ready"),
        (f"/v2/models/{PROJECT}", "inputs"),
        (f"/v2/models/{PROJECT}/ready", "ready"),
        (f"/v2/models/{PROJECT}/versions/1", "versions"),
        (f"/v2/models/{PROJECT}/versions/1/ready", "ready"),
        ("/readyz", "ready"),
        ("/openapi.json", "paths"),
    ],
)
def test_pages_answer_in_json(gateway: Served, path: str, holds: str) -> None:
    reply = gateway.get(path)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert holds in reply.json


@pytest.mark.parametrize("path", ["/healthz", "/ping", "/health", "/version", "/metrics"])
def test_pages_answer_in_text(gateway: Served, path: str) -> None:
    reply = gateway.get(path)
    assert (reply.status, reply.headers["content-type"].partition(";")[0]) == (200, "text/plain")


def test_the_champions_version_can_be_named(gateway: Served, flights: list[dict[str, Any]]) -> None:
    reply = gateway.post(f"/v2/models/{PROJECT}/versions/1/infer", served.tensors(flights[:1]))
    assert reply.status == 200
    missing = gateway.post(f"/v2/models/{PROJECT}/versions/7/infer", served.tensors(flights[:1]))
    assert missing.status == 404
    assert "'7'" in missing.json["error"]
    assert "Valid: 1" in missing.json["error"]


def test_what_happened_is_counted(gateway: Served, flights: list[dict[str, Any]]) -> None:
    def counted() -> float:
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in gateway.get("/metrics").body.decode().splitlines()
            if line.startswith("towpath_gateway_predictions_total{") and 'arm="champion"' in line
        )

    before = counted()
    gateway.infer(flights)
    gateway.infer(flights[:1])
    assert counted() - before == 21
