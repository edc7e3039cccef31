"""Requests that are not as they should be: each gets the protocol's own error, and none is the server's fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway import served
from gateway.served import PROJECT, Built, Served

INFER = f"/v2/models/{PROJECT}/infer"
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def flight(built: Built) -> dict[str, Any]:
    return served.rows(built, 1)[0]


def _tensor(name: str, **change: Any) -> Change:
    def changed(request: dict[str, Any]) -> dict[str, Any]:
        for tensor in request["inputs"]:
            if tensor["name"] == name:
                tensor.update(change)
        return request

    return changed


def _with(**more: Any) -> Change:
    return lambda request: {**request, **more}


def _added(**tensor: Any) -> Change:
    return lambda request: {**request, "inputs": [*request["inputs"], tensor]}


BAD: dict[str, tuple[Change, int, str]] = {
    "no-inputs": (lambda _: {}, 400, "inputs"),
    "no-rows": (_with(inputs=[]), 400, "no row"),
    "inputs-of-another-type": (_with(inputs={"carrier": "UA"}), 400, "array"),
    "unknown-input": (_added(name="colour", shape=[1], datatype="BYTES", data=["red"]), 400, "'colour'"),
    "input-twice": (_added(name="carrier", shape=[1], datatype="BYTES", data=["UA"]), 400, "twice"),
    "unknown-datatype": (_tensor("distance", datatype="DECIMAL"), 400, "'DECIMAL'"),
    "text-for-a-number": (_tensor("distance", data=["far"]), 400, "'far'"),
    "number-for-text": (_tensor("carrier", data=[7]), 400, "7"),
    "list-for-a-number": (_tensor("distance", data=[[1.0, 2.0]]), 400, "nested"),
    "object-for-a-number": (_tensor("distance", data=[{"km": 1}]), 400, "distance"),
    "true-for-a-number": (_tensor("distance", data=[True]), 400, "True"),
    "huge-whole-number": (_tensor("distance", data=[10**40]), 400, "distance"),
    "shape-of-another-size": (_tensor("distance", shape=[2]), 400, "shape"),
    "negative-shape": (_tensor("distance", shape=[-1]), 400, "shape"),
    "columns-of-two-lengths": (_tensor("distance", shape=[2], data=[1.0, 2.0]), 400, "rows"),
    "unknown-output": (_with(outputs=[{"name": "label"}]), 400, "'label'"),
    "id-with-a-newline": (_with(id="a\nb"), 400, "id"),
    "id-too-long": (_with(id="x" * 200), 400, "id"),
    "missing-column": (
        lambda request: {"inputs": [item for item in request["inputs"] if item["name"] != "carrier"]},
        400,
        "carrier",
    ),
    "time-that-is-none": (
        _added(name="event_timestamp", shape=[1], datatype="BYTES", data=["yesterday"]),
        400,
        "'yesterday'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_inference_request_is_named(gateway: Served, flight: dict[str, Any], name: str) -> None:
    change, status, told = BAD[name]
    reply = gateway.post(INFER, change(served.tensors([flight])))
    assert (reply.status, list(reply.json)) == (status, ["error"])
    assert told in reply.json["error"]


RAW: dict[str, bytes] = {
    "empty": b"",
    "no-json": b"carrier=UA",
    "cut-off": b'{"inputs": [{"name": "carr',
    "nan": b'{"inputs": [{"name": "distance", "shape": [1], "datatype": "FP64", "data": [NaN]}]}',
    "infinity": b'{"inputs": [{"name": "distance", "shape": [1], "datatype": "FP64", "data": [-Infinity]}]}',
    "too-big-for-a-float": b'{"inputs": [{"name": "distance", "shape": [1], "datatype": "FP64", "data": [1e999]}]}',
    "no-utf-8": b'{"inputs": [{"name": "\xff\xfe", "shape": [1], "datatype": "BYTES", "data": ["x"]}]}',
    "lone-surrogate": b'{"inputs": [{"name": "carrier", "shape": [1], "datatype": "BYTES", "data": ["\\ud800"]}]}',
    "deep": b"[" * 5_000,
}


@pytest.mark.parametrize("path", [INFER, "/invocations", "/v1/feedback"])
@pytest.mark.parametrize("name", RAW)
def test_bytes_that_are_no_request(gateway: Served, name: str, path: str) -> None:
    reply = gateway.post(path, RAW[name])
    assert reply.status == 400
    assert reply.json["error"]


FORMS: dict[str, Any] = {
    "nothing": {},
    "two-forms": {"instances": [{}], "inputs": {}},
    "unknown-form": {"rows": []},
    "matrix": {"instances": [[1.0, 2.0]]},
    "no-columns": {"dataframe_split": {"data": [[1.0]]}},
    "column-twice": {"dataframe_split": {"columns": ["distance", "distance"], "data": [[1.0, 2.0]]}},
    "short-row": {"dataframe_split": {"columns": ["distance", "carrier"], "data": [[1.0]]}},
    "records-of-numbers": {"dataframe_records": [1, 2]},
    "no-rows": {"dataframe_records": []},
    "params-of-another-type": {"instances": [{"distance": 1.0}], "params": [1]},
    "unequal-columns": {"inputs": {"distance": [1.0, 2.0], "carrier": ["UA"]}},
}


@pytest.mark.parametrize("name", FORMS)
def test_a_bad_scoring_request_is_named(gateway: Served, name: str) -> None:
    reply = gateway.post("/invocations", FORMS[name])
    assert reply.status == 400
    assert set(reply.json) == {"error", "error_code", "message"}


@pytest.mark.parametrize(
    "text", ["", "distance,distance\n1,2\n", "distance\nfar\n", "distance\nnan\n", "distance\n1,2\n", "distance\ninf\n"]
)
def test_bad_csv_is_named(gateway: Served, text: str) -> None:
    reply = gateway.ask("POST", "/invocations", text.encode(), {"content-type": "text/csv"})
    assert reply.status == 400


def test_limits(gateway: Served, flight: dict[str, Any]) -> None:
    rows = gateway.infer([flight] * 1_025)
    assert (rows.status, "1,025 rows" in rows.json["error"]) == (413, True)
    body = b'{"inputs": [' + b" " * (16 << 20) + b"]}"
    assert gateway.post(INFER, body).status == 413
    assert gateway.infer([flight] * 1_024).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v2/models/unknown", 404),
        ("GET", "/v2/models/unknown/ready", 404),
        ("GET", f"/v2/models/{PROJECT}/versions/9", 404),
        ("GET", f"/v2/models/{PROJECT}/explain", 404),
        ("GET", INFER, 405),
        ("GET", "/invocations", 405),
        ("DELETE", "/v1/feedback", 405),
        ("POST", "/v2", 405),
        ("PUT", f"/v2/models/{PROJECT}", 405),
    ],
)
def test_pages_that_are_not_there(gateway: Served, method: str, path: str, status: int) -> None:
    reply = gateway.ask(method, path)
    assert reply.status == status
    assert reply.json["error"]
    assert ("allow" in reply.headers) is (status == 405)


def test_unknown_models_are_told_the_known_ones(gateway: Served, flight: dict[str, Any]) -> None:
    reply = gateway.post("/v2/models/planes/infer", served.tensors([flight]))
    assert reply.status == 404
    assert "'planes'" in reply.json["error"]
    assert f"Valid: {PROJECT}" in reply.json["error"]


@pytest.mark.parametrize(
    ("path", "media"), [(INFER, "text/csv"), ("/invocations", "application/xml"), ("/v1/feedback", "text/plain")]
)
def test_other_content_types(gateway: Served, path: str, media: str) -> None:
    assert gateway.ask("POST", path, b"{}", {"content-type": media}).status == 415


def test_packed_bodies_and_binary_tensors_are_refused(gateway: Served) -> None:
    assert gateway.ask("POST", INFER, b"{}", {"content-encoding": "gzip"}).status == 415
    assert gateway.ask("POST", INFER, b"{}", {"inference-header-content-length": "2"}).status == 400


FEEDBACK: dict[str, Any] = {
    "no-labels": {"labels": []},
    "label-of-another-value": {"labels": [{"request": "r", "label": 2}]},
    "label-of-another-type": {"labels": [{"request": "r", "label": "yes"}]},
    "of-nothing": {"labels": [{"label": 1}]},
    "negative-row": {"labels": [{"request": "r", "row": -1, "label": 1}]},
    "unknown-key": {"labels": [{"request": "r", "label": 1, "weight": 2}]},
    "empty-request": {"labels": [{"request": "", "label": 1}]},
}


@pytest.mark.parametrize("name", FEEDBACK)
def test_bad_feedback_is_named(gateway: Served, name: str) -> None:
    reply = gateway.post("/v1/feedback", FEEDBACK[name])
    assert reply.status == 400


def test_feedback_for_another_project(gateway: Served) -> None:
    reply = gateway.post("/v1/feedback", {"project": "planes", "labels": [{"request": "r", "label": 1}]})
    assert reply.status == 404


def test_after_all_of_it_the_gateway_answers(gateway: Served, flight: dict[str, Any]) -> None:
    assert gateway.infer([flight]).status == 200
    assert gateway.process.poll() is None
