"""`towpath retention`"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any

import typer

from towpath.cli import ledger_options, options, output
from towpath.cli.exits import Exit
from towpath.core.errors import BadInput

app = typer.Typer(help="Remove stored files that nothing needs any more.", no_args_is_help=True)
_LEAST_DAYS = 1


@app.command()
def apply(
    older_than: Annotated[str, typer.Option(metavar="DAYS", help="Only what was written longer ago than that: 400d.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and remove nothing.")] = False,
    by: ledger_options.By = None,
    as_json: options.Json = False,
) -> int:
    """Remove what only old candidates that were never champion refer to; never what is held, never the ledger.

    Example: towpath retention apply --older-than 400d --dry-run
    """
    from towpath.cli import asking, opening
    from towpath.verbs import custody

    asked = custody.ApplyRetention(older_than=_age(older_than), dry_run=dry_run)
    if dry_run and opening.settings().server is None:
        found = asking.look(custody.apply_retention, asked)  # the files can be read anyhow
    else:
        found = asking.ask(custody.RETENTION_APPLY, asked, by=by)
    if as_json:
        output.emit(found.removals if dry_run else [record.model_dump(mode="json") for record in found.records])
    elif dry_run:
        _print(found.removals)
    else:
        output.results().print(
            f"{len(found.records):,} removed, each with a record. `towpath retention list` lists them."
        )
    return Exit.GOOD


@app.command("list")
def listing(as_json: options.Json = False) -> int:
    """What was removed, when, and by whom.

    Example: towpath retention list
    """
    from towpath.cli import opening
    from towpath.core.evidence import RecordKind
    from towpath.stages import retention

    with opening.ledger(opening.settings()) as ledger:
        found = retention.removed(ledger.records(kind=RecordKind.HOLD))
    if as_json:
        output.emit([record.model_dump(mode="json") for record in found.values()])
        return Exit.GOOD
    table = output.table("removed", "kind", "when", "by", "record", right=["record"])
    for subject, record in found.items():
        when = f"{record.at:%Y-%m-%d %H:%M}"
        table.add_row(subject, str(record.body["kind"]), when, record.actor, str(record.sequence))
    output.results().print(table if found else "Nothing was removed.")
    return Exit.GOOD


def _age(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,5})d", text)
    if found is None or int(found[1]) < _LEAST_DAYS:
        raise BadInput(f"{text!r} is no age.", value=text, hint="Give days, at least one: --older-than 400d.")
    return timedelta(days=int(found[1]))


def _print(removals: Sequence[Mapping[str, Any]]) -> None:
    table = output.table("project", "kind", "name", "subject", "size", right=["size"])
    for removal in removals:
        size = output.size(removal["size"]) if removal["size"] is not None else ""
        table.add_row(removal["project"], removal["kind"], removal["name"], removal["subject"], size)
    output.results().print(table if removals else "Nothing is that old and needed by nothing.")
