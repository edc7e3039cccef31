"""`towpath demo`: the flights example from raw data to a champion and a drift report, or damaged and refused."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from towpath import path, project, wiring
from towpath.cli import demo_canary, opening, walk
from towpath.cli.demo_people import ADA, GRACE, People
from towpath.cli.demo_people import people as known
from towpath.cli.demo_sabotage import damaged
from towpath.cli.demo_show import Show, approve, promote
from towpath.cli.exits import Exit
from towpath.cli.exports import report_folder, save
from towpath.cli.progress import StageProgress
from towpath.core.errors import NotFound
from towpath.core.evidence import Candidate
from towpath.example.sabotage import SABOTAGES, Sabotage
from towpath.example.workspace import AS_OF, FIRST, WATCHED, lay
from towpath.settings import Settings

if TYPE_CHECKING:
    from towpath.stages.work import Work

__all__ = ["SABOTAGES", "demo"]


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
    show = Show(console=console, progress=progress, as_json=as_json)
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
    return show.finish(damaged(chosen, home, settings, show))


def _chosen(name: str | None) -> Sabotage | None:
    if name is None:
        return None
    if name not in SABOTAGES:
        raise NotFound(f"There is no sabotage {name!r}.", value=name, valid=SABOTAGES)
    return SABOTAGES[name]


def _whole(folder: Path, settings: Settings, show: Show) -> int:
    """First champion, challenger, canary, watch; each found again where nothing changed."""
    loaded, people = project.load(folder), known(settings)
    told: list[Told] = []
    crowned = _first_champion(loaded, settings, show, told, people)
    if crowned is None:
        return Exit.REFUSED
    challenger = _walked("challenger", AS_OF, loaded, settings, show, told, people)
    if challenger is None:
        return Exit.REFUSED
    outcome = demo_canary.judged(challenger.candidate, loaded, settings, show.progress, people)
    show.document["canary"] = outcome.document
    with walk.opened(settings, loaded, show.progress, as_of=WATCHED, order=path.WATCH, identity=people.ada) as work:
        watched = walk.walk(work, show.progress)
        told.append(Told(name="monitor", as_of=WATCHED, walked=watched))
        files = [*_reports(challenger.candidate, work), *outcome.files, *_reports(watched.candidate, work)]
    show.document |= {
        "champion": crowned,
        "monitor": walk.document(watched, as_of=WATCHED),
        "reports": [str(file) for file in files],
    }
    if not show.as_json:
        _summary(told, outcome, files, show, folder)
        _agreement(told, settings, people, show)
    return Exit.GOOD if outcome.promoted else Exit.REFUSED


@dataclass(frozen=True, kw_only=True)
class Told:
    """A walk that the closing summary tells of."""

    name: str
    as_of: datetime
    walked: walk.Walked


def _walked(
    name: str,
    as_of: datetime,
    loaded: project.Project,
    settings: Settings,
    show: Show,
    told: list[Told],
    people: People,
) -> walk.Walked | None:
    """Ada's path to a registered model; None when a gate refused it, which was said then."""
    show.progress.told(f"{name}, made from what was known on {as_of:%Y-%m-%d}")
    with walk.opened(settings, loaded, show.progress, as_of=as_of, order=path.ORDER, identity=people.ada) as work:
        walked = walk.walk(work, show.progress)
    show.document["path" if name == "challenger" else name] = walk.document(walked, as_of=as_of)
    told.append(Told(name=name, as_of=as_of, walked=walked))
    if not walked.refused:
        return walked
    if not show.as_json:
        walk.closing(walked)
    return None


