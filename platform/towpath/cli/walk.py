"""Going along the path from the command line: the stages with progress, and what is said when they are done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from towpath.cli import output
from towpath.cli.exits import Exit
from towpath.cli.figures import figures
from towpath.cli.progress import StageProgress
from towpath.core.digest import short
from towpath.core.evidence import Candidate, Outcome
from towpath.core.gates import GATES, Stage
from towpath.core.identity import Identity
from towpath.settings import Settings
from towpath.verbs import history

if TYPE_CHECKING:
    from towpath.project import Project
    from towpath.stages.work import Work


@dataclass(frozen=True, kw_only=True)
class Walked:
    """A candidate as far as it came, with the seconds of each stage and the stages whose entry was there already.

    `waived`: somebody answers for each finding that did not pass.
    """

    candidate: Candidate
    seconds: dict[str, float]
    reused: frozenset[str]
    waived: bool = False

    @property
    def refused(self) -> bool:
        return self.candidate.outcome is not Outcome.PASS and not self.waived

    @property
    def code(self) -> int:
        return Exit.REFUSED if self.refused else Exit.GOOD


def walk(work: Work, progress: StageProgress, *, until: Stage | None = None) -> Walked:
    """The path of `work`, to its end, to `until`, or to the first refusal."""
    from towpath.stages.sequence import step
    from towpath.stages.waived import goes_on

    candidate, on = Candidate(project=work.name), False
    for stage in work.order:
        candidate = step(stage, candidate, work)
        on = goes_on(candidate, work.ports.ledger)
        if stage is until or not on:
            break
    waived = on and candidate.outcome is not Outcome.PASS
    return Walked(candidate=candidate, seconds=dict(progress.seconds), reused=frozenset(progress.reused), waived=waived)


@contextmanager
def opened(
    settings: Settings,
    project: Project,
    progress: StageProgress,
    *,
    as_of: datetime | None,
    order: tuple[Stage, ...],
    identity: Identity | None = None,
) -> Iterator[Work]:
    """Everything the stages need, alone in the state folder, and the ledger closed behind them.

    `identity`: who goes, as `opening.acting` says; the settings' actor without one.
    """
    from towpath import wiring
    from towpath.stages.alone import alone

    wiring.prepare(settings)
    with alone(settings.state, project.charter.project, waiting=progress.step):
        work = wiring.open_work(settings, project, as_of=as_of, progress=progress, order=order, identity=identity)
        try:
            yield work
        finally:
            work.ports.ledger.close()


def document(walked: Walked, *, as_of: datetime) -> dict[str, Any]:
    """What was walked, as JSON."""
    candidate = walked.candidate
    return {
        "project": candidate.project,
        "candidate": candidate.id,
        "digest": candidate.digest,
        "as_of": as_of.isoformat(),
        "outcome": candidate.outcome.value,
        "waived": walked.waived,
        "stages": [
            {
                "stage": entry.stage,
                "outcome": entry.outcome.value,
                "entry": entry.digest,
                "reused": entry.stage in walked.reused,
                "seconds": round(walked.seconds.get(entry.stage, 0.0), 3),
                "figures": figures(entry),
                "facts": dict(entry.facts),
            }
            for entry in candidate.entries
        ],
        "refused": [history.refusal(finding) for finding in history.failed(candidate.findings)],
    }


def closing(walked: Walked) -> None:
    """The closing table, and the refusals when there are any."""
    table = output.table("stage", "outcome", "entry", "seconds", "figures", right=["seconds"])
    for entry in walked.candidate.entries:
        seconds = f"{walked.seconds.get(entry.stage, 0.0):.1f}"
        line = figures(entry) + (" (already in the ledger)" if entry.stage in walked.reused else "")
        table.add_row(entry.stage, output.badge(entry.outcome.value), short(entry.digest), seconds, line)
    console = output.results()
    console.print(table)
    refusals(walked.candidate)
    if walked.waived:
        console.print("Somebody answers for each of them, so the path went on: towpath show says who.", soft_wrap=True)


def refusals(candidate: Candidate) -> None:
    """Each finding that closed a gate: its sentence, and what to do."""
    console = output.results()
    findings = history.failed(candidate.findings)
    if not findings and candidate.outcome is not Outcome.PASS:
        console.print(
            f"{candidate.entries[-1].stage if candidate.entries else 'Nothing'} found nothing, which is no pass."
        )
    if findings:
        stage = candidate.entries[-1].stage
        console.print(f"Found by {stage}:" if stage == Stage.MONITOR else f"Refused at {stage}:")
    for finding in findings:
        subject = f" ({finding.subject})" if finding.subject else ""
        console.print(f"  {finding.outcome} {finding.code}{subject}: {finding.reason}", soft_wrap=True)
        if finding.code in GATES:
            console.print(f"    {GATES[finding.code].mend}", style="dim", soft_wrap=True)


def export(work: Work, candidate: Candidate, *, suffix: str) -> list[Path]:
    """Write the last entry's attachments of a kind where a browser finds them; returns the files."""
    from towpath.cli.exports import report_folder, save

    folder = report_folder(work.state, candidate)
    entry = candidate.entries[-1]
    return [
        save(work.ports.objects, item.digest, folder / item.name)
        for item in entry.attachments
        if item.name.endswith(suffix)
    ]
