"""`towpath hold`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from towpath.cli import ledger_options, options, output
from towpath.cli.exits import Exit

if TYPE_CHECKING:
    from towpath.core.evidence import Candidate, Record
    from towpath.ports import Ledger

app = typer.Typer(help="Legal holds: what must not be removed.", no_args_is_help=True)
_What = Annotated[str, typer.Argument(metavar="WHAT", help="A project's name, or a candidate's id.")]


@app.command()
def place(
    what: _What, reason: ledger_options.Reason, by: ledger_options.By = None, as_json: options.Json = False
) -> int:
    """Hold a project or a candidate: nothing that it stands on is removed until the hold is released.

    Example: towpath hold place delays --reason "inquiry of the regulator" --by "Ada Lovelace"
    """
    from towpath.cli import opening
    from towpath.core.access import Action
    from towpath.stages import holds

    settings = opening.settings()
    with opening.ledger(settings) as ledger:
        project, candidate = _named(what, ledger)
    identity = opening.acting(settings, by, Action.HOLD_PLACE, project)
    with opening.ledger(settings, identity=identity) as ledger:
        record = holds.place(ledger, project, candidate, reason=reason, actor=identity.person)
    return _said(record, f"{what} is held", as_json=as_json)


@app.command()
def release(
    what: _What, reason: ledger_options.Reason, by: ledger_options.By = None, as_json: options.Json = False
) -> int:
    """Release a hold.

    Example: towpath hold release delays --reason "the inquiry is closed" --by "Ada Lovelace"
    """
    from towpath.cli import opening
    from towpath.core.access import Action
    from towpath.stages import holds

    settings = opening.settings()
    with opening.ledger(settings) as ledger:
        project, candidate = _named(what, ledger)
    identity = opening.acting(settings, by, Action.HOLD_RELEASE, project)
    with opening.ledger(settings, identity=identity) as ledger:
        record = holds.release(ledger, project, candidate, reason=reason, actor=identity.person)
    return _said(record, f"{what} is held no longer", as_json=as_json)


@app.command("list")
def listing(as_json: options.Json = False) -> int:
    """The holds that stand.

    Example: towpath hold list
    """
    from towpath.cli import opening
    from towpath.core.evidence import RecordKind
    from towpath.stages import holds

    with opening.ledger(opening.settings()) as ledger:
        found = holds.standing(ledger.records(kind=RecordKind.HOLD))
    if as_json:
        output.emit([hold.model_dump(mode="json") for hold in found])
        return Exit.GOOD
    table = output.table("held", "since", "by", "reason", "record", right=["record"])
    for hold in found:
        table.add_row(
            hold.candidate or hold.project, f"{hold.at:%Y-%m-%d %H:%M}", hold.by, hold.reason, str(hold.record)
        )
    output.results().print(table if found else "Nothing is held.")
    return Exit.GOOD


def _named(what: str, ledger: Ledger) -> tuple[str, Candidate | None]:
    """A project of the ledger by its name, else a candidate by what `towpath show` takes."""
    from towpath.cli import opening

    if what in opening.projects(ledger):
        return what, None
    found = opening.candidate(what, ledger)
    return found.project, found


def _said(record: Record, what: str, *, as_json: bool) -> int:
    if as_json:
        output.emit(record.model_dump(mode="json"))
    else:
        output.results().print(f"{what}: record {record.sequence}.", soft_wrap=True)
    return Exit.GOOD
