"""`towpath approve`"""

from __future__ import annotations

from typing import Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit
from towpath.core.errors import BadInput


def approve(
    candidate: options.Candidate,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, in a few words; it is recorded.")],
    policy_change: Annotated[
        bool,
        typer.Option(
            "--policy-change",
            help="Say that you know that its charter asks less than the champion's; takes a platform-admin.",
        ),
    ] = False,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take your approval back.")] = False,
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who decides; may only repeat who TOWPATH_TOKEN says it is.")
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Agree to a registered candidate, or take that back. How many must, and in which role, its charter's risk says.

    An approval is for this digest alone, never by one who submitted it, and takes a token (TOWPATH_TOKEN) or a login.

    Example: towpath approve flights-1f2e3d4c5b6a --reason "better on every carrier"
    """
    from towpath.cli import asking, standing_shown
    from towpath.verbs import approvals

    if withdraw and policy_change:
        raise BadInput("--withdraw takes everything back; it knows no --policy-change.", hint="Give one of them.")
    if withdraw:
        taken = approvals.Withdraw(candidate=candidate, reason=reason)
        done = asking.ask(approvals.WITHDRAW, taken, by=by)
    else:
        given = approvals.Approve(candidate=candidate, reason=reason, policy_change=policy_change)
        done = asking.ask(approvals.APPROVE, given, by=by)
    if as_json:
        output.emit(done.body)
        return Exit.GOOD
    what = "has taken back the approval of" if withdraw else "had approved" if done.again else "approved"
    output.results().print(f"{done.by} {what} {done.candidate} (record {done.record}).", soft_wrap=True)
    standing_shown.draw(standing_shown.read(done.standing))
    return Exit.GOOD
