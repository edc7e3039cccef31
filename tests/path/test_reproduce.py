"""`towpath reproduce`: the same model from the evidence alone, and whatever moved is named; evidence that was changed
makes nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from cli import conftest as cli
from path import small
from path.trail import Trail
from towpath.cli import run as towpath
from towpath.core.evidence import Candidate, Entry, RecordKind, Subject
from towpath.core.gates import Stage
from towpath.ledger.sql import SqlLedger
from towpath.ports import Draft, Ledger
from towpath.stages import pins
from towpath.stages.work import candidate_of

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@dataclass(frozen=True, kw_only=True)
class Ran(cli.Ran):
    """What `towpath reproduce` ended with and wrote."""

    @property
    def pins(self) -> dict[str, Any]:
        return {pin["what"]: pin for pin in self.json["pins"]}

    @property
    def moved(self) -> list[str]:
        return [what for what, pin in self.pins.items() if pin["standing"] != "same"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A working folder without any project, a state with a champion that was made elsewhere, and the command."""

    trail: Trail
    state: Path
    folder: Path
    call: Callable[..., Ran]

    @contextmanager
    def ledger(self) -> Iterator[SqlLedger]:
        with small.opened(self.trail.project, self.state, environment=self.trail.environment) as work:
            assert isinstance(work.ports.ledger, SqlLedger)
            yield work.ports.ledger

    def object(self, subject: Subject) -> Path:
        name = subject.digest.removeprefix("sha256:")
        return self.state / "objects" / name[:2] / name[2:]


