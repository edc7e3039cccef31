"""Which task a target is drafted for, and what becomes of columns that the leakage gates would refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cli.conftest import Cli
from init import tables
from towpath.adapters.profile_duckdb import DuckdbProfiles
from towpath.core.draft_target import target
from towpath.core.task import Task
from towpath.stages.init_bounds import above, below, honest, of_classes, size_above, written

ROWS = 210


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    places = np.arange(ROWS)
    frame = pd.DataFrame(
        {
            "answer": np.where(places % 3, "no", "yes"),
            "flag": places % 2 == 0,
            "one_or_two": places % 2 + 1,
            "words": np.array(["red", "green", "blue"])[places % 3],
            "digit": places % 10,
            "rating": (places % 5).astype(float),
            "hours": places % 21,
            "children": np.where(places < 5, 3, places % 3),
            "halves": (places % 5) / 2,
            "length": places * 1.5,
        }
    )
    return tables.write(frame, tmp_path_factory.mktemp("targets") / "targets.parquet")


@pytest.mark.parametrize(
    ("column", "task", "classes"),
    [
        ("answer", Task.BINARY, 2),
        ("flag", Task.BINARY, 2),
        ("one_or_two", Task.BINARY, 2),
        ("words", Task.MULTICLASS, 3),
        ("digit", Task.MULTICLASS, 10),
        ("rating", Task.MULTICLASS, 5),
        ("hours", Task.REGRESSION, 0),
        ("children", Task.REGRESSION, 0),
        ("halves", Task.REGRESSION, 0),
        ("length", Task.REGRESSION, 0),
    ],
)
def test_what_a_target_asks_for(column: str, task: Task, classes: int, file: Path) -> None:
    found = target(DuckdbProfiles().profile(file).columns[column])
    assert (found.task, len(found.classes)) == (task, classes)


def test_bounds_are_rounded_to_the_lax_side_and_read_as_numbers() -> None:
    assert (below([0.7, 0.8, 0.9]), above([0.7, 0.8, 0.9])) == pytest.approx((0.6, 1.0))
    assert [size_above(value) for value in (81.123, 0.00012345, 123456.0, 0.0)] == [81.2, 0.000124, 124000.0, 0.0]
    assert [written(value) for value in (1e-05, 1.5e-07, 2e22, 81.2)] == ["1.0e-05", "1.5e-07", "2.0e+22", "81.2"]
    assert honest(0.97, 0.9) == "0.97"
    assert honest(0.97, 0.96).startswith("0.9867 # DECIDE")
    assert honest(0.995, 0.98).startswith("0.995 # DECIDE")


def test_twenty_rows_are_too_few(cli: Cli, place: Path) -> None:
    tables.write(tables.shipped("linnerud"), place / "linnerud.csv")
    ran = cli("init", "mine", "--data", "linnerud.csv", "--target", "Weight")
    assert ran.code == 2
    assert "linnerud has 20 rows with a target: too few to hold out rows" in " ".join(ran.err.split())


@pytest.mark.slow
def test_columns_that_were_scaled_on_all_rows_are_left_out(cli: Cli, place: Path) -> None:
    frame = tables.shipped("diabetes", scaled=False)
    frame["bmi"] = (frame["bmi"] - frame["bmi"].mean()) / frame["bmi"].std()
    tables.write(frame, place / "some.csv")
    drafted = cli("init", "some", "--data", "some.csv", "--target", "target", "--json")
    assert drafted.code == 0, drafted.err
    (warning,) = drafted.json["warnings"]
    assert warning.startswith("bmi is left out: leakage.fitted: Column bmi has mean 0 over training set and holdout")
    assert "bmi" not in (place / "some/feature_repo/transforms/spine.sql").read_text(encoding="utf-8")

    tables.write(tables.shipped("diabetes"), place / "all.csv")
    refused = cli("init", "all", "--data", "all.csv", "--target", "target")
    assert refused.code == 2
    assert "s6 is left out: leakage.fitted" in " ".join(refused.err.split())
    assert not (place / "all").exists()


@pytest.mark.slow
def test_several_classes_are_drafted_without_a_rollout(cli: Cli, place: Path) -> None:
    frame = tables.shipped("iris").assign(target=lambda table: table["target"].map({0: "one", 1: "two", 2: "both"}))
    tables.write(frame, place / "iris.csv")
    drafted = cli("init", "mine", "--data", "iris.csv", "--target", "target")
    assert drafted.code == 0, drafted.err
    assert "target is one of 3 classes (both, one, two), as target has them." in drafted.out
    charter = (place / "mine/charter.yaml").read_text(encoding="utf-8")
    assert "task: multiclass" in charter
    assert "serving:" not in charter
    assert "rollout:" not in charter


def test_a_classifier_is_held_to_the_worst_of_its_draws_or_half_way_to_no_model() -> None:
    ends = np.array([[0.8125, 0.25, 0.125, 0.1], [0.75, 0.5, 0.25, 0.1]])
    told = {"logLoss": "no model has 0.690"}
    given = {"roc_auc": 0.875, "log_loss": 0.25, "nothing": 0.69, "told": told, "strongest": "0.97", "columns": 60}
    assert of_classes(ends, **given) == [
        "rocAuc: 0.68",
        "logLoss: 0.63 # no model has 0.690",
        "calibration: 0.32",
        "baselineLogLossGain: 0.0",
        "champion: {rocAucMargin: 0.13, logLossMargin: 0.25}",
        "latencyMs: 300",
        "singleFeatureRocAuc: 0.97",
    ]
