"""`towpath serve`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from towpath.cli import options, output
from towpath.cli.attended import attend
from towpath.cli.exits import Exit


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
    attend("towpath.gateway", config, named="gateway", say=lambda said: _say(said, sorted(named), as_json=as_json))
    console.print("Stopped.")
    return Exit.GOOD


def _say(said: dict[str, Any], projects: list[str], *, as_json: bool) -> None:
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
