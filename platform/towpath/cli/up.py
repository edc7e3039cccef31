"""`towpath up`"""

from __future__ import annotations

from typing import Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit, exit_of
from towpath.core.errors import Unreachable


def up(
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="Where MLflow's pages go.")] = 5000,
    prefect_port: Annotated[int, typer.Option(min=1, max=65535, help="Where Prefect's server and pages go.")] = 4200,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show what the servers write.")] = False,
    as_json: options.Json = False,
) -> int:
    """Start MLflow and Prefect on this machine, for this machine only, until Ctrl-C.

    Example: towpath up --mlflow-port 5001
    """
    from towpath.cli import opening, services

    console = output.messages()
    settings = opening.settings()
    planned = services.planned(settings, mlflow_port=mlflow_port, prefect_port=prefect_port)
    with services.started(planned, settings, echo=console if verbose else None) as house:
        names = " and ".join(service.name for service in planned)
        console.print(f"Starting {names}; the first start takes up to a minute …", soft_wrap=True)
        if house.wait_until_healthy():
            running = [
                {"name": item.name, "url": item.url, "pid": item.pid, "log": str(item.log)} for item in house.running
            ]
            elsewhere = services.elsewhere(settings)
            if as_json:
                output.emit({"services": running, "elsewhere": elsewhere})
            else:
                _print(running, elsewhere)
            try:
                house.wait_until_stopped()
            except Unreachable as error:
                output.error(error, as_json=False)  # the one document was the list of addresses
                return exit_of(error)
    console.print("Stopped.")
    return Exit.GOOD


def _print(running: list[dict[str, object]], elsewhere: dict[str, str]) -> None:
    table = output.table("service", "address", "log")
    for item in running:
        table.add_row(str(item["name"]), str(item["url"]), str(item["log"]))
    for name, url in elsewhere.items():
        table.add_row(name, url, "not started here: TOWPATH_MLFLOW names it")
    console = output.results()
    console.print(table)
    for item in running:
        if item["name"] == "prefect":
            console.print(f"For flows: export PREFECT_API_URL={item['url']}/api", soft_wrap=True)
    console.print("Stop with Ctrl-C.")
