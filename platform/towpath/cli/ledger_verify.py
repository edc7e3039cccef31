"""`towpath ledger verify` and `towpath ledger checkpoint`"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from towpath.cli import ledger_options, options, output
from towpath.cli.exits import Exit
from towpath.core.errors import BadInput, Unwritable

if TYPE_CHECKING:
    from towpath.ledger.checkpoints import Checkpoint
    from towpath.ports import Fault, Keys, Verification
    from towpath.settings import Settings

_SHOWN = 20  # faults; --json has them all


def verify(
    file: Annotated[
        Path | None, typer.Option(metavar="EXPORT", help="Verify an exported ledger instead, without its database.")
    ] = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Compare with a checkpoint kept elsewhere; may be given again."),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder of the trusted public keys; TOWPATH_KEYS when left out.", show_default=False
        ),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Recompute every hash and signature; name the first bad record and what was done to it. Exit code 4 if any.

    Example: towpath ledger verify --file ledger.jsonl --checkpoint june.txt
    """
    from towpath import wiring
    from towpath.cli import opening

    settings = opening.settings()
    if settings.server is not None and file is None:
        return _asked(checkpoint, keys, as_json=as_json)
    trusted = wiring.trusted_keys(settings, keys)
    kept = [_read(path, trusted) for path in checkpoint or ()]
    found = _exported(file, trusted, kept) if file is not None else _own(settings, kept, keys)
    if as_json:
        output.emit(_document(found))
    else:
        _print(found, kept)
    return Exit.GOOD if found.whole else Exit.INTEGRITY


def checkpoint(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there; it is printed when left out.")
    ] = None,
    by: ledger_options.By = None,
    as_json: options.Json = False,
) -> int:
    """Sign how many records there are and which is the last, for somebody to keep elsewhere.

    Example: towpath ledger checkpoint --out june.txt
    """
    from towpath.cli import asking
    from towpath.verbs import custody

    made = asking.ask(custody.LEDGER_CHECKPOINT, custody.MakeCheckpoint(), by=by)
    text = made.note
    if out is not None:
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise Unwritable(f"{out} cannot be written: {error.strerror}.", value=str(out)) from error
    if as_json:
        output.emit(made.body)
    elif out is None:
        output.results().print(text, end="", soft_wrap=True, markup=False, highlight=False)
    else:
        output.results().print(
            f"Checkpoint of {made.records:,} records in {out}. "
            "Keep it where nobody who runs this installation can write.",
            soft_wrap=True,
        )
    return Exit.GOOD


def _asked(checkpoint: list[Path] | None, keys: Path | None, *, as_json: bool) -> int:
    """The server's word that its record is whole. Whoever does not take it exports the record, and verifies that."""
    from towpath.cli import asking
    from towpath.verbs import records

    if checkpoint or keys is not None:
        raise BadInput(
            "A server does not compare itself with what you keep.",
            hint="Verify an export of its record here: towpath ledger verify --file EXPORT --checkpoint FILE.",
        )
    said = asking.ask(records.LEDGER_VERIFY, records.VerifyLedger())
    if as_json:
        output.emit(said.body)
    else:
        _print(records.verification(said), [])
    return Exit.GOOD if said.whole else Exit.INTEGRITY


def _own(settings: Settings, kept: Sequence[Checkpoint], keys: Path | None) -> Verification:
    """The installation's own ledger. What an auditor brings is compared beside what is kept here."""
    from towpath.cli import opening
    from towpath.ledger.trust import Trust
    from towpath.ledger.verification import verify_records

    with opening.ledger(settings) as ledger:
        found = ledger.verify()
        if found.verdict is not None or (not kept and keys is None):
            return found
        from towpath import wiring

        trust = Trust.of(wiring.trusted_keys(settings, keys))
        return verify_records(ledger.records(), trust=trust, checkpoints=kept)


def _exported(file: Path, keys: Keys, kept: Sequence[Checkpoint]) -> Verification:
    from towpath.ledger.export import verify_export
    from towpath.ledger.trust import Trust

    try:
        with file.open("rb") as stream:
            return verify_export(stream, trust=Trust.of(keys), checkpoints=kept)
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}.", value=str(file)) from error


def _read(file: Path, keys: Keys) -> Checkpoint:
    from towpath.ledger import checkpoints

    try:
        return checkpoints.read(file.read_text(encoding="utf-8"), keys)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} cannot be read: {error}.", value=str(file)) from error


def _document(found: Verification) -> dict[str, Any]:
    return {
        "whole": found.whole,
        "records": found.records,
        "signed": found.signed,
        "head": found.head,
        "verdict": _fault(found.verdict) if found.verdict is not None else None,
        "faults": [_fault(fault) for fault in found.faults],
    }


def _fault(fault: Fault) -> dict[str, Any]:
    return {"record": fault.sequence, "kind": fault.kind, "what": fault.what}


def _print(found: Verification, kept: Sequence[Checkpoint]) -> None:
    console = output.results()
    if found.verdict is not None:
        console.print(f"{str(found.verdict.kind).capitalize()}: {found.verdict.what}", style="red", soft_wrap=True)
    for fault in found.faults[:_SHOWN]:
        console.print(f"Record {fault.sequence}: {fault.what}", style="dim", soft_wrap=True)
    if not found.whole:
        more = f", the first {_SHOWN} shown" if len(found.faults) > _SHOWN else ""
        console.print(
            f"{len(found.faults)} faults in {found.records:,} records{more}. Nothing is promoted from it; "
            "restore a backup.",
            soft_wrap=True,
        )
        return
    console.print(
        f"{found.records:,} records, each as it was written, {found.signed:,} signed by a trusted key. "
        f"Last hash: {found.head}",
        soft_wrap=True,
    )
    if kept:
        console.print(f"They are those of {len(kept)} checkpoint(s), and what came after.", soft_wrap=True)
    else:
        console.print(
            "Keep a checkpoint elsewhere (towpath ledger checkpoint --out FILE): records cut off the end leave no "
            "other trace.",
            soft_wrap=True,
        )
