"""The same inputs are worked once, wherever they lie; a change is worked from the stage that it concerns."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from path import small
from path.small import Heard
from path.trail import Trail
from towpath.core.evidence import Candidate, Entry, Outcome, RecordKind
from towpath.core.gates import Stage
from towpath.path import ORDER
from towpath.ports import Ledger
from towpath.project import load
from towpath.stages.promote import promote
from towpath.stages.work import candidate_of
from towpath.wiring import now

FLIGHTS = "landing/flights/2013-05.csv"


def test_a_second_run_writes_nothing_and_gives_the_same_candidate(trail: Trail, tmp_path: Path) -> None:
    state = trail.after(Stage.PROMOTE, tmp_path / "state")
    heard = Heard()
    with small.opened(trail.project, state, progress=heard, environment=trail.environment) as work:
        before = small.records(work.ports.ledger)
        candidate = small.walk(work)
        assert small.records(work.ports.ledger) == before
    assert candidate == trail.candidate
    assert heard.reused == list(ORDER)
    assert heard.steps == []


def test_a_copy_of_the_project_elsewhere_is_the_same_project(trail: Trail, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(trail.project, tmp_path / ".hidden" / "under" / "another name"))
    for file in copy.rglob("*"):
        os.utime(file, (1, 1))
    (copy / "feature_repo" / "__pycache__").mkdir()
    (copy / "feature_repo" / "__pycache__" / "definitions.cpython-312.pyc").write_bytes(b"\0")
    (copy / "notes.txt").write_text("no code")
    small.edit(copy / "charter.yaml", "towpath: 1", "# a remark\ntowpath:   1")
    state = trail.after(Stage.REGISTER, tmp_path / "state")
    heard = Heard()
    as_of = small.AS_OF.astimezone(timezone(timedelta(hours=9)))
    given = {**trail.environment, "TOWPATH_ACTOR": "somebody else"}
    with small.opened(copy, state, as_of=as_of, progress=heard, environment=given) as work:
        candidate = small.walk(work)
    assert candidate.digest == trail.candidate.digest
    assert heard.computed == []


@pytest.mark.parametrize("home", ["seen", ".hidden", "__dunder"])
def test_training_code_counts_wherever_it_lies(home: str, base_project: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(base_project, tmp_path / home / "flights"))
    before = load(copy).code_digest
    assert before == load(base_project).code_digest
    (copy / "train.py").write_text((copy / "train.py").read_text() + "\n")
    assert load(copy).code_digest != before


@pytest.mark.parametrize(
    ("old", "new", "computed"),
    [
        pytest.param("rocAuc: 0.80", "rocAuc: 0.81", ["evaluate", "register"], id="gates"),
        pytest.param("driftShare: 0.6", "driftShare: 0.5", ["register"], id="monitoring"),
    ],
)
def test_a_change_of_the_charter_is_worked_from_where_it_counts(
    old: str, new: str, computed: list[str], trail: Trail, project: Path, tmp_path: Path
) -> None:
    small.edit(project / "charter.yaml", old, new)
    _is_worked(trail, project, tmp_path, computed)


@pytest.mark.slow
def test_a_change_of_the_training_code_is_worked_from_training(trail: Trail, project: Path, tmp_path: Path) -> None:
    small.edit(project / "train.py", "UNSEEN, MISSING = -1, -2", "UNSEEN, MISSING = -2, -1")
    _is_worked(trail, project, tmp_path, ["train", "evaluate", "register"])


def test_a_change_of_the_data_is_worked_from_the_beginning(trail: Trail, project: Path, tmp_path: Path) -> None:
    def later(number: int, row: dict[str, str]) -> dict[str, str]:
        return {**row, "tailnum": "N12345"} if number == 0 else row

    small.rewrite(project / FLIGHTS, later)
    _is_worked(trail, project, tmp_path, ["ingest", "validate"], until=Stage.VALIDATE)


def test_a_change_of_a_contract_is_worked_from_validation(trail: Trail, project: Path, tmp_path: Path) -> None:
    small.edit(project / "feature_repo/contracts/flights.odcs.yaml", "version: 1.0.0", "version: 1.0.1")
    _is_worked(trail, project, tmp_path, ["validate"], until=Stage.VALIDATE)


def test_a_change_of_a_transform_is_worked_from_the_features(trail: Trail, project: Path, tmp_path: Path) -> None:
    file = project / "feature_repo/transforms/features/aircraft.sql"
    file.write_text(file.read_text() + "-- a remark may change what follows\n")
    _is_worked(trail, project, tmp_path, ["featurize"], until=Stage.FEATURIZE)


def test_another_time_is_another_candidate(trail: Trail, tmp_path: Path) -> None:
    state = trail.after(Stage.REGISTER, tmp_path / "state")
    with small.opened(
        trail.project, state, as_of=small.AS_OF + timedelta(minutes=1), environment=trail.environment
    ) as work:
        candidate = small.walk(work, until=Stage.INGEST)
    assert candidate.entry(Stage.INGEST).digest != trail.entry(Stage.INGEST).digest


def test_the_champion_promoted_again_is_decided_once(trail: Trail, tmp_path: Path) -> None:
    state = trail.after(Stage.PROMOTE, tmp_path / "state")
    with small.opened(trail.project, state, environment=trail.environment) as work:
        before = small.records(work.ports.ledger)
        (first,) = small.records(work.ports.ledger, RecordKind.DECISION)
        decision = promote(trail.candidate, work, reason="said once more", now=now())
        assert small.records(work.ports.ledger) == before
    assert decision.model_dump(mode="json") == {name: first.body[name] for name in type(decision).model_fields}


def test_the_ledger_gives_the_candidate_back(trail: Trail, tmp_path: Path) -> None:
    state = trail.after(Stage.REGISTER, tmp_path / "state")
    with small.opened(trail.project, state, environment=trail.environment) as work:
        assert _read(work.ports.ledger, trail.candidate) == trail.candidate


@pytest.mark.parametrize(
    ("stage", "damage"),
    [
        (Stage.INGEST, "gone"),
        (Stage.INGEST, "changed"),
        (Stage.VALIDATE, "changed"),
        (Stage.FEATURIZE, "gone"),
        (Stage.EVALUATE, "changed"),
        (Stage.REGISTER, "gone"),
    ],
)
def test_a_stored_file_that_was_lost_is_made_again(stage: Stage, damage: str, trail: Trail, tmp_path: Path) -> None:
    """The next run repairs what an entry speaks of: the same digests, and no new record."""
    state = trail.after(stage, tmp_path / "state")
    stored = _stored(trail.entry(stage))
    for digest in stored:
        file = state / "objects" / digest[7:9] / digest[9:]
        if file.is_file():
            file.unlink()
            if damage == "changed":
                file.write_bytes(b"something else")
    with small.opened(trail.project, state, environment=trail.environment) as work:
        before = small.records(work.ports.ledger)
        candidate = small.walk(work, until=stage)
        assert small.records(work.ports.ledger) == before
        assert candidate.digest == trail.entry(stage).digest
        for digest, size in stored.items():
            assert work.ports.objects.fetch(digest).stat().st_size == size


def test_the_compiled_model_is_recorded_and_answers_as_the_model_does(trail: Trail) -> None:
    """The fastest conversion that passed is a subject; its parity is a finding, and the card tells of it."""
    entry = trail.entry(Stage.REGISTER)
    (subject,) = entry.subjects_of("runtime").values()
    assert subject.name == "trees"
    assert subject.size
    found = [finding for finding in entry.findings if finding.code == "register.parity"]
    assert [finding.subject for finding in found] == ["trees", "treelite", "onnx"]
    assert all(finding.outcome is Outcome.PASS and float(finding.measured or 0) <= 1e-12 for finding in found)
    card = next(item for item in entry.attachments if item.name == "model_card.md")
    text = (trail.folder / Stage.REGISTER.value / "objects" / card.digest[7:9] / card.digest[9:]).read_text()
    assert "## How it is served" in text
    assert found[0].reason.split(" within ")[0] in text


def _stored(entry: Entry) -> dict[str, int]:
    """What register and later runs need of an entry: its stored subjects and its plots, by digest, with their size."""
    found = {item.digest: item.size for item in entry.subjects if item.size is not None}
    return found | {item.digest: item.size for item in entry.attachments if item.media_type == "image/png"}


def _is_worked(
    trail: Trail, project: Path, tmp_path: Path, computed: list[str], *, until: Stage = Stage.REGISTER
) -> None:
    state = trail.after(Stage.REGISTER, tmp_path / "state")
    first, second = Heard(), Heard()
    for heard in (first, second):
        with small.opened(project, state, progress=heard, environment=trail.environment) as work:
            candidate = small.walk(work, until=until)
            records = small.records(work.ports.ledger, RecordKind.ENTRY)
    assert first.computed == computed
    assert second.computed == []
    assert candidate.digest != trail.entry(until).digest
    assert [record.stage for record in records] == [*trail.candidate.stages, *computed]
    kept = len(candidate.entries) - len(computed)
    assert candidate.entries[:kept] == trail.candidate.entries[:kept]


def _read(ledger: Ledger, candidate: Candidate) -> Candidate:
    assert candidate.digest is not None
    return candidate_of(ledger, candidate.project, candidate.digest)
