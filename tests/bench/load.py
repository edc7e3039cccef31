"""A load client in a process of its own: `python tests/bench/load.py SPEC`, where SPEC is JSON of `Spec`.

Raw asyncio protocols over kept-alive connections, each with one request out at a time (closed loop), or, with `rate`,
requests a second spread over the clients (open loop). Prints JSON: requests, failures, requests/s, latencies in ms.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import uvloop


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What to send: bodies from a file, one a line, in turn."""

    port: int
    path: str
    bodies: str
    clients: int
    seconds: float
    warm: float = 0.5
    rate: float | None = None
    retries: int = 0  # after a broken connection, as a client of an idempotent service does
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.transport: Any = None
        self.buffer = b""
        self.sent = 0.0
        self.request = b""
        self.tries = 0
        self.stopped = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if self.request:
            self.transport.write(self.request)
        else:
            self.next()

    def next(self) -> None:
        now = perf_counter()
        if now >= self.run.end:
            self.finish()
            return
        pause = self.run.pause(now)
        if pause > 0:
            self.run.loop.call_later(pause, self.send)
        else:
            self.send()

    def send(self) -> None:
        self.request = self.run.body()
        self.tries = 0
        self.sent = perf_counter()
        if self.transport is not None:
            self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        start = self.buffer[:head].lower()
        place = start.find(b"content-length: ")
        length = int(start[place + 16 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
        if len(self.buffer) < head + 4 + length:
            return
        self.run.answered(int(self.buffer[9:12]), self.sent, self.buffer)
        self.buffer = self.buffer[head + 4 + length :]
        self.request = b""
        self.next()

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self.buffer = b""
        if self.stopped:
            return
        if self.request:
            self.run.broken += 1
            if self.tries >= self.run.spec.retries:
                self.run.failed += 1
                self.request = b""
            self.tries += 1
        asyncio.ensure_future(self.run.connect(self))  # noqa: RUF006

    def finish(self) -> None:
        self.stopped = True
        if self.transport is not None:
            self.transport.close()
        self.run.done()


class Run:
    """All clients of a run."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.loop = asyncio.get_running_loop()
        lines = Path(spec.bodies).read_bytes().splitlines()
        head = f"POST {spec.path} HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in spec.headers.items())
        self.requests = [head.encode() + f"content-length: {len(line)}\r\n\r\n".encode() + line for line in lines]
        self.place = 0
        self.begun = perf_counter()
        self.end = self.begun + spec.warm + spec.seconds
        self.latencies: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.arms: Counter[str] = Counter()
        self.failed = 0
        self.broken = 0
        self.left = spec.clients
        self.due = self.begun
        self.finished = asyncio.Event()

    def body(self) -> bytes:
        self.place += 1
        return self.requests[self.place % len(self.requests)]

    def pause(self, now: float) -> float:
        if self.spec.rate is None:
            return 0.0
        self.due = max(self.due + 1 / self.spec.rate, now - 1.0)
        return self.due - now

    def answered(self, status: int, sent: float, answer: bytes) -> None:
        now = perf_counter()
        self.statuses[status] += 1
        place = answer.find(b"x-towpath-arm: ")
        if place >= 0:
            self.arms[answer[place + 15 : place + 25].split(b"\r\n")[0].decode()] += 1
        if sent >= self.begun + self.spec.warm:
            self.latencies.append(now - sent)

    async def connect(self, client: Client) -> None:
        while perf_counter() < self.end:
            try:
                await self.loop.create_connection(lambda: client, "127.0.0.1", self.spec.port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                return
        client.finish()

    def done(self) -> None:
        self.left -= 1
        if self.left <= 0:
            self.finished.set()


async def run(spec: Spec) -> dict[str, Any]:
    """Run it, and say how it went."""
    found = Run(spec)
    for _ in range(spec.clients):
        await found.connect(Client(found))
    await asyncio.wait_for(found.finished.wait(), spec.warm + spec.seconds + 30)
    times = sorted(found.latencies)
    count = len(times)
    return {
        "requests": sum(found.statuses.values()),
        "statuses": dict(found.statuses),
        "arms": dict(found.arms),
        "failed": found.failed,
        "broken": found.broken,
        "rps": count / spec.seconds,
        "p50": times[count // 2] * 1e3 if count else None,
        "p99": times[int(count * 0.99)] * 1e3 if count else None,
        "max": times[-1] * 1e3 if count else None,
    }


def main(argument: str) -> None:
    spec = Spec(**json.loads(argument))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.stdout.write(json.dumps(runner.run(run(spec))))


def argument(spec: Spec) -> str:
    return json.dumps(asdict(spec))


if __name__ == "__main__":
    main(sys.argv[1])
