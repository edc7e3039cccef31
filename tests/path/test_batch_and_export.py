"""`towpath batch` and `towpath export`: the champion's own answers, on files and on the edge, and every refusal."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from path import small
from path.trail import Trail
from towpath.cli import run as towpath
from towpath.core.gates import Stage


@dataclass(frozen=True, kw_only=True)
class Ran:
    code: int
    out: str
    err: str


@dataclass(frozen=True, kw_only=True)
class Place:
    """A state with a champion, rows to score, and what the champion's scikit-learn model says of them."""

    trail: Trail
    state: Path
    rows: pd.DataFrame
    columns: list[str]
    scores: np.ndarray[Any, Any]
    folder: Path
    call: Callable[..., Ran]

    def batch(self, source: str, target: str, *more: str) -> Ran:
        given = ("--input", str(self.folder / source), "--output", str(self.folder / target), *more)
        return self.call("batch", str(self.trail.project), *given)

    def write(self, name: str, rows: pd.DataFrame) -> None:
        rows.to_parquet(self.folder / name, index=False)


@pytest.fixture
def place(trail: Trail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    state = trail.after(Stage.PROMOTE, tmp_path / "state")
    monkeypatch.setenv("TOWPATH_STATE", str(state))
    for name, value in trail.environment.items():
        monkeypatch.setenv(name, value)
    with small.opened(trail.project, state, environment=trail.environment) as work:
        fetch = work.ports.objects.fetch
        rows = pd.read_parquet(fetch(trail.entry(Stage.FEATURIZE).subject("features", "holdout").digest))
        scores = pd.read_parquet(fetch(trail.entry(Stage.EVALUATE).subject("predictions", "holdout").digest))

    def call(*arguments: str) -> Ran:
        capsys.readouterr()
        code = towpath(arguments)
        said = capsys.readouterr()
        return Ran(code=code, out=said.out, err=said.err)

    columns: Any = trail.entry(Stage.TRAIN).facts["inputs"]
    return Place(
        trail=trail,
        state=state,
        rows=rows,
        columns=list(columns),
        scores=scores["score"].to_numpy(),
        folder=tmp_path,
        call=call,
    )


# -- batch ---------------------------------------------------------------------------------------------------------


def test_batch_gives_the_evaluated_scores_and_logs_them(place: Place) -> None:
    place.write("in.parquet", place.rows)
    ran = place.batch("in.parquet", "out.parquet", "--json")
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    assert (said["candidate"], said["runtime"], said["rows"]) == (place.trail.candidate.id, "trees", len(place.rows))
    scored = pd.read_parquet(place.folder / "out.parquet")
    assert list(scored.columns) == [*place.rows.columns, "prediction"]
    np.testing.assert_allclose(scored["prediction"], place.scores, rtol=0, atol=1e-12)
    for _ in range(2):  # the same file again replaces its log
        logged = pd.concat(map(pd.read_parquet, sorted((place.state / "predictions").rglob("*.parquet"))))
        assert len(logged) == len(place.rows)
        assert set(logged["arm"]) == {"champion"}
        assert sorted(logged["key"]) == sorted(place.rows["flight_id"])
        assert place.batch("in.parquet", "again.parquet").code == 0
    assert (place.folder / "again.parquet").read_bytes() == (place.folder / "out.parquet").read_bytes()


def test_batch_reads_and_writes_csv(place: Place) -> None:
    few = place.rows.head(300)
    few[place.columns].to_csv(place.folder / "in.csv", index=False)
    assert place.batch("in.csv", "out.csv", "--no-log").code == 0
    scored = pd.read_csv(place.folder / "out.csv", keep_default_na=False, na_values=[""])
    np.testing.assert_allclose(scored["prediction"], place.scores[:300], rtol=0, atol=1e-12)
    assert not (place.state / "predictions").exists()


def test_batch_of_many_row_groups_and_of_no_row(place: Place) -> None:
    many = pa.concat_tables([pa.Table.from_pandas(place.rows[place.columns], preserve_index=False)] * 6)
    pq.write_table(many, place.folder / "many.parquet", row_group_size=777)
    assert place.batch("many.parquet", "out.parquet", "--no-log").code == 0
    found = pq.read_table(place.folder / "out.parquet").column("prediction").to_numpy()
    np.testing.assert_allclose(found, np.tile(place.scores, 6), rtol=0, atol=1e-12)
    place.write("none.parquet", place.rows.head(0))
    assert place.batch("none.parquet", "nothing.parquet").code == 0
    assert pq.read_metadata(place.folder / "nothing.parquet").num_rows == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows.drop(columns=["carrier", "distance"]), "lacks carrier, distance"),
        (lambda rows: rows[["flight_id", "tailnum"]], "have to be in the file"),
        (lambda rows: rows.assign(distance=rows["distance"].astype(str)), "Column distance"),
        (lambda rows: rows.assign(carrier=1), "Column carrier"),
        (lambda rows: rows.assign(prediction=0.5), "has a column 'prediction' already"),
        (
            lambda rows: rows.assign(distance=np.where(np.arange(len(rows)) == 41, np.inf, rows["distance"])),
            "Row 42 of",
        ),
    ],
    ids=["missing columns", "keys only", "text for a number", "a number for text", "taken name", "an infinity"],
)
def test_batch_refuses_what_the_model_does_not_take(
    change: Callable[[pd.DataFrame], pd.DataFrame], says: str, place: Place
) -> None:
    place.write("bad.parquet", change(place.rows))
    ran = place.batch("bad.parquet", "out.parquet")
    assert ran.code == 2, ran.err
    assert says in ran.err
    assert "Traceback" not in ran.err
    assert not (place.folder / "out.parquet").exists()