def _first_champion(
    loaded: project.Project, settings: Settings, show: Show, told: list[Told], people: People
) -> dict[str, object] | None:
    """The path to a model that has no rival yet, approved and promoted directly; None when a gate refused it.

    One that was promoted before is taken from the record: gone along again, it would be compared with its successors.
    """
    from towpath.stages.work import candidate_of, crowning

    with closing(wiring.open_ledger(settings)) as ledger:
        decision = next(crowning(ledger, loaded.charter.project), None)
        found = candidate_of(ledger, decision.project, str(decision.body["digest"])) if decision is not None else None
    if found is not None:
        as_of = datetime.fromisoformat(str(found.entries[0].facts["as_of"]))
        walked = walk.Walked(candidate=found, seconds={}, reused=frozenset(found.stages))
        told.append(Told(name="champion", as_of=as_of, walked=walked))
        return {"candidate": found.id, "reused": True}
    first = _walked("champion", FIRST, loaded, settings, show, told, people)
    if first is None:
        return None
    approve(first.candidate, people, settings)
    with walk.opened(settings, loaded, show.progress, as_of=FIRST, order=path.ORDER, identity=people.grace) as work:
        return promote(first.candidate, work).model_dump(mode="json")


def _reports(candidate: Candidate, work: Work) -> list[Path]:
    """Pages and plots of every entry, written out where a browser finds them."""
    folder = report_folder(work.state, candidate)
    return [
        save(work.ports.objects, item.digest, folder / item.name)
        for entry in candidate.entries
        for item in entry.attachments
        if item.media_type in ("text/html", "image/png")
    ]


_TITLES = {
    "champion": "The first champion, from what was known on {0:%Y-%m-%d}",
    "challenger": "The challenger, from raw data to a registered model, as of {0:%Y-%m-%d}",
    "monitor": "Two months later, as of {0:%Y-%m-%d}: July's flights against the new champion's training set",
    "undecided": "Two months later, as of {0:%Y-%m-%d}: July's flights against the first champion's training set",
}
_UNDECIDED = """
  The canary did not promote the challenger, so the first champion still answers: June's flights did not show that the
  challenger is no worse. Why: towpath rollout explain. End it: towpath rollout abort. Try again: towpath demo.
"""


def _summary(told: list[Told], outcome: demo_canary.Outcome, files: list[Path], show: Show, folder: Path) -> None:
    for one in told:
        if one.name == "monitor":
            show.say("The canary: June's flights as live traffic", style="bold")
            show.say("".join(f"  {line}\n" for line in outcome.lines) + ("" if outcome.promoted else _UNDECIDED))
        title = _TITLES["undecided" if one.name == "monitor" and not outcome.promoted else one.name]
        show.say(("" if one is told[0] else "\n" * (one.name != "monitor")) + title.format(one.as_of), style="bold")
        walk.closing(one.walked)
        show.say("")
    candidate = next(one.walked.candidate for one in told if one.name == "challenger")
    pages = {file.name: file for file in files if file.suffix == ".html" or file.name == "rollout.png"}
    show.say("Where to look", style="bold")
    for name, page in pages.items():
        show.say(f"  {name:<18} {page}")
    show.say(f"  the project        {folder}")
    show.say(f"  the evidence       towpath show {candidate.id}")
    show.say("  the rollout        towpath rollout explain")
    show.say("  the record         towpath ledger verify")
    show.say("  what is refused    towpath demo --sabotage leakage")


def _agreement(told: list[Told], settings: Settings, people: People, show: Show) -> None:
    """Who agreed to what now serves, and how to act as one of the demo's people."""
    from towpath.stages.agreed import standing
    from towpath.stages.work import champion

    challenger = next(one.walked.candidate for one in told if one.name == "challenger")
    with opening.ledger(settings) as ledger:
        current = champion(ledger, challenger.project)
        assert current is not None
        found = standing(ledger, current.candidate, current.decision, now=wiring.now())
    approved = ", ".join(f"{one.person} on {one.at:%Y-%m-%d}: {one.reason}" for one in found.counted) if found else ""
    show.say("\nWho agreed", style="bold")
    show.say(f"  submitted by       {people.ada.person}")
    show.say(f"  approved by        {approved or 'nobody'}")
    rollout: Any = current.decision.body.get("rollout")
    started = f", in the rollout that {rollout['inputs']['before']['started_by']} started" if rollout else ""
    show.say(f"  promoted by        {current.decision.actor}{started}")
    show.say(f"  act as Grace       export TOWPATH_TOKEN=$(cat {people.token(GRACE)})")
    show.say(f"  act as Ada         export TOWPATH_TOKEN=$(cat {people.token(ADA)})")
