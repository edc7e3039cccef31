"""`towpath slo`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit

if TYPE_CHECKING:
    from towpath.verbs.objectives import Objectives


def slo(
    project: options.Project = None,
    as_of: options.AsOf = None,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Print Prometheus' text format, such as for a textfile collector.")
    ] = False,
    as_json: options.Json = False,
) -> int:
    """Show how the promises of a project's data stand: measured, error budget left, burn rates; exit code 3 when spent.

    Example: towpath slo my-model
    """
    from towpath import wiring
    from towpath.cli import asking
    from towpath.verbs import objectives

    asked = objectives.AskObjectives(project=asking.one_project(project), as_of=as_of)
    found = asking.ask(objectives.SLO, asked)
    if as_json:
        output.emit(found.body)
    elif metrics:
        typer.echo(wiring.slo_metrics(found.project, found.body["objectives"]), nl=False)
    else:
        _print(found)
    return Exit.REFUSED if any(row.spent for row in found.objectives) else Exit.GOOD


def _print(found: Objectives) -> None:
    console = output.results()
    if not found.objectives:
        console.print(f"No contract of {found.project} promises freshness or latency, or nothing was validated yet.")
        return
    table = output.table("slo", "promise", "objective", "held", "budget left", "burn", "", right=["held"])
    for row in found.objectives:
        left = "not measured" if row.budget_left is None else f"{100 * row.budget_left:.1f} %"
        rates = ", ".join(f"{rate:.3g} in {window}" for window, rate in row.burn.items() if rate)
        table.add_row(
            row.slo,
            f"{row.promise_hours:g} h" if row.promise_hours is not None else "",
            f"{100 * row.objective:g} % of {row.window_hours / 24:g} d",
            f"{row.good:,} of {row.total:,}",
            left,
            rates or "none",
            output.badge(row.outcome),
        )
    console.print(table)
    for row in found.objectives:
        if row.outcome != "PASS":
            console.print(row.reason, soft_wrap=True)
    console.print(f"As of {str(found.as_of)[:16].replace('T', ' ')} UTC.", soft_wrap=True)
