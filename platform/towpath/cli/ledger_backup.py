"""`towpath ledger backup` and `towpath ledger restore`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from towpath.cli import ledger_options, options, output
from towpath.cli.exits import Exit
from towpath.core.errors import Denied

if TYPE_CHECKING:
    from towpath.ledger.backup import Backup
    from towpath.ledger.noted import Noted


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Archive to write.")],
    by: ledger_options.By = None,
    as_json: options.Json = False,
) -> int:
    """Write the whole ledger's database, verified and signed, to one file.

    Example: towpath ledger backup ledger-june.zip
    """
    from towpath import wiring
    from towpath.cli import opening
    from towpath.core.access import Action
    from towpath.ledger import backup as backups

    settings = opening.settings()
    opening.acting(settings, by, Action.LEDGER_BACKUP)
    with opening.ledger(settings):  # raises where there is none
        found = backups.backup(settings.ledger, file.absolute(), keys=wiring.open_keys(settings))
    return _said(found, f"written to {file}", as_json=as_json)


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Archive that `towpath ledger backup` wrote.")],
    into: Annotated[str, typer.Option(metavar="URL", help="An empty database: sqlite:///PATH or postgresql://….")],
    accept_loss: Annotated[
        str | None,
        typer.Option(
            metavar="REASON",
            help="Restore although a checkpoint kept here knows later records, which are lost then; say why.",
        ),
    ] = None,
    by: ledger_options.By = None,
    as_json: options.Json = False,
) -> int:
    """Verify a backup, put it into an empty database, and verify it there.

    Example: towpath ledger restore ledger-june.zip --into sqlite:///restored.db
    """
    from dataclasses import replace

    from towpath import wiring
    from towpath.cli import opening
    from towpath.core.access import Action
    from towpath.ledger import backup as backups
    from towpath.ledger.noted import Noted

    settings = opening.settings()
    opening.acting(settings, by, Action.LEDGER_BACKUP)
    keys = wiring.open_keys(settings)
    noted = Noted(file=wiring.noted(replace(settings, ledger=into)), keys=keys)
    found, _ = backups.read(file, keys=keys)
    _require_no_loss(found, noted, accept_loss)
    backups.restore(file, into, keys=keys)
    return _said(found, f"restored into {into.rpartition('@')[2]}", as_json=as_json)


def _require_no_loss(found: Backup, noted: Noted, accepted: str | None) -> None:
    """Raises `Denied` where records would be lost that are known to have been written, unless somebody says why."""
    kept = noted.read()
    if (
        kept is None
        or kept == found.checkpoint
        or (kept.origin, kept.size <= found.checkpoint.size)
        == (
            found.checkpoint.origin,
            True,
        )
    ):
        return
    if accepted is None or len(accepted.split()) < 2:
        raise Denied(
            f"The checkpoint kept here knows {kept.size:,} records, the last of {kept.at}; the backup has "
            f"{found.checkpoint.size:,}.",
            value=kept.size,
            hint="Restore a later backup, or accept that the others are lost: --accept-loss REASON.",
        )
    noted.set_aside()


def _said(found: Backup, what: str, *, as_json: bool) -> int:
    if as_json:
        output.emit({"rows": dict(found.rows), "head": found.checkpoint.head, "at": found.checkpoint.at})
        return Exit.GOOD
    output.results().print(
        f"{found.checkpoint.size:,} records, each as it was written, {what}. Last hash: {found.checkpoint.head}",
        soft_wrap=True,
    )
    return Exit.GOOD
