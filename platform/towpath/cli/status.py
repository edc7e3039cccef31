"""`towpath status`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from towpath.cli import options, output
from towpath.cli.exits import Exit

if TYPE_CHECKING:
    from towpath.core.evidence import Record
    from towpath.verbs.history import History, Reached


def status(project: options.Project = None, as_json: options.Json = False) -> int:
    """List the candidates: how far each came, how it ended, which one is the champion; and the incidents.

    Example: towpath status my-model
    """
    from towpath import wiring
    from towpath.cli import opening
    from towpath.verbs import history

    settings = opening.settings()
    file = opening.embedded_ledger(settings)
    if project is None and file is not None and not file.exists():
        name, found = None, history.History(candidates=(), incidents=())
    else:
        with opening.ledger(settings) as ledger:
            name = opening.project_name(project, ledger)
            found = history.agreed(history.read(ledger, name), ledger, now=wiring.now())
    if as_json:
        output.emit(_document(name, found))
    else:
        _print(name, found)
    return Exit.GOOD


def _document(project: str | None, found: History) -> dict[str, Any]:
    return {
        "project": project,
        "candidates": [_reached(item) for item in found.candidates],
        "incidents": [_incident(record) for record in found.incidents],
        "emergencies": [one.model_dump(mode="json") for one in found.emergencies],
    }


def _reached(item: Reached) -> dict[str, Any]:
    from towpath.stages.agreed import document

    return {
        "candidate": item.candidate.id,
        "digest": item.candidate.digest,
        "project": item.candidate.project,
        "stage": item.record.stage,
        "outcome": item.candidate.outcome.value,
        "as_of": item.as_of,
        "version": item.version,
        "champion": item.champion,
        "decision": item.decision.body.get("verdict") if item.decision else None,
        "at": item.record.at.isoformat(),
        "actor": item.record.actor,
        "refused_by": _refused(item),
        "approvals": document(item.standing),
    }


def _refused(item: Reached) -> list[str]:
    from towpath.verbs.history import failed

    return sorted({finding.code for finding in failed(item.candidate.findings)})


def _incident(record: Record) -> dict[str, Any]:
    from towpath.core.evidence import Incident

    incident = Incident.model_validate(record.body)
    return {
        "sequence": record.sequence,
        "candidate": record.candidate,
        "stage": record.stage,
        "at": record.at.isoformat(),
        "findings": [finding.model_dump(mode="json") for finding in incident.findings],
    }


def _print(project: str | None, found: History) -> None:
    from towpath.cli import standing_shown

    console = output.results()
    if not found.candidates:
        console.print(f"No candidate{f' of {project}' if project else ''} yet. Make one: towpath run", soft_wrap=True)
    else:
        table = output.table("candidate", "stage", "outcome", "model", "as of", "when", "who", "approvals", "decision")
        for item in found.candidates:
            verdict = str(item.decision.body.get("verdict")) if item.decision else ""
            table.add_row(
                item.candidate.id,
                item.record.stage,
                output.badge(item.candidate.outcome.value),
                f"version {item.version}" if item.version else ", ".join(_refused(item)),
                item.as_of[:16].replace("T", " "),
                f"{item.record.at:%Y-%m-%d %H:%M}",
                item.record.actor,
                standing_shown.brief(item.standing),
                "champion" if item.champion else output.badge(verdict),
            )
        console.print(table)
    for one in found.emergencies:
        console.print(
            f"Emergency {one.emergency} let {one.candidate} through; nothing else is promoted until somebody says "
            f"what happened: towpath emergency follow-up {one.emergency} --report FILE",
            style="red",
            soft_wrap=True,
        )
    for record in found.incidents:
        for finding in _incident(record)["findings"]:
            where = f"{finding['code']} at {record.stage}: {finding['reason']}"
            console.print(f"Incident {record.sequence}, {record.at:%Y-%m-%d %H:%M}, {where}", soft_wrap=True)
