"""`towpath promote`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit
from towpath.core.errors import BadInput

if TYPE_CHECKING:
    from towpath.core.policy import Decision


def promote(
    candidate: options.Candidate,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, in a few words; it is recorded.")],
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who decides; TOWPATH_ACTOR when left out, never the login name.")
    ] = None,
    project: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the model project; here when left out.", show_default=False)
    ] = Path(),
    as_json: options.Json = False,
) -> int:
    """Make a candidate the champion, if every gate was asked and allows it; the decision is recorded either way.

    Example: towpath promote flights-1f2e3d4c5b6a --by "Ada Lovelace" --reason "better on every carrier"
    """
    from towpath import wiring
    from towpath.cli import opening, walk
    from towpath.cli.progress import StageProgress
    from towpath.core.access import Action
    from towpath.path import ORDER
    from towpath.project import load
    from towpath.stages.promote import promote as decide
    from towpath.stages.work import champion

    settings = opening.settings()
    with opening.ledger(settings) as ledger:
        chosen = opening.candidate(candidate, ledger)
        current = champion(ledger, chosen.project)
    identity = opening.acting(settings, by, Action.PROMOTE, chosen.project)
    actor = identity.person
    loaded = load(project)
    if loaded.charter.project != chosen.project:
        raise BadInput(
            f"Candidate {chosen.id} belongs to project {chosen.project}, and {project} is {loaded.charter.project}.",
            value=str(project),
            hint="Name the project's folder: --project DIR.",
        )
    with (
        output.libraries_on_stderr(),
        StageProgress(output.messages()) as progress,
        walk.opened(settings, loaded, progress, as_of=None, order=ORDER, identity=identity) as work,
    ):
        decision = decide(chosen, work, reason=reason, now=wiring.now())
    already = current is not None and current.candidate.digest == chosen.digest
    if current is not None and already:
        actor, reason = current.decision.actor, str(current.decision.body.get("reason", ""))
        output.messages().print(f"{chosen.id} was the champion already; nothing changed.", soft_wrap=True)
    if as_json:
        output.emit({**decision.model_dump(mode="json"), "by": actor, "reason": reason})
    else:
        _print(decision, actor)
    return Exit.GOOD if already or decision.verdict == "PROMOTE" else Exit.REFUSED


def _print(decision: Decision, actor: str) -> None:
    console = output.results()
    console.print(output.badge(decision.verdict.value), decision.candidate, f"by {actor}")
    for reason in decision.reasons:
        console.print(f"  {reason}", soft_wrap=True)
    if decision.verdict == "PROMOTE":
        console.print(f"{decision.candidate} is the champion. Watch it: towpath monitor", soft_wrap=True)
    else:
        console.print(
            "Nothing was promoted; the decision is in the ledger: towpath ledger show --kind decision", soft_wrap=True
        )
