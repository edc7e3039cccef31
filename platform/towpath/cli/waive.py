"""`towpath waive`"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit
from towpath.core.errors import BadInput


def waive(
    candidate: options.Candidate,
    gate: Annotated[str, typer.Option(metavar="CODE", help="The gate that refused it.", autocompletion=options.gates)],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, in a few words; it is recorded.")],
    subject: Annotated[
        str, typer.Option(metavar="SUBJECT", help="What it refused: a table, a slice; as `towpath show` names it.")
    ] = "",
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long it holds: a number and h, d or w, at most 90d.")
    ] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="End the waiver, whoever granted it.")] = False,
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who decides; may only repeat who TOWPATH_TOKEN says it is.")
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Answer for one finding that refused a candidate: the path goes on, and the finding stays in its evidence.

    Never by one who submitted it, and never for a gate about whose bytes these are. Then: towpath run.

    Example: towpath waive flights-1f2e3d4c5b6a --gate eval.slice --subject carrier=HA --reason "few rows" --expires 7d
    """
    from towpath.cli import asking
    from towpath.verbs import approvals

    if not withdraw and expires is None:
        raise BadInput("A waiver ends some time.", hint="Say how long it holds: --expires 7d.")
    if withdraw:
        ended = approvals.WithdrawWaiver(candidate=candidate, code=gate, subject=subject, reason=reason)
        done = asking.ask(approvals.WAIVE_WITHDRAW, ended, by=by)
    else:
        given = approvals.Waive(
            candidate=candidate, code=gate, subject=subject, reason=reason, expires=_span(expires or "")
        )
        done = asking.ask(approvals.WAIVE, given, by=by)
    if as_json:
        output.emit(done.body)
        return Exit.GOOD
    named = f"{gate}{f' ({subject})' if subject else ''}"
    if withdraw:
        output.results().print(f"{done.author} ended the waiver of {named} for {done.candidate}.", soft_wrap=True)
    else:
        output.results().print(
            f"{done.author} answers for {named} of {done.candidate} until {done.expires[:16].replace('T', ' ')} UTC. "
            "Go on: towpath run",
            soft_wrap=True,
        )
    return Exit.GOOD


def _span(text: str) -> timedelta:
    """A duration as the charter writes it."""
    from pydantic import TypeAdapter, ValidationError

    from towpath.core.declaration import Duration

    try:
        return TypeAdapter(Duration).validate_python(text)
    except ValidationError as error:
        raise BadInput(f"{text!r} is no duration.", value=text, valid=["12h", "7d", "2w"]) from error
