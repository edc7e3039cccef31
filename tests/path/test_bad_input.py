"""What cannot be worked with is refused, or said in one sentence; nothing is half-written, and mended it goes on."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from path import small
from path.trail import Trail
from towpath.core.errors import (
    BadInput,
    DeclarationError,
    NotFound,
    TowpathError,
    Unreachable,
    Unwritable,
)
from towpath.core.evidence import Finding, Outcome
from towpath.core.gates import Stage
from towpath.path import ORDER
from towpath.ports import Ledger
from towpath.project import load

FLIGHTS = "landing/flights/2013-05.csv"
SPINE = "feature_repo/transforms/spine.sql"
LABEL = "CAST(arr_delay > 15 AS BIGINT) AS late"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing done wrong to a project before a stage, and what must be said of it."""

    name: str
    stage: Stage
    harm: Callable[[Path], None]
    kind: type[TowpathError]
    says: str
    value: str = ""


def _cut(file: str) -> Callable[[Path], None]:
    return lambda project: (project / file).unlink()


def _edited(file: str, old: str, new: str) -> Callable[[Path], None]:
    return lambda project: small.edit(project / file, old, new)


def _header_only(project: Path) -> None:
    for file in (project / "landing" / "flights").glob("*.csv"):
        file.write_text(file.read_text().split("\n", maxsplit=1)[0] + "\n")


def _timeless(project: Path) -> None:
    for file in (project / "landing" / "flights").glob("*.csv"):
        small.edit(file, "time_hour", "hour_of_time")


def _not_yet(project: Path) -> None:
    for file in (project / "landing" / "flights").glob("*.csv"):
        small.rewrite(file, lambda _, row: {**row, "time_hour": row["time_hour"].replace("2013-", "2033-")})


def _fit(body: str) -> Callable[[Path], None]:
    def write(project: Path) -> None:
        (project / "train.py").write_text(f"def fit(frame, target, *, params, seed):\n    {body}\n")

    return write


_ODD = "import numpy; return type('Odd', (), {{'predict_proba': lambda self, rows: numpy.full((len(rows), 2), {})}})()"

