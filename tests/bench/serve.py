"""The gateway beside `mlflow models serve` of the same model, in the same run: throughput and latency.

Rows of the table: MLflow (one worker); MLServer, if it installs beside this Python; the gateway (one worker) with
features in the request, with features from the online store in SQLite and in Redis, the same with the model as one ONNX
graph, the same from a Redis that does not tell what is written (so that it is asked in every request), without the log,
and a bare server of the same kind that does no work. Gateways run with everything on that is not named otherwise: an
open rollout that splits units in half, the log, metrics. The load client is a process of its own on the same machine,
so the figures are to compare with each other. It sends 400 flights over and over: nearly all of their features are
held by the gateway after the first time.

`python tests/bench/serve.py [--seconds S] [--clients 1 8 64] [--rows 1 64] [--only WORD …] [--soak MINUTES]
[--json FILE]`; the exit code is 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "platform")]

import pyarrow.parquet as pq  # noqa: E402

from bench import serve_mlserver  # noqa: E402
from bench.load import Spec, argument  # noqa: E402
from gateway import served  # noqa: E402
from gateway.served import Built, House, Served  # noqa: E402
from path import small  # noqa: E402
from servers import redis  # noqa: E402
from towpath import wiring  # noqa: E402
from towpath.adapters.runtimes import ServingRuntimes  # noqa: E402
from towpath.gateway.supervise import ONE_THREAD  # noqa: E402
from towpath.ports import Compiled  # noqa: E402
from towpath.project import load  # noqa: E402
from towpath.stages.tracked import trained  # noqa: E402

TREES, ONNX, MLSERVER = "gateway, Redis", "gateway, Redis, ONNX", "MLServer"
UNTOLD = "gateway, Redis asked every time"
THROUGHPUT_BARS, LATENCY_BAR = {TREES: 80.0, ONNX: 60.0}, 1 / 50
SOAK_GROWTH = 1.10
BARE = """
import sys, asyncio, uvicorn, uvloop
BODY = b'{"predictions":[0.5]}'
HEAD = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
async def app(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEAD})
    await send({"type": "http.response.body", "body": BODY})
config = uvicorn.Config(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", lifespan="off", log_config=None,
                        access_log=False, server_header=False)
uvicorn.Server(config).run()
"""


def bodies(built: Built, folder: Path) -> dict[tuple[str, int], Path]:
    """Files of requests: `all` brings every feature, `keys` the entity keys, `mlflow` only what the model reads."""
    flights = [row for row in served.rows(built, 400) if None not in row.values()]
    inputs: Any = built.champion.entry("train").facts["inputs"]
    request = load(built.project).charter.features.request
    until: Any = built.champion.entry("featurize").facts["window"]
    columns = {
        "all": ["flight_id", "tailnum", *inputs],
        "keys": ["flight_id", "tailnum", *request],
        "mlflow": list(inputs),
    }
    found = {}
    for kind, names in columns.items():
        for rows in (1, 64):
            lines = []
            for start in range(0, len(flights) - rows, rows):
                data = [[row[name] for name in names] for row in flights[start : start + rows]]
                body: dict[str, Any] = {"dataframe_split": {"columns": names, "data": data}}
                if kind == "keys":
                    body["params"] = {"event_timestamp": until[1]}
                lines.append(json.dumps(body))
            found[kind, rows] = folder / f"{kind}-{rows}.jsonl"
            found[kind, rows].write_text("\n".join(lines), encoding="utf-8")
    return found


def measure(port: int, file: Path, *, clients: int, seconds: float, rate: float | None = None) -> dict[str, Any]:
    """One cell. Raises `RuntimeError` when a request failed."""
    spec = Spec(port=port, path="/invocations", bodies=str(file), clients=clients, seconds=seconds, rate=rate)
    done = subprocess.run(
        [sys.executable, str(HERE / "load.py"), argument(spec)], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    if set(found["statuses"]) != {"200"} or found["failed"]:
        raise RuntimeError(f"requests failed: {found['statuses']}, {found['failed']} broken")
    return found


def _saved(built: Built, folder: Path) -> Path:
    """The champion as MLflow keeps it."""
    models = wiring.open_models(small.settings(built.state))
    return models.verified(trained(built.champion.entry("train")), target=folder)


@contextmanager
def mlserver_served(built: Built, folder: Path) -> Iterator[tuple[int, list[int]]]:
    """Raises `NotInstalled`, or `RuntimeError` when it does not serve the model."""
    ports = (_free(), _free(), _free())
    command = serve_mlserver.command(_saved(built, folder / "saved-mlserver"), folder / "mlserver", ports=ports)
    with _running(command, ports[0], "/v2/health/ready", folder / "mlserver.log") as process:
        yield ports[0], _family(process.pid)


@contextmanager
def mlflow_served(built: Built, folder: Path) -> Iterator[tuple[int, list[int]]]:
    saved = _saved(built, folder / "saved")
    port = _free()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(saved), "-p", str(port), "-w", "1"]
    command += ["--env-manager", "local", "--host", "127.0.0.1"]
    with _running(command, port, "/ping", folder / "mlflow.log") as process:
        yield port, _family(process.pid)


@contextmanager
def bare_served(folder: Path) -> Iterator[tuple[int, list[int]]]:
    port = _free()
    with _running([sys.executable, "-c", BARE, str(port)], port, "/", folder / "bare.log") as process:
        yield port, [process.pid]


@contextmanager
def gateway_served(built: Built, folder: Path, *, log: bool = True) -> Iterator[tuple[int, list[int], Served]]:
    """The gateway with an open rollout that gives half of the units to the challenger."""
    with served.house(built, folder, online=True) as house:
        _split(house)
        with served.serving(house, log=log) as running:
            yield running.port, running.workers, running


def _split(house: House) -> None:
    house.rollout(weight=5_000, lease=timedelta(hours=3))


@contextmanager
def _running(command: Sequence[str], port: int, page: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, **ONE_THREAD, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}
    environment["PATH"] = (
        f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # mlflow starts uvicorn by name
    )
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream, start_new_session=True)
    try:
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=2):
                    break
            except (urllib.error.URLError, OSError):
                if process.poll() is not None:
                    raise RuntimeError(f"{command[2]} ended: {log.read_text()[-2000:]}") from None
                time.sleep(0.2)
        else:
            raise RuntimeError(f"{command[2]} did not answer: {log.read_text()[-2000:]}")
        yield process
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=30)


def measured_into(
    measured: dict[tuple[str, int, int], dict[str, Any]],
    name: str,
    server: AbstractContextManager[Any],
    kind: str,
    files: Mapping[tuple[str, int], Path],
    asked: argparse.Namespace,
) -> float:
    """Measure a server's cells; returns the megabytes that it held in the end."""
    with server as (port, pids, *_):
        for rows in asked.rows:
            measure(port, files[kind, rows], clients=1, seconds=1)
            for clients in asked.clients:
                measured[name, rows, clients] = measure(port, files[kind, rows], clients=clients, seconds=asked.seconds)
        return _megabytes(pids)


