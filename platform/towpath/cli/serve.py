"""`towpath serve`"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit
from towpath.core.errors import BadInput, TowpathError, Unreachable

_ERRORS: dict[str, type[TowpathError]] = {BadInput.code: BadInput}


def serve(
    projects: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PROJECT]...", help="Folders of model projects; the one here when left out.", show_default=False
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any that is free.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that answer; one a core.")] = 1,
    as_json: options.Json = False,
) -> int:
    """Serve the champion, and the challenger of an open rollout, over HTTP until Ctrl-C.

    Example: towpath serve my-model --port 8080 --workers 2
    """
    from towpath.cli import opening
    from towpath.project import load

    console = output.messages()
    opening.settings()
    named = {load(folder).charter.project: str(folder.absolute()) for folder in projects or [Path()]}
    config = {"projects": list(named.values()), "host": host, "port": port, "workers": workers}
    console.print(f"Starting {workers} {'worker' if workers == 1 else 'workers'} …", soft_wrap=True)
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "towpath.gateway", json.dumps(config)],
        stdin=subprocess.PIPE,  # the gateway ends when this end is closed, as it is when we are killed
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches us alone, and we let it finish
    )
    before = {number: signal.signal(number, lambda *_: process.terminate()) for number in _SIGNALS}
    try:
        _say(_started(process), sorted(named), as_json=as_json)
        code = process.wait()
    finally:
        process.terminate()
        process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)
    if code:
        raise Unreachable(f"The gateway ended by itself, with exit code {code}.", value=code, hint="Its log says why.")
    console.print("Stopped.")
    return Exit.GOOD


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _started(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What the gateway says of itself. Raises what it says went wrong."""
    assert process.stdout is not None
    line = process.stdout.readline()
    said: dict[str, Any] = json.loads(line) if line.strip() else {}
    if "error" in said:
        kind = _ERRORS.get(said["code"], Unreachable)
        raise kind(said["error"], value=said["value"], hint=said["hint"])
    return said


def _say(said: dict[str, Any], projects: list[str], *, as_json: bool) -> None:
    if not said:
        return  # it was stopped while it started
    if as_json:
        output.emit({"url": said["url"], "projects": projects, "workers": said["workers"]})
        return
    url = said["url"]
    table = output.table("what", "address")
    for name in projects:
        table.add_row(f"{name}: Open Inference Protocol", f"{url}/v2/models/{name}/infer")
    query = "" if len(projects) == 1 else f"?model={projects[0]}"
    table.add_row("MLflow's scoring protocol", f"{url}/invocations{query}")
    table.add_row("labels that come later", f"{url}/v1/feedback")
    table.add_row("ready, metrics", f"{url}/readyz  {url}/metrics")
    table.add_row("all of it, described", f"{url}/openapi.json")
    console = output.results()
    console.print(table)
    console.print("Stop with Ctrl-C.")
