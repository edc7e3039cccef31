"""`towpath export`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit
from towpath.core.errors import NotFound

if TYPE_CHECKING:
    from towpath.core.evidence import Candidate
    from towpath.ports import Ledger


def export(
    named: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A candidate's id or at least 4 digits of its digest; a project's folder or name for its champion.",
            autocompletion=options.candidates,
        ),
    ],
    target: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where the bundle goes; it is made.")],
    as_json: options.Json = False,
) -> int:
    """Write a candidate as a folder that scores rows with numpy and ONNX Runtime alone, its parity measured first.

    Example: towpath export my-model --to edge/my-model
    """
    from towpath import wiring
    from towpath.cli import opening
    from towpath.cli.progress import StageProgress
    from towpath.core.access import Action
    from towpath.stages import export as exporting

    settings = opening.settings()
    with (
        output.libraries_on_stderr(),
        StageProgress(output.messages()) as progress,
        opening.ledger(settings) as ledger,
    ):
        progress.begin("export")
        candidate = _meant(named, ledger)
        opening.acting(settings, None, Action.EXPORT, candidate.project)
        finding = exporting.export(
            candidate,
            target,
            tolerance=_tolerance(candidate),
            now=wiring.now(),
            world=exporting.Exporting(
                ledger=ledger,
                objects=wiring.open_objects(settings),
                models=wiring.open_models(settings),
                runtimes=wiring.open_runtimes(settings),
                keys=wiring.open_keys(settings),
                signature=wiring.onnx_signature,
                told=progress.step,
            ),
        )
        progress.end("export", "PASS")
    if as_json:
        output.emit({"candidate": candidate.id, "folder": str(target), "parity": finding.model_dump(mode="json")})
        return Exit.GOOD
    console = output.results()
    console.print(f"{candidate.id} is exported to {target}: {finding.reason}.", soft_wrap=True)
    console.print(f"Score rows: python {target / exporting.RUNNER} rows.json", soft_wrap=True)
    return Exit.GOOD


def _meant(named: str, ledger: Ledger) -> Candidate:
    """The champion of a project that is named by its folder or name, else the candidate."""
    from towpath.cli import opening
    from towpath.core import names
    from towpath.stages.work import champion

    folder = (Path(named) / names.CHARTER_FILE).is_file()
    if not folder and named not in opening.projects(ledger):
        return opening.candidate(named, ledger)
    project = opening.project_name(named, ledger) or named
    found = champion(ledger, project)
    if found is None:
        raise NotFound(
            f"Project {project} has no champion.", value=project, hint="Name a candidate: `towpath status` lists them."
        )
    return found.candidate


def _tolerance(candidate: Candidate) -> float:
    """The tolerance that the candidate's own parity was held to."""
    from towpath.core.gates import Stage

    for finding in candidate.entry(Stage.REGISTER).findings:
        if finding.code == "register.parity":
            return float(finding.bound.removeprefix("<= "))
    raise NotFound(
        f"{candidate.id} was registered before parity was measured.",
        value=candidate.id,
        hint="Run the path again: `towpath run`.",
    )
