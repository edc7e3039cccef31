"""The commands and their names. Each has a module of its own, which imports what is heavy only when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from towpath import __version__
from towpath.cli import (
    approve,
    batch,
    check,
    contract,
    doctor,
    emergency,
    export,
    feedback,
    gates,
    hold,
    init,
    key,
    ledger,
    model,
    monitor,
    options,
    promote,
    reconcile,
    reproduce,
    retention,
    rollback,
    rollout,
    run,
    schema,
    serve,
    server,
    show,
    slo,
    status,
    token,
    up,
    waive,
    whoami,
)

app = typer.Typer(
    name="towpath",
    help="One governed path from raw data to a promoted model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Try it on real flights: towpath demo",
)

_PATH, _RECORD, _PLACE = "The path", "The record", "This machine"


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"towpath {__version__}")
        raise typer.Exit


@app.callback()
def towpath(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Log more, and show where an unexpected error happened.")
    ] = False,
) -> None:
    """One governed path from raw data to a promoted model."""


@app.command(rich_help_panel=_PATH)
def demo(
    sabotage: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Damage something on the way, and see it refused.", autocompletion=options.sabotages
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where the example's project goes; the state folder when left out.", show_default=False),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Take real flights from raw data to a promoted champion and a drift report.

    Example: towpath demo --sabotage leakage
    """
    from towpath.cli import opening, output
    from towpath.cli.demo import demo as demonstrate
    from towpath.cli.progress import StageProgress

    console = output.messages() if as_json else output.results()
    with StageProgress(output.messages()) as progress:
        return demonstrate(
            sabotage=sabotage,
            folder=folder,
            settings=opening.settings(),
            console=console,
            progress=progress,
            as_json=as_json,
        )


for _command, _panel in (
    (init.init, _PATH),
    (check.check, _PATH),
    (run.run, _PATH),
    (status.status, _PATH),
    (show.show, _PATH),
    (approve.approve, _PATH),
    (waive.waive, _PATH),
    (promote.promote, _PATH),
    (serve.serve, _PATH),
    (rollback.rollback, _PATH),
    (reconcile.reconcile, _PATH),
    (monitor.monitor, _PATH),
    (slo.slo, _PATH),
    (batch.batch, _PATH),
    (export.export, _PATH),
    (reproduce.reproduce, _PATH),
    (feedback.feedback, _PATH),
    (gates.gates, _RECORD),
    (schema.schema, _RECORD),
    (doctor.doctor, _PLACE),
    (server.server, _PLACE),
    (whoami.whoami, _PLACE),
    (up.up, _PLACE),
):
    app.command(rich_help_panel=_panel)(_command)
app.add_typer(rollout.app, name="rollout", rich_help_panel=_PATH)
app.add_typer(emergency.app, name="emergency", rich_help_panel=_PATH)
app.add_typer(contract.app, name="contract", rich_help_panel=_PATH)
app.add_typer(model.app, name="model", rich_help_panel=_RECORD)
app.add_typer(key.app, name="key", rich_help_panel=_PLACE)
app.add_typer(ledger.app, name="ledger", rich_help_panel=_RECORD)
app.add_typer(hold.app, name="hold", rich_help_panel=_RECORD)
app.add_typer(retention.app, name="retention", rich_help_panel=_RECORD)
app.add_typer(token.app, name="token", rich_help_panel=_PLACE)
