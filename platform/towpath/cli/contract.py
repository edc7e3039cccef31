"""`towpath contract`"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit

if TYPE_CHECKING:
    from towpath.core.contract_changes import Comparison
    from towpath.stages.consumers import Consumers

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

    Example: towpath contract diff flights-old.odcs.yaml flights.odcs.yaml
    """
    from towpath import project, wiring
    from towpath.core.contract_changes import compare
    from towpath.core.contract_touched import touched

    (before, old_document), (after, new_document) = project.contract_file(old), project.contract_file(new)
    day = (wiring.now() if as_of is None else as_of).date()
    found = compare(before, after, old_document, new_document, as_of=day)
    told = _consumers(consumers, touched(found.changes, before, after)) if consumers is not None else ()
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
                **({"consumers": [asdict(one) for one in told]} if consumers is not None else {}),
            }
        )
    else:
        _print(found)
        if consumers is not None:
            _print_consumers(told)
    return Exit.GOOD if found.enough else Exit.REFUSED


def _consumers(folder: Path, columns: Sequence[tuple[str, str]]) -> tuple[Consumers, ...]:
    from towpath import project, wiring
    from towpath.cli import opening
    from towpath.stages.consumers import consumers

    loaded, settings = project.load(folder), opening.settings()
    opening.require_embedded(settings)
    file = opening.embedded_ledger(settings)
    with ExitStack() as stack:
        # before the first run there is a project, and no model
        ledger = None if file is not None and not file.exists() else stack.enter_context(opening.ledger(settings))
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="towpath-consumers-"))
        stack.enter_context(output.libraries_on_stderr())
        return consumers(
            columns,
            loaded,
            ledger,
            transforms=wiring.open_transforms(),
            features=wiring.open_features(),
            folder=Path(scratch),
        )


def _print_consumers(told: Sequence[Consumers]) -> None:
    console = output.results()
    if not told:
        console.print("No column changes that anything could read.")
        return
    table = output.table("column", "read by", "models")
    for one in told:
        reads = f"cannot be told: {one.untold}" if one.untold else ", ".join(one.reads) or "nothing"
        table.add_row(one.column, reads, ", ".join(one.models) or "none")
    console.print(table)


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
