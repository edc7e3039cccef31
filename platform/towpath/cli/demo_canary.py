"""The demo's canary: recorded flights as live traffic through a gateway, and a challenger that is judged on them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from towpath import wiring
from towpath.cli import demo_traffic
from towpath.cli.demo_people import People
from towpath.cli.demo_show import approve
from towpath.cli.exports import report_folder
from towpath.cli.progress import StageProgress
from towpath.cli.rollout_opening import opened
from towpath.core.evidence import Candidate, Finding
from towpath.core.evidence import Outcome as Checked
from towpath.core.gates import Stage
from towpath.core.looks import Judgement, Look
from towpath.core.rollout import WHOLE, Phase, Rollout
from towpath.core.rollout_decision import Verdict
from towpath.core.rollout_policy import RolloutPolicy
from towpath.ports import Progress
from towpath.project import Project
from towpath.settings import Settings

if TYPE_CHECKING:
    from towpath.core.rollout_rules import Scene
    from towpath.example.replay import Replay, Replayed
    from towpath.measure.plots_rollout import Point
    from towpath.stages.canary import CanaryPorts

_RATE = 700.0  # requests a second: June passes in forty seconds
_WARM = 2_000  # requests that the champion serves alone, so that its 99th percentiles are known
_AHEAD = 2_000  # requests that the judge may not have seen yet; more are not sent until it has
_TICK = 0.5
_PATIENCE = 30.0  # seconds that a rollout may go on after the last request
PLOT = "rollout.png"
_REASON = "newer data, and no worse than the champion on its holdout"


@dataclass(frozen=True, kw_only=True)
class Canary:
    """What came of a rollout: its last state, every look at it, and the traffic that it was judged on."""

    rollout: Rollout
    points: tuple[Point, ...]
    replayed: Replayed

    @property
    def promoted(self) -> bool:
        return self.rollout.phase in (Phase.BAKING, Phase.SUCCEEDED)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the demo says of its canary."""

    promoted: bool
    lines: tuple[str, ...]
    files: tuple[Path, ...]
    document: dict[str, Any]


def judged(
    candidate: Candidate, project: Project, settings: Settings, progress: StageProgress, people: People
) -> Outcome:
    """The canary of the demo's challenger; one that was judged before and is champion is not judged again."""
    from towpath.stages.work import champion

    folder = report_folder(settings.state, candidate)
    with opened(settings) as ports:
        found = champion(ports.ledger, project.charter.project)
        assert found is not None
        if found.candidate.digest == candidate.digest:
            past = [
                one
                for one in ports.rollouts.history(candidate.project)
                if one.challenger.digest == found.candidate.digest
            ]
            lines = tuple(explained(ports, past[0])) if past else ("It is the champion already.",)
            kept = folder / PLOT
            return Outcome(
                promoted=True, lines=lines, files=(kept,) if kept.is_file() else (), document={"reused": True}
            )
    rows = demo_traffic.traffic(project, settings, progress, people.ada)
    canary = run(candidate, project, rows, settings, progress, people)
    return Outcome(
        promoted=canary.promoted,
        lines=told(canary, settings),
        files=(plot(canary, folder),),
        document=document(canary),
    )


def told(canary: Canary, settings: Settings) -> tuple[str, ...]:
    """The traffic, and each decision, in lines."""
    with opened(settings) as ports:
        return (_traffic_line(canary.replayed), *explained(ports, canary.rollout))


def findings(canary: Canary, settings: Settings) -> list[Finding]:
    """What took the challenger's traffic away, as the finding of a gate; none when nothing did."""
    from towpath.stages.canary import decisions

    with opened(settings) as ports:
        taken = [one for _, one in decisions(ports.ledger, canary.rollout)]
    return [
        Finding(
            code=f"rollout.{one.reason_code.value}",
            outcome=Checked.FAIL,
            measured=canary.replayed.arms["challenger"],
            unit="requests answered by the challenger",
            reason=f"{one.reason} The challenger had answered {canary.replayed.arms['challenger']:,} requests.",
        )
        for one in taken
        if one.verdict is Verdict.ROLLBACK and one.inputs.command is None and one.from_state is not Phase.ROLLING_BACK
    ]


