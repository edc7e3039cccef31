"""`towpath emergency`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit
from towpath.core.errors import BadInput, NotFound

if TYPE_CHECKING:
    from towpath.verbs.approvals import Emergency

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
    from towpath.cli import asking
    from towpath.verbs import approvals

    opened = approvals.OpenEmergency(candidate=candidate, reason=reason)
    broken = asking.ask(approvals.EMERGENCY_OPEN, opened, by=by)
    if as_json:
        output.emit(broken.body)
        return Exit.GOOD
    output.results().print(
        f"{broken.opened.who.person} opened {broken.emergency} for {broken.candidate}. A second person confirms it "
        f"within 24 hours: towpath emergency confirm {broken.emergency}",
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
    from towpath.cli import asking
    from towpath.verbs import approvals

    here = asking.folder(project)
    name = here.charter.project if here is not None else project_of(emergency)
    asked = approvals.ConfirmEmergency(project=name, emergency=emergency)
    decision = asking.ask(approvals.EMERGENCY_CONFIRM, asked, by=by, here=here)
    if as_json:
        output.emit(decision.body)
        return Exit.GOOD if decision.verdict == "PROMOTE" else Exit.REFUSED
    console = output.results()
    console.print(output.badge(decision.verdict), decision.candidate, f"by {decision.by}, {emergency}")
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
    from towpath.cli import asking
    from towpath.verbs import approvals

    name = project_of(emergency)
    asked = approvals.FollowUp(project=name, emergency=emergency, report=_text(report))
    broken = asking.ask(approvals.EMERGENCY_FOLLOW_UP, asked, by=by)
    if as_json:
        output.emit(broken.body)
    else:
        who = broken.followed_up.who.person if broken.followed_up is not None else ""
        output.results().print(f"{who} wrote the follow-up of {emergency}; {name} promotes again.", soft_wrap=True)
    return Exit.GOOD


@app.command("list")
def list_(project: options.Project = None, as_json: options.Json = False) -> int:
    """List the emergencies: who opened and confirmed each, and which follow-ups are missing.

    Example: towpath emergency list
    """
    from towpath.cli import asking, standing_shown

    found = _every(asking.project(project))
    if as_json:
        output.emit([one.body for one in found])
    elif found:
        standing_shown.draw_emergencies(found)
    else:
        output.results().print("No glass was ever broken here.")
    return Exit.GOOD


def project_of(emergency: str) -> str:
    """The project of an emergency, by its name. Raises `NotFound`."""
    known = _every(None)
    for one in known:
        if one.emergency == emergency:
            return one.candidate.rpartition("-")[0]
    raise NotFound(
        f"There is no emergency {emergency!r}.",
        value=emergency,
        valid=[one.emergency for one in known] or ["none"],
        hint="`towpath emergency list` lists them.",
    )


def _every(project: str | None) -> list[Emergency]:
    from towpath.cli import asking
    from towpath.verbs import approvals, candidates

    if project is not None:
        names = [project]
    else:
        names = [row.project for row in asking.ask(candidates.PROJECTS, candidates.ListProjects()).projects]
    found: list[Emergency] = []
    for name in names:
        found += asking.ask(approvals.EMERGENCY_LIST, approvals.ListEmergencies(project=name)).emergencies
    return found


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