def test_batch_refuses_files_that_are_none(place: Place) -> None:
    (place.folder / "text.parquet").write_text("no parquet")
    (place.folder / "empty.csv").write_text("")
    head = ",".join(place.columns)
    (place.folder / "word.csv").write_text(head + "\n" + ",".join(["x"] * len(place.columns)) + "\n")
    place.write("in.parquet", place.rows.head(3))
    for source, target, says in (
        ("gone.parquet", "out.parquet", "There is no file"),
        ("text.parquet", "out.parquet", "cannot be read"),
        ("empty.csv", "out.csv", "is empty"),
        ("word.csv", "out.csv", "cannot be read"),
        ("in.parquet", "out.xlsx", "Valid: .parquet, .csv"),
        ("in.parquet", "in.parquet", "the same file"),
    ):
        ran = place.batch(source, target)
        assert ran.code == 2, (source, ran.err)
        assert says in ran.err, source
    ran = place.batch("in.parquet", "no/such/folder/out.parquet")
    assert "Cannot write" in ran.err
    assert pd.read_parquet(place.folder / "in.parquet").shape[0] == 3
    assert not list(place.folder.glob(".*parquet*"))


def _keyed(place: Place) -> pd.DataFrame:
    """Rows with what a request brings and the keys, and without a feature."""
    features = [name for own in place.trail.entry(Stage.FEATURIZE).facts["views"].values() for name in own]  # type: ignore[union-attr]
    known = [name for name in place.rows.columns if "__" in name or name in ("late", "label_timestamp")]
    return place.rows.drop(columns=[*features, *known])


