"""Recorded rows as live traffic: each is a request to the gateway in the order of its time, its label comes when known.

A month passes in seconds. A label is sent once the clock of the recorded rows has passed the time at which it became
known, so that it comes as late, in requests, as it did in the world.
"""

from __future__ import annotations

import bisect
import heapq
import http.client
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from towpath.core import names
from towpath.core.errors import Unreachable

_LABELS_AT_ONCE = 200
_SECONDS = 10  # that one request may take


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Rows to be sent again: `columns` go into each request, `row_id` names it, `target` is its label."""

    project: str
    file: Path
    columns: Sequence[str]
    row_id: str
    target: str


@dataclass(kw_only=True)
class Replayed:
    """What came of it: requests by HTTP status, by the arm that answered, and by what stood in for it."""

    sent: int = 0
    labels: int = 0
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    arms: Counter[str] = field(default_factory=Counter)
    fallbacks: Counter[str] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        return self.sent - self.statuses[200]


@dataclass(frozen=True, kw_only=True)
class _Turn:
    """What one client does next: labels to send, then a request (nothing when empty) when it is due."""

    columns: Mapping[str, Any]
    labels: Sequence[tuple[str, int]]
    due: float = 0.0


class Replay:
    """Sends the recorded rows at `rate` requests a second over `clients` connections, until the end or `finish`.

    `ahead`: how many requests may be sent beyond those that `judged` vouches for.
    """

    def __init__(
        self,
        recorded: Recorded,
        url: str,
        *,
        rate: float,
        ahead: int,
        clients: int = 4,
        change: Callable[[int, dict[str, Any]], dict[str, Any]] = lambda _, columns: columns,
    ) -> None:
        self._recorded, self._rate, self._clients, self._change = recorded, rate, clients, change
        self._ahead = self._allowed = ahead
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._datatypes = _datatypes(recorded)
        self._rows = _rows(recorded)
        self._known: list[tuple[datetime, str, int]] = []  # labels that wait for their time
        self._lock = threading.Lock()
        self._moved = threading.Condition(self._lock)
        self._stop = threading.Event()
        self._errors: list[Exception] = []
        self._threads: list[threading.Thread] = []
        self._begun = self._due = 0.0
        self._taken: list[datetime] = []  # when each request was taken to be sent
        self.done = Replayed()

    def start(self) -> None:
        self._begun = time.monotonic()
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(self._clients)]
        for thread in self._threads:
            thread.start()

    @property
    def running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def judged(self, until: datetime) -> None:
        """Whoever judges has seen what was sent before then."""
        with self._moved:
            seen = bisect.bisect_left(self._taken, until)
            self._allowed = max(self._allowed, seen + self._ahead)
            self._moved.notify_all()

    def finish(self) -> Replayed:
        """Stop, and say what came of it. Raises `Unreachable`."""
        self._end()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise Unreachable(
                f"The gateway at {self._host}:{self._port} stopped answering: {self._errors[0]}.",
                value=f"{self._host}:{self._port}",
                hint="Its log says why.",
            ) from self._errors[0]
        self.done.seconds = time.monotonic() - self._begun
        return self.done

    def _end(self) -> None:
        self._stop.set()
        with self._moved:
            self._moved.notify_all()

    def _client(self) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_SECONDS)
        try:
            while not self._stop.is_set() and (turn := self._take()) is not None:
                self._stop.wait(max(0.0, turn.due - time.monotonic()))
                if turn.labels:
                    self._label(connection, turn.labels)
                if turn.columns:
                    self._ask(connection, turn.columns)
        except (OSError, http.client.HTTPException) as error:
            self._errors.append(error)
            self._end()
        finally:
            connection.close()

    def _take(self) -> _Turn | None:
        """The next request with the labels that are known by its time; behind the last one those that are left."""
        recorded = self._recorded
        with self._moved:
            self._moved.wait_for(lambda: self._stop.is_set() or len(self._taken) < self._allowed)
            if self._stop.is_set():
                return None
            row = next(self._rows, None)
            if row is None:
                left, self._known = [(key, label) for _, key, label in self._known], []
                return _Turn(columns={}, labels=left) if left else None
            labels = []
            if len(self._known) >= _LABELS_AT_ONCE:
                while self._known and self._known[0][0] <= row[names.EVENT_TIME]:
                    labels.append(heapq.heappop(self._known)[1:])
            waiting = (row[names.LABEL_TIME], str(row[recorded.row_id]), int(row[recorded.target]))
            heapq.heappush(self._known, waiting)
            self._taken.append(datetime.now(UTC))
            columns = self._change(len(self._taken), {name: row[name] for name in (*recorded.columns, recorded.row_id)})
            self._due = max(self._due, time.monotonic()) + 1 / self._rate
            return _Turn(columns=columns, labels=labels, due=self._due)

    def _ask(self, connection: http.client.HTTPConnection, columns: Mapping[str, Any]) -> None:
        body = {"inputs": [self._tensor(name, value) for name, value in columns.items()]}
        status, answer = _post(connection, f"/v2/models/{self._recorded.project}/infer", body)
        told = answer.get("parameters", {}) if isinstance(answer, dict) else {}
        with self._lock:
            self.done.sent += 1
            self.done.statuses[status] += 1
            self.done.arms[str(told.get("arm"))] += 1
            if told.get("fallback"):
                self.done.fallbacks[str(told["fallback"])] += 1

    def _tensor(self, name: str, value: object) -> dict[str, Any]:
        known = None if isinstance(value, float) and math.isnan(value) else value
        return {"name": name, "shape": [1], "datatype": self._datatypes[name], "data": [known]}

    def _label(self, connection: http.client.HTTPConnection, labels: Sequence[tuple[str, int]]) -> None:
        for start in range(0, len(labels), _LABELS_AT_ONCE):
            part = labels[start : start + _LABELS_AT_ONCE]
            body = {
                "project": self._recorded.project,
                "labels": [{"key": key, "label": label} for key, label in part],
            }
            status, answer = _post(connection, "/v1/feedback", body)
            if status != 200:
                raise http.client.HTTPException(f"feedback was answered with {status}: {answer}")
            with self._lock:
                self.done.labels += len(part)


def _rows(recorded: Recorded) -> Iterator[dict[str, Any]]:
    """The rows in the order of their time."""
    wanted = [*recorded.columns, recorded.row_id, recorded.target, names.EVENT_TIME, names.LABEL_TIME]
    table = pq.read_table(recorded.file, columns=list(dict.fromkeys(wanted))).sort_by(names.EVENT_TIME)
    for batch in table.to_batches(max_chunksize=1_000):
        yield from batch.to_pylist()


def _datatypes(recorded: Recorded) -> dict[str, str]:
    """The Open Inference Protocol's name of each column's type."""
    schema = pq.read_schema(recorded.file)
    kinds = ((pa.types.is_boolean, "BOOL"), (pa.types.is_integer, "INT64"), (pa.types.is_floating, "FP64"))
    return {
        name: next((word for fits, word in kinds if fits(schema.field(name).type)), "BYTES")
        for name in (*recorded.columns, recorded.row_id)
    }


def _post(connection: http.client.HTTPConnection, path: str, body: object) -> tuple[int, Any]:
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    return answer.status, json.loads(text) if text else None
