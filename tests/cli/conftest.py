from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from cli import small_project
from towpath import wiring
from towpath.cli import run as towpath
from towpath.cli.progress import StageProgress
from towpath.core import digest as digests
from towpath.core.evidence import Candidate, Finding, Incident, Outcome, RecordKind, Severity
from towpath.core.gates import Stage
from towpath.ledger.sql import SqlLedger
from towpath.ports import Draft
from towpath.project import load
from towpath.settings import Settings
from towpath.stages.work import Work, begin, compose, write

AS_OF = datetime(2024, 1, 29, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a command ended with and wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Ran]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without any of this machine's settings; the state folder is `state` in it."""
    for name in list(os.environ):
        if name.startswith(("TOWPATH_", "PREFECT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TOWPATH_STATE", "state")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(place: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command in this process, in `place`."""

    def call(*arguments: str) -> Ran:
        capsys.readouterr()
        code = towpath(arguments)
        captured = capsys.readouterr()
        return Ran(code=code, out=captured.out, err=captured.err)

    return call


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Two candidates of the small project: one that passed until validate, one that validate refused."""

    passed: Candidate
    refused: Candidate
    project: Path
    work: Work


@pytest.fixture
def recorded(place: Path) -> Iterator[Recorded]:
    """A ledger and an object store with real entries, written as stages write them."""
    folder = small_project.write(place / "project")
    settings = Settings.read(os.environ, folder=place)
    progress = StageProgress(Console(file=io.StringIO()))
    work = wiring.open_work(settings, load(folder), as_of=AS_OF, progress=progress)
    assert isinstance(work.ports.ledger, SqlLedger)
    try:
        yield Recorded(
            passed=_validated(work, _ingested(work, rows=56), folder, outcome=Outcome.PASS),
            refused=_validated(work, _ingested(work, rows=55), folder, outcome=Outcome.FAIL),
            project=folder,
            work=work,
        )
    finally:
        work.ports.ledger.close()


def _ingested(work: Work, *, rows: int) -> Candidate:
    with work.scratch() as scratch:
        file = scratch / "visits.parquet"
        pq.write_table(pa.table({"visit_id": list(range(rows))}), file)
        begun = begin(Stage.INGEST, Candidate(project=work.name), work, {"rows": str(rows)})
        entry = compose(
            begun,
            subjects=[work.store("dataset", "visits", file, rows=rows)],
            findings=[
                Finding(
                    code="ingest.rows", outcome=Outcome.PASS, subject="visits", measured=rows, reason=f"{rows} rows"
                )
            ],
            facts={"as_of": work.as_of.isoformat()},
        )
        return write(begun, entry, work)


def _validated(work: Work, candidate: Candidate, folder: Path, *, outcome: Outcome) -> Candidate:
    with work.scratch() as scratch:
        aside, page = scratch / "aside.parquet", scratch / "checks.html"
        rows = {
            "visit_id": [7, 9],
            "email": ["a@example.com", None],
            "_reasons": [["data.range: pages — below 1"], ["data.null: email — missing"]],
        }
        pq.write_table(pa.table(rows), aside)
        page.write_text("<h1>Checks</h1>", encoding="utf-8")
        begun = begin(Stage.VALIDATE, candidate, work, {"contract/visits": work.project.contracts["visits"].digest})
        entry = compose(
            begun,
            subjects=[
                work.store("contract", "visits", folder / "visits.odcs.yaml"),
                work.store("table", "visits", aside, rows=54),
                work.store("quarantine", "visits", aside, rows=2),
            ],
            findings=[
                Finding(
                    code="data.schema",
                    outcome=outcome,
                    subject="visits",
                    measured="pages",
                    bound="the contract's columns",
                    reason="visits: column pages is missing"
                    if outcome is Outcome.FAIL
                    else "visits: every column is there",
                ),
                Finding(
                    code="data.range",
                    outcome=Outcome.FAIL,
                    severity=Severity.WARNING,
                    subject="visits.pages",
                    measured=0.036,
                    interval=(0.01, 0.09),
                    sample_size=56,
                    reason="2 of 56 rows have pages below 1",
                ),
            ],
            facts={"accepted": {"visits": 54}, "quarantined": {"visits": 2}},
            attachments=work.attach(page),
        )
        return write(begun, entry, work)


def crown(recorded: Recorded, candidate: Candidate, *, verdict: str = "PROMOTE") -> None:
    """A decision in the ledger, as `promote` writes it."""
    body = {"verdict": verdict, "candidate": candidate.id, "digest": candidate.digest, "reasons": [], "waived": []}
    body["reason"] = "the first of its kind"
    _append(recorded, RecordKind.DECISION, candidate, Stage.PROMOTE, body)


def report(recorded: Recorded, candidate: Candidate) -> None:
    """An incident in the ledger, as the path writes it."""
    finding = Finding(
        code="integrity.data", outcome=Outcome.FAIL, subject="validate", reason="the stored bytes have changed"
    )
    incident = Incident(project=candidate.project, candidate=candidate.id, stage="validate", findings=(finding,))
    _append(recorded, RecordKind.INCIDENT, candidate, Stage.VALIDATE, incident.model_dump(mode="json"))


def _append(recorded: Recorded, kind: RecordKind, candidate: Candidate, stage: Stage, body: dict[str, Any]) -> None:
    recorded.work.ports.ledger.append(
        Draft(
            kind=kind,
            project=candidate.project,
            candidate=candidate.id,
            stage=stage,
            key=None,
            digest=digests.of_json(body),
            body=body,
        ),
        actor="ada",
    )
