"""What `/metrics` shows."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "towpath_api_requests", "Requests answered.", ["operation", "status"], registry=self._registry
        )
        self._refused = Counter(
            "towpath_api_refused", "Requests refused before anything was done.", ["reason"], registry=self._registry
        )
        self._seconds = Histogram(
            "towpath_api_latency_seconds",
            "From a request's head to the end of its answer.",
            ["operation"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._under_way = Gauge("towpath_api_under_way", "Requests that are being answered.", registry=self._registry)

    def begin(self) -> None:
        """A request came."""
        self._under_way.inc()

    def end(self, operation: str, status: int, seconds: float) -> None:
        """It was answered."""
        self._under_way.dec()
        self._requests.labels(operation, str(status)).inc()
        self._seconds.labels(operation).observe(seconds)

    def refused(self, reason: str) -> None:
        """Somebody was turned away: `unauthenticated`, `forbidden`, `rate`, `size`."""
        self._refused.labels(reason).inc()

    def text(self) -> bytes:
        """In Prometheus' format."""
        return generate_latest(self._registry)
