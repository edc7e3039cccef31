"""`towpath contract`"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit

if TYPE_CHECKING:
    from towpath.core.contract_changes import Comparison

app = typer.Typer(help="Data contracts, and what changes in them.", no_args_is_help=True)


@app.callback()
def contract() -> None:
    """Data contracts, and what changes in them."""


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="The contract's file as it was.", show_default=False)],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The contract's file as it is to be.", show_default=False)],
    as_of: Annotated[
        datetime | None,
        typer.Option(
            "--as-of",
            metavar="DATE",
            formats=["%Y-%m-%d"],
            help="The day on which the new contract comes, which decides on removal dates; today (UTC) when left out.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Say what each change of a contract means to its readers; refuse a version that is too low for them.

    Example: towpath contract diff flights-old.odcs.yaml flights.odcs.yaml
    """
    from towpath import project, wiring
    from towpath.core.contract_changes import compare

    (before, old_document), (after, new_document) = project.contract_file(old), project.contract_file(new)
    day = (wiring.now() if as_of is None else as_of).date()
    found = compare(before, after, old_document, new_document, as_of=day)
    if as_json:
        output.emit(
            {
                "old": before.version,
                "new": after.version,
                "as_of": day.isoformat(),
                "bump": found.bump.value,
                "least": str(found.least),
                "enough": found.enough,
                "changes": [asdict(change) for change in found.changes],
            }
        )
    else:
        _print(found)
    return Exit.GOOD if found.enough else Exit.REFUSED


def _print(found: Comparison) -> None:
    console = output.results()
    if found.changes:
        table = output.table("class", "where", "what", "why")
        for change in found.changes:
            table.add_row(change.impact.value, change.where, change.what, change.reason)
        console.print(table)
    else:
        console.print("Nothing differs.")
    if found.enough:
        console.print(f"Version {found.after} is enough: at least {found.least} is needed.", soft_wrap=True)
    else:
        console.print(
            f"Version {found.after} is too low after {found.before}: the changes need a {found.bump} bump, "
            f"at least {found.least}.",
            soft_wrap=True,
        )
