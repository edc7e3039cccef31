"""`towpath demo`: the flights example from raw data to a champion and a drift report, or damaged and refused."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from towpath import path, project, wiring
from towpath.cli import history, output, walk
from towpath.cli.exits import Exit
from towpath.cli.exports import report_folder, save
from towpath.cli.figures import figures
from towpath.cli.progress import StageProgress
from towpath.core.errors import Denied, IntegrityError, NotFound
from towpath.core.evidence import Candidate, Finding, Outcome
from towpath.core.gates import GATES, Stage
from towpath.core.policy import Decision, Verdict
from towpath.example.sabotage import SABOTAGES, Moment, Sabotage
from towpath.example.workspace import AS_OF, WATCHED, lay
from towpath.settings import Settings

if TYPE_CHECKING:
    from towpath.stages.work import Work

__all__ = ["SABOTAGES", "demo"]

REASON = "first champion of the demo: every gate passed on the flights of May"


@dataclass(kw_only=True)
class _Show:
    """What is shown to whom: the console for results, the progress, and the document when JSON was asked for."""

    console: Console
    progress: StageProgress
    as_json: bool
    document: dict[str, Any] = field(default_factory=dict)

    def say(self, text: str, *, style: str | None = None) -> None:
        if not self.as_json:
            self.console.print(text, style=style, soft_wrap=True)

    def finish(self, code: int) -> int:
        if self.as_json:
            output.emit({**self.document, "exit": code})
        return code


def demo(
    *,
    sabotage: str | None,
    folder: Path | None,
    settings: Settings,
    console: Console,
    progress: StageProgress,
    as_json: bool,
) -> int:
    """Run the example; with `sabotage`, damage it and see that the right gate refuses it."""
    show = _Show(console=console, progress=progress, as_json=as_json)
    chosen = _chosen(sabotage)
    home = folder or settings.state / "demo"
    progress.begin("landing")
    kept = lay(home / "flights", told=progress.step)
    progress.end("landing", "done")
    for name in kept:
        show.say(f"{home / 'flights' / name} differs from the example's and was left as it is.", style="yellow")
    if chosen is None:
        return show.finish(_whole(home / "flights", settings, show))
    show.document |= {"sabotage": chosen.name, "about": chosen.about, "expected": chosen.gate}
    show.say(f"Sabotage {chosen.name}: {chosen.about}.", style="bold")
    return show.finish(_damaged(chosen, home, settings, show))


def _chosen(name: str | None) -> Sabotage | None:
    if name is None:
        return None
    if name not in SABOTAGES:
        raise NotFound(f"There is no sabotage {name!r}.", value=name, valid=SABOTAGES)
    return SABOTAGES[name]


def _whole(folder: Path, settings: Settings, show: _Show) -> int:
    loaded = project.load(folder)
    with walk.opened(settings, loaded, show.progress, as_of=AS_OF, order=path.ORDER) as work:
        walked = walk.walk(work, show.progress)
        show.document["path"] = walk.document(walked, as_of=AS_OF)
        if walked.refused:
            if not show.as_json:
                walk.closing(walked)
            return Exit.REFUSED
        decision = _promote(walked.candidate, work)
        files = _reports(walked.candidate, work)
    with walk.opened(settings, loaded, show.progress, as_of=WATCHED, order=path.WATCH) as work:
        watched = walk.walk(work, show.progress)
        files += _reports(watched.candidate, work)
    show.document |= {
        "decision": decision.model_dump(mode="json"),
        "monitor": walk.document(watched, as_of=WATCHED),
        "reports": [str(file) for file in files],
    }
    if not show.as_json:
        _summary(walked, watched, decision.verdict, files, show, folder)
    return Exit.GOOD if decision.verdict is Verdict.PROMOTE else Exit.REFUSED


def _promote(candidate: Candidate, work: Work) -> Decision:
    from towpath.stages.promote import promote

    return promote(candidate, work, reason=REASON, now=wiring.now())


def _reports(candidate: Candidate, work: Work) -> list[Path]:
    """Pages and plots of every entry, written out where a browser finds them."""
    folder = report_folder(work.state, candidate)
    return [
        save(work.ports.objects, item.digest, folder / item.name)
        for entry in candidate.entries
        for item in entry.attachments
        if item.media_type in ("text/html", "image/png")
    ]


def _summary(
    walked: walk.Walked, watched: walk.Walked, verdict: Verdict, files: list[Path], show: _Show, folder: Path
) -> None:
    show.say(f"\nFrom raw data to a registered model, as of {AS_OF:%Y-%m-%d}", style="bold")
    walk.closing(walked)
    show.say(f"promote  {verdict.value}: {walked.candidate.id} is the champion\n")
    show.say(f"Two months later, as of {WATCHED:%Y-%m-%d}: July's flights against the training set", style="bold")
    walk.closing(watched)
    pages = {file.name: file for file in files if file.suffix == ".html"}
    show.say("\nWhere to look", style="bold")
    for name, page in pages.items():
        show.say(f"  {name:<18} {page}")
    show.say(f"  the project        {folder}")
    show.say(f"  the evidence       towpath show {walked.candidate.id}")
    show.say("  the record         towpath ledger verify")
    show.say("  what is refused    towpath demo --sabotage leakage")


def _damaged(chosen: Sabotage, home: Path, settings: Settings, show: _Show) -> int:
    if chosen.needs_champion or chosen.moment is Moment.LEDGER:
        _need_champion(home, settings, show)
    if chosen.moment is Moment.LEDGER:
        finding = _damage_ledger(chosen, home, settings, show)
    elif chosen.moment is Moment.STAGE:
        finding = _damage_stored(chosen, home, settings, show)
    else:
        finding = _damage_project(chosen, home, settings, show)
    return _verdict(chosen, finding, show)


def _verdict(chosen: Sabotage, findings: list[Finding], show: _Show) -> int:
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


def _damage_project(chosen: Sabotage, home: Path, settings: Settings, show: _Show) -> list[Finding]:
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


def _copy(home: Path, name: str, chosen: Sabotage | None) -> Path:
    folder = home / f"flights-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(home / "flights", folder)
    if chosen is not None:
        chosen.damage(folder)
    return folder


def _damage_stored(chosen: Sabotage, home: Path, settings: Settings, show: _Show) -> list[Finding]:
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


def _damage_ledger(chosen: Sabotage, home: Path, settings: Settings, show: _Show) -> list[Finding]:
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
            _promote(found.candidate if found else Candidate(project=work.name), work)
        except IntegrityError as error:
            return [_incident(error, chosen.stage)]
    return []


def _need_champion(home: Path, settings: Settings, show: _Show) -> None:
    from towpath.stages.work import champion

    loaded = project.load(home / "flights")
    with walk.opened(settings, loaded, show.progress, as_of=AS_OF, order=path.ORDER) as work:
        if champion(work.ports.ledger, work.name) is None:
            show.say("First an honest champion …", style="dim")
            _promote(walk.walk(work, show.progress).candidate, work)


def _refused(candidate: Candidate) -> list[Finding]:
    return list(history.failed(candidate.findings))


def _incident(error: IntegrityError, stage: Stage) -> Finding:
    return Finding(code=error.gate, outcome=Outcome.FAIL, subject=stage.value, reason=error.message)
