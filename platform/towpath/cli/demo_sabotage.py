"""`towpath demo --sabotage NAME`: the example damaged on its way, and the gate that must refuse it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from towpath import path, project
from towpath.cli import demo_canary, demo_traffic, walk
from towpath.cli.demo_show import Show, promote
from towpath.cli.exits import Exit
from towpath.cli.exports import report_folder
from towpath.cli.figures import figures
from towpath.core.errors import Denied, IntegrityError
from towpath.core.evidence import Candidate, Finding, Outcome
from towpath.core.gates import GATES, Stage
from towpath.example.sabotage import Moment, Sabotage
from towpath.example.workspace import AS_OF
from towpath.settings import Settings
from towpath.verbs import history

if TYPE_CHECKING:
    from towpath.stages.work import Work


def damaged(chosen: Sabotage, home: Path, settings: Settings, show: Show) -> int:
    if chosen.needs_champion or chosen.moment is Moment.LEDGER:
        _need_champion(home, settings, show)
    if chosen.moment is Moment.LEDGER:
        finding = _damage_ledger(chosen, home, settings, show)
    elif chosen.moment is Moment.ROLLOUT:
        finding = _damage_challenger(chosen, home, settings, show)
    elif chosen.moment is Moment.STAGE:
        finding = _damage_stored(chosen, home, settings, show)
    else:
        finding = _damage_project(chosen, home, settings, show)
    return _verdict(chosen, finding, show)


def _verdict(chosen: Sabotage, findings: list[Finding], show: Show) -> int:
    expected = [finding for finding in findings if finding.code == chosen.gate]
    show.document["refused_by"] = sorted({finding.code for finding in findings})
    show.document["findings"] = [finding.model_dump(mode="json") for finding in findings]
    if not expected:
        show.say(f"NOT refused by {chosen.gate}. That is a defect of Towpath.", style="bold red")
        return Exit.UNEXPECTED
    show.say(f"\nRefused at {chosen.stage.value} by {chosen.gate}. Nothing was promoted.", style="bold green")
    for finding in findings[:6]:
        show.say(f"  {finding.code}{f' ({finding.subject})' if finding.subject else ''}: {finding.reason}")
    if len(findings) > 6:
        show.say(f"  … and {len(findings) - 6} findings more")
    show.say(f"  {GATES[chosen.gate].mend}", style="dim")
    return Exit.GOOD


def _damage_project(chosen: Sabotage, home: Path, settings: Settings, show: Show) -> list[Finding]:
    from towpath.stages.work import champion

    loaded = project.load(_copy(home, chosen.name, chosen))
    with walk.opened(settings, loaded, show.progress, as_of=AS_OF, order=path.ORDER) as work:
        walked = walk.walk(work, show.progress)
        if Stage.EVALUATE in walked.candidate.stages:
            show.say(f"\nWhat it would have claimed    {figures(walked.candidate.entry(Stage.EVALUATE))}")
            honest = champion(work.ports.ledger, work.name)
            if honest is not None:
                show.say(f"What the champion can claim   {figures(honest.candidate.entry(Stage.EVALUATE))}")
        return _refused(walked.candidate)


def _damage_challenger(chosen: Sabotage, home: Path, settings: Settings, show: Show) -> list[Finding]:
    """A candidate that every gate lets pass, against the champion on live traffic: the canary must see it."""
    loaded = project.load(_copy(home, chosen.name, chosen))
    with walk.opened(settings, loaded, show.progress, as_of=AS_OF, order=path.ORDER) as work:
        walked = walk.walk(work, show.progress)
    if walked.refused:
        return _refused(walked.candidate)
    rows = demo_traffic.traffic(loaded, settings, show.progress)
    found = demo_canary.run(walked.candidate, loaded, rows, settings, show.progress, change=chosen.traffic)
    picture = demo_canary.plot(found, report_folder(settings.state, walked.candidate))
    show.document["canary"] = demo_canary.document(found)
    show.say("")
    for line in demo_canary.told(found, settings):
        show.say(f"  {line}")
    show.say(f"  drawn in {picture}")
    return demo_canary.findings(found, settings)


def _copy(home: Path, name: str, chosen: Sabotage | None) -> Path:
    folder = home / f"flights-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(home / "flights", folder)
    if chosen is not None:
        chosen.damage(folder)
    return folder


def _damage_stored(chosen: Sabotage, home: Path, settings: Settings, show: Show) -> list[Finding]:
    """In a state of its own: what is damaged here must not be the user's."""
    state = home / f"state-{chosen.name}"
    shutil.rmtree(state, ignore_errors=True)
    apart = Settings.read({"TOWPATH_STATE": str(state), "TOWPATH_ACTOR": settings.actor}, folder=home)
    from towpath.stages.sequence import step

    loaded = project.load(home / "flights")
    with walk.opened(apart, loaded, show.progress, as_of=AS_OF, order=path.ORDER) as work:
        candidate = Candidate(project=work.name)
        try:
            for stage in path.ORDER:
                candidate = step(stage, candidate, work)
                if stage is chosen.after:
                    chosen.damage(_stored(candidate, stage, work))
        except IntegrityError as error:
            return [_incident(error, chosen.stage)]
        return _refused(candidate)


def _stored(candidate: Candidate, stage: Stage, work: Work) -> Path:
    if stage is Stage.INGEST:
        return work.ports.objects.fetch(candidate.entry(stage).subject("dataset", "flights").digest)
    return next((work.state / "artifacts").rglob("model.skops"))


def _damage_ledger(chosen: Sabotage, home: Path, settings: Settings, show: Show) -> list[Finding]:
    """On a copy of the ledger."""
    if not settings.ledger.startswith("sqlite:///"):
        raise Denied("This sabotage edits a copy of an embedded ledger.", hint="Run it without TOWPATH_LEDGER.")
    copy = home / "tampered-ledger.db"
    copy.unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(settings.ledger.removeprefix("sqlite:///"))) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
    chosen.damage(copy)
    apart = replace(settings, ledger=f"sqlite:///{copy}")
    from towpath.stages.work import champion

    loaded = project.load(home / "flights")
    with walk.opened(apart, loaded, show.progress, as_of=AS_OF, order=path.ORDER) as work:
        try:
            found = champion(work.ports.ledger, work.name)
            promote(found.candidate if found else Candidate(project=work.name), work)
        except IntegrityError as error:
            return [_incident(error, chosen.stage)]
    return []


def _need_champion(home: Path, settings: Settings, show: Show) -> None:
    from towpath.stages.work import champion

    loaded = project.load(home / "flights")
    with walk.opened(settings, loaded, show.progress, as_of=AS_OF, order=path.ORDER) as work:
        if champion(work.ports.ledger, work.name) is None:
            show.say("First an honest champion …", style="dim")
            promote(walk.walk(work, show.progress).candidate, work)


def _refused(candidate: Candidate) -> list[Finding]:
    return list(history.failed(candidate.findings))


def _incident(error: IntegrityError, stage: Stage) -> Finding:
    return Finding(code=error.gate, outcome=Outcome.FAIL, subject=stage.value, reason=error.message)
