"""The figures of an entry that a person looks for first, in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from towpath.core.evidence import Entry
from towpath.core.gates import Stage


def figures(entry: Entry) -> str:
    """The line; empty for an entry that has none, as one that was refused early."""
    line = _LINES.get(entry.stage)
    return line(entry, entry.facts) if line else ""


def _ingest(entry: Entry, _: Mapping[str, Any]) -> str:
    datasets = entry.subjects_of("dataset").values()
    return f"{sum(item.rows or 0 for item in datasets):,} rows in {len(datasets)} tables"


def _validate(_: Entry, facts: Mapping[str, Any]) -> str:
    accepted, aside = (sum(facts.get(name, {}).values()) for name in ("accepted", "quarantined"))
    return f"{accepted:,} rows accepted, {aside:,} quarantined"


def _featurize(entry: Entry, facts: Mapping[str, Any]) -> str:
    parts = [f"{name} {item.rows or 0:,}" for name, item in entry.subjects_of("features").items()]
    count = sum(len(features) for features in facts.get("views", {}).values())
    return f"rows: {', '.join(parts)}; {count} features"


def _train(_: Entry, facts: Mapping[str, Any]) -> str:
    if "params" not in facts:
        return ""
    params = ", ".join(f"{key}={value}" for key, value in facts["params"].items()) or "defaults"
    return f"best of {len(facts['trials'])}: {params}"


def _evaluate(_: Entry, facts: Mapping[str, Any]) -> str:
    metrics = facts.get("metrics", {})
    return ", ".join(
        f"{title} {metrics[name]['value']:.4f} [{metrics[name]['low']:.4f}, {metrics[name]['high']:.4f}]"
        for name, title in (("roc_auc", "ROC AUC"), ("log_loss", "log loss"), ("rmse", "RMSE"), ("r2", "R²"))
        if name in metrics
    )


def _register(entry: Entry, _: Mapping[str, Any]) -> str:
    if "version" not in entry.notes:
        return "not registered"
    return f"{entry.notes.get('registered_model')} version {entry.notes.get('version')}"


def _monitor(_: Entry, facts: Mapping[str, Any]) -> str:
    drifted, columns = facts.get("drifted", []), facts.get("distances", {})
    return f"{len(drifted)} of {len(columns)} columns drifted, {facts.get('rows', 0):,} rows"


_LINES: dict[str, Callable[[Entry, Mapping[str, Any]], str]] = {
    Stage.INGEST: _ingest,
    Stage.VALIDATE: _validate,
    Stage.FEATURIZE: _featurize,
    Stage.TRAIN: _train,
    Stage.EVALUATE: _evaluate,
    Stage.REGISTER: _register,
    Stage.MONITOR: _monitor,
}
