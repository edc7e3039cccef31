"""`towpath show`"""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit
from towpath.core.errors import BadInput
from towpath.core.gates import Stage


def show(
    candidate: options.Candidate,
    finding: Annotated[
        str | None, typer.Option(metavar="CODE", help="One gate's findings, in full.", autocompletion=options.gates)
    ] = None,
    stage: Annotated[
        Stage | None,
        typer.Option(metavar="STAGE", help="One stage only, with its facts.", autocompletion=options.stages),
    ] = None,
    quarantine: Annotated[
        str | None, typer.Option(metavar="TABLE", help="The table's rows that were set aside, with the reasons.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many quarantined rows.")] = 20,
    open_name: Annotated[
        str | None, typer.Option("--open", metavar="NAME", help="Open an attachment: a report, a plot, the model card.")
    ] = None,
    save: Annotated[
        tuple[str, Path] | None,
        typer.Option(
            metavar="NAME FILE", help="Save an attachment, or a subject such as quarantine/flights, as a file."
        ),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Show a candidate: why it was refused, what each stage found, what was measured, and the reports beside it.

    Example: towpath show flights-1f2e3d4c5b6a --finding data.range
    """
    from towpath import wiring
    from towpath.cli import opening, shown

    if sum(item is not None for item in (finding, quarantine, open_name, save)) > 1:
        raise BadInput(
            "--finding, --quarantine, --open and --save ask for different things.", hint="Give one of them at a time."
        )
    settings = opening.settings()
    with opening.ledger(settings) as ledger:
        chosen = opening.candidate(candidate, ledger)
        if finding is not None:
            shown.finding(chosen, finding, as_json=as_json)
        elif quarantine is not None:
            shown.quarantine(chosen, quarantine, wiring.open_objects(settings), limit=limit, as_json=as_json)
        elif open_name is not None:
            file = shown.write_out(chosen, open_name, wiring.open_objects(settings), target=None, state=settings.state)
            _say_file(open_name, file, as_json=as_json)
            if not webbrowser.open(file.as_uri()):
                output.messages().print("There is no browser here; open the file where there is one.", soft_wrap=True)
        elif save is not None:
            name, target = save
            file = shown.write_out(chosen, name, wiring.open_objects(settings), target=target, state=settings.state)
            _say_file(name, file, as_json=as_json)
        else:
            shown.whole(chosen, ledger, stage=stage.value if stage else None, as_json=as_json)
    return Exit.GOOD


def _say_file(name: str, file: Path, *, as_json: bool) -> None:
    if as_json:
        output.emit({"name": name, "file": str(file)})
    else:
        output.results().print(str(file), soft_wrap=True)
