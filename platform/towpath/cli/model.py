"""`towpath model`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit
from towpath.core.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

    from towpath.core.evidence import Finding
    from towpath.stages.attested import Attested

app = typer.Typer(help="A model's files: scanned, attested, verified. None of them is loaded.", no_args_is_help=True)


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A model's folder, or one file of a model.")],
    as_json: options.Json = False,
) -> int:
    """Say whether a model's files are of formats that run no code, and what the scanner finds; exit code 3 if not.

    Example: towpath model check downloads/some-model
    """
    from towpath import wiring
    from towpath.stages.supply import refused

    if not folder.exists():
        raise BadInput(f"There is no {folder}.", value=str(folder), hint="Name the folder that holds the model.")
    with output.libraries_on_stderr():
        findings = wiring.open_supply().scanner.inspect(folder, subject=folder.name)
    if as_json:
        output.emit([finding.model_dump(mode="json") for finding in findings])
    else:
        _print(findings)
    return Exit.REFUSED if refused(findings) else Exit.GOOD


@app.command()
def attest(
    candidate: options.Candidate,
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who acts, where no token says so; TOWPATH_ACTOR else.")
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Sign what was registered of a candidate with today's key: after the key that signed it was revoked.

    Its stored bytes are compared with the recorded digests and scanned again; nothing else of it changes.

    Example: towpath model attest flights-1f2e3d4c5b6a --by "Ada Lovelace"
    """
    from towpath import wiring
    from towpath.cli import opening
    from towpath.core.access import Action
    from towpath.stages import attest as acts
    from towpath.stages.attested import require_attested

    settings = opening.settings()
    with opening.ledger(settings) as ledger:
        chosen = opening.candidate(candidate, ledger)
    identity = opening.acting(settings, by, Action.MODEL_ATTEST, chosen.project)
    with output.libraries_on_stderr(), opening.ledger(settings, identity=identity) as ledger:
        world = wiring.open_attesting(settings, ledger=ledger, actor=identity.person)
        record = acts.attest_again(chosen, world)
        found = require_attested(ledger, world.keys, chosen)
    if as_json:
        output.emit({**_signed(found), "record": record.sequence})
        return Exit.GOOD
    output.results().print(f"{chosen.id} is attested by {found.signer} (record {record.sequence}).", soft_wrap=True)
    _print_certificate(found)
    return Exit.GOOD


@app.command()
def verify(candidate: options.Candidate, as_json: options.Json = False) -> int:
    """Prove a candidate's attestation and the signature over each of its stored files; exit code 4 names what changed.

    Example: towpath model verify flights-1f2e3d4c5b6a
    """
    from towpath import wiring
    from towpath.cli import opening
    from towpath.stages.attest import verify_files

    settings = opening.settings()
    with output.libraries_on_stderr(), opening.ledger(settings) as ledger:
        chosen = opening.candidate(candidate, ledger)
        found = verify_files(chosen, wiring.open_attesting(settings, ledger=ledger, actor=settings.actor))
    if as_json:
        output.emit({**_signed(found), "subjects": dict(found.subjects)})
        return Exit.GOOD
    console = output.results()
    console.print(f"{chosen.id}: every file is as it was signed by {found.signer}.", soft_wrap=True)
    _print_certificate(found)
    for name, digest in sorted(found.subjects.items()):
        console.print(f"  {name}  {digest}", soft_wrap=True)
    return Exit.GOOD


def _signed(found: Attested) -> dict[str, JsonValue]:
    """Who signed, and by which fingerprint a certificate of theirs is revoked."""
    return {
        "candidate": found.candidate,
        "key": found.key_id,
        "signer": found.signer,
        "certificate": found.certificate,
    }


def _print_certificate(found: Attested) -> None:
    """Of an identity; another certificate names its signer already."""
    if found.certificate not in (None, found.key_id):
        output.results().print(f"  certificate  {found.certificate}", soft_wrap=True)


def _print(findings: Sequence[Finding]) -> None:
    console = output.results()
    for finding in findings:
        console.print(output.badge(finding.outcome.value), finding.code, finding.reason, soft_wrap=True)
