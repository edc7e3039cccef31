"""Reconciling one project or all of them, once or again and again, and what is said of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from towpath.cli import opening, output
from towpath.cli.exits import Exit
from towpath.cli.stopping import stopping
from towpath.core import names
from towpath.core.access import Action
from towpath.core.declaration import Duration
from towpath.core.errors import BadInput, TowpathError
from towpath.core.governance import Drifted
from towpath.project import Project, load
from towpath.settings import Settings
from towpath.stages.reconcile import SETTLE, Reconciled, Reconciler
from towpath.stages.reconcile_ports import ReconcilePorts

_EVERY = timedelta(seconds=2), timedelta(hours=1)


def reconcile(project: str | None, *, watch: bool, every: str, deployments: str, by: str | None, as_json: bool) -> int:
    """Returns an exit code."""
    if watch and as_json:
        raise BadInput("--watch goes on, and --json prints one document.", hint="Leave one of them out.")
    interval, settings = _duration(every), opening.settings()
    if settings.server is not None:
        return _asked(project, watch=watch, by=by, as_json=as_json)
    stop = threading.Event()
    with ExitStack() as stack:
        opened = [
            stack.enter_context(open_one(settings, name, folder, deployments=deployments, by=by))
            for name, folder in meant(settings, project)
        ]
        if not watch:
            return _told([once(one, stop) for one in opened], [one.ports for one in opened], as_json=as_json)
        stack.enter_context(stopping(stop))
        said: dict[str, str] = {}
        while not stop.is_set():
            for one in opened:
                _watched(one, said)
            stop.wait(interval.total_seconds())
    return Exit.GOOD


def _asked(project: str | None, *, watch: bool, by: str | None, as_json: bool) -> int:
    """One look by the server, at what it can reach."""
    from towpath.cli import asking
    from towpath.verbs import reconciling

    if watch:
        raise BadInput("A server looks once.", hint="Leave --watch to a worker, which has the project's folder.")
    asked = reconciling.Reconcile(project=asking.one_project(project))
    found = asking.ask(reconciling.RECONCILE, asked, by=by)
    if as_json:
        output.emit({"projects": [found.body]})
    else:
        for line in found.says or ["everything is as the ledger decided."]:
            output.results().print(f"{found.project}: {line}", soft_wrap=True)
    return Exit.REFUSED if found.standing else Exit.UNREACHABLE if found.unseen else Exit.GOOD


class Opened:
    """A project's reconciler with its ports. `fault`: what an earlier look failed by, of which people were told."""

    def __init__(self, name: str, ports: ReconcilePorts, policy: Drifted | None) -> None:
        self.name = name
        self.ports = ports
        self.reconciler = Reconciler(ports, name, policy)
        self.fault = ""

    def look(self) -> Reconciled:
        from towpath import wiring

        with output.libraries_on_stderr():
            return self.reconciler.look(wiring.now())


@contextmanager
def open_one(
    settings: Settings, name: str, folder: Path | None, *, deployments: str, by: str | None = None
) -> Iterator[Opened]:
    """A project's reconciler, for who may. Its charter says what is done; without its folder, the champion's."""
    from towpath import wiring

    identity = opening.acting(settings, by, Action.RECONCILE, name)
    loaded: Project | None = load(folder) if folder is not None else None
    policy = loaded.charter.governance.reconcile if loaded else None
    ports = wiring.open_reconcile(
        settings, loaded, actor=identity.person, via=identity.via, prefect=_prefect(Path(deployments))
    )
    try:
        yield Opened(name, ports, policy)
    finally:
        ports.close()


def once(opened: Opened, stop: threading.Event) -> Reconciled:
    """One look; a second one, a while later, when the first found what may be work under way."""
    found = opened.look()
    if found.waiting and not stop.wait(SETTLE.total_seconds()):
        again = opened.look()
        treated = (*again.treated, *found.treated)  # of the same difference, what was done first
        return Reconciled(
            project=again.project,
            at=again.at,
            treated=tuple({one.drift.identity: one for one in treated}.values()),
            waiting=again.waiting,
            shown=(*found.shown, *again.shown),
            ended=(*found.ended, *again.ended),
            unseen=again.unseen,
        )
    return found


