"""`towpath hold`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from towpath.cli import ledger_options, options, output
from towpath.cli.exits import Exit

if TYPE_CHECKING:
    from towpath.core.evidence import Record

app = typer.Typer(help="Legal holds: what must not be removed.", no_args_is_help=True)
_What = Annotated[str, typer.Argument(metavar="WHAT", help="A project's name, or a candidate's id.")]


@app.command()
def place(
    what: _What, reason: ledger_options.Reason, by: ledger_options.By = None, as_json: options.Json = False
) -> int:
    """Hold a project or a candidate: nothing that it stands on is removed until the hold is released.

    Example: towpath hold place delays --reason "inquiry of the regulator" --by "Ada Lovelace"
    """
    from towpath.cli import asking
    from towpath.verbs import custody

    done = asking.ask(custody.HOLD_PLACE, custody.PlaceHold(what=what, reason=reason), by=by)
    return _said(done.record, f"{what} is held", as_json=as_json)


@app.command()
def release(
    what: _What, reason: ledger_options.Reason, by: ledger_options.By = None, as_json: options.Json = False
) -> int:
    """Release a hold.

    Example: towpath hold release delays --reason "the inquiry is closed" --by "Ada Lovelace"
    """
    from towpath.cli import asking
    from towpath.verbs import custody

    done = asking.ask(custody.HOLD_RELEASE, custody.ReleaseHold(what=what, reason=reason), by=by)
    return _said(done.record, f"{what} is held no longer", as_json=as_json)


@app.command("list")
def listing(as_json: options.Json = False) -> int:
    """The holds that stand.

    Example: towpath hold list
    """
    from towpath.cli import asking
    from towpath.stages.holds import Hold
    from towpath.verbs import custody

    said = asking.ask(custody.HOLD_LIST, custody.ListHolds()).holds
    if as_json:
        output.emit(said)
        return Exit.GOOD
    found = [Hold.model_validate(one) for one in said]
    table = output.table("held", "since", "by", "reason", "record", right=["record"])
    for hold in found:
        table.add_row(
            hold.candidate or hold.project, f"{hold.at:%Y-%m-%d %H:%M}", hold.by, hold.reason, str(hold.record)
        )
    output.results().print(table if found else "Nothing is held.")
    return Exit.GOOD


def _said(record: Record, what: str, *, as_json: bool) -> int:
    if as_json:
        output.emit(record.model_dump(mode="json"))
    else:
        output.results().print(f"{what}: record {record.sequence}.", soft_wrap=True)
    return Exit.GOOD
