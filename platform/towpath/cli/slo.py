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
    from towpath.cli import asking
    from towpath.verbs import objectives

    asked = objectives.AskObjectives(project=asking.one_project(project), as_of=as_of)
    found = asking.ask(objectives.SLO, asked)
    if as_json:
        output.emit(found.body)
    elif metrics:
        typer.echo(_metrics(found), nl=False)
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


def _metrics(found: Objectives) -> str:
    """The same as gauges; what was not measured has no sample but its objective."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry, names = CollectorRegistry(), ["project", "slo"]
    objective = Gauge("towpath_slo_objective_ratio", "Share that shall hold.", names, registry=registry)
    good = Gauge("towpath_slo_window_good", "What held in the objective's window.", names, registry=registry)
    total = Gauge("towpath_slo_window_total", "What was measured in it.", names, registry=registry)
    left = Gauge("towpath_slo_budget_left_ratio", "Share of the error budget left.", names, registry=registry)
    burn = Gauge("towpath_slo_burn_rate", "Faults over those allowed.", [*names, "window"], registry=registry)
    for row in found.objectives:
        of = (found.project, row.slo)
        objective.labels(*of).set(row.objective)
        good.labels(*of).set(row.good)
        total.labels(*of).set(row.total)
        if row.budget_left is not None:
            left.labels(*of).set(row.budget_left)
        for window, rate in row.burn.items():
            if rate is not None:
                burn.labels(*of, window).set(rate)
    return generate_latest(registry).decode()
