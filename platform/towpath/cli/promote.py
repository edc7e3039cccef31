"""`towpath promote`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit

if TYPE_CHECKING:
    from towpath.verbs.promotions import Promoted


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
    from towpath.cli import asking
    from towpath.verbs import promotions

    here = asking.folder(project)
    found = asking.ask(promotions.PROMOTE, promotions.Promote(candidate=candidate, reason=reason), by=by, here=here)
    if found.already:
        output.messages().print(f"{found.candidate} was the champion already; nothing changed.", soft_wrap=True)
    if as_json:
        output.emit(found.body)
    else:
        _print(found)
    return Exit.GOOD if found.already or found.verdict == "PROMOTE" else Exit.REFUSED


def _print(found: Promoted) -> None:
    console = output.results()
    console.print(output.badge(found.verdict), found.candidate, f"by {found.by}")
    for reason in found.reasons:
        console.print(f"  {reason}", soft_wrap=True)
    if found.verdict == "PROMOTE":
        console.print(f"{found.candidate} is the champion. Watch it: towpath monitor", soft_wrap=True)
    else:
        console.print(
            "Nothing was promoted; the decision is in the ledger: towpath ledger show --kind decision", soft_wrap=True
        )
