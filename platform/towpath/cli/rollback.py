"""`towpath rollback`"""

from __future__ import annotations

from typing import Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit


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
    from towpath.cli import asking
    from towpath.verbs import promotions

    asked = promotions.Rollback(project=asking.one_project(project), reason=reason, to=to)
    done = asking.ask(promotions.ROLLBACK, asked, by=by)
    if as_json:
        output.emit(done.body)
        return Exit.GOOD
    console = output.results()
    ended = f"; {done.rollout} is {done.rollout_phase}" if done.rollout else ""
    console.print(f"{done.champion} is the champion again, instead of {done.before}{ended}.", soft_wrap=True)
    if done.mlflow != "shown":
        again = "`towpath rollout mirror` shows it there later."
        output.messages().print(f"MLflow does not show it yet: {done.mlflow} {again}", style="yellow", soft_wrap=True)
    return Exit.GOOD