def explained(ports: CanaryPorts, rollout: Rollout) -> list[str]:
    """Each decision on a rollout in a line."""
    from towpath.stages.canary import decisions

    return [
        f"{one.verdict:<9} {one.from_state} → {one.to_state}, {one.weight_after / WHOLE:.0%} of units. {one.reason}"
        for _, one in decisions(ports.ledger, rollout)
    ]


def document(canary: Canary) -> dict[str, Any]:
    """A canary as JSON."""
    return {
        "rollout": canary.rollout.rollout_id,
        "phase": canary.rollout.phase.value,
        "requests": canary.replayed.sent,
        "failed": canary.replayed.failed,
        "labels": canary.replayed.labels,
        "arms": dict(canary.replayed.arms),
        "seconds": round(canary.replayed.seconds, 1),
    }


def _traffic_line(replayed: Replayed) -> str:
    arms = ", ".join(f"{count:,} answered by the {arm}" for arm, count in sorted(replayed.arms.items()))
    return f"{replayed.sent:,} requests: {arms}, {replayed.failed} failed; {replayed.labels:,} labels came later"


def run(
    candidate: Candidate,
    project: Project,
    traffic: Path,
    settings: Settings,
    progress: Progress,
    people: People,
    *,
    change: Callable[[int, dict[str, Any]], dict[str, Any]] = lambda _, columns: columns,
) -> Canary:
    """Serve the champion, send it the recorded rows, start a rollout of the candidate, and go on to its end.

    Grace approves and starts it, the controller ticks.

    `traffic`: Parquet with the model's inputs, the rollout's unit, the label, and when each was known. `change` is done
    to each request (its number, its columns) before it is sent.
    """
    from towpath.example.replay import Recorded, Replay
    from towpath.stages.succession import mirror

    charter = project.charter
    policy = charter.rollout
    assert policy is not None
    inputs: Any = candidate.entry(Stage.TRAIN).facts["inputs"]
    recorded = Recorded(
        project=charter.project,
        file=traffic,
        columns=tuple(dict.fromkeys([*inputs, *([policy.unit] if policy.unit else [])])),
        row_id=charter.features.row_id,
        target=charter.training.target,
    )
    progress.begin("canary")
    progress.step("approval")
    approve(candidate, people, settings)
    progress.step("gateway")
    with (
        demo_traffic.gateway(project.folder, settings) as url,
        opened(settings, identity=people.controller) as ports,
        opened(settings, identity=people.grace) as manager,
    ):
        replay = Replay(recorded, url, rate=_RATE, ahead=_AHEAD, change=change)
        begun = wiring.now()
        replay.start()
        try:
            _warm(ports, charter.project, policy, begun, progress, replay)
            rollout = _start(candidate, project, manager)
            points = list(_watch(ports, rollout, progress, replay))
            last = ports.rollouts.get(rollout.rollout_id)
            mirror(ports.ledger, lambda: wiring.open_models(settings), charter.project)
        finally:
            replayed = replay.finish()
    progress.end("canary", last.phase.value)
    return Canary(rollout=last, points=tuple(points), replayed=replayed)


def plot(found: Canary, folder: Path) -> Path:
    """Draw the rollout."""
    from towpath.measure.plots_rollout import rollout

    folder.mkdir(parents=True, exist_ok=True)
    outcome = f"{found.rollout.phase}, {found.rollout.challenger.candidate}"
    return rollout(folder / PLOT, found.points, name=found.rollout.rollout_id, outcome=outcome)


