"""A small project of real flights: the example's template over every eighth flight of April to June 2013.

Everything is the example's own but the amounts: fewer rows, shorter windows, two small trials. The contracts' row
counts and the charter's bounds follow. So the example's sabotages fit it, and the whole path takes seconds.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from towpath import wiring
from towpath.adapters.mlflow_models import MlflowModels
from towpath.core.evidence import Candidate, Outcome, Record, RecordKind
from towpath.core.gates import Stage
from towpath.core.policy import Decision, Verdict
from towpath.example.landing import WHOLE, land
from towpath.example.workspace import TEMPLATE
from towpath.ledger.sql import SqlLedger
from towpath.path import ORDER
from towpath.ports import Ledger
from towpath.project import load
from towpath.settings import Settings
from towpath.stages.promote import promote
from towpath.stages.sequence import step
from towpath.stages.work import Work

AS_OF = datetime(2013, 6, 1, tzinfo=UTC)
WATCHED = datetime(2013, 6, 15, tzinfo=UTC)
REASON = "first champion of the tests"
DATABASE = "mlflow.db"
EVERY = 8  # of the publisher's flights, in their order, one is kept
MONTHS = ("2013-04.csv", "2013-05.csv", "2013-06.csv")

_SWEEP = """\
  sweep:
    - {learning_rate: 0.1, max_iter: 30, max_leaf_nodes: 15, min_samples_leaf: 40}
    - {learning_rate: 0.3, max_iter: 10, max_leaf_nodes: 7, min_samples_leaf: 40}
"""
_GATES = """\
gates:
  rocAuc: 0.80
  logLoss: 0.45
  calibration: 0.12
  baselineLogLossGain: 0.05
  champion: {rocAucMargin: 0.02, logLossMargin: 0.02}
  slices:
    - {by: origin, minRows: 200, rocAuc: 0.70}
    - {by: carrier, minRows: 200, rocAuc: 0.65}
  latencyMs: 5000
  singleFeatureRocAuc: 0.97
"""
_MONITORING = """\
monitoring:
  window: 14d
  driftShare: 0.6
  predictionDistance: 0.3
"""


def build(folder: Path) -> Path:
    """Write the small project into `folder`, which is made."""
    whole = folder.parent / f"{folder.name}-whole-year"
    land(whole)
    shutil.copytree(TEMPLATE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in MONTHS:
        _sample(whole / "flights" / name, folder / "landing" / "flights" / name)
        (folder / "landing" / "weather").mkdir(exist_ok=True)
        shutil.copyfile(whole / "weather" / name, folder / "landing" / "weather" / name)
    for name in WHOLE:
        shutil.copyfile(whole / f"{name}.csv", folder / "landing" / f"{name}.csv")
    shutil.rmtree(whole)
    _shrink(folder)
    return folder


def _sample(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    header, *rows = source.read_text(encoding="utf-8").splitlines()
    target.write_text("\n".join([header, *rows[::EVERY]]) + "\n", encoding="utf-8")


def _shrink(folder: Path) -> None:
    charter = folder / "charter.yaml"
    edit(charter, "risk: medium", "risk: low")  # nobody has to agree
    section(charter, "  sweep:", "\n# Bounds", _SWEEP)
    section(charter, "gates:", "\nmonitoring:", _GATES)
    section(charter, "monitoring:", "  schedule:", _MONITORING)
    section(charter, "# Sticky by aircraft", "outcome:", "")  # a rollout needs a gateway and traffic
    edit(charter, "span: 120d", "span: 40d")
    edit(charter, "holdout: 31d", "holdout: 14d")
    edit(charter, "seed: 2013", "seed: 2013\n  minRows: 500")
    flights = folder / "feature_repo/contracts/flights.odcs.yaml"
    edit(flights, "mustBeGreaterOrEqualTo: 20000", "mustBeGreaterOrEqualTo: 1000")
    edit(flights, "mustBeGreaterOrEqualTo: 500\n", "mustBeGreaterOrEqualTo: 50\n")


def edit(file: Path, old: str, new: str) -> None:
    """Replace one passage of a file, which must be there."""
    text = file.read_text(encoding="utf-8")
    assert old in text, f"{file.name} no longer holds {old!r}"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def section(file: Path, first: str, behind: str, new: str) -> None:
    """Replace what lies from `first` up to `behind`."""
    text = file.read_text(encoding="utf-8")
    begin = text.index(first)
    end = text.index(behind, begin)
    file.write_text(text[:begin] + new + text[end:], encoding="utf-8")


def rewrite(file: Path, change: Callable[[int, dict[str, str]], dict[str, str] | None]) -> None:
    """Change every row of a CSV file by its number; None drops it."""
    with file.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        rows = [row for number, old in enumerate(reader) if (row := change(number, old)) is not None]
        header = list(reader.fieldnames or [])
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, header, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@dataclass(kw_only=True)
class Heard:
    """The port `Progress`, remembering what it was told."""

    steps: list[tuple[str, str]] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    ended: list[tuple[str, str]] = field(default_factory=list)
    stage: str = ""

    def begin(self, stage: str) -> None:
        self.stage = stage

    def step(self, what: str) -> None:
        self.steps.append((self.stage, what))

    def found(self) -> None:
        self.reused.append(self.stage)

    def end(self, stage: str, outcome: str) -> None:
        self.ended.append((stage, outcome))

    @property
    def computed(self) -> list[str]:
        """The stages that were worked, not found."""
        return [stage for stage, _ in self.ended if stage not in self.reused]


@contextmanager
def opened(
    folder: Path,
    state: Path,
    *,
    as_of: datetime = AS_OF,
    order: tuple[Stage, ...] = ORDER,
    progress: Any = None,
    environment: Mapping[str, str] | None = None,
    **ports: Any,
) -> Iterator[Work]:
    """The project in `folder`, ready to go along the path, with everything embedded below `state`."""
    given = settings(state, environment)
    if given.mlflow == f"sqlite:///{state / DATABASE}" and not state.exists():
        state.mkdir(parents=True)
        (state / DATABASE).write_bytes(_empty_database())
    work = wiring.open_work(given, load(folder), as_of=as_of, order=order, progress=progress or Heard(), **ports)
    try:
        yield work
    finally:
        if isinstance(work.ports.ledger, SqlLedger):
            work.ports.ledger.close()


@cache
def _empty_database() -> bytes:
    """MLflow's database before anything is in it: it takes two seconds to make, and is the same each time."""
    with tempfile.TemporaryDirectory() as folder:
        models = MlflowModels(f"sqlite:///{folder}/{DATABASE}", artifacts=folder)
        assert models.client.search_registered_models() == []
        return (Path(folder) / DATABASE).read_bytes()


def settings(state: Path, environment: Mapping[str, str] | None = None) -> Settings:
    given = {"TOWPATH_STATE": str(state), "TOWPATH_ACTOR": "tester", **(environment or {})}
    return Settings.read(given, folder=state.parent)


def walk(work: Work, *, until: str | None = None) -> Candidate:
    """Along the path to its end, to `until`, or to the first refusal."""
    candidate = Candidate(project=work.name)
    for stage in work.order:
        candidate = step(stage, candidate, work)
        if stage == until or candidate.outcome is not Outcome.PASS:
            break
    return candidate


def crown(candidate: Candidate, work: Work) -> Decision:
    """Promote the candidate, which must succeed."""
    decision = promote(candidate, work, reason=REASON, now=wiring.now())
    assert decision.verdict is Verdict.PROMOTE, decision.reasons
    return decision


def records(ledger: Ledger, kind: RecordKind | None = None) -> list[Record]:
    return list(ledger.records(kind=kind))
