"""`towpath init`"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit

_NAMED = 8  # classes in a sentence

if TYPE_CHECKING:
    from towpath.stages.init import Drafted
    from towpath.stages.init_files import Owner


def init(
    name: Annotated[
        Path, typer.Argument(metavar="NAME", help="Folder to make; its name is the project's.", show_default=False)
    ],
    data: Annotated[
        str,
        typer.Option(
            "--data", metavar="FILE", help="The table: CSV or Parquet, or a folder of it.", show_default=False
        ),
    ],
    target: Annotated[
        str, typer.Option("--target", metavar="COLUMN", help="The column that is to be predicted.", show_default=False)
    ],
    key: Annotated[
        str | None, typer.Option("--key", metavar="COLUMN", help="The column that names what a row is about.")
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", metavar="COLUMN", help="The column that says when the prediction is made.")
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Draft a project for a table of one's own; where files are, propose beside them what has changed.

    Example: towpath init churn --data customers.csv --target churned --key customer_id
    """
    from towpath import wiring
    from towpath.cli import opening
    from towpath.stages.init import Tools, Wanted
    from towpath.stages.init import init as draft

    console = output.messages()
    with output.libraries_on_stderr():
        drafted = draft(
            Wanted(folder=name, data=data, target=target, key=key, time=time),
            Tools(
                sources=wiring.open_sources(opening.settings()),
                profiles=wiring.open_profiles(),
                transforms=wiring.open_transforms(),
                as_of=wiring.moment(None),
                owner=_owner(),
                told=lambda what: console.print(f"init        {what}", style="dim", soft_wrap=True),
            ),
        )
    if as_json:
        output.emit(_document(drafted))
    else:
        _print(drafted, name)
    return Exit.GOOD


def _owner() -> Owner:
    from towpath.stages.init_files import Owner

    name = options.actor() or os.environ.get("USER") or "nobody yet"
    return Owner(name=name, email="nobody@example.com")


def _document(drafted: Drafted) -> dict[str, Any]:
    plan, kept = drafted.plan, drafted.kept
    return {
        "project": plan.asked.project,
        "rows": plan.rows,
        "task": plan.target.task.value,
        "positive": plan.target.positive,
        "classes": list(plan.target.classes),
        "shape": plan.shape.value,
        "columns": [
            {"column": one.profile.name, "name": one.name, "role": one.role.value, "why": one.why}
            for one in plan.columns
        ],
        "written": list(kept.written),
        "proposed": list(kept.proposed),
        "unchanged": list(kept.same),
        "waiting": list(kept.waiting),
        "changes": [
            {"class": one.impact.value, "where": one.where, "what": one.what, "why": one.reason}
            for one in (kept.change.changes if kept.change else ())
        ],
        "warnings": list(drafted.warnings),
    }


def _print(drafted: Drafted, folder: Path) -> None:
    plan, kept = drafted.plan, drafted.kept
    console = output.results()
    table = output.table("column", "is", "as", "because")
    for column in plan.columns:
        table.add_row(
            column.profile.name, column.role.value, "" if column.role == "left out" else column.name, column.why
        )
    console.print(table)
    for line in _told(drafted):
        console.print(line, soft_wrap=True)
    for place in kept.written:
        console.print(f"written   {folder / place}", soft_wrap=True)
    for place in kept.proposed:
        console.print(f"proposed  {folder / place}", soft_wrap=True)
    for place in kept.waiting:
        console.print(f"waiting   {folder / place}", soft_wrap=True)
    if kept.change is not None:
        changes = output.table("class", "where", "what", "why")
        for change in kept.change.changes:
            changes.add_row(change.impact.value, change.where, change.what, change.reason)
        console.print(changes)
        console.print(f"The contract is proposed as version {kept.change.after}, after {kept.change.before}.")
    if kept.why_not:
        console.print(kept.why_not, soft_wrap=True)
    console.print(_next(drafted, folder), soft_wrap=True)


def _told(drafted: Drafted) -> list[str]:
    """What the draft costs, in sentences."""
    from towpath.core.draft import MOST_LOOKED_UP

    plan = drafted.plan
    lines = []
    if plan.target.positive is not None:
        lines.append(f"{plan.label} is 1 where {plan.target.column} is {plan.target.positive}, else 0.")
    elif plan.target.classes:
        several = sorted(str(one) for one in plan.target.classes)
        named = ", ".join(several[:_NAMED]) + (", …" if len(several) > _NAMED else "")
        lines.append(f"{plan.label} is one of {len(several)} classes ({named}), as {plan.target.column} has them.")
    else:
        lines.append(f"{plan.label} is a number, as {plan.target.column} has it: a regression.")
    if plan.key is None:
        lines.append(
            "Without --key rows are told apart by their content, and all columns come with the request: nothing can be "
            "looked up, and a row that changes is another row."
        )
    if plan.too_many:
        lines.append(
            f"--key names each row, but {plan.rows:,} rows of {len(plan.inputs):,} inputs are more than "
            f"{MOST_LOOKED_UP:,} values: nothing is looked up by it, and all columns come with the request."
        )
    if plan.time is None:
        lines.append(
            "Without --time rows are held out by their content, not the newest: how the model ages, what was known "
            "when, and drift cannot be seen."
        )
    if plan.every > 1:
        lines.append(f"Of {plan.rows:,} rows one in {plan.every} is trained on; transforms/spine.sql says which.")
    return [*lines, *drafted.warnings]


def _next(drafted: Drafted, folder: Path) -> str:
    place = shlex.quote(str(folder))
    if drafted.kept.proposed:
        return f"Nothing was overwritten. Compare, take over what you want, and then: towpath run {place}"
    if drafted.kept.waiting:
        return (
            "The draft says nothing new, but earlier proposals lie there still. Take them over or delete them, and "
            f"then: towpath run {place}"
        )
    if not drafted.kept.written:
        return f"The draft says nothing new; nothing was written. Next: towpath run {place}"
    return f"Look for DECIDE in {place}. Next: towpath run {place}"
