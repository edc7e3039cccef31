"""`towpath status`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from towpath.cli import options, output
from towpath.cli.exits import Exit

if TYPE_CHECKING:
    from towpath.verbs.candidates import Status


def status(project: options.Project = None, as_json: options.Json = False) -> int:
    """List the candidates: how far each came, how it ended, which one is the champion; and the incidents.

    Example: towpath status my-model
    """
    found = _asked(project)
    if as_json:
        output.emit(found.body)
    else:
        _print(found)
    return Exit.GOOD


def _asked(project: str | None) -> Status:
    from towpath.cli import asking, opening
    from towpath.verbs import candidates

    settings = opening.settings()
    file = opening.embedded_ledger(settings)
    if settings.server is None and project is None and file is not None and not file.exists():
        return candidates.Status(project=None, candidates=[], incidents=[], emergencies=[])
    name = asking.project(project)
    if settings.server is None or name is not None:
        return asking.ask(candidates.STATUS, candidates.AskStatus(project=name))
    rows = asking.ask(candidates.PROJECTS, candidates.ListProjects()).projects
    every = [asking.ask(candidates.STATUS, candidates.AskStatus(project=row.project)) for row in rows]
    return candidates.Status(
        project=None,
        candidates=sorted((one for each in every for one in each.candidates), key=lambda one: one.at, reverse=True),
        incidents=sorted((one for each in every for one in each.incidents), key=lambda one: -one.sequence),
        emergencies=[one for each in every for one in each.emergencies],
    )


def _print(found: Status) -> None:

    console = output.results()
    if not found.candidates:
        of = f" of {found.project}" if found.project else ""
        console.print(f"No candidate{of} yet. Make one: towpath run", soft_wrap=True)
    else:
        table = output.table("candidate", "stage", "outcome", "model", "as of", "when", "who", "decision")
        for item in found.candidates:
            table.add_row(
                item.candidate,
                item.stage,
                output.badge(item.outcome),
                f"version {item.version}" if item.version else ", ".join(item.refused_by),
                _minute(item.as_of).removesuffix(" 00:00"),
                _minute(item.at),
                item.actor,
                "champion" if item.champion else output.badge(item.decision) if item.decision else _awaits(item),
            )
        console.print(table)
    for one in found.emergencies:
        console.print(
            f"Emergency {one['emergency']} let {one['candidate']} through; nothing else is promoted until somebody "
            f"writes what happened: towpath emergency follow-up {one['emergency']} --report FILE",
            style="red",
            soft_wrap=True,
        )
    for incident in found.incidents:
        for finding in incident.findings:
            where = f"{finding['code']} at {incident.stage}: {finding['reason']}"
            console.print(f"Incident {incident.sequence}, {_minute(incident.at)}, {where}", soft_wrap=True)


def _awaits(item: Any) -> str:
    """How many have agreed to a registered candidate that nobody has decided on yet."""
    from towpath.cli import standing_shown

    return standing_shown.brief(standing_shown.read(item.approvals))


def _minute(at: Any) -> str:
    return str(at)[:16].replace("T", " ")