CASES = [
    Case(
        name="a source is missing",
        stage=Stage.INGEST,
        harm=_cut("landing/airports.csv"),
        kind=BadInput,
        says="airports.csv",
    ),
    Case(name="a table is empty", stage=Stage.INGEST, harm=_header_only, kind=BadInput, says="landing/flights"),
    Case(
        name="no column tells the time",
        stage=Stage.INGEST,
        harm=_timeless,
        kind=BadInput,
        says="time_hour",
        value="time_hour",
    ),
    Case(
        name="a transform is no SQL",
        stage=Stage.FEATURIZE,
        harm=_edited("feature_repo/transforms/features/aircraft.sql", "FROM main.planes", "FORM main.planes"),
        kind=DeclarationError,
        says="aircraft.sql",
        value="aircraft.sql",
    ),
    Case(
        name="a transform reads a column that is not there",
        stage=Stage.FEATURIZE,
        harm=_edited("feature_repo/transforms/features/aircraft.sql", "(seats AS", "(chairs AS"),
        kind=DeclarationError,
        says="chairs",
        value="aircraft.sql",
    ),
    Case(
        name="there is no spine",
        stage=Stage.FEATURIZE,
        harm=_cut(SPINE),
        kind=DeclarationError,
        says="spine.sql",
    ),
    Case(
        name="the spine has no time",
        stage=Stage.FEATURIZE,
        harm=_edited(SPINE, "departed_at AS event_timestamp", "departed_at AS left_at"),
        kind=DeclarationError,
        says="event_timestamp",
    ),
    Case(
        name="the spine has no target",
        stage=Stage.FEATURIZE,
        harm=_edited(SPINE, LABEL, "1 AS later"),
        kind=BadInput,
        says="'late'",
        value="late",
    ),
    Case(
        name="the spine has no row identifier",
        stage=Stage.FEATURIZE,
        harm=_edited("charter.yaml", "rowId: flight_id", "rowId: trip_id"),
        kind=BadInput,
        says="'trip_id'",
        value="trip_id",
    ),
    Case(
        name="the spine has not what comes with the request",
        stage=Stage.FEATURIZE,
        harm=_edited("charter.yaml", "request: [carrier,", "request: [mood, carrier,"),
        kind=BadInput,
        says="'mood'",
        value="mood",
    ),
    Case(
        name="the spine has not what a view is joined by",
        stage=Stage.FEATURIZE,
        harm=_edited(SPINE, "    tailnum,\n", ""),
        kind=TowpathError,
        says="tailnum",
    ),
    Case(
        name="the service is unknown",
        stage=Stage.FEATURIZE,
        harm=_edited("charter.yaml", "service: flight_delay", "service: fligth_delay"),
        kind=DeclarationError,
        says="fligth_delay",
        value="fligth_delay",
    ),
    Case(
        name="the feature definitions do not run",
        stage=Stage.FEATURIZE,
        harm=_edited("feature_repo/definitions.py", "import os", "import os, no_such_module"),
        kind=DeclarationError,
        says="no_such_module",
    ),
    Case(
        name="a view reads a source that no transform makes",
        stage=Stage.FEATURIZE,
        harm=_cut("feature_repo/transforms/features/aircraft.sql"),
        kind=TowpathError,
        says="aircraft",
    ),
    Case(name="there is no training code", stage=Stage.TRAIN, harm=_cut("train.py"), kind=BadInput, says="train.py"),
    Case(
        name="the training code has no fit",
        stage=Stage.TRAIN,
        harm=_edited("train.py", "def fit(", "def fitted("),
        kind=BadInput,
        says="'fit'",
        value="fit",
    ),
    Case(
        name="the training code is no Python",
        stage=Stage.TRAIN,
        harm=_edited("train.py", "def fit(", "def fit(("),
        kind=BadInput,
        says="SyntaxError",
    ),
    Case(
        name="fit fails with a ValueError",
        stage=Stage.TRAIN,
        harm=_fit('raise ValueError("no such season")'),
        kind=BadInput,
        says="no such season",
    ),
    Case(
        name="fit fails with anything",
        stage=Stage.TRAIN,
        harm=_fit('return {}["carrier"]'),
        kind=BadInput,
        says="KeyError",
    ),
    Case(
        name="fit takes other arguments",
        stage=Stage.TRAIN,
        harm=_edited("train.py", "params: Mapping[str, Any], seed: int", "settings: Mapping[str, Any], seed: int"),
        kind=BadInput,
        says="params",
    ),
    Case(name="fit returns nothing", stage=Stage.TRAIN, harm=_fit("return None"), kind=BadInput, says="NoneType"),
    Case(
        name="fit returns a regressor",
        stage=Stage.TRAIN,
        harm=_fit(
            "from sklearn.dummy import DummyRegressor; "
            "return DummyRegressor().fit(frame.select_dtypes('number'), target)"
        ),
        kind=BadInput,
        says="DummyRegressor",
    ),
    Case(
        name="fit returns what is not fitted",
        stage=Stage.TRAIN,
        harm=_fit("from sklearn.dummy import DummyClassifier; return DummyClassifier()"),
        kind=BadInput,
        says="not fitted",
    ),
    Case(
        name="fit learns one class",
        stage=Stage.TRAIN,
        harm=_fit("from sklearn.dummy import DummyClassifier; return DummyClassifier().fit(frame, target * 0)"),
        kind=BadInput,
        says="one class",
    ),
    Case(
        name="the model predicts nothing that is a number",
        stage=Stage.TRAIN,
        harm=_fit(_ODD.format("numpy.nan")),
        kind=BadInput,
        says="nan",
    ),
    Case(
        name="the model is a class of one's own",
        stage=Stage.TRAIN,
        harm=_fit(_ODD.format("0.5")),
        kind=TowpathError,
        says="Odd",
    ),
    Case(
        name="a parameter is unknown",
        stage=Stage.TRAIN,
        harm=_edited("charter.yaml", "max_iter: 30", "max_itre: 30"),
        kind=BadInput,
        says="max_itre",
    ),
    Case(
        name="a slice is of no column",
        stage=Stage.EVALUATE,
        harm=_edited("charter.yaml", "{by: origin,", "{by: orgin,"),
        kind=BadInput,
        says="orgin",
        value="orgin",
    ),
]