def _watched(opened: Opened, said: dict[str, str]) -> None:
    """One look, said in lines when there is news. Whatever it meets, the next look comes."""
    try:
        found = opened.look()
    except TowpathError as error:
        if str(error) != opened.fault:
            opened.fault = str(error)
            output.messages().print(f"{opened.name}: {error}", style="red", soft_wrap=True)
            opened.ports.alerts.tell(f"Towpath, {opened.name}: nothing is reconciled", str(error))
        return
    opened.fault = ""
    lines = "\n".join(sentences(found, news=True))
    if lines and lines != said.get(opened.name):
        output.results().print(lines, soft_wrap=True)
    said[opened.name] = lines


def sentences(found: Reconciled, *, news: bool = False) -> list[str]:
    """A look in sentences; with `news`, without what was recorded before and what needs no saying."""
    said = [
        f"{one.drift.says}: {one.done}"
        + (f" (record {one.record.sequence})." if one.record else ", as recorded before.")
        for one in found.treated
        if one.record is not None or not news
    ]
    said += [f"{one.subject}: MLflow was not shown the last decision yet, and is now." for one in found.shown]
    said += [f"{one.subject} is as decided again." for one in found.ended]
    said += [f"{one.says}: it may be work under way, and counts when it stays." for one in found.waiting]
    said += [f"Not looked at: {one}" for one in found.unseen]
    return [f"{found.project}: {line}" for line in said]


def code_of(found: Sequence[Reconciled]) -> Exit:
    """3 when something was only told, else 5 when something was not seen, else 0."""
    if any(one.standing for one in found):
        return Exit.REFUSED
    return Exit.UNREACHABLE if any(one.unseen for one in found) else Exit.GOOD


def document(found: Reconciled, ports: ReconcilePorts) -> dict[str, Any]:
    return {
        "project": found.project,
        "at": found.at.isoformat(),
        "differences": [
            {
                "code": one.drift.code,
                "subject": one.drift.subject,
                "wanted": one.drift.wanted,
                "found": one.drift.found,
                "known": one.drift.known,
                "done": one.done,
                "restored": one.restored,
                "record": one.record.sequence if one.record else None,
            }
            for one in found.treated
        ],
        "waiting": [one.says for one in found.waiting],
        "shown": [one.subject for one in found.shown],
        "ended": [one.subject for one in found.ended],
        "unseen": list(found.unseen),
        "alerts": {"sent": ports.alerts.sent, "failed": ports.alerts.failed},
    }


def _told(found: Sequence[Reconciled], ports: Sequence[ReconcilePorts], *, as_json: bool) -> int:
    code = code_of(found)
    if as_json:
        output.emit({"projects": [document(one, port) for one, port in zip(found, ports, strict=True)]})
        return code
    for one in found:
        for line in sentences(one) or [f"{one.project}: everything is as the ledger decided."]:
            output.results().print(line, soft_wrap=True)
    return code


def meant(settings: Settings, given: str | None) -> list[tuple[str, Path | None]]:
    """The projects that are meant, each with its folder where it is at hand."""
    folder = Path(given or ".")
    with opening.ledger(settings) as ledger:
        name = opening.project_name(given, ledger)
        if name is None:
            return [(one, None) for one in opening.projects(ledger)]
    return [(name, folder if (folder / names.CHARTER_FILE).is_file() else None)]


def _prefect(file: Path) -> tuple[Path, str, str | None] | None:
    url = os.environ.get("PREFECT_API_URL", "").strip()
    if not url or not file.is_file():
        return None
    return file, url, os.environ.get("PREFECT_API_AUTH_STRING") or None


def _duration(text: str) -> timedelta:
    try:
        found: timedelta = TypeAdapter(Duration).validate_python(text)
    except ValidationError as error:
        raise BadInput(f"{text!r} is no duration.", value=text, valid=["20s", "1m"]) from error
    if not _EVERY[0] <= found <= _EVERY[1]:
        raise BadInput(f"A look every {text} is not done.", value=text, valid=["2s to 1h"])
    return found
