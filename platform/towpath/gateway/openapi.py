"""`/openapi.json`: every page, with the columns of the models that serve now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towpath import __version__
from towpath.gateway.answering import Answering
from towpath.gateway.asked import LONGEST_ID
from towpath.gateway.feedback import MOST_LABELS
from towpath.gateway.outputs import METHOD, ONE_NUMBER, Outputs
from towpath.gateway.schema import TENSORS, Kind, Schema

Json = dict[str, Any]
_VALUES: Mapping[Kind, list[str]] = {
    Kind.TEXT: ["string", "null"],
    Kind.NUMBER: ["number", "null"],
    Kind.WHOLE: ["number", "null"],
    Kind.TRUTH: ["boolean", "null"],
    Kind.KEY: ["string", "integer", "null"],
    Kind.INSTANT: ["string", "number", "null"],
}
_ID: Json = {"type": "string", "minLength": 1, "maxLength": LONGEST_ID, "pattern": "^[!-~]+$"}
_PREDICTED = ["number", "string", "array"]
_MESSAGES = {
    "400": "The request is not as it should be; the message names the value and the valid ones.",
    "404": "There is no such model, version or project.",
    "405": "The page has no such method.",
    "409": "The version takes part in a rollout and is not to be had by name.",
    "413": "The body, or the number of rows, is beyond the limit.",
    "415": "The content type is not read here.",
    "422": "The feature store does not know an entity, and the charter refuses such requests.",
    "503": "No model may serve yet, or none gave an answer, or the feature store is down and the charter refuses then.",
}


def document(projects: Mapping[str, Answering]) -> Json:
    """The OpenAPI 3.1 description of this gateway."""
    paths: Json = {
        "/v2": _get("The server's name and version.", {"$ref": "#/components/schemas/Server"}),
        "/v2/health/live": _get("Whether the process runs.", _object({"live": {"type": "boolean"}})),
        "/v2/health/ready": _get("Whether every model can answer.", {"$ref": "#/components/schemas/Ready"}, busy=True),
        "/healthz": _text("Whether the process runs."),
        "/readyz": _get("Whether every model can answer.", {"$ref": "#/components/schemas/Ready"}, busy=True),
        "/ping": _text("MLflow's health page.", busy=True),
        "/health": _text("MLflow's health page.", busy=True),
        "/version": _text("The gateway's version."),
        "/metrics": _text("Prometheus' text format."),
        "/openapi.json": _get("This document.", {"type": "object"}),
        "/invocations": _invocations(projects),
        "/v1/feedback": _post("Labels that came later; sending them again does no harm.", "Feedback", "Accepted"),
    }
    schemas = _schemas(classes=any(answering.classed for answering in projects.values()))
    for name, answering in projects.items():
        plan = answering.plan
        schemas[f"{name}.InferRequest"] = _infer_request(plan.schema if plan else None, _outputs(answering))
        paths |= _model_paths(name, answering)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Towpath gateway",
            "version": __version__,
            "description": "Open Inference Protocol v2 and MLflow's scoring protocol over the models that may serve.",
        },
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _outputs(answering: Answering) -> Outputs:
    return answering.plan.outputs if answering.plan is not None else ONE_NUMBER


def _model_paths(name: str, answering: Answering) -> Json:
    found: Json = {}
    versions = [model.approved.version for model in answering.plan.models] if answering.plan else []
    for base, chosen in ((f"/v2/models/{name}", False), (f"/v2/models/{name}/versions/{{version}}", True)):
        parameter: Json = {
            "name": "version",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "enum": versions} if versions else {"type": "string"},
        }
        entries = {
            base: _get("The model's columns.", {"$ref": "#/components/schemas/Metadata"}, busy=True, missing=chosen),
            f"{base}/ready": _get(
                "Whether the model can answer.", {"$ref": "#/components/schemas/ModelReady"}, busy=True, missing=chosen
            ),
            f"{base}/infer": _post(_sentence(_outputs(answering)), f"{name}.InferRequest", "InferResponse"),
        }
        if chosen:
            for entry in entries.values():
                entry["parameters"] = [parameter]
        found |= entries
    return found


def _get(summary: str, schema: Json, *, busy: bool = False, missing: bool = False) -> Json:
    content = {"application/json": {"schema": schema}}
    responses: Json = {"200": {"description": summary, "content": content}}
    if busy:
        responses["503"] = {"description": "Not yet.", "content": {"application/json": {"schema": {"type": "object"}}}}
    if missing:
        responses |= _errors("404")
    return {"get": {"summary": summary, "responses": responses}}


def _text(summary: str, *, busy: bool = False) -> Json:
    content = {"text/plain": {"schema": {"type": "string"}}}
    responses: Json = {"200": {"description": summary, "content": content}}
    if busy:
        responses["503"] = {"description": "Not yet.", "content": content}
    return {"get": {"summary": summary, "responses": responses}}


def _post(summary: str, body: str, answer: str) -> Json:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{body}"}}}
    good = {"application/json": {"schema": {"$ref": f"#/components/schemas/{answer}"}}}
    return {
        "post": {
            "summary": summary,
            "parameters": [{"name": "x-request-id", "in": "header", "required": False, "schema": _ID}],
            "requestBody": {"required": True, "content": content},
            "responses": {"200": {"description": summary, "content": good}, **_errors(*_MESSAGES)},
        }
    }


def _invocations(projects: Mapping[str, Answering]) -> Json:
    several = [_outputs(answering) for answering in projects.values() if _outputs(answering).methods]
    told = "MLflow's scoring protocol: the probability of class 1 of each row."
    if several:
        told = (
            f"{told[:-1]}, or the most probable class of a multiclass model, or with the parameter {METHOD} "
            f"({' or '.join(several[0].methods)}) the probability of each class."
        )
    found = _post(told, "Scoring", "Predictions")
    found["post"]["requestBody"]["content"]["text/csv"] = {"schema": {"type": "string"}}
    found["post"]["parameters"].append(
        {
            "name": "model",
            "in": "query",
            "required": len(projects) > 1,
            "schema": {"type": "string", "enum": sorted(projects)},
        }
    )
    return found


def _errors(*statuses: str) -> Json:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {status: {"description": _MESSAGES[status], "content": content} for status in statuses}


def _sentence(outputs: Outputs) -> str:
    return f"{outputs.about[0].upper()}{outputs.about[1:]}."


def _infer_request(schema: Schema | None, outputs: Outputs) -> Json:
    name: Json = {"const": outputs.names[0]} if len(outputs.names) == 1 else {"enum": list(outputs.names)}
    tensors = [_tensor(name, kind) for name, kind in schema.columns.items()] if schema else [{"type": "object"}]
    return _object(
        {
            "id": _ID,
            "parameters": {"type": "object", "description": "A column's name as a key: its value in every row."},
            "inputs": {"type": "array", "minItems": 1, "items": {"oneOf": tensors}},
            "outputs": {"type": "array", "items": _object({"name": name}, required=["name"])},
        },
        required=["inputs"],
    )


def _tensor(name: str, kind: Kind) -> Json:
    return _object(
        {
            "name": {"const": name},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 2},
            "datatype": {"enum": sorted(TENSORS[kind])},
            "data": {"type": "array", "minItems": 1, "items": {"type": _VALUES[kind]}},
            "parameters": {"type": "object"},
        },
        required=["name", "shape", "datatype", "data"],
    )


def _schemas(*, classes: bool) -> Json:
    """`classes`: whether a model of several classes is among them."""
    rows = {"type": "array", "items": {"type": "object"}}
    split = _object(
        {
            "columns": {"type": "array", "items": {"type": "string"}},
            "data": {"type": "array", "items": {"type": "array"}},
            "index": {"type": "array"},
        },
        required=["columns", "data"],
    )
    forms: dict[str, Json] = {
        "dataframe_split": split,
        "dataframe_records": rows,
        "instances": rows,
        "inputs": {"type": ["object", "array"]},
    }
    label = _object(
        {
            "label": {"type": ["string", "integer"]} if classes else {"enum": [0, 1]},
            "request": {**_ID, "type": ["string", "null"]},
            "row": {"type": "integer", "minimum": 0, "maximum": 99_999},
            "key": {"type": ["string", "integer", "null"]},
        },
        required=["label"],
    )
    text, flag = {"type": "string"}, {"type": "boolean"}
    return {
        "Error": _object({"error": text}, required=["error"]),
        "Server": _object(
            {"name": text, "version": text, "extensions": {"type": "array"}}, required=["name", "version", "extensions"]
        ),
        "Ready": _object({"ready": flag, "waiting": {"type": "array", "items": text}}, required=["ready"]),
        "ModelReady": _object({"name": text, "ready": flag}, required=["name", "ready"]),
        "Metadata": _object(
            {"name": text, "versions": {"type": "array"}, "inputs": {"type": "array"}, "outputs": {"type": "array"}},
            required=["name", "platform", "inputs", "outputs"],
        ),
        "InferResponse": _object(
            {"model_name": text, "model_version": text, "id": text, "outputs": {"type": "array", "minItems": 1}},
            required=["model_name", "outputs"],
        ),
        "Scoring": {
            "oneOf": [
                _object({name: form, "params": {"type": "object"}}, required=[name]) for name, form in forms.items()
            ]
        },
        "Predictions": _object(
            {"predictions": {"type": "array", "items": {"type": _PREDICTED if classes else "number"}}},
            required=["predictions"],
        ),
        "Feedback": _object(
            {"labels": {"type": "array", "items": label, "minItems": 1, "maxItems": MOST_LABELS}, "project": text},
            required=["labels"],
        ),
        "Accepted": _object({"accepted": {"type": "integer"}}, required=["accepted"]),
    }


def _object(properties: Json, *, required: list[str] | None = None) -> Json:
    return {"type": "object", "properties": properties, "required": required or []}
