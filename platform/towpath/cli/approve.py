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
    from towpath import wiring
    from towpath.cli import opening, standing_shown
    from towpath.core.access import Action
    from towpath.stages import approve as approvals
    from towpath.stages.agreed import document

    if withdraw and policy_change:
        raise BadInput("--withdraw takes everything back; it knows no --policy-change.", hint="Give one of them.")
    settings = opening.settings()
    with opening.ledger(settings) as ledger:
        chosen = opening.candidate(candidate, ledger)
    identity = opening.acting(settings, by, Action.WITHDRAW if withdraw else Action.APPROVE, chosen.project)
    with opening.ledger(settings, identity=identity) as ledger:
        if withdraw:
            done = approvals.withdraw(chosen, identity, ledger, reason=reason, now=wiring.now())
        else:
            done = approvals.approve(
                chosen, identity, ledger, reason=reason, now=wiring.now(), policy_change=policy_change
            )
    if as_json:
        output.emit(
            {
                "candidate": chosen.id,
                "act": done.record.body["act"],
                "record": done.record.sequence,
                "again": done.again,
                "by": identity.person,
                "standing": document(done.standing),
            }
        )
        return Exit.GOOD
    what = "has taken back the approval of" if withdraw else "had approved" if done.again else "approved"
    output.results().print(f"{identity.person} {what} {chosen.id} (record {done.record.sequence}).", soft_wrap=True)
    standing_shown.draw(done.standing)
    return Exit.GOOD