def _warm(
    ports: CanaryPorts,
    project: str,
    policy: RolloutPolicy,
    since: datetime,
    progress: Progress,
    replay: Replay,
) -> None:
    """Let the champion serve alone until its log tells every threshold that the policy wants frozen."""
    from towpath.stages.work import champion

    found = champion(ports.ledger, project)
    assert found is not None
    model = found.candidate.entry(Stage.TRAIN).subject("model").digest
    progress.step("the champion alone, for its thresholds")
    while replay.running:
        now = wiring.now()
        baseline = ports.evidence.baseline(project, model=model, policy=policy, since=since - timedelta(seconds=1))
        if baseline is not None and baseline.requests >= _WARM and set(policy.frozen) <= set(baseline.thresholds):
            return
        replay.judged(baseline.until if baseline else now)
        time.sleep(_TICK)


def _start(candidate: Candidate, project: Project, ports: CanaryPorts) -> Rollout:
    from towpath.stages.canary_start import start

    end_unfinished(ports, project.charter.project)
    now, salt = wiring.now(), b"towpath demo ...".hex()  # the same split each time, for a demo that many will compare
    return start(candidate, project, ports, author=ports.actor, reason=_REASON, now=now, salt=salt).rollout


def end_unfinished(ports: CanaryPorts, project: str) -> None:
    """Roll back what a demo that was stopped half-way left open: only one rollout of a project may be."""
    from towpath.core.rollout_decision import Command, Order
    from towpath.stages.canary import give, tick_once

    if ports.rollouts.open(project) is None:
        return
    order = Command(order=Order.ROLLBACK, author=ports.actor, reason="the demo was stopped before it ended")
    give(ports, project, order, wiring.now())
    while ports.rollouts.open(project) is not None:
        tick_once(ports, project, wiring.now())


def _watch(ports: CanaryPorts, rollout: Rollout, progress: Progress, replay: Replay) -> Iterator[Point]:
    """Tick until the rollout is over, or for `_PATIENCE` behind the last request; a point for each look."""
    from towpath.stages.canary import observe, tick_once

    silent_since, said = None, ""
    while True:
        now = wiring.now()
        ticked = tick_once(ports, rollout.project, now)
        if ticked.rollout is None:
            return
        scene, _ = observe(ports, ticked.rollout, now)
        if (line := _line(scene)) != said:
            progress.step(line)
            said = line
        if scene.look is not None and scene.judgement is not None:
            yield _point(scene.rollout, scene.look, scene.judgement, now)
        if not ticked.rollout.open:
            return
        replay.judged(scene.telemetry.at or now)
        silent_since = None if replay.running else silent_since or time.monotonic()
        if silent_since is not None and time.monotonic() - silent_since > _PATIENCE:
            return
        time.sleep(_TICK)


def _line(scene: Scene) -> str:
    rollout = scene.rollout
    units = sum(one.challenger.units for one in scene.look.strata) if scene.look else 0
    held = f", {rollout.held}" if rollout.held else ""
    served = f"more than {units // 250 * 250:,}" if units >= 250 else "the first"
    return f"{rollout.phase}{held}, {rollout.weight / WHOLE:.0%} of units; {served} units served by the challenger"


def _point(rollout: Rollout, look: Look, judgement: Judgement, now: datetime) -> Point:
    from towpath.measure.plots_rollout import Measured, Point

    measured = {}
    for one in judgement.metrics:
        asked = rollout.policy.margin(one.name)
        margin = asked.non_inferior if asked else None
        measured[one.name] = Measured(
            harm=one.harm_log_e / one.harm_bound if one.harm_bound else 0.0,
            estimate=one.estimate,
            interval=one.interval,
            margin=(margin.absolute or margin.ratio) if margin else None,
            unit="challenger - champion" if one.type == "mean" else "challenger / champion",
        )
    return Point(
        at=now, requests=look.requests, phase=rollout.phase.value, weight=rollout.weight / WHOLE, measured=measured
    )
