"""`towpath whoami`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit

if TYPE_CHECKING:
    from towpath.verbs.installation import Who


def whoami(
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="A name, where no token says who acts.")
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Say who a command would act as, how that is known, and what they may do in which project.

    Example: towpath whoami
    """
    from towpath.core.identity import EVERY_PROJECT

    found = _asked(by)
    if as_json:
        output.emit(found.body)
        return Exit.GOOD
    console = output.results()
    console.print(f"{found.person}, a {found.kind}, known by {found.via}", soft_wrap=True)
    if found.installation == "open":
        console.print("This installation is open: names are taken as they are given, and no approval counts.")
    for project, actions in found.may.items():
        where = "every project" if project == EVERY_PROJECT else project
        console.print(f"  in {where}: {', '.join(actions) or 'nothing'}", soft_wrap=True)
    if not found.may:
        console.print("  No role: nothing but to look on where reading is free.", soft_wrap=True)
    return Exit.GOOD


def _asked(by: str | None) -> Who:
    from towpath.cli import asking, opening
    from towpath.verbs import installation

    settings = opening.settings()
    if settings.server is not None:
        return asking.ask(installation.WHOAMI, installation.AskWho(), by=by)
    identity = opening.who(settings, by)
    with opening.doors(settings) as doors:
        return installation.who(identity, closed=doors.closed)
