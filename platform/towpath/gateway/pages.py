"""What a gateway says of itself: health, readiness, and the models' metadata in the Open Inference Protocol's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from towpath import __version__
from towpath.core.errors import Denied, NotFound
from towpath.gateway.answering import Answering
from towpath.gateway.plan import Model, Plan
from towpath.gateway.replies import Reply, json_reply
from towpath.gateway.schema import DATATYPES


def server() -> Reply:
    return json_reply({"name": "towpath", "version": __version__, "extensions": []})


def ready(projects: Mapping[str, Answering]) -> Reply:
    """Whether every project has a model that may serve."""
    waiting = sorted(name for name, answering in projects.items() if answering.plan is None)
    return json_reply({"ready": not waiting, "waiting": waiting}, status=503 if waiting else 200)


def find(projects: Mapping[str, Answering], name: str) -> Answering:
    """Raises `NotFound`."""
    found = projects.get(name)
    if found is None:
        raise NotFound(f"There is no model {name[:80]!r}.", value=name[:80], valid=sorted(projects))
    return found


def of_version(plan: Plan, version: str) -> Model:
    """The loaded model of that version. Raises `NotFound`."""
    versions = {model.approved.version: model for model in reversed(plan.models)}
    if version not in versions:
        raise NotFound(f"There is no version {version[:40]!r}.", value=version[:40], valid=sorted(versions))
    return versions[version]


def pinned(plan: Plan, version: str) -> Plan:
    """The plan for who names the champion's version. Raises `Denied`: a challenger is not to be had by name."""
    if of_version(plan, version) is plan.champion:
        return replace(plan, split=None)
    raise Denied(
        f"Version {version} takes part in a rollout and gets its requests by assignment only.",
        value=version,
        valid=[plan.champion.approved.version],
        hint="Leave the version out.",
    )


def model_ready(answering: Answering, version: str | None) -> Reply:
    plan = answering.plan
    if plan is not None and version is not None:
        of_version(plan, version)
    name, is_ready = answering.project, plan is not None
    return json_reply({"name": name, "ready": is_ready}, status=200 if is_ready else 503)


def metadata(answering: Answering, version: str | None) -> Reply:
    """Raises `NotFound` for a version that is not loaded, and `Unready`."""
    plan = answering.ready()
    if version is not None:
        of_version(plan, version)
    schema, outputs = plan.schema, plan.outputs
    return json_reply(
        {
            "name": answering.project,
            "versions": list(dict.fromkeys(model.approved.version for model in plan.models)),
            "platform": f"towpath_{plan.champion.main.runtime.kind}",
            "inputs": [
                {"name": name, "datatype": DATATYPES[kind], "shape": [-1]} for name, kind in schema.columns.items()
            ],
            "outputs": outputs.metadata(),
            "parameters": {
                "required": list(schema.required),
                "entity_keys": list(dict.fromkeys(key for view in schema.views for key in view.keys)),
                "unit": schema.unit,
                "row_id": schema.row_id,
                "model": plan.champion.approved.model,
                **({"classes": outputs.classes} if outputs.classes else {}),
            },
        }
    )