@pytest.fixture
def place(trail: Trail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    state = trail.after(Stage.PROMOTE, tmp_path / "state")
    monkeypatch.setenv("TOWPATH_STATE", str(state))
    for name, value in trail.environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    def call(*arguments: str) -> Ran:
        capsys.readouterr()
        code = towpath(arguments)
        said = capsys.readouterr()
        return Ran(code=code, out=said.out, err=said.err)

    return Place(trail=trail, state=state, folder=tmp_path, call=call)


def test_the_champion_is_made_again_to_the_last_bit(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    # What lies where the command is typed is not what the model was made of.
    Path("train.py").write_text("raise SystemExit('the working folder was read')\n")
    monkeypatch.setattr("sys.path", ["", *sys.path])
    with place.ledger() as ledger:
        before = small.records(ledger)
    ran = place.call("reproduce", "flights@champion", "--json")
    assert ran.code == 0, ran.out + ran.err
    said = ran.json
    trained = place.trail.entry(Stage.TRAIN).subject("model").digest
    assert said["candidate"] == place.trail.candidate.id
    assert said["model"] == {"recorded": trained, "found": trained, "same": True}
    assert ran.moved == []
    assert said["prediction_gap"] == 0.0
    assert {one["name"] for one in said["metrics"]} >= {"trial 2 log_loss", "roc_auc", "log_loss", "brier"}
    assert all(one["same"] for one in said["metrics"])
    assert len(said["attested_by"]) == 32
    with place.ledger() as ledger:
        assert small.records(ledger) == before  # it is read only


def test_a_model_is_named_by_its_version_or_its_candidate(place: Place) -> None:
    champion, id_ = "flights@champion", place.trail.candidate.id
    for one in ("flights@1", id_, id_.removeprefix("flights-")):
        ran = place.call("reproduce", one, "--against", champion, "--json")
        assert (ran.code, ran.json["same"], ran.json["candidate"], ran.moved) == (0, True, id_, [])
    for named, says in (
        ("flights@2", "Valid: 1, champion."),
        ("lights@champion", "Project lights has no champion"),
        ("flights-00000000", "names no candidate"),
        ("flights", "names no candidate"),
        ("@1", "names no candidate"),
    ):
        ran = place.call("reproduce", named)
        assert ran.code == 2, named
        assert says in " ".join(ran.err.split())


def test_a_row_and_a_seed_that_differ_are_named(place: Place, project: Path) -> None:
    small.edit(project / "charter.yaml", "seed: 2013", "seed: 7")
    small.rewrite(project / "landing/flights/2013-05.csv", lambda number, row: None if number == 40 else row)
    with small.opened(project, place.state, environment=place.trail.environment) as work:
        other = small.walk(work, until=Stage.TRAIN)
    rows = place.trail.entry(Stage.FEATURIZE).subject("features", "train").rows or 0
    ran = place.call("reproduce", "flights@1", "--against", other.id, "--json")
    assert ran.code == 3
    assert ran.json["same"] is False
    assert ran.moved == ["data", "features", "seed"]
    assert ran.pins["seed"]["changes"] == ["was 2013, now 7"]
    (train_rows,) = [line for line in ran.pins["features"]["changes"] if line.startswith("train: ")]
    assert train_rows.startswith(f"train: was {rows:,} rows (")
    assert f", now {rows - 1:,} rows (" in train_rows
    (flights,) = ran.pins["data"]["changes"]
    assert flights.startswith("flights: was ")
    shown = place.call("reproduce", "flights@1", "--against", other.id)
    assert "was 2013, now 7" in shown.out
    assert "differ. Moved: data, features, seed." in shown.out


def test_evidence_that_was_changed_makes_nothing(place: Place) -> None:
    entries = [place.trail.entry(stage) for stage in (Stage.INGEST, Stage.FEATURIZE, Stage.TRAIN)]
    wanted = {("dataset", "flights"), ("features", "train"), ("features", "holdout")}
    wanted |= {(pins.KIND, name) for name in (pins.CODE, pins.REPOSITORY, pins.DECLARATION, pins.LIBRARIES)}
    subjects = [item for entry in entries for item in entry.subjects if (item.kind, item.name) in wanted]
    assert len(subjects) == len(wanted)
    for subject in subjects:
        file = place.object(subject)
        kept = file.read_bytes()
        file.chmod(0o644)
        file.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        ran = place.call("reproduce", "flights@1", "--json")
        error = ran.json["error"]
        assert (ran.code, error["gate"]) == (4, "integrity.data"), subject
        assert error["message"].startswith(f"{subject.kind} {subject.name}"), error
        if subject.rows is not None:
            assert f"of {subject.rows:,} rows, digest {subject.digest[7:19]}" in error["message"]
        file.write_bytes(kept)
    assert place.call("reproduce", "flights@1", "--against", "flights@1").code == 0


def test_a_ledger_that_was_changed_makes_nothing(place: Place) -> None:
    with closing(sqlite3.connect(place.state / "ledger.db")) as database:
        for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {trigger}")
        changed = database.execute(
            "UPDATE towpath_records SET body = replace(body, 'max_iter', 'max_trees') WHERE stage = 'train'"
        )
        assert changed.rowcount == 1
        database.commit()
    ran = place.call("reproduce", place.trail.candidate.id, "--json")
    assert (ran.code, ran.json["error"]["gate"]) == (4, "integrity.ledger")


def test_what_was_made_before_this_was_stored_is_said_to_lack_it(place: Place) -> None:
    with place.ledger() as ledger:
        old = _as_before(place.trail.candidate, ledger)
        assert candidate_of(ledger, old.project, str(old.digest)) == old
        assert ledger.verify().whole
    ran = place.call("reproduce", old.id, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "not_found")
    for part in ("training code", "definitions of its features", "with the seed", "libraries and their versions"):
        assert part in ran.json["error"]["message"]
    ran = place.call("reproduce", old.id, "--against", "flights@1", "--json")
    assert (ran.code, ran.json["model"]["same"]) == (0, True)
    lacking = {what for what, pin in ran.pins.items() if pin["standing"] == "not pinned"}
    assert lacking == {"code", "libraries", "seed", "python", "platform"}


def test_a_candidate_that_was_not_trained_has_nothing_to_make_again(place: Place) -> None:
    with place.ledger() as ledger:
        entry = place.trail.entry(Stage.VALIDATE)
        early = candidate_of(ledger, "flights", entry.digest)
    ran = place.call("reproduce", early.id)
    assert ran.code == 2
    assert "has no model: it ended at validate" in " ".join(ran.err.split())


@pytest.mark.exhaustive
def test_a_fit_that_is_not_determined_is_not_reproduced(place: Place, project: Path) -> None:
    small.edit(
        project / "train.py", "    plain = frame.copy()", "    plain = frame.copy()\n    frame = _shaken(frame, plain)"
    )
    with (project / "train.py").open("a", encoding="utf-8") as file:
        file.write(
            "\n\ndef _shaken(frame, plain):\n"
            "    noise = np.random.default_rng().normal(scale=1e-6, size=len(frame))\n"
            "    plain['distance'] = plain['distance'] + noise\n"
            "    return frame\n"
        )
    with small.opened(project, place.state, environment=place.trail.environment) as work:
        shaken = small.walk(work, until=Stage.EVALUATE)
    assert Stage.EVALUATE in shaken.stages
    ran = place.call("reproduce", shaken.id, "--json")
    assert ran.code == 3, ran.out
    assert ran.moved == []
    assert ran.json["model"]["same"] is False
    assert ran.json["prediction_gap"] > 0
    assert not all(one["same"] for one in ran.json["metrics"])
    shown = place.call("reproduce", shaken.id).out
    assert "nobody signed: it is not registered" in shown
    assert "Moved: nothing that is pinned" in shown
    assert "anything but the seed" in shown


@pytest.mark.exhaustive
def test_a_library_of_another_version_is_named(place: Place, tmp_path: Path) -> None:
    python = _environment(tmp_path / "venv")
    ran = _in(python, place)
    assert ran.code == 0, ran.out + ran.err
    assert (ran.moved, ran.json["same"]) == (["libraries"], True)
    assert ran.pins["libraries"]["changes"] == [f"markdown-it-py: was {version('markdown-it-py')}, now 0.0.1"]


@pytest.mark.exhaustive
def test_a_library_that_changes_the_model_is_named_and_nothing_else(place: Place, tmp_path: Path) -> None:
    python = _environment(tmp_path / "venv", sklearn="1.9.99")
    ran = _in(python, place)
    assert ran.code == 3, ran.out + ran.err
    assert ran.moved == ["libraries"]
    assert f"scikit-learn: was {version('scikit-learn')}, now 1.9.99" in ran.pins["libraries"]["changes"]
    assert ran.json["model"]["same"] is False  # the version is part of what scikit-learn stores
    assert ran.json["prediction_gap"] == 0.0


def _as_before(candidate: Candidate, ledger: Ledger) -> Candidate:
    """The candidate, its training written as it was before anything was pinned."""
    old = Candidate(project=candidate.project)
    for entry in candidate.entries:
        if entry.stage == Stage.TRAIN:
            break
        old = old.append(entry)
    entry = candidate.entry(Stage.TRAIN)
    body = entry.model_dump(mode="json") | {"key": f"{entry.key}-before"}
    body["subjects"] = [item for item in body["subjects"] if item["kind"] != pins.KIND]
    del body["inputs"]["pinned"], body["notes"]["machine"]
    made = Entry.model_validate(body)
    old = old.append(made)
    ledger.append(
        Draft(
            kind=RecordKind.ENTRY,
            project=old.project,
            candidate=old.id,
            stage=Stage.TRAIN,
            key=made.key,
            digest=made.digest,
            body=made.model_dump(mode="json"),
        ),
        actor="tester",
    )
    return old


def _environment(folder: Path, *, sklearn: str | None = None) -> Path:
    """This environment by links, one library with another version: that of a page's renderer, or of scikit-learn."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    for item in Path(sysconfig.get_path("purelib")).iterdir():
        (site / item.name).symlink_to(item)
    name, other = ("scikit_learn", sklearn) if sklearn else ("markdown_it_py", "0.0.1")
    (info,) = site.glob(f"{name}-*.dist-info")
    real = info.resolve()
    now = real.name.removeprefix(f"{name}-").removesuffix(".dist-info")
    info.unlink()
    shutil.copytree(real, site / f"{name}-{other}.dist-info")
    small.edit(site / f"{name}-{other}.dist-info" / "METADATA", f"Version: {now}", f"Version: {other}")
    if sklearn:
        package = (site / "sklearn").resolve()
        (site / "sklearn").unlink()
        (site / "sklearn").mkdir()
        for item in package.iterdir():
            if item.name not in ("__init__.py", "__pycache__"):
                (site / "sklearn" / item.name).symlink_to(item)
        shutil.copyfile(package / "__init__.py", site / "sklearn" / "__init__.py")
        small.edit(site / "sklearn" / "__init__.py", f'__version__ = "{now}"', f'__version__ = "{sklearn}"')
    return folder / "bin" / "python"


def _in(python: Path, place: Place) -> Ran:
    done = subprocess.run(
        [python, "-m", "towpath.cli", "reproduce", "flights@1", "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "platform")},
        cwd=place.folder / "elsewhere",
        capture_output=True,
        text=True,
    )
    return Ran(code=done.returncode, out=done.stdout, err=done.stderr)
