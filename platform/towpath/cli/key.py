"""`towpath key`"""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit

app = typer.Typer(
    help="The keys that sign records and models, those that are trusted, and those of pseudonyms.", no_args_is_help=True
)
_By = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="Who acts, where no token says so; TOWPATH_ACTOR else.")
]


@app.command("list")
def listing(as_json: options.Json = False) -> int:
    """Every key that is trusted or was, and which sign in this process.

    Example: towpath key list
    """
    from towpath.cli import asking
    from towpath.verbs import installation

    found = asking.ask(installation.KEY_LIST, installation.ListKeys(), make=True).keys
    if as_json:
        output.emit([key.body for key in found])
        return Exit.GOOD
    table = output.table("key", "purpose", "added", "state")
    for key in found:
        state = f"revoked on {key.revoked_at}: {key.reason}" if key.revoked_at else "trusted"
        signs = ", signs now" if key.signs else ""
        table.add_row(key.key_id, key.purpose, key.added_at, "; ".join(filter(None, [key.about, state + signs])))
    output.results().print(table)
    return Exit.GOOD


@app.command()
def rotate(
    purpose: Annotated[
        Literal["ledger", "model"], typer.Argument(metavar="PURPOSE", help="What the key signs: ledger or model.")
    ],
    by: _By = None,
    as_json: options.Json = False,
) -> int:
    """Make a new key, which signs from now on. The old one stays trusted for what it signed.

    Example: towpath key rotate model --by "Ada Lovelace"
    """
    from towpath.cli import asking
    from towpath.ports import Purpose
    from towpath.verbs import installation

    made = asking.ask(installation.KEY_ROTATE, installation.RotateKey(purpose=Purpose(purpose)), by=by)
    if as_json:
        output.emit(made.body)
    else:
        output.results().print(f"Key {made.key_id} signs for {purpose} from now on.", soft_wrap=True)
    return Exit.GOOD


@app.command()
def pseudonym(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="The key's name, as contracts write it; `default` where they name none."),
    ],
    by: _By = None,
    as_json: options.Json = False,
) -> int:
    """Make a key of pseudonyms, or its next version: every value then gets another pseudonym.

    Example: towpath key pseudonym default --by "Ada Lovelace"
    """
    from towpath.cli import asking
    from towpath.verbs import installation

    made = asking.ask(installation.KEY_PSEUDONYM, installation.RotatePseudonyms(name=name), by=by, make=True)
    if as_json:
        output.emit(made.body)
        return Exit.GOOD
    console = output.results()
    console.print(f"Key {made.name} gives pseudonyms from now on, in version {made.version}.")
    if made.version > 1:
        console.print(
            "What is ingested from now on joins with nothing that was ingested before. The old version's "
            "file stays; remove it when nothing is to be recognized by it any more.",
            soft_wrap=True,
        )
    return Exit.GOOD


@app.command()
def revoke(
    key: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="The key's id or at least 8 digits of it; or the SHA-256 fingerprint of a certificate."
        ),
    ],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, in a few words; it is recorded.")],
    by: _By = None,
    as_json: options.Json = False,
) -> int:
    """Trust a key no longer. Models that it signed are not loaded again until they are attested anew.

    Example: towpath key revoke 3f2a9c01 --reason "the build machine was broken into" --by "Ada Lovelace"
    """
    from towpath.cli import asking
    from towpath.verbs import installation

    found = asking.ask(installation.KEY_REVOKE, installation.RevokeKey(key=key, reason=reason), by=by)
    if as_json:
        output.emit(found.body)
        return Exit.GOOD
    console = output.results()
    console.print(f"Key {found.key_id} is trusted no longer, for anything behind record {found.revoked_after}.")
    if found.purpose == "model":
        console.print(
            "What it attested is not loaded again. Attest what is still good: towpath model attest CANDIDATE",
            soft_wrap=True,
        )
    return Exit.GOOD
