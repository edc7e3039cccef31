"""`towpath ledger`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from towpath.cli import ledger_at, ledger_backup, ledger_export, ledger_verify, options, output
from towpath.cli.exits import Exit

if TYPE_CHECKING:
    from towpath.core.evidence import Record

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
    from towpath.cli import asking
    from towpath.core.evidence import RecordKind
    from towpath.verbs import records

    if sequence is not None:
        one = asking.ask(records.LEDGER_RECORD, records.AskRecord(sequence=sequence))
        output.emit(one.record.model_dump(mode="json"))
        return Exit.GOOD
    wanted = records.ListRecords(candidate=candidate, kind=RecordKind(kind) if kind else None, last=limit)
    found = asking.ask(records.LEDGER_RECORDS, wanted)
    if as_json:
        output.emit([record.model_dump(mode="json") for record in found.records])
        return Exit.GOOD
    _print_records(found.records, found.total or 0)
    return Exit.GOOD


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
