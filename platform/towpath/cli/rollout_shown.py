"""A rollout drawn in the terminal: weights by decision, evidence against its bounds, and confidence sequences."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from towpath.cli import output
from towpath.core.looks import Judgement, Look, MetricStatus
from towpath.core.rollout import WHOLE, Rollout, Telemetry
from towpath.core.rollout_rules import Scene
from towpath.verbs.rollout_words import span

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

    from towpath.verbs.rollouts import RolloutStatus

_WIDE = 41  # characters of a drawn confidence sequence; odd, so that no difference lies in the middle
_GAUGE = 16
_RATIO_SPAN = math.log(8)  # a ratio is drawn from 1/8 to 8, logarithmically
_COLOURS = {"progressing": "green", "succeeded": "green", "baking": "green", "promoting": "green", "held": "yellow"}
_COLOURS |= {"rolling-back": "red", "rolled-back": "red", "aborted": "yellow", "superseded": "yellow"}
_LAST = 8  # decisions that are listed


def look(rollout: str) -> RolloutStatus:
    """How it stands, from wherever it is asked."""
    from towpath.cli import asking
    from towpath.verbs import rollouts

    return asking.ask(rollouts.ROLLOUT_STATUS, rollouts.AskRollout(rollout=rollout))


def watch(rollout: str, *, interval: float) -> None:
    """Draw it anew until it has ended."""
    from rich.live import Live

    found = look(rollout)
    with Live(drawn(found), console=output.results(), auto_refresh=False) as live:
        while scene_of(found).rollout.open:
            time.sleep(interval)
            found = look(rollout)
            live.update(drawn(found), refresh=True)


def drawn(found: RolloutStatus) -> Group:
    """Everything that is known of a rollout, for people."""
    from rich.console import Group
    from rich.text import Text

    scene = scene_of(found)
    parts: list[RenderableType] = [_heading(scene.rollout), _weights(scene.rollout), _steps(scene)]
    if scene.judgement is not None:
        parts += [_evidence(scene), _sequences(scene)]
        parts += [Text(f"{hold.name} holds: {hold.reason}", style="yellow") for hold in scene.judgement.holds]
    parts += [Text(f"Exposure may not rise: {reason}", style="yellow") for reason in found.obstacles]
    parts += [Text(f"The evidence cannot be read: {fault}", style="red") for fault in found.faults]
    parts.append(_decided(found.decisions))
    return Group(*parts)


def scene_of(found: RolloutStatus) -> Scene:
    """What a document says, as the rules see it; without salt and the judge's memory, which no drawing needs."""
    return Scene(
        rollout=Rollout.model_validate({**found.rollout, "salt": "", "judge": {}}),
        look=Look.model_validate(found.look) if found.look is not None else None,
        judgement=Judgement.model_validate(found.evidence) if found.evidence is not None else None,
        telemetry=Telemetry.model_validate(found.telemetry),
        now=datetime.fromisoformat(found.at),
    )


def _heading(rollout: Rollout) -> Text:
    from rich.text import Text

    held = f" ({rollout.held})" if rollout.held else ""
    return Text.assemble(
        (rollout.rollout_id, "bold"),
        " ",
        (f"{rollout.phase}{held}", _COLOURS.get(rollout.phase.value, "cyan")),
        f"  generation {rollout.generation}, started {rollout.started_at:%Y-%m-%d %H:%M} by {rollout.started_by}",
    )


def _weights(rollout: Rollout) -> Table:
    table = output.table("arm", "candidate", "version", "weight", "", right=["weight"])
    arms = (("challenger", rollout.challenger, rollout.weight), ("champion", rollout.champion, WHOLE - rollout.weight))
    for arm, contender, weight in arms:
        bar = "█" * round(weight / WHOLE * _WIDE)
        table.add_row(arm, contender.candidate, contender.version, f"{weight / 100:g} %", bar)
    return table


def _steps(scene: Scene) -> Table:
    rollout = scene.rollout
    table = output.table("step", "weight", "until", "units", right=["step", "weight", "units"])
    for number, step in enumerate(rollout.policy.steps):
        until = [f"{step.until.min_units:,} units"] if step.until.min_units else []
        until += ["promotion test"] if step.until.promotion else []
        until += [f"at most {span(step.until.max_duration)}"] if step.until.max_duration else []
        strata = scene.look.strata if scene.look else ()
        units = sum(one.challenger.units for one in strata if one.step == number)
        mark = " ←" if number == rollout.step and rollout.exposed else ""
        table.add_row(f"{number + 1}{mark}", f"{step.weight:g} %", ", ".join(until), f"{units:,}")
    return table


