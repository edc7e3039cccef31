"""An uninterrupted going along the path, and copies of its state after every stage for tests to go on from."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from path import small
from path.small import Heard
from towpath.core.evidence import Candidate, Entry, Outcome
from towpath.core.gates import Stage
from towpath.path import ORDER
from towpath.stages.sequence import step


@dataclass(frozen=True, kw_only=True)
class Trail:
    """The candidate that came out, and the folder with one state a stage.

    MLflow records where a model lies by its full path, so copies of a state share the trail's artifacts.
    """

    project: Path
    folder: Path
    candidate: Candidate
    progress: Heard

    @classmethod
    def go(cls, project: Path, folder: Path) -> Trail:
        state = folder / "state"
        heard = Heard()
        with small.opened(project, state, progress=heard, environment=_artifacts(folder)) as work:
            candidate = Candidate(project=work.name)
            for stage in ORDER:
                candidate = step(stage, candidate, work)
                assert candidate.outcome is Outcome.PASS, [
                    finding for finding in candidate.findings if finding.outcome is not Outcome.PASS
                ]
                copy(state, folder / stage.value)
            small.crown(candidate, work)
            copy(state, folder / Stage.PROMOTE.value)
        shutil.rmtree(state)
        return cls(project=project, folder=folder, candidate=candidate, progress=heard)

    @property
    def environment(self) -> dict[str, str]:
        """Settings with which a copy of a state finds its models."""
        return _artifacts(self.folder)

    def after(self, stage: Stage, target: Path) -> Path:
        """A copy of the state in which the path left `stage`."""
        return copy(self.folder / stage.value, target)

    def before(self, stage: Stage, target: Path) -> Path:
        """A copy of the state that `stage` finds: an empty folder for the first."""
        if stage is ORDER[0]:
            target.mkdir()
            return target
        return self.after(ORDER[ORDER.index(stage) - 1], target)

    def entry(self, stage: Stage) -> Entry:
        return self.candidate.entry(stage.value)


def copy(state: Path, target: Path) -> Path:
    """Copy a state folder that may still be open."""
    shutil.copytree(state, target, ignore=shutil.ignore_patterns("*.db", "*.db-wal", "*.db-shm", "scratch"))
    for file in state.rglob("*.db"):
        if file.read_bytes()[:6] != b"SQLite":  # Feast's registry is no database, whatever its name
            shutil.copyfile(file, target / file.relative_to(state))
            continue
        with (
            closing(sqlite3.connect(file)) as source,
            closing(sqlite3.connect(target / file.relative_to(state))) as copied,
        ):
            source.backup(copied)
    return target


def _artifacts(folder: Path) -> dict[str, str]:
    return {"TOWPATH_ARTIFACTS": str(folder / "artifacts")}
