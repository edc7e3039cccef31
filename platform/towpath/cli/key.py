"""`towpath key`"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit
from towpath.ports import Purpose

if TYPE_CHECKING:
    from towpath.ports import TrustedKey

app = typer.Typer(help="The keys that sign records and models, and those that are trusted.", no_args_is_help=True)
_By = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="Who acts, where no token says so; TOWPATH_ACTOR else.")
]


@app.command("list")
def listing(as_json: options.Json = False) -> int:
    """Every key that is trusted or was, and which sign in this process.

    Example: towpath key list
    """
    from towpath import wiring
    from towpath.cli import opening

    keys = wiring.open_keys(opening.settings())
    found = [key for purpose in Purpose for key in keys.trusted(purpose).values()]
    found.sort(key=lambda key: (key.purpose, key.added_at))
    signing = {keys.key_id(purpose) for purpose in Purpose}
    if as_json:
        output.emit([_document(key, signs=key.key_id in signing) for key in found])
        return Exit.GOOD
    table = output.table("key", "purpose", "added", "state")
    for key in found:
        state = f"revoked on {key.revoked_at}: {key.reason}" if key.revoked_at else "trusted"
        signs = ", signs now" if key.key_id in signing else ""
        table.add_row(key.key_id, key.purpose.value, key.added_at, state + signs)
    output.results().print(table)
    return Exit.GOOD


@app.command()
def rotate(
    purpose: Annotated[Purpose, typer.Argument(help="What the key signs.")],
    by: _By = None,
    as_json: options.Json = False,
) -> int:
    """Make a new key, which signs from now on. The old one stays trusted for what it signed.

    Example: towpath key rotate model --by "Ada Lovelace"
    """
    from towpath import wiring
    from towpath.cli import opening
    from towpath.core.access import Action
    from towpath.stages import keys as acts

    settings = opening.settings()
    identity = opening.acting(settings, by, Action.KEY_ROTATE)
    with opening.ledger(settings, identity=identity) as ledger:
        made = acts.rotate(wiring.open_keys(settings), ledger, purpose, actor=identity.person, at=wiring.now())
    if as_json:
        output.emit(_document(made, signs=True))
    else:
        output.results().print(f"Key {made.key_id} signs for {purpose} from now on.", soft_wrap=True)
    return Exit.GOOD


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="The key's id, or at least 8 digits of it.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, in a few words; it is recorded.")],
    by: _By = None,
    as_json: options.Json = False,
) -> int:
    """Trust a key no longer. Models that it signed are not loaded again until they are attested anew.

    Example: towpath key revoke 3f2a9c01 --reason "the build machine was broken into" --by "Ada Lovelace"
    """
    from towpath import wiring
    from towpath.cli import opening
    from towpath.core.access import Action
    from towpath.stages import keys as acts

    settings = opening.settings()
    identity = opening.acting(settings, by, Action.KEY_REVOKE)
    keys = wiring.open_keys(settings)
    with opening.ledger(settings, identity=identity) as ledger:
        found = acts.revoke(keys, ledger, acts.named(keys, key), actor=identity.person, at=wiring.now(), reason=reason)
    if as_json:
        output.emit(_document(found, signs=False))
        return Exit.GOOD
    console = output.results()
    console.print(f"Key {found.key_id} is trusted no longer, for anything behind record {found.revoked_after}.")
    if found.purpose is Purpose.MODEL:
        console.print(
            "What it attested is not loaded again. Attest what is still good: towpath model attest CANDIDATE",
            soft_wrap=True,
        )
    return Exit.GOOD


def _document(key: TrustedKey, *, signs: bool) -> dict[str, Any]:
    return {**asdict(key), "purpose": key.purpose.value, "signs": signs}