def _evidence(scene: Scene) -> Table:
    """Log e-values against the bounds at which they decide."""
    table = output.table(
        "metric", "champion", "challenger", "harm", "", "promotion", "", right=["champion", "challenger"]
    )
    for metric in scene.judgement.metrics if scene.judgement else ():
        champion, challenger = (f"{n:,} of {units:,}" for n, units in zip(metric.events, metric.units, strict=True))
        harm = f"{metric.harm_log_e:.2f} / {metric.harm_bound:.2f}"
        shown = metric.noninferiority_log_e, metric.noninferiority_bound
        promotion = "" if shown[0] is None or shown[1] is None else f"{shown[0]:.2f} / {shown[1]:.2f}"
        table.add_row(
            metric.name,
            champion,
            challenger,
            _gauge(metric.harm_log_e, metric.harm_bound, "red"),
            harm,
            _gauge(shown[0], shown[1], "green"),
            f"{promotion} {metric.promotion if metric.promotion != 'none' else 'not asked'}".strip(),
        )
    return table


def _gauge(value: float | None, bound: float | None, colour: str) -> Text:
    from rich.text import Text

    if value is None or not bound:
        return Text("")
    filled = round(max(0.0, min(1.0, value / bound)) * _GAUGE)
    return Text.assemble(("█" * filled, colour), ("░" * (_GAUGE - filled), "dim"))


def _sequences(scene: Scene) -> Table:
    """Each metric's confidence sequence: no difference in the middle, the margin where promotion draws it."""
    table = output.table("metric", "estimate", "confidence sequence (│ no difference, ┊ margin)", "interval")
    for metric in scene.judgement.metrics if scene.judgement else ():
        margin = scene.rollout.policy.margin(metric.name)
        wanted = None if margin is None else margin.non_inferior.ratio or margin.non_inferior.absolute
        what = " times" if metric.type != "mean" else " more"
        estimate = "" if metric.estimate is None else f"{metric.estimate:.3g}{what}"
        low, high = metric.interval or (None, None)
        interval = "" if low is None else f"{low:.3g} to {'any' if high is None else f'{high:.3g}'}"
        table.add_row(metric.name, estimate, sequence(metric, wanted), interval)
    return table


def sequence(metric: MetricStatus, margin: float | None) -> str:
    """A confidence sequence in `_WIDE` characters; ends beyond the picture are arrows."""
    reach = _RATIO_SPAN if metric.type != "mean" else 4 * (margin or _widest(metric))
    cells = [" "] * _WIDE

    def place(value: float | None) -> int:
        if value is None:  # no limit
            return _WIDE - 1
        at = math.log(max(value, 1e-9)) if metric.type != "mean" else value
        return round((max(-1.0, min(1.0, at / reach)) + 1) / 2 * (_WIDE - 1))

    if metric.interval is not None:
        low, high = (place(end) for end in metric.interval)
        cells[low : high + 1] = "─" * (high - low + 1)
        cells[low], cells[high] = "◄" if low == 0 else "├", "►" if high == _WIDE - 1 else "┤"
    cells[_WIDE // 2] = "┼" if cells[_WIDE // 2] == "─" else "│"
    if margin is not None:
        cells[place(margin)] = "┊"
    if metric.estimate is not None:
        cells[place(metric.estimate)] = "●"
    return "".join(cells)


def _widest(metric: MetricStatus) -> float:
    return max((abs(end) for end in metric.interval or () if end is not None), default=1.0) or 1.0


def _decided(decisions: Sequence[Mapping[str, Any]]) -> Table:
    table = output.table("when", "verdict", "to", "weight", "why", "who", right=["weight"])
    for one in decisions[-_LAST:]:
        weight = f"{one['weight_before'] / 100:g} → {one['weight_after'] / 100:g} %"
        when = f"{datetime.fromisoformat(one['decided_at']):%m-%d %H:%M:%S}"
        table.add_row(when, one["verdict"], one["to_state"], weight, one["reason"], one["actor"])
    return table