def table(measured: Mapping[tuple[str, int, int], Mapping[str, Any]], memory: Mapping[str, float]) -> list[str]:
    """Markdown: one line a server, rows and clients, with its ratio to MLflow in the same cell."""
    lines = [
        "| server | rows | clients | requests/s | times MLflow | p50 ms | of MLflow's | p99 ms | MB |",
        "|" + "---|" * 9,
    ]
    for (name, rows, clients), cell in measured.items():
        peer = measured.get(("mlflow models serve", rows, clients))
        faster = f"{cell['rps'] / peer['rps']:.1f}" if peer else "-"
        share = f"{cell['p50'] / peer['p50']:.3f}" if peer else "-"
        figures = f"{cell['rps']:,.0f} | {faster} | {cell['p50']:.2f} | {share} | {cell['p99']:.2f}"
        lines.append(f"| {name} | {rows} | {clients} | {figures} | {memory[name]:.0f} |")
    return lines


def judged(measured: Mapping[tuple[str, int, int], Mapping[str, Any]]) -> list[str]:
    """The bars, each met or missed, from the cells that were measured."""
    peer = measured.get(("mlflow models serve", 1, 8))
    told = []
    for name, bar in THROUGHPUT_BARS.items():
        ours = measured.get((name, 1, 8))
        if ours is None or peer is None:
            continue
        faster, share = ours["rps"] / peer["rps"], ours["p50"] / peer["p50"]
        what = f"{name}, everything on, 1 row, 8 clients"
        told.append(_bar(f"{what}: {faster:.1f} times MLflow's throughput (at least {bar:.0f})", faster >= bar))
        if name == TREES:
            told.append(
                _bar(f"{what}: p50 is {share:.4f} of MLflow's (at most {LATENCY_BAR:.3f})", share <= LATENCY_BAR)
            )
    return told or ["no bar was measured: it needs MLflow, 1 row and 8 clients"]


def _bar(told: str, met: bool) -> str:
    return f"{'met' if met else 'MISSED'}: {told}"


def soak(built: Built, folder: Path, file: Path, minutes: float) -> list[str]:
    """Half of the capacity for so long: memory flat, every request logged."""
    with gateway_served(built, folder) as (port, pids, running):
        capacity = measure(port, file, clients=8, seconds=5)["rps"]
        measure(port, file, clients=8, seconds=20, rate=capacity / 2)
        before = _megabytes(pids)
        found, samples = [], []
        for _ in range(max(1, round(minutes))):
            found.append(
                measure(port, file, clients=8, seconds=60 * minutes / max(1, round(minutes)), rate=capacity / 2)
            )
            samples.append(_megabytes(pids))
        page = running.get("/metrics").body.decode()
    rows = sum(
        pq.ParquetFile(item).metadata.num_rows
        for item in (running.state / "predictions" / served.PROJECT / "predictions").rglob("*.parquet")
    )
    asked = sum(int(float(line.split()[-1])) for line in page.splitlines() if _answered(line))
    lost = next(line for line in page.splitlines() if line.startswith("towpath_gateway_log_lost_total"))
    flat = max(samples) <= before * SOAK_GROWTH
    requests = sum(item["requests"] for item in found)
    pace = f"{capacity / 2:,.0f} of {capacity:,.0f} requests/s"
    grown = ", ".join(f"{one:.0f}" for one in samples)
    return [
        f"soak: {minutes:g} min at {pace}, {requests:,} requests, none failed",
        _bar(f"memory {before:.0f} MB before, then {grown}", flat),
        _bar(f"{asked:,} answered, {rows:,} in the log, {lost.split()[-1]} lost", rows == asked),
    ]


