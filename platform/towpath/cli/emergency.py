"""`towpath emergency`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit
from towpath.core.errors import BadInput, NotFound

if TYPE_CHECKING:
    from towpath.core.emergencies import Broken
    from towpath.ports import Ledger

app = typer.Typer(help="Break the glass: two persons promote what lacks approvals.", no_args_is_help=True)

By = Annotated[
    str | None,
    typer.Option("--by", metavar="NAME", help="Who decides; may only repeat who TOWPATH_TOKEN says it is."),
]
Name = Annotated[str, typer.Argument(metavar="ID", help="The emergency, as `towpath emergency list` names it.")]


@app.command("open")
def open_(
    candidate: options.Candidate,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it cannot wait; it is recorded.")],
    by: By = None,
    as_json: options.Json = False,
) -> int:
    """The first person's part: say which candidate must serve now, and why. Promotes nothing yet.

    Holds for 24 hours. A second person confirms it: towpath emergency confirm ID.

    Example: towpath emergency open flights-1f2e3d4c5b6a --reason "the champion answers nonsense since noon"
    """
    from towpath import wiring
    from towpath.cli import opening
    from towpath.core.access import Action
    from towpath.stages.emergency import open_emergency

    settings = opening.settings()
    with opening.ledger(settings) as ledger:
        chosen = opening.candidate(candidate, ledger)
    identity = opening.acting(settings, by, Action.EMERGENCY_OPEN, chosen.project)
    with opening.ledger(settings, identity=identity) as ledger:
        broken = open_emergency(chosen, identity, ledger, reason=reason, now=wiring.now())
    if as_json:
        output.emit(broken.model_dump(mode="json"))
        return Exit.GOOD
    output.results().print(
        f"{identity.person} opened {broken.emergency} for {chosen.id}. A second person confirms it within 24 hours: "
        f"towpath emergency confirm {broken.emergency}",
        soft_wrap=True,
    )
    return Exit.GOOD


@app.command()
def confirm(
    emergency: Name,
    by: By = None,
    project: Annotated[
        Path,
        typer.Option(
            "--project", metavar="DIR", help="Folder of the model project; here when left out.", show_default=False
        ),
    ] = Path(),
    as_json: options.Json = False,
) -> int:
    """The second person's part: promote the candidate although approvals or conclusive findings are missing.

    Goes past no finding that failed, and past nothing about whose bytes these are. Until the follow-up is written, the
    project promotes nothing else.

    Example: towpath emergency confirm flights-e1
    """
    from towpath import wiring
    from towpath.cli import opening, walk
    from towpath.cli.progress import StageProgress
    from towpath.core.access import Action
    from towpath.path import ORDER
    from towpath.project import load
    from towpath.stages.emergency import confirm as confirmed

    settings, loaded = opening.settings(), load(project)
    name = loaded.charter.project
    with opening.ledger(settings) as ledger:
        _named(ledger, emergency, name, project)
    identity = opening.acting(settings, by, Action.EMERGENCY_CONFIRM, name)
    with (
        output.libraries_on_stderr(),
        StageProgress(output.messages()) as progress,
        walk.opened(settings, loaded, progress, as_of=None, order=ORDER, identity=identity) as work,
    ):
        done = confirmed(emergency, identity, work, now=wiring.now())
    decision = done.decision
    if as_json:
        output.emit({"emergency": emergency, "by": identity.person, **decision.model_dump(mode="json")})
        return Exit.GOOD if decision.verdict == "PROMOTE" else Exit.REFUSED
    console = output.results()
    console.print(output.badge(decision.verdict.value), decision.candidate, f"by {identity.person}, {emergency}")
    for line in (*decision.reasons, *(f"passed over: {line}" for line in decision.waived)):
        console.print(f"  {line}", soft_wrap=True)
    if decision.verdict == "PROMOTE":
        console.print(
            f"Nothing else of {name} is promoted until somebody writes what happened: "
            f"towpath emergency follow-up {emergency} --report FILE",
            soft_wrap=True,
        )
        return Exit.GOOD
    return Exit.REFUSED


@app.command("follow-up")
def follow_up(
    emergency: Name,
    report: Annotated[
        str,
        typer.Option("--report", metavar="TEXT", help="What happened, why, what was done; or a file that says it."),
    ],
    by: By = None,
    as_json: options.Json = False,
) -> int:
    """Write what happened, why the glass was broken, and what was done about it; then the project promotes again.

    Example: towpath emergency follow-up flights-e1 --report incident-2013-06.md
    """
    from towpath import wiring
    from towpath.cli import opening
    from towpath.core.access import Action
    from towpath.stages.emergency import follow_up as follow

    settings = opening.settings()
    with opening.ledger(settings) as ledger:
        found = next((one for one in _every(ledger, None) if one.emergency == emergency), None)
        if found is None:
            raise _unknown(emergency, _every(ledger, None))
        project = opening.candidate(found.candidate, ledger).project
    identity = opening.acting(settings, by, Action.EMERGENCY_FOLLOW_UP, project)
    with opening.ledger(settings, identity=identity) as ledger:
        broken = follow(emergency, project, identity, ledger, report=_text(report), now=wiring.now())
    if as_json:
        output.emit(broken.model_dump(mode="json"))
    else:
        output.results().print(
            f"{identity.person} wrote the follow-up of {emergency}; {project} promotes again.", soft_wrap=True
        )
    return Exit.GOOD


@app.command("list")
def list_(project: options.Project = None, as_json: options.Json = False) -> int:
    """List the emergencies: who opened and confirmed each, and which follow-ups are missing.

    Example: towpath emergency list
    """
    from towpath.cli import opening, standing_shown

    with opening.ledger(opening.settings()) as ledger:
        found = _every(ledger, opening.project_name(project, ledger))
    if as_json:
        output.emit([{**one.model_dump(mode="json"), "state": one.state} for one in found])
    elif found:
        standing_shown.draw_emergencies(found)
    else:
        output.results().print("No glass was ever broken here.")
    return Exit.GOOD


def _every(ledger: Ledger, project: str | None) -> tuple[Broken, ...]:
    from towpath.cli import opening
    from towpath.stages.verdict import broken_glass

    wanted = opening.projects(ledger) if project is None else [project]
    return tuple(one for name in wanted for one in broken_glass(ledger, name))


def _named(ledger: Ledger, emergency: str, project: str, folder: Path) -> None:
    known = _every(ledger, None)
    if emergency not in {one.emergency for one in known}:
        raise _unknown(emergency, known)
    if emergency not in {one.emergency for one in _every(ledger, project)}:
        raise BadInput(
            f"{emergency} is not of project {project}, whose folder is {folder}.",
            value=str(folder),
            hint="Name the project's folder: --project DIR.",
        )


def _unknown(emergency: str, known: tuple[Broken, ...]) -> NotFound:
    return NotFound(
        f"There is no emergency {emergency!r}.",
        value=emergency,
        valid=[one.emergency for one in known] or ["none"],
        hint="`towpath emergency list` lists them.",
    )


def _text(report: str) -> str:
    """The report itself, or what the file of that name holds."""
    if len(report.split()) == 1 and Path(report).suffix:
        try:
            return Path(report).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(
                f"{report} cannot be read: {error}.", value=report, hint="Name a text file, or write the report itself."
            ) from error
    return report
