"""What `towpath rollout start` and `towpath rollout replay` print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from towpath.cli import output

if TYPE_CHECKING:
    from towpath.verbs.rollouts import RolloutReplayed, RolloutStarted


def started(begun: RolloutStarted, *, as_json: bool) -> None:
    """A rollout that was started, and what each of its tests can be expected to need."""
    plan = begun.plan
    if as_json:
        output.emit(begun.body)
        return
    console = output.results()
    console.print(
        f"{begun.rollout_id} is started: {begun.challenger['candidate']} challenges {begun.champion['candidate']}.",
        soft_wrap=True,
    )
    if plan:
        table = output.table("step", "metric", "test", "effect", "units", "days", right=["step", "units", "days"])
        for one in plan:
            effect = "" if one.effect is None else f"{one.effect:g}"
            units = "never" if one.units is None and one.known else "unknown" if one.units is None else f"{one.units:,}"
            days = "" if one.days is None else f"{one.days:.1f}"
            table.add_row(f"{one.step + 1}", one.metric, one.test, effect, units, days)
        console.print(table)
    else:
        console.print("The champion's log says nothing yet, so what it will take was not planned.", soft_wrap=True)
    console.print(
        "A controller moves it on: towpath rollout run. Watch it: towpath rollout status --watch", soft_wrap=True
    )


def replayed(found: RolloutReplayed) -> None:
    """Each decision, and what differs when it is decided again."""
    console = output.results()
    table = output.table("decision", "record", "verdict", "again", right=["record"])
    for item in found.decisions:
        again = "the same" if item.same else "differs"
        table.add_row(item.decision, str(item.record), item.verdict, again + ("" if item.same_code else ", other code"))
    console.print(table)
    for item in found.decisions:
        for difference in item.differences:
            console.print(f"{item.decision}: {difference}", style="red", soft_wrap=True)
