"""`towpath rollback`"""

from __future__ import annotations

from typing import Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit
from towpath.core.errors import TowpathError


def rollback(
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, in a few words; it is recorded.")],
    project: options.Project = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="CANDIDATE",
            help="An earlier champion; the one before the present one when left out.",
            autocompletion=options.candidates,
        ),
    ] = None,
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who decides; TOWPATH_ACTOR when left out, never the login name.")
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Make an earlier champion the champion again, in one decision; a rollout that is open ends with it.

    Needs the ledger's database alone; MLflow is shown it when it answers.

    Example: towpath rollback --by "Ada Lovelace" --reason "it is wrong about snow"
    """
    from towpath import wiring
    from towpath.cli import opening
    from towpath.cli.rollout_opening import acting_in, opened
    from towpath.core.access import Action
    from towpath.stages.rollback import rollback as roll_back
    from towpath.stages.succession import mirror

    settings = opening.settings()
    name, identity = acting_in(settings, project, by, Action.ROLLBACK)
    author = identity.person
    with opened(settings, identity=identity) as ports:
        target = None if to is None else opening.candidate(to, ports.ledger)
        done = roll_back(name, ports, to=target, author=author, reason=reason, now=wiring.now())
        try:
            with output.libraries_on_stderr():
                mirror(ports.ledger, lambda: wiring.open_models(settings), name)
            fault = ""
        except TowpathError as error:
            fault = error.message
    if as_json:
        output.emit(
            {
                "project": name,
                "champion": done.champion.id,
                "before": done.before.id,
                "record": done.record.sequence,
                "rollout": done.rollout.rollout_id if done.rollout else None,
                "mlflow": fault or "shown",
                "by": author,
                "reason": reason,
            }
        )
        return Exit.GOOD
    console = output.results()
    ended = f"; {done.rollout.rollout_id} is {done.rollout.phase}" if done.rollout else ""
    console.print(f"{done.champion.id} is the champion again, instead of {done.before.id}{ended}.", soft_wrap=True)
    if fault:
        again = "`towpath rollout mirror` shows it there later."
        output.messages().print(f"MLflow does not show it yet: {fault} {again}", style="yellow", soft_wrap=True)
    return Exit.GOOD
