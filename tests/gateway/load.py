"""Requests from several threads for as long as something happens, and what became of every one of them.

Several ports are replicas: who loses a connection asks the next one again, as a client behind a balancer does.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import msgspec

from gateway.served import PROJECT, tensors


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One request: when it was sent and answered, and what the answer says."""

    request: str
    sent: float
    answered: float
    status: int
    arm: str
    fallback: str


@dataclass(kw_only=True)
class Load:
    """What was asked so far. `broken` counts connections that were lost; such a request is sent again."""

    outcomes: list[Outcome] = field(default_factory=list)
    broken: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def statuses(self) -> Counter[int]:
        return Counter(item.status for item in self.outcomes)

    def arms(self, since: float = 0.0) -> Counter[str]:
        return Counter(item.arm for item in self.outcomes if item.sent >= since)


@contextmanager
def load(
    port: int | Sequence[int],
    rows: Sequence[Mapping[str, object]],
    *,
    clients: int = 4,
    pause: float = 0.0,
    name: str = "c",
) -> Iterator[Load]:
    """Every client asks row after row on a kept connection until the block ends. The list of ports may change.

    Who is not answered within 20 s gives up: an outcome of the status 0.
    """
    found, ended = Load(), threading.Event()
    ports = [port] if isinstance(port, int) else port
    threads = [
        threading.Thread(target=_client, args=(ports, rows, found, ended, number, pause, name), daemon=True)
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        ended.set()
        for thread in threads:
            thread.join(timeout=30)


def _client(
    ports: Sequence[int],
    rows: Sequence[Mapping[str, object]],
    found: Load,
    ended: threading.Event,
    number: int,
    pause: float,
    prefix: str,
) -> None:
    bodies = [msgspec.json.encode(tensors([row])) for row in rows]
    connection: http.client.HTTPConnection | None = None
    replica = number
    for turn in count(number):
        if ended.is_set():
            break
        name = f"{prefix}{number}-{turn}"
        sent = time.time()
        deadline = sent + 20
        while True:
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", ports[replica % len(ports)], timeout=20)
                reply = _ask(connection, bodies[turn % len(bodies)], name)
                break
            except (OSError, http.client.HTTPException):
                if connection is not None:
                    connection.close()
                connection = None
                replica += 1
                with found.lock:
                    found.broken += 1
                    if time.time() > deadline:
                        gone = Outcome(request=name, sent=sent, answered=time.time(), status=0, arm="", fallback="")
                        found.outcomes.append(gone)
                        return
        with found.lock:
            found.outcomes.append(
                Outcome(
                    request=name,
                    sent=sent,
                    answered=time.time(),
                    status=reply.status,
                    arm=reply.headers.get("x-towpath-arm", ""),
                    fallback=reply.headers.get("x-towpath-fallback", ""),
                )
            )
        time.sleep(pause)
    if connection is not None:
        connection.close()


def _ask(connection: http.client.HTTPConnection, body: bytes, name: str) -> Any:
    connection.request(
        "POST",
        f"/v2/models/{PROJECT}/infer",
        body=body,
        headers={"content-type": "application/json", "x-request-id": name},
    )
    reply = connection.getresponse()
    reply.read()
    return reply
