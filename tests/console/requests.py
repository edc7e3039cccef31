"""One request for each verb: such that who may is refused for another reason, or changes nothing of importance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from console.conftest import EMPTY, PROJECT, Town
from towpath.core.identity import EVERY_PROJECT
from towpath.verbs.table import VERBS

SHORT = {"reason": "no"}
"""A reason of one word is none."""


@dataclass(frozen=True, kw_only=True)
class Typed:
    """A request, and in which project it asks."""

    method: str
    path: str
    body: dict[str, Any] | None
    project: str


def requests(town: Town) -> dict[str, Typed]:
    """By verb."""
    candidate, project = {"candidate": town.candidate}, {"project": PROJECT}
    broken = {**project, "emergency": town.emergency}
    fields: dict[str, dict[str, Any]] = {
        **{key: {} for key in ("projects", "whoami", "gates", "key-list", "hold-list", "token-list")},
        "contract-consumers": {"table": "visits"},
        **dict.fromkeys(("status", "candidates", "rollouts", "emergency-list", "slo"), project),
        **dict.fromkeys(("show", "model-card"), candidate),
        **{
            key: {**candidate, **SHORT} for key in ("approve", "withdraw", "promote", "rollout-start", "emergency-open")
        },
        "waive": {**candidate, **SHORT, "code": "eval.calibration", "expires": "1d"},
        "waive-withdraw": {**candidate, **SHORT, "code": "eval.calibration"},
        "emergency-confirm": {**project, "emergency": "none"},
        "emergency-follow-up": {**broken, "report": "short"},
        "rollback": {**project, **SHORT},
        "rollout-mirror": {**project},
        **{key: {"rollout": town.rollout} for key in ("rollout-status", "rollout-explain", "rollout-replay")},
        **{f"rollout-{order}": {**project, **SHORT} for order in ("pause", "resume", "promote", "rollback", "abort")},
        "ledger-records": {"limit": 2},
        "ledger-record": {"sequence": 1},
        "ledger-verify": {},
        "ledger-at": {"time": "2024-02-01T00:00:00"},
        "ledger-checkpoint": {},
        "hold-place": {"what": PROJECT, **SHORT},
        "hold-release": {"what": PROJECT, **SHORT},
        "retention-apply": {"older_than": "400d", "dry_run": True},
        "token-create": {"person": "eve", "grants": ["nobody"]},
        "token-revoke": {"token": "none", "reason": "a test wants it"},
        "key-rotate": {"purpose": "model"},
        "key-pseudonym": {"name": "default"},
        "key-revoke": {"key": town.key, **SHORT},
        "feedback": {**project, "labels": [{"key": "7", "label": 1}]},
        "reconcile": {"project": EMPTY},
    }
    return {name: _typed(name, fields[name]) for name in VERBS}


def _typed(name: str, fields: dict[str, Any]) -> Typed:
    verb, rest = VERBS[name], dict(fields)
    path = verb.path
    for place in verb.places:
        path = path.replace(f"{{{place}}}", str(rest.pop(place)))
    everywhere = not {"project", "candidate", "rollout", "what", "sequence"} & set(fields)
    project = EVERY_PROJECT if everywhere else fields.get("project", PROJECT)
    if verb.changes:
        return Typed(method="POST", path=path, body=rest, project=project)
    return Typed(method="GET", path=path + (f"?{urlencode(rest)}" if rest else ""), body=None, project=project)
