"""What `/metrics` shows. Children are bound once: a look-up by label in every request costs a fifth of the throughput.

Workers count into files of one folder (prometheus-client's multiprocess mode); any of them answers for all.
"""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_left
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess, values

if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
    # At every count prometheus-client asks the kernel whether the process was forked, which costs more than counting
    # does. Processes of the gateway are started anew and never forked.
    _OWN = os.getpid()
    values.ValueClass = values.MultiProcessValue(lambda: _OWN)  # type: ignore[no-untyped-call]

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_REQUESTS = Counter("towpath_gateway_requests", "Requests answered.", ["endpoint", "status"])
_PREDICTIONS = Counter(
    "towpath_gateway_predictions", "Rows answered, by arm of assignment.", ["project", "arm", "fallback"]
)
_ERRORS = Counter(
    "towpath_gateway_model_errors", "Rows that the arm's own model gave no answer to.", ["project", "arm"]
)
_LATENCY = Histogram(
    "towpath_gateway_latency_seconds", "From the request's last byte to its answer.", ["project"], buckets=_BUCKETS
)
_FEATURES = Counter("towpath_gateway_features", "Feature rows that were not as they should be.", ["project", "outcome"])
_LABELS = Counter("towpath_gateway_labels", "Labels received.", ["project"])
_LOG_LINES = Counter("towpath_gateway_log_lines", "Lines of the prediction log written.")
_LOG_LOST = Counter("towpath_gateway_log_lost", "Lines of the prediction log that could not be written.")
_LOG_SHIPPED = Counter("towpath_gateway_log_shipped", "Lines of the prediction log stored as Parquet.", ["kind"])
_LOG_WAITING = Gauge("towpath_gateway_log_waiting", "Spool files that wait to be shipped.", multiprocess_mode="livemax")
_SHIP_FAILURES = Counter("towpath_gateway_ship_failures", "Attempts to ship a spool file that failed.")
_LOG_MERGED = Counter("towpath_gateway_log_merged", "Files of the prediction log that were merged into larger ones.")
_COMPACT_FAILURES = Counter("towpath_gateway_compact_failures", "Attempts to merge files of the log that failed.")
_SHADOW_DROPPED = Counter("towpath_gateway_shadow_dropped", "Rows that were not mirrored because too many wait.")
_POLLS = Counter("towpath_gateway_polls", "Looks at the ledger and the rollout.", ["result"])
_CONFIGURED = Gauge(
    "towpath_gateway_configured_timestamp_seconds",
    "When the ledger and the rollout were last read, by the worker that is furthest behind.",
    ["project"],
    multiprocess_mode="livemin",
)
_WEIGHT = Gauge(
    "towpath_gateway_weight",
    "Share of units on the challenger in this process.",
    ["project"],
    multiprocess_mode="livemax",
)
_GENERATION = Gauge(
    "towpath_gateway_generation", "The rollout's generation that is applied.", ["project"], multiprocess_mode="livemin"
)
_BREAKER = Gauge(
    "towpath_gateway_breaker_open",
    "Workers whose online store is left alone.",
    ["project"],
    multiprocess_mode="livesum",
)
_RESTARTS = Counter("towpath_gateway_worker_restarts", "Workers that ended by themselves and were started again.")


class Tally:
    """What was counted in this turn of the event loop: each number is written once a turn, not once a request.

    prometheus-client's own `inc` and `observe` cost as much as the assignment and the model's call together.
    """

    def __init__(self) -> None:
        self._counted: dict[values.ValueClass, float] = {}

    def count(self, counter: Counter, amount: float = 1.0) -> None:
        self._add(counter._value, amount)

    def observe(self, histogram: Histogram, amount: float) -> None:
        self._add(histogram._sum, amount)
        self._add(histogram._buckets[bisect_left(histogram._upper_bounds, amount)], 1.0)

    def flush(self) -> None:
        counted, self._counted = self._counted, {}
        for value, amount in counted.items():
            value.inc(amount)

    def _add(self, value: values.ValueClass, amount: float) -> None:
        counted = self._counted
        if not counted:
            asyncio.get_running_loop().call_soon(self.flush)
        counted[value] = counted.get(value, 0.0) + amount


@dataclass(kw_only=True)
class ProjectMetrics:
    """The children of one project."""

    project: str
    tally: Tally
    predictions: dict[tuple[str, str | None], Counter] = field(default_factory=dict)
    errors: dict[str, Counter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._latency = _LATENCY.labels(self.project)
        self.features = {
            name: _FEATURES.labels(self.project, name) for name in ("missing", "stale", "down", "last_known", "default")
        }
        self.labels = _LABELS.labels(self.project)
        self.weight = _WEIGHT.labels(self.project)
        self.generation = _GENERATION.labels(self.project)
        self.configured = _CONFIGURED.labels(self.project)
        self.breaker = _BREAKER.labels(self.project)

    def answered(self, seconds: float) -> None:
        self.tally.observe(self._latency, seconds)

    def predicted(self, arm: str, fallback: str | None, rows: int) -> None:
        child = self.predictions.get((arm, fallback))
        if child is None:
            child = self.predictions[arm, fallback] = _PREDICTIONS.labels(self.project, arm, fallback or "none")
        self.tally.count(child, rows)

    def failed(self, arm: str, rows: int) -> None:
        child = self.errors.get(arm)
        if child is None:
            child = self.errors[arm] = _ERRORS.labels(self.project, arm)
        child.inc(rows)


class Metrics:
    """The children of the process."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.log_lines = _LOG_LINES
        self.log_lost = _LOG_LOST
        self.log_waiting = _LOG_WAITING
        self.log_shipped = {kind: _LOG_SHIPPED.labels(kind) for kind in ("prediction", "label", "torn")}
        self.ship_failures = _SHIP_FAILURES
        self.log_merged = _LOG_MERGED
        self.compact_failures = _COMPACT_FAILURES
        self.shadow_dropped = _SHADOW_DROPPED
        self.polls = {result: _POLLS.labels(result) for result in ("same", "changed", "failed")}
        self.restarts = _RESTARTS
        self._requests: dict[tuple[str, int], Counter] = {}

    def requested(self, endpoint: str, status: int) -> None:
        child = self._requests.get((endpoint, status))
        if child is None:
            child = self._requests[endpoint, status] = _REQUESTS.labels(endpoint, str(status))
        self.tally.count(child)


def exposition(folder: str | None) -> bytes:
    """The text format: of all processes that count into the folder, or of this one alone."""
    registry = CollectorRegistry()
    if folder is None:
        return generate_latest()
    multiprocess.MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def forget(pid: int, folder: str) -> None:
    """A process is gone: its gauges no longer count, its counters do."""
    multiprocess.mark_process_dead(pid, path=folder)  # type: ignore[no-untyped-call]
