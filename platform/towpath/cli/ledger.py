"""`towpath ledger`"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from towpath.cli import ledger_at, ledger_backup, ledger_export, ledger_verify, options, output
from towpath.cli.exits import Exit
from towpath.core.errors import NotFound

if TYPE_CHECKING:
    from towpath.core.evidence import Record
    from towpath.ports import Ledger

Kind = Literal["entry", "decision", "incident", "approval", "waiver", "emergency", "attestation", "access", "hold"]

app = typer.Typer(help="Read, verify and export the record of everything that was done.", no_args_is_help=True)
for _command in (
    ledger_verify.verify,
    ledger_verify.checkpoint,
    ledger_at.at,
    ledger_export.export,
    ledger_backup.backup,
    ledger_backup.restore,
):
    app.command()(_command)


@app.command()
def show(
    sequence: Annotated[int | None, typer.Argument(metavar="RECORD", min=1, help="One record, in full.")] = None,
    candidate: Annotated[
        str | None,
        typer.Option(metavar="CANDIDATE", help="What is written of one candidate.", autocompletion=options.candidates),
    ] = None,
    kind: Annotated[Kind | None, typer.Option(help="One kind only.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many of the last records.")] = 20,
    as_json: options.Json = False,
) -> int:
    """List the last records, or show one in full.

    Example: towpath ledger show 7
    """
    from towpath.cli import opening
    from towpath.core.evidence import RecordKind

    with opening.ledger(opening.settings()) as ledger:
        if sequence is not None:
            output.emit(_one(ledger, sequence).model_dump(mode="json"))
            return Exit.GOOD
        wanted = None if candidate is None else set(_written_of(candidate, ledger))
        records = [
            record
            for record in ledger.records(kind=RecordKind(kind) if kind else None)
            if wanted is None or record.digest in wanted or record.body.get("digest") in wanted
        ]
    last = list(deque(records, maxlen=limit))
    if as_json:
        output.emit([record.model_dump(mode="json") for record in last])
        return Exit.GOOD
    _print_records(last, len(records))
    return Exit.GOOD


def _written_of(named: str, ledger: Ledger) -> list[str]:
    """The digests of the entries of a candidate that has some, else of what incidents and decisions call by that id."""
    from towpath.cli import opening

    try:
        return [entry.digest for entry in opening.candidate(named, ledger).entries]
    except NotFound:
        by_name = [record.digest for record in ledger.records(candidate=named)]
        if not by_name:
            raise
        return by_name


def _one(ledger: Ledger, sequence: int) -> Record:
    found = next(iter(ledger.records(after=sequence - 1)), None)
    if found is None or found.sequence != sequence:
        raise NotFound(
            f"The ledger has no record {sequence}.", value=sequence, hint="`towpath ledger show` lists the last."
        )
    return found


def _print_records(records: list[Record], total: int) -> None:
    console = output.results()
    table = output.table("record", "when", "kind", "stage", "candidate", "outcome", "who", right=["record"])
    for record in records:
        when = f"{record.at:%Y-%m-%d %H:%M:%S}"
        outcome = output.badge(_outcome(record))
        table.add_row(
            str(record.sequence), when, record.kind.value, record.stage, record.candidate, outcome, record.actor
        )
    console.print(table)
    if total > len(records):
        console.print(f"The last {len(records)} of {total:,}; more with --limit.", soft_wrap=True)


def _outcome(record: Record) -> str:
    from towpath.core.evidence import Incident, RecordKind, worst

    if record.kind is RecordKind.ENTRY:
        return record.entry().outcome.value
    if record.kind is RecordKind.DECISION:
        return str(record.body.get("verdict", ""))
    if record.kind is RecordKind.INCIDENT:
        return worst(Incident.model_validate(record.body).findings).value
    refused = record.body.get("refused")
    return f"refused {refused}" if refused else str(record.body.get("act", ""))