def _stages(cases: Iterable[Case | Refused], *, slow: set[Stage]) -> list[Any]:
    """The stages that cases go wrong before. One is slow that has many cases, or cases that go far along the path."""
    return [pytest.param(one, marks=[pytest.mark.slow] * (one in slow)) for one in sorted({it.stage for it in cases})]


@pytest.mark.parametrize("stage", _stages(CASES, slow={Stage.FEATURIZE}))
def test_it_is_said_and_mended(stage: Stage, trail: Trail, tmp_path: Path, subtests: pytest.Subtests) -> None:
    state = trail.before(stage, tmp_path / "state")
    for case in CASES:
        if case.stage is stage:
            with subtests.test(case.name):
                _is_said(case, trail, state, tmp_path / case.name)
    _mended(trail, state, stage)


def _is_said(case: Case, trail: Trail, state: Path, folder: Path) -> None:
    project = Path(shutil.copytree(trail.project, folder))
    case.harm(project)
    with small.opened(project, state, environment=trail.environment) as work:
        before = _contents(work.ports.ledger)
        with pytest.raises(case.kind) as caught:
            small.walk(work, until=case.stage)
        _helps(caught.value, case)
        entries = _contents(work.ports.ledger)
        assert entries[: len(before)] == before
        assert all(stage in _earlier(case.stage) for stage, _ in entries[len(before) :])


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Data done wrong in a way that a gate refuses, and what the reason must name."""

    name: str
    harm: Callable[[Path], None]
    stage: Stage
    codes: frozenset[str]
    subject: str


def _column(name: str, value: str, *, file: str = FLIGHTS, every: int = 1) -> Callable[[Path], None]:
    def write(project: Path) -> None:
        files = sorted((project / file).parent.glob("*.csv")) if every == 1 else [project / file]
        for one in files:
            small.rewrite(one, lambda number, row: {**row, name: value} if number % every == 0 else row)

    return write


REFUSED = [
    Refused(
        name="a required column is all null",
        harm=_column("distance", ""),
        stage=Stage.VALIDATE,
        codes=frozenset({"data.null", "data.schema"}),
        subject="flights.distance",
    ),
    Refused(
        name="an optional column is all null",
        harm=_column("arr_delay", ""),
        stage=Stage.VALIDATE,
        codes=frozenset({"data.null", "data.schema"}),
        subject="flights.arr_delay",
    ),
    Refused(
        name="numbers are words",
        harm=_column("distance", "far", every=1000),
        stage=Stage.VALIDATE,
        codes=frozenset({"data.schema"}),
        subject="flights.distance",
    ),
    Refused(
        name="a key is there twice",
        harm=lambda project: _append_first_row(project / "landing/planes.csv"),
        stage=Stage.VALIDATE,
        codes=frozenset({"data.unique"}),
        subject="planes",
    ),
    Refused(
        name="a reference leads nowhere",
        harm=_column("carrier", "XX", every=2),
        stage=Stage.VALIDATE,
        codes=frozenset({"data.foreign_key"}),
        subject="flights.carrier",
    ),
    Refused(
        name="nothing happened yet",
        harm=_not_yet,
        stage=Stage.INGEST,
        codes=frozenset({"ingest.rows"}),
        subject="flights",
    ),
    Refused(
        name="all are of one class",
        harm=_edited(SPINE, LABEL, "CAST(1 AS BIGINT) AS late"),
        stage=Stage.TRAIN,
        codes=frozenset({"train.target"}),
        subject="late",
    ),
    Refused(
        name="a label is missing",
        harm=_edited(SPINE, LABEL, "CASE WHEN arr_delay <> 3 THEN CAST(arr_delay > 15 AS BIGINT) END AS late"),
        stage=Stage.TRAIN,
        codes=frozenset({"train.target"}),
        subject="late",
    ),
    Refused(
        name="there are three classes",
        harm=_edited(SPINE, LABEL, "CAST(arr_delay > 15 AS BIGINT) + CAST(arr_delay > 60 AS BIGINT) AS late"),
        stage=Stage.TRAIN,
        codes=frozenset({"train.target"}),
        subject="late",
    ),
    Refused(
        name="classes are words",
        harm=_edited(SPINE, LABEL, "CASE WHEN arr_delay > 15 THEN 'late' ELSE 'on time' END AS late"),
        stage=Stage.TRAIN,
        codes=frozenset({"train.target"}),
        subject="late",
    ),
    Refused(
        name="rows are too few",
        harm=_edited("charter.yaml", "minRows: 500", "minRows: 50000"),
        stage=Stage.FEATURIZE,
        codes=frozenset({"features.rows"}),
        subject="train",
    ),
]


@pytest.mark.parametrize("stage", _stages(REFUSED, slow={Stage.VALIDATE, Stage.TRAIN}))
def test_it_is_refused_and_mended(stage: Stage, trail: Trail, tmp_path: Path, subtests: pytest.Subtests) -> None:
    state = trail.before(stage, tmp_path / "state")
    for case in REFUSED:
        if case.stage is stage:
            with subtests.test(case.name):
                _is_refused(case, trail, state, tmp_path / case.name)
    _mended(trail, state, stage)


def _is_refused(case: Refused, trail: Trail, state: Path, folder: Path) -> None:
    project = Path(shutil.copytree(trail.project, folder))
    case.harm(project)
    with small.opened(project, state, environment=trail.environment) as work:
        candidate = small.walk(work)
        assert candidate.entries[-1].stage == case.stage
        refusing = [item for item in candidate.entries[-1].findings if item.outcome is not Outcome.PASS]
        assert {item.code for item in refusing} & case.codes, [item.reason for item in refusing]
        _names(refusing, case)


def test_the_newest_rows_of_training_are_of_one_class(trail: Trail, project: Path, tmp_path: Path) -> None:
    late = "CAST(arr_delay > 15 AND departed_at < TIMESTAMPTZ '2013-05-05' AS BIGINT) AS late"
    small.edit(project / SPINE, LABEL, late)
    _raises(trail, project, tmp_path, Stage.FEATURIZE, "one class only")


@pytest.mark.slow
def test_the_holdout_is_of_one_class(trail: Trail, project: Path, tmp_path: Path) -> None:
    late = "CAST(arr_delay > 15 AND departed_at < TIMESTAMPTZ '2013-05-17' AS BIGINT) AS late"
    small.edit(project / SPINE, LABEL, late)
    _raises(trail, project, tmp_path, Stage.FEATURIZE, "of class 0")


@pytest.mark.parametrize("name", ["state", "scratch", "features", "objects", "ledger.db", "mlflow.db", "artifacts"])
def test_what_is_in_the_way_of_the_state_is_named(name: str, trail: Trail, tmp_path: Path) -> None:
    """A file where a folder must be, or a folder where a file must be."""
    state = tmp_path / "state"
    obstacle = state if name == "state" else state / name
    obstacle.parent.mkdir(exist_ok=True)
    if name.endswith(".db"):
        (obstacle / "something").mkdir(parents=True)
    else:
        obstacle.write_text("in the way")
    needs = {"features": Stage.FEATURIZE, "mlflow.db": Stage.TRAIN, "artifacts": Stage.TRAIN}.get(name, Stage.INGEST)
    if needs is not Stage.INGEST:
        obstacle.rename(tmp_path / "aside")
        state.rmdir()
        trail.before(needs, state)
        _remove(state / name)
        (tmp_path / "aside").rename(obstacle)
    with pytest.raises(TowpathError) as caught, small.opened(trail.project, state) as work:
        small.walk(work, until=needs)
    assert isinstance(caught.value, Unwritable | Unreachable | BadInput), repr(caught.value)
    assert str(obstacle) in str(caught.value)
    assert caught.value.hint
    obstacle.rename(tmp_path / "moved away")
    if not state.exists():
        state.mkdir()
    with small.opened(trail.project, state) as work:
        assert small.walk(work, until=needs).digest == trail.entry(needs).digest


@pytest.fixture
def closed() -> Iterator[int]:
    """A bound port that refuses every connection: nobody else gets it meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


