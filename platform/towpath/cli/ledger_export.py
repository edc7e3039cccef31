"""`towpath ledger export`"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit
from towpath.core.errors import BadInput, Unwritable

if TYPE_CHECKING:
    from towpath.core.evidence import Record

Format = Literal["jsonl", "openlineage"]


def export(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="File to write; - for stdout.", allow_dash=True, show_default=False),
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="The records themselves, or OpenLineage events of the stages.")
    ] = "jsonl",
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Send OpenLineage events to a collector instead of a file.")
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Write the whole ledger as JSON Lines, which `towpath ledger verify --file` verifies anywhere.

    Example: towpath ledger export ledger.jsonl
    """
    from towpath.cli import opening

    _require_one_target(file, form, url, as_json=as_json)
    with opening.ledger(opening.settings()) as ledger:
        if url is not None:
            from towpath import wiring

            return _said(wiring.send_lineage(ledger.records(), url), f"sent to {url}", as_json=as_json)
        assert file is not None
        if str(file) == "-":
            _write(ledger.records(), form, sys.stdout.buffer)
            return Exit.GOOD
        count = _replaced(ledger.records(), form, file)
    verifies = f" Verify them: towpath ledger verify --file {file}" if form == "jsonl" else ""
    return _said(count, f"written.{verifies}", as_json=as_json, file=file)


def _require_one_target(file: Path | None, form: Format, url: str | None, *, as_json: bool) -> None:
    if (file is None) is (url is None):
        raise BadInput("An export goes to one place.", hint="Name a FILE (- for stdout), or a --url.")
    if url is not None and form != "openlineage":
        raise BadInput("A collector takes OpenLineage events.", value=form, hint="Add --format openlineage.")
    if str(file) == "-" and as_json:
        raise BadInput(
            "The export itself goes to stdout; --json would mix with it.", hint="Name a file, or leave --json."
        )


def _replaced(records: Iterable[Record], form: Format, file: Path) -> int:
    """Write a file that takes the place of another only when it is whole."""
    try:
        with tempfile.TemporaryDirectory(prefix=".exporting-", dir=file.absolute().parent) as scratch:
            whole = Path(scratch) / "ledger"
            with whole.open("wb") as stream:
                count = _write(records, form, stream)
            whole.replace(file)
    except OSError as error:
        raise Unwritable(
            f"{file} cannot be written: {error.strerror}.",
            value=str(file),
            hint="Name a file in a folder you may write to.",
        ) from error
    return count


def _write(records: Iterable[Record], form: Format, stream: BinaryIO) -> int:
    if form == "jsonl":
        from towpath.ledger.export import export as write

        return write(records, stream)
    from towpath import wiring

    count = 0
    for line in wiring.lineage_lines(records):
        stream.write(line.encode() + b"\n")
        count += 1
    return count


def _said(count: int, what: str, *, as_json: bool, file: Path | None = None) -> int:
    if as_json:
        output.emit({"file": str(file.absolute()) if file is not None else None, "records": count})
    else:
        output.results().print(f"{count:,} records {what}", soft_wrap=True)
    return Exit.GOOD
