"""`towpath feedback`: labels from a file, what it says of them, and what it refuses."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.conftest import Cli, Recorded
from towpath.adapters.prediction_log import PredictionLog
from towpath.adapters.prediction_log_places import FolderPlace
from towpath.cli.exits import Exit
from towpath.core.errors import BadInput
from towpath.verbs import labels


def test_labels_of_a_csv_file(cli: Cli, recorded: Recorded, place: Path) -> None:
    project = recorded.passed.project
    log = FolderPlace(place / "state" / "predictions")
    row = {"units": ["u"], "buckets": [1], "keys": ["7"], "columns": ["x"], "rows": [[1]], "predictions": [0.5]}
    about = {"candidate": "c", "model": "m", "version": "1", "arm": "champion", "latency_ms": 1.0}
    PredictionLog(log).write([{"v": 1, "request": "r", "at": 1.0, "project": project, **row, **about}], name="x")
    (place / "landed.csv").write_text("id,late\n7,1\n8,0\n9,\n7,0\n")
    arguments = ["feedback", str(recorded.project), "--labels", "landed.csv", "--key", "id", "--label", "late"]
    ran = cli(*arguments)
    assert ran.code == Exit.GOOD, ran.err
    assert ran.out.splitlines() == [
        f"{project}: 2 labels are in the prediction log.",
        "  1 of a row that was predicted, 1 of none so far",
        "  1 rows without a key or a label were left out",
        "  1 rows repeated a key; its first label counts",
    ]
    again = cli(*arguments, "--json")
    assert again.json == {
        "project": project,
        "labels": 2,
        "unknown": 1,
        "left_out": 1,
        "repeated": 1,
        "already": True,
    }
    assert len(log.list(f"{project}/labels")) == 1


def test_what_it_refuses(cli: Cli, recorded: Recorded, place: Path) -> None:
    (place / "landed.csv").write_text("id,late\n7,maybe\n")
    named = ["feedback", recorded.passed.project, "--labels", "landed.csv"]
    ran = cli(*named, "--key", "id", "--label", "late")
    assert ran.code == Exit.INPUT
    assert "1 labels in 'late' are neither 0 nor 1: 'maybe'" in ran.err.replace("\n", " ")
    ran = cli(*named, "--key", "flight", "--label", "late")
    assert (ran.code, "no column 'flight'" in ran.err) == (Exit.INPUT, True)
    ran = cli("feedback", "nobody", "--labels", "landed.csv", "--key", "id", "--label", "late")
    assert (ran.code, "neither a folder" in ran.err) == (Exit.INPUT, True)
    ran = cli("feedback", "--labels", "landed.csv", "--key", "id", "--label", "late")
    assert (ran.code, "There is no project here" in ran.err) == (Exit.INPUT, True)


@pytest.mark.parametrize("said", [math.inf, math.nan, 2.5])
def test_what_is_not_sent_to_a_server(place: Path, said: float) -> None:
    pq.write_table(pa.table({"id": ["7"], "late": [said]}), place / "landed.parquet")
    with pytest.raises(BadInput, match="are not all 0 or 1, or of a multiclass model text or whole numbers"):
        labels.read("landed.parquet", key="id", label="late")