def test_an_unreachable_ledger(closed: int, trail: Trail, tmp_path: Path) -> None:
    given = {"TOWPATH_LEDGER": f"postgresql://towpath:secret-word@127.0.0.1:{closed}/ledger"}
    _is_unreachable(given, trail, tmp_path, f"127.0.0.1:{closed}", Stage.INGEST)


def test_an_unreachable_object_store(
    closed: int, trail: Trail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-word")
    given = {
        "TOWPATH_OBJECTS": "s3://bucket/towpath",
        "TOWPATH_S3_ENDPOINT": f"http://127.0.0.1:{closed}",
        "TOWPATH_S3_REGION": "us-east-1",
    }
    _is_unreachable(given, trail, tmp_path, f"127.0.0.1:{closed}", Stage.INGEST)


def test_an_unreachable_tracking_server(closed: int, trail: Trail, tmp_path: Path) -> None:
    given = {"TOWPATH_MLFLOW": f"http://127.0.0.1:{closed}"}
    _is_unreachable(given, trail, tmp_path, f"127.0.0.1:{closed}", Stage.TRAIN)


def _is_unreachable(given: dict[str, str], trail: Trail, tmp_path: Path, address: str, stage: Stage) -> None:
    state = trail.before(stage, tmp_path / "state")
    began = time.monotonic()
    with (
        pytest.raises(Unreachable) as caught,
        small.opened(trail.project, state, environment={**trail.environment, **given}) as work,
    ):
        small.walk(work, until=stage)
    assert time.monotonic() - began < 60
    assert address in str(caught.value)
    assert "secret-word" not in str(caught.value)
    assert caught.value.hint
    assert caught.value.temporary
    _mended(trail, state, stage)


def _raises(trail: Trail, project: Path, tmp_path: Path, begins: Stage, says: str) -> None:
    state = trail.before(begins, tmp_path / "state")
    with (
        small.opened(project, state, environment=trail.environment) as work,
        pytest.raises(BadInput, match=says) as caught,
    ):
        small.walk(work)
    assert caught.value.hint


def _append_first_row(file: Path) -> None:
    text = file.read_text()
    file.write_text(text + text.splitlines()[1] + "\n")


def _helps(error: TowpathError, case: Case) -> None:
    assert case.says in str(error), str(error)
    assert case.value in str(error.value), error.value
    assert error.hint or error.valid
    assert "Traceback" not in str(error)


def _names(refusing: list[Finding], case: Refused) -> None:
    mine = [item for item in refusing if item.code in case.codes]
    assert any(item.subject.startswith(case.subject) for item in mine), [(item.code, item.subject) for item in mine]
    assert all(len(item.reason.split()) > 3 for item in mine)


def _mended(trail: Trail, state: Path, stage: Stage) -> None:
    """The project as it was goes through the stage in the same state, to the same entry."""
    with small.opened(trail.project, state, environment=trail.environment) as work:
        assert small.walk(work, until=stage).digest == trail.entry(stage).digest
        assert work.ports.ledger.verify().whole


def _contents(ledger: Ledger) -> list[tuple[str, str]]:
    return [(record.stage, record.digest) for record in small.records(ledger)]


def _earlier(stage: Stage) -> tuple[str, ...]:
    return tuple(item.value for item in ORDER[: ORDER.index(stage)])


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def test_a_folder_without_a_charter(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"charter\.yaml") as caught:
        load(tmp_path)
    assert "towpath demo" in caught.value.hint
