"""`towpath whoami`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit

if TYPE_CHECKING:
    from towpath.core.identity import Identity


def whoami(
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="A name, where no token says who acts.")
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Say who a command would act as, how that is known, and what they may do in which project.

    Example: towpath whoami
    """
    from towpath.cli import opening
    from towpath.core.grants import written
    from towpath.core.identity import EVERY_PROJECT

    settings = opening.settings()
    identity = opening.who(settings, by)
    with opening.doors(settings) as doors:
        closed = doors.closed
    may = _may(identity)
    if as_json:
        output.emit(
            {
                "person": identity.person,
                "account": identity.account,
                "kind": identity.kind.value,
                "proof": identity.proof.value,
                "via": identity.via,
                "credential": identity.credential,
                "issued_by": identity.issued_by,
                "grants": written(identity.grants),
                "installation": "closed" if closed else "open",
                "may": may,
            }
        )
        return Exit.GOOD
    console = output.results()
    console.print(f"{identity.person}, a {identity.kind}, known by {identity.via}", soft_wrap=True)
    if not closed:
        console.print("This installation is open: names are taken as they are given, and no approval counts.")
    for project, actions in may.items():
        where = "every project" if project == EVERY_PROJECT else project
        console.print(f"  in {where}: {', '.join(actions) or 'nothing'}", soft_wrap=True)
    if not may:
        console.print("  No role: nothing but to look on where reading is free.", soft_wrap=True)
    return Exit.GOOD


def _may(identity: Identity) -> dict[str, list[str]]:
    from towpath.core.access import Action, permits

    return {
        project: [action.value for action in Action if permits(identity, action, project)]
        for project in sorted(identity.grants)
    }
