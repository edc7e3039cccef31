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
    from towpath.cli import asking, opening, shown
    from towpath.verbs import candidates

    if sum(item is not None for item in (finding, quarantine, open_name, save)) > 1:
        raise BadInput(
            "--finding, --quarantine, --open and --save ask for different things.", hint="Give one of them at a time."
        )
    settings = opening.settings()
    if quarantine is None and open_name is None and save is None:
        found = asking.ask(candidates.SHOW, candidates.ShowCandidate(candidate=candidate))
        if finding is not None:
            shown.finding(shown.candidate_of(found), finding, as_json=as_json)
        else:
            shown.whole(found, stage=stage.value if stage else None, as_json=as_json)
        return Exit.GOOD
    if open_name == candidates.CARD and settings.server is not None:
        return _open_card(candidate, settings.state, as_json=as_json)
    with opening.ledger(settings) as ledger:
        chosen = opening.candidate(candidate, ledger)
    objects = wiring.open_objects(settings)
    if quarantine is not None:
        shown.quarantine(chosen, quarantine, objects, limit=limit, as_json=as_json)
    elif open_name is not None:
        file = shown.write_out(chosen, open_name, objects, target=None, state=settings.state)
        _opened(open_name, file, as_json=as_json)
    elif save is not None:
        name, target = save
        file = shown.write_out(chosen, name, objects, target=target, state=settings.state)
        _say_file(name, file, as_json=as_json)
    return Exit.GOOD


def _open_card(candidate: str, state: Path, *, as_json: bool) -> int:
    """The model card from the server, beside the reports of candidates that were made here."""
    from towpath.cli import asking
    from towpath.verbs import candidates

    card = asking.ask(candidates.MODEL_CARD, candidates.AskModelCard(candidate=candidate))
    file = state / "reports" / card.candidate / candidates.CARD
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(card.markdown, encoding="utf-8")
    _opened(candidates.CARD, file.absolute(), as_json=as_json)
    return Exit.GOOD


def _opened(name: str, file: Path, *, as_json: bool) -> None:
    _say_file(name, file, as_json=as_json)
    if not webbrowser.open(file.as_uri()):
        output.messages().print("There is no browser here; open the file where there is one.", soft_wrap=True)


def _say_file(name: str, file: Path, *, as_json: bool) -> None:
    if as_json:
        output.emit({"name": name, "file": str(file)})
    else:
        output.results().print(str(file), soft_wrap=True)