def _answered(line: str) -> bool:
    return line.startswith('towpath_gateway_requests_total{endpoint="/invocations",status="200"}')


def _megabytes(pids: Sequence[int]) -> float:
    """Resident memory of the processes together."""
    total = 0.0
    for pid in pids:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS")) / 1_024
    return total


def _family(pid: int) -> list[int]:
    """A process and its children."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text(encoding="utf-8").split():
            found += _family(int(child))
    return found


def _free() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class OnlyOnnx(ServingRuntimes):
    """Converts into one ONNX graph and nothing else, though trees alone are faster."""

    def compile(
        self, model: object, *, columns: Sequence[str], types: Mapping[str, str], folder: Path
    ) -> tuple[Compiled, ...]:
        found = super().compile(model, columns=columns, types=types, folder=folder)
        return tuple(one for one in found if one.kind == "onnx")


def _with_redis(folder: Path, stack: ExitStack, *, telling: bool = True, **ports: Any) -> Built:
    """The same project with its online store in Redis, which may not be `telling` what is written."""
    (folder / "server").mkdir(parents=True)
    server = redis._run(folder / "server")
    stack.callback(server.stop)
    address = server.connection_string
    if not telling:
        server.command("ACL", "SETUSER", "untold", "on", f">{server.password}", "~*", "+@all", "-client")
        address += ",username=untold"

    def changed(project: Path) -> None:
        settings = project / "feature_repo/feature_store.yaml"
        old = "  type: sqlite\n  path: ${TOWPATH_FEAST_STATE}/online.db"
        small.edit(settings, old, f'  type: redis\n  connection_string: "{address}"')

    return served.build(folder / "project", changed=changed, **ports)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--rows", type=int, nargs="+", choices=[1, 64], default=[1, 64])
    parser.add_argument("--only", nargs="+", metavar="WORD", help="servers whose name holds one of the words")
    parser.add_argument("--soak", type=float, metavar="MINUTES")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> int:
    """Run it, print the table, and say whether the bars are met."""
    asked = _arguments()
    measured: dict[tuple[str, int, int], dict[str, Any]] = {}
    memory: dict[str, float] = {}
    absent: list[str] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="towpath-bench-")))
        in_redis = _with_redis(folder / "redis", stack)
        files = bodies(in_redis, folder)
        if asked.soak:
            told = soak(in_redis, folder / "soak", files["keys", 1], asked.soak)
        else:
            in_sqlite = served.build(folder / "sqlite")
            in_onnx = _with_redis(folder / "onnx", stack, runtimes=OnlyOnnx())
            untold = _with_redis(folder / "untold", stack, telling=False)
            servers: dict[str, tuple[Any, str]] = {
                "mlflow models serve": (mlflow_served(in_sqlite, folder), "mlflow"),
                MLSERVER: (mlserver_served(in_sqlite, folder), "mlflow"),
                TREES: (gateway_served(in_redis, folder / "1"), "keys"),
                ONNX: (gateway_served(in_onnx, folder / "5"), "keys"),
                UNTOLD: (gateway_served(untold, folder / "6"), "keys"),
                "gateway, SQLite": (gateway_served(in_sqlite, folder / "2"), "keys"),
                "gateway, in the request": (gateway_served(in_sqlite, folder / "3"), "all"),
                "gateway, in the request, no log": (gateway_served(in_sqlite, folder / "4", log=False), "all"),
                "bare server": (bare_served(folder), "mlflow"),
            }
            for name, (server, kind) in servers.items():
                if asked.only and not any(word in name for word in asked.only):
                    continue
                try:
                    memory[name] = measured_into(measured, name, server, kind, files, asked)
                except RuntimeError as error:
                    if name != MLSERVER:
                        raise
                    absent.append(f"no {MLSERVER}: {error}")
            told = [*table(measured, memory), "", *absent, *judged(measured)]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("mlflow", "uvicorn", "uvloop", "msgspec"))
    if MLSERVER in memory:
        versions += f", mlserver {serve_mlserver.version()}"
    told = [f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}", "", *told]
    sys.stdout.write("\n".join(told) + "\n")
    if asked.json:
        cells = [{"server": a, "rows": b, "clients": c, **cell} for (a, b, c), cell in measured.items()]
        asked.json.write_text(json.dumps({"told": told, "cells": cells}, indent=1), encoding="utf-8")
    return 1 if any("MISSED" in line for line in told) else 0


if __name__ == "__main__":
    sys.exit(main())
