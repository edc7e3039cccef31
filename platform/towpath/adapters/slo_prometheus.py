"""Service level objectives as gauges in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest


def text(project: str, statuses: Sequence[Mapping[str, Any]]) -> str:
    """Of the documents of `towpath.core.slo.Status`. What was not measured has no sample but its objective and counts.

    Shares are fractions of 1; burn rates are faults over those allowed.
    """
    registry, names = CollectorRegistry(), ["project", "slo"]
    objective = Gauge("towpath_slo_objective_ratio", "Share that shall hold.", names, registry=registry)
    good = Gauge("towpath_slo_window_good", "What held in the objective's window.", names, registry=registry)
    total = Gauge("towpath_slo_window_total", "What was measured in it.", names, registry=registry)
    left = Gauge("towpath_slo_budget_left_ratio", "Share of the error budget left.", names, registry=registry)
    burn = Gauge("towpath_slo_burn_rate", "Faults over those allowed.", [*names, "window"], registry=registry)
    for status in statuses:
        of = (project, status["slo"])
        objective.labels(*of).set(status["objective"])
        good.labels(*of).set(status["good"])
        total.labels(*of).set(status["total"])
        if status["budget_left"] is not None:
            left.labels(*of).set(status["budget_left"])
        for window, rate in status["burn"].items():
            if rate is not None:
                burn.labels(*of, window).set(rate)
    return generate_latest(registry).decode()
