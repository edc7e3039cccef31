"""`towpath demo --sabotage NAME`: the example damaged on its way, and the gate that must refuse it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from towpath import path, project, wiring
from towpath.cli import demo_canary, demo_traffic, opening, walk
from towpath.cli.demo_people import People, second_account
from towpath.cli.demo_people import people as known
from towpath.cli.demo_show import Show, approve, promote
from towpath.cli.exits import Exit
from towpath.cli.exports import report_folder
from towpath.cli.figures import figures
from towpath.core.errors import Denied, IntegrityError
from towpath.core.evidence import Candidate, Finding, Outcome
from towpath.core.gates import GATES, Stage
from towpath.core.identity import Identity
from towpath.example.sabotage import Moment, Sabotage
from towpath.example.workspace import AS_OF
from towpath.settings import Settings
from towpath.verbs import history

if TYPE_CHECKING:
    from towpath.stages.work import Work

_SQLITE = "sqlite:///"


def damaged(chosen: Sabotage, home: Path, settings: Settings, show: Show) -> int:
    if chosen.moment is Moment.STAGE:
        return _verdict(chosen, _damage_stored(chosen, home, settings, show), show)
    people = known(settings)
    if chosen.needs_champion or chosen.moment is Moment.LEDGER:
        _need_champion(home, settings, show, people)
    does = {
        Moment.LEDGER: _damage_ledger,
        Moment.ROLLOUT: _damage_challenger,
        Moment.APPROVAL: _approve_own,
        Moment.PROJECT: _damage_project,
    }[chosen.moment]
    return _verdict(chosen, does(chosen, home, settings, show, people), show)


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


def _damage_project(chosen: Sabotage, home: Path, settings: Settings, show: Show, people: People) -> list[Finding]:
    from towpath.stages.work import champion

    loaded = project.load(_copy(home, chosen.name, chosen))
    with walk.opened(settings, loaded, show.progress, as_of=AS_OF, order=path.ORDER, identity=people.ada) as work:
        walked = walk.walk(work, show.progress)
        if Stage.EVALUATE in walked.candidate.stages:
            show.say(f"\nWhat it would have claimed    {figures(walked.candidate.entry(Stage.EVALUATE))}")
            honest = champion(work.ports.ledger, work.name)
            if honest is not None:
                show.say(f"What the champion can claim   {figures(honest.candidate.entry(Stage.EVALUATE))}")
        return _refused(walked.candidate)


def _damage_challenger(chosen: Sabotage, home: Path, settings: Settings, show: Show, people: People) -> list[Finding]:
    """A candidate that every gate lets pass, against the champion on live traffic: the canary must see it."""
    loaded = project.load(_copy(home, chosen.name, chosen))
    with walk.opened(settings, loaded, show.progress, as_of=AS_OF, order=path.ORDER, identity=people.ada) as work:
        walked = walk.walk(work, show.progress)
    if walked.refused:
        return _refused(walked.candidate)
    rows = demo_traffic.traffic(loaded, settings, show.progress, people.ada)
    found = demo_canary.run(walked.candidate, loaded, rows, settings, show.progress, people, change=chosen.traffic)
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


def _damage_ledger(chosen: Sabotage, home: Path, settings: Settings, show: Show, people: People) -> list[Finding]:
    """On a copy of the ledger."""
    apart = _ledger_copy(home, settings)
    chosen.damage(Path(apart.ledger.removeprefix(_SQLITE)))
    from towpath.stages.work import champion

    loaded = project.load(home / "flights")
    with walk.opened(apart, loaded, show.progress, as_of=AS_OF, order=path.ORDER, identity=people.grace) as work:
        try:
            found = champion(work.ports.ledger, work.name)
            promote(found.candidate if found else Candidate(project=work.name), work)
        except IntegrityError as error:
            return [_incident(error, chosen.stage)]
    return []


def _ledger_copy(home: Path, settings: Settings) -> Settings:
    """The settings with a copy of the embedded ledger, for what must not be left in the user's own."""
    if not settings.ledger.startswith(_SQLITE):
        raise Denied("This sabotage works on a copy of an embedded ledger.", hint="Run it without TOWPATH_LEDGER.")
    copy = home / "tampered-ledger.db"
    copy.unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(settings.ledger.removeprefix(_SQLITE))) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
    return replace(settings, ledger=f"{_SQLITE}{copy}")


def _approve_own(chosen: Sabotage, home: Path, settings: Settings, show: Show, people: People) -> list[Finding]:
    """Ada's own candidate, and her second account that may approve; then an approval written past the command."""
    from towpath.core.approvals import Act
    from towpath.stages.approve import word
    from towpath.stages.verdict import standing_of

    loaded = project.load(_copy(home, chosen.name, chosen))
    with walk.opened(settings, loaded, show.progress, as_of=AS_OF, order=path.ORDER, identity=people.ada) as work:
        candidate = walk.walk(work, show.progress).candidate
    apart = _ledger_copy(home, settings)
    own = second_account(apart, people.admin, people.ada)
    reason = _refused_approval(candidate, own, apart)
    if reason is None:
        return []
    show.say(f"\nAda approves with an account of hers that may: {reason}")
    with opening.ledger(apart, identity=own) as ledger:
        until = wiring.now() + timedelta(days=1)
        forged = word(candidate, own, ledger, act=Act.APPROVE, reason="past the command", expires=until)
        ledger.append(forged, actor=own.person)
        found = standing_of(ledger, candidate, now=wiring.now())
    if found.met:
        return []
    lines = [*found.missing, *(f"{one.person}'s approval does not count: {one.why}" for one in found.discounted)]
    return [
        Finding(code=chosen.gate, outcome=Outcome.FAIL, subject=own.account, reason=line) for line in [reason, *lines]
    ]


def _refused_approval(candidate: Candidate, own: Identity, settings: Settings) -> str | None:
    """Why the command refuses it; None when it does not."""
    from towpath.stages.approve import approve

    try:
        with opening.ledger(settings, identity=own) as ledger:
            approve(candidate, own, ledger, reason="it is my own, and it is good", now=wiring.now())
    except Denied as error:
        return error.message
    return None


def _need_champion(home: Path, settings: Settings, show: Show, people: People) -> None:
    from towpath.stages.work import champion

    loaded = project.load(home / "flights")
    with walk.opened(settings, loaded, show.progress, as_of=AS_OF, order=path.ORDER, identity=people.ada) as work:
        if champion(work.ports.ledger, work.name) is not None:
            return
        show.say("First an honest champion …", style="dim")
        honest = walk.walk(work, show.progress).candidate
    approve(honest, people, settings)
    with walk.opened(settings, loaded, show.progress, as_of=AS_OF, order=path.ORDER, identity=people.grace) as work:
        promote(honest, work)


def _refused(candidate: Candidate) -> list[Finding]:
    return list(history.failed(candidate.findings))


def _incident(error: IntegrityError, stage: Stage) -> Finding:
    return Finding(code=error.gate, outcome=Outcome.FAIL, subject=stage.value, reason=error.message)