def test_batch_looks_features_up_by_their_keys_as_of_each_rows_time(place: Place) -> None:
    keyed = _keyed(place)
    assert not set(place.columns) <= set(keyed.columns)
    place.write("in.parquet", keyed)
    ran = place.batch("in.parquet", "out.parquet", "--json")
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    assert said["rows"] == len(keyed)
    assert set(said["features_missing"]) == set(place.trail.entry(Stage.FEATURIZE).facts["views"])  # type: ignore[arg-type]
    scored = pd.read_parquet(place.folder / "out.parquet")
    np.testing.assert_allclose(scored["prediction"], place.scores, rtol=0, atol=1e-12)
    assert list(scored.columns[: len(keyed.columns)]) == list(keyed.columns)
    assert set(scored.columns) == {*keyed.columns, *place.columns, "prediction"}
    logged = pd.concat(map(pd.read_parquet, sorted((place.state / "predictions").rglob("*.parquet"))))
    assert sorted(logged["key"]) == sorted(keyed["flight_id"])
    assert set(json.loads(logged["inputs"].iloc[0])) == set(place.columns)
    keyed.to_csv(place.folder / "in.csv", index=False)
    assert place.batch("in.csv", "out.csv", "--no-log").code == 0
    np.testing.assert_allclose(pd.read_csv(place.folder / "out.csv")["prediction"], place.scores, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_batch_looks_features_up_as_of_one_time(place: Place) -> None:
    """The time that is given is what rows without one of their own get; one that is long past finds nothing."""
    few, at = _keyed(place).head(40), place.rows["event_timestamp"].iloc[0]
    bare = few.drop(columns=["event_timestamp"])
    place.write("timed.parquet", few.assign(event_timestamp=at))
    place.write("some.parquet", few.assign(event_timestamp=[at if number % 2 else None for number in range(40)]))
    place.write("bare.parquet", bare)
    found = []
    for name in ("timed", "some", "bare"):
        ran = place.batch(f"{name}.parquet", f"{name}-out.parquet", "--no-log", "--as-of", f"{at:%Y-%m-%dT%H:%M:%S}")
        assert ran.code == 0, ran.err
        found.append(pd.read_parquet(place.folder / f"{name}-out.parquet")["prediction"].to_list())
    assert found[0] == found[1] == found[2]
    ran = place.batch("bare.parquet", "old.parquet", "--no-log", "--as-of", "2010-01-01")
    assert ran.code == 0, ran.err
    assert "knows nothing of 40 of 40 rows at their time" in ran.err
    old = pd.read_parquet(place.folder / "old.parquet")
    assert old["prediction"].to_list() != found[0]
    ran = place.batch("bare.parquet", "now.parquet", "--no-log", "--json")
    assert ran.code == 0, ran.err
    assert "event_timestamp" not in pd.read_parquet(place.folder / "now.parquet").columns


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows, feature: rows.drop(columns=["tailnum"]), "and tailnum to look them up by"),
        (lambda rows, feature: rows.rename(columns={"distance": "distanse"}), "lacks distance"),
        (lambda rows, feature: rows.assign(**{feature: 1.0}), "has the features"),
        (lambda rows, feature: rows.assign(event_timestamp="noon"), "Column event_timestamp"),
    ],
    ids=["missing key", "unknown column", "mixed", "no time"],
)
def test_batch_refuses_what_cannot_be_looked_up(
    change: Callable[[pd.DataFrame, str], pd.DataFrame], says: str, place: Place
) -> None:
    keyed = _keyed(place)
    feature = next(name for name in place.columns if name not in keyed.columns)
    place.write("bad.parquet", change(keyed, feature))
    ran = place.batch("bad.parquet", "out.parquet")
    assert ran.code == 2, ran.err
    assert says in ran.err
    assert "Traceback" not in ran.err
    assert not (place.folder / "out.parquet").exists()


def test_batch_joins_with_the_champions_definitions_and_sources_only(place: Place, tmp_path: Path) -> None:
    import shutil

    place.write("in.parquet", _keyed(place).head(3))
    other = tmp_path / "other"
    shutil.copytree(place.trail.project, other)
    with (other / "feature_repo" / "definitions.py").open("a", encoding="utf-8") as file:
        file.write("# another day\n")
    given = ("--input", str(place.folder / "in.parquet"), "--output", str(place.folder / "out.parquet"))
    ran = place.call("batch", str(other), *given)
    assert ran.code not in (0, 2)
    assert "is not the one of" in ran.err
    digest = next(iter(place.trail.entry(Stage.FEATURIZE).subjects_of("feature_source").values())).digest
    stored = place.state / "objects" / digest[7:9] / digest[9:]
    stored.chmod(0o644)
    stored.write_bytes(stored.read_bytes() + b"0")
    ran = place.call("batch", str(place.trail.project), *given)
    assert ran.code not in (0, 2)
    assert not (place.folder / "out.parquet").exists()


