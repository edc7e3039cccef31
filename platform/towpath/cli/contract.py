"""`towpath contract`"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit
from towpath.core.errors import BadInput

if TYPE_CHECKING:
    from towpath.stages.consumers import Consumers

app = typer.Typer(help="Data contracts, and what changes in them.", no_args_is_help=True)


@app.callback()
def contract() -> None:
    """Data contracts, and what changes in them."""


@app.command()
def diff(
    old: Annotated[
        Path | None, typer.Argument(metavar="OLD", help="The contract's file as it was.", show_default=False)
    ] = None,
    new: Annotated[
        Path | None, typer.Argument(metavar="NEW", help="The contract's file as it is to be.", show_default=False)
    ] = None,
    champion: Annotated[
        Path | None,
        typer.Option(
            "--champion",
            metavar="FOLDER",
            help="Instead of two files: what the contracts of that model project change since its champion was made.",
            show_default=False,
        ),
    ] = None,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            "--as-of",
            metavar="DATE",
            formats=["%Y-%m-%d"],
            help="The day on which the new contract comes, which decides on removal dates; today (UTC) when left out.",
        ),
    ] = None,
    consumers: Annotated[
        Path | None,
        typer.Option(
            "--project",
            metavar="FOLDER",
            help="List what reads each changed column: in that model project, and the registered models of the ledger.",
            show_default=False,
        ),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Say what each change of a contract means to its readers; refuse a version that is too low for them.

    With --champion, all that `towpath run` would refuse is refused: also what breaks readers without a deprecation
    window.

    Example: towpath contract diff flights-old.odcs.yaml flights.odcs.yaml
    """
    from towpath import wiring
    from towpath.cli import contract_compared, contract_shown
    from towpath.core.contract_touched import touched

    day = (wiring.now() if as_of is None else as_of).date()
    if champion is not None and old is None:
        compared = contract_compared.with_champion(champion, as_of=day)
    elif champion is None and old is not None and new is not None:
        compared = contract_compared.of_files(old, new, as_of=day)
    else:
        raise BadInput("Two contracts are compared.", hint="Name two files, OLD and NEW, or --champion FOLDER.")
    told: tuple[Consumers, ...] = ()
    if consumers is not None:
        columns = [
            place
            for one, found in compared.differences
            for place in touched(found.changes, one.before, one.after)
        ]  # fmt: skip
        told = _consumers(consumers, columns)
    if as_json:
        listed = {"consumers": [asdict(one) for one in told]} if consumers is not None else {}
        output.emit({**contract_shown.document(compared), **listed})
    else:
        contract_shown.show(compared)
        if consumers is not None:
            contract_shown.show_consumers(told)
    return Exit.REFUSED if compared.refused else Exit.GOOD


def _consumers(folder: Path, columns: Sequence[tuple[str, str]]) -> tuple[Consumers, ...]:
    from towpath import project, wiring
    from towpath.cli import opening
    from towpath.stages.consumers import consumers

    loaded, settings = project.load(folder), opening.settings()
    opening.require_embedded(settings)
    file = opening.embedded_ledger(settings)
    with ExitStack() as stack:
        # before the first run there is a project, and no model
        recorded = None
        if file is None or file.exists():
            rollouts = stack.enter_context(closing(wiring.open_rollouts(settings)))
            recorded = (stack.enter_context(opening.ledger(settings)), rollouts)
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="towpath-consumers-"))
        stack.enter_context(output.libraries_on_stderr())
        return consumers(
            columns,
            loaded,
            recorded,
            transforms=wiring.open_transforms(),
            features=wiring.open_features(),
            folder=Path(scratch),
        )


@app.command()
def consumers(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="A table by its name in the contract.", show_default=False)
    ],
    column: Annotated[
        str | None,
        typer.Option("--column", metavar="COLUMN", help="Say which have an input or a feature of that column's name."),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """List who stands on a table: models, feature views and endpoints, over all projects that you may read.

    Example: towpath contract consumers flights --column dep_delay
    """
    from towpath.cli import asking, contract_shown
    from towpath.verbs import lineage

    found = asking.ask(lineage.CONSUMERS, lineage.AskConsumers(table=table, column=column))
    if as_json:
        output.emit(found.body)
    else:
        contract_shown.show_standing(found)
    return Exit.GOOD