def test_batch_never_loads_a_changed_model(place: Place) -> None:
    place.write("in.parquet", place.rows.head(3))
    digest = place.trail.entry(Stage.REGISTER).subject("runtime").digest
    file = place.state / "objects" / digest[7:9] / digest[9:]
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)
    ran = place.batch("in.parquet", "out.parquet")
    assert ran.code not in (0, 2)
    assert "integrity" in ran.err
    assert not (place.folder / "out.parquet").exists()


# -- export --------------------------------------------------------------------------------------------------------


def _run(bundle: Path, rows: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    (bundle.parent / "rows.json").write_text(json.dumps(rows))
    return subprocess.run(
        [sys.executable, "-I", str(bundle / "run.py"), str(bundle.parent / "rows.json")],
        capture_output=True,
        text=True,
        cwd="/",
        timeout=120,
    )


def _plain(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {name: None if value != value else value for name, value in row.items()}
        for row in rows.astype(object).to_dict(orient="records")
    ]


@pytest.mark.slow
def test_an_exported_bundle_scores_alone(place: Place) -> None:
    bundle = place.folder / "edge" / "flights"
    ran = place.call("export", place.trail.candidate.id, "--to", str(bundle), "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["parity"]["outcome"] == "PASS"
    files = {"model.onnx", "signature.json", "manifest.json", "run.py", "bom.cdx.json"}
    assert {file.name for file in bundle.iterdir()} == files
    source = (bundle / "run.py").read_text()
    assert "towpath" not in source
    found = _run(bundle, _plain(place.rows[place.columns].head(200)))
    assert found.returncode == 0, found.stderr
    np.testing.assert_allclose(json.loads(found.stdout), place.scores[:200], rtol=0, atol=1e-12)
    again = place.folder / "again"
    assert place.call("export", str(place.trail.project), "--to", str(again)).code == 0
    assert {file.name: file.read_bytes() for file in again.iterdir()} == {
        file.name: file.read_bytes() for file in bundle.iterdir()
    }
    _refuses(bundle, _plain(place.rows[place.columns].head(1)))


def _refuses(bundle: Path, rows: list[dict[str, Any]]) -> None:
    """Values of another kind, and a changed file."""
    for name, value in (("distance", "12"), ("carrier", 5), ("distance", 1e999)):
        found = _run(bundle, [{**rows[0], name: value}])
        assert found.returncode != 0, name
        assert name in found.stderr
    model = bundle / "model.onnx"
    model.write_bytes(model.read_bytes() + b"\0")
    found = _run(bundle, rows)
    assert found.returncode != 0
    assert "model.onnx is not the file that was exported" in found.stderr


def test_export_refuses(place: Place) -> None:
    target = place.folder / "edge"
    target.mkdir()
    (target / "notes.txt").write_text("mine")
    for named, to, says in (
        (place.trail.candidate.id, target, "is there already"),
        ("flights-000000000000", place.folder / "other", "names no candidate"),
        (place.trail.candidate.id[:-8] + "ffffffff", place.folder / "other", "names no candidate"),
    ):
        ran = place.call("export", named, "--to", str(to))
        assert ran.code != 0
        assert says in ran.err
    assert [file.name for file in target.iterdir()] == ["notes.txt"]
    assert not (place.folder / "other").exists()


@pytest.mark.slow
def test_export_refuses_when_parity_fails(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A converter that goes wrong, as converters do: nothing is written, and the row is named."""
    from towpath.adapters import runtimes

    class Shifted(runtimes.OnnxRuntime):
        def predict(self, rows: Any) -> list[float]:
            return [one + 1e-3 for one in super().predict(rows)]

    monkeypatch.setitem(runtimes._OPENERS, "onnx", Shifted)  # type: ignore[arg-type]
    ran = place.call("export", "flights", "--to", str(place.folder / "edge"))
    assert ran.code != 0
    assert "is not exported: onnx differs on" in ran.err
    assert "parityTolerance" in ran.err
    assert not (place.folder / "edge").exists()
