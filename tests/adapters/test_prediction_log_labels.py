"""Tables of labels joined with the log: by key, once, and with what is wrong in them said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.prediction_lines import AT, line
from adapters.test_prediction_log import s3_settings
from adapters.test_prediction_log_evidence import challenger, evidence, rollout, ship
from towpath.adapters.prediction_log_labels import Joined, LabelTables
from towpath.adapters.prediction_log_places import BucketPlace, FolderPlace, Place
from towpath.core.errors import BadInput


@pytest.fixture(params=["folder", "moto"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return FolderPlace(tmp_path / "log")
    bucket = request.getfixturevalue("moto_s3").new_bucket()
    return BucketPlace(bucket.name, "log", settings=s3_settings(bucket), cache=tmp_path / "cache")


def table(folder: Path, rows: Sequence[Mapping[str, Any]], **types: pa.DataType) -> Path:
    file = folder / "labels.parquet"
    pq.write_table(pa.table({name: pa.array([row[name] for row in rows], types.get(name)) for name in rows[0]}), file)
    return file


def join(log: Place, file: Path, *, at: float = AT + 60, classes: bool = False) -> Joined:
    labels = LabelTables(log, clock=lambda: datetime.fromtimestamp(at, tz=UTC))
    return labels.join_labels("flights", file, key="flight", label="late", classes=classes)


def test_labels_find_their_predictions_whenever_these_are_shipped(log: Place, tmp_path: Path) -> None:
    ship(log, "w-1", [line(1, keys=["17"])])
    rows = [{"flight": 17, "late": True}, {"flight": 18, "late": False}, {"flight": 19, "late": None}]
    file = table(tmp_path, [*rows, {"flight": 17, "late": False}, {"flight": None, "late": True}], flight=pa.int64())
    assert join(log, file) == Joined(labels=2, unknown=1, left_out=2, repeated=1, already=False)
    ship(log, "w-2", [challenger(2, keys=["18"], predictions=[0.75])])
    (stratum,) = evidence(log).look(rollout()).strata
    assert stratum.champion.means["loss"].total == pytest.approx(0.693147, abs=1e-6)
    assert stratum.challenger.means["brier"].total == pytest.approx(0.5625)


def test_the_same_labels_again_change_nothing(log: Place, tmp_path: Path) -> None:
    file = table(tmp_path, [{"flight": "a", "late": 1.0}, {"flight": "b", "late": 0.0}])
    assert not join(log, file).already
    before = [(stored.name, stored.mark) for stored in log.list("flights")]
    other = table(tmp_path, [{"flight": "b", "late": "0"}, {"flight": "a", "late": "1"}])
    assert join(log, other, at=AT + 200_000).already
    assert [(stored.name, stored.mark) for stored in log.list("flights")] == before
    more = table(tmp_path, [{"flight": "b", "late": 0}, {"flight": "c", "late": 1}])
    assert not join(log, more).already


def test_labels_that_are_none(tmp_path: Path) -> None:
    log = FolderPlace(tmp_path / "log")
    wrong = table(
        tmp_path, [{"flight": "a", "late": "yes"}, {"flight": "b", "late": "2"}, {"flight": "c", "late": "1"}]
    )
    with pytest.raises(BadInput, match=r"2 labels in 'late' are neither 0 nor 1: '2', 'yes'\. .*Leave a label empty"):
        join(log, wrong)
    with pytest.raises(BadInput, match=r"no column 'late'. Valid: flight, delayed"):
        join(log, table(tmp_path, [{"flight": "a", "delayed": 1}]))
    with pytest.raises(BadInput, match="holds no label"):
        join(log, table(tmp_path, [{"flight": "a", "late": None}], late=pa.int64()))
    assert log.list("flights") == []


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (["early", "", None], ["early"]),
        ([3.0, None, -7.0], ["3", "-7"]),
        ([3, 0, 7], ["3", "0", "7"]),
        ([Decimal("3.00"), Decimal("-7.00")], ["3", "-7"]),
    ],
)
def test_labels_of_a_multiclass_model_are_classes(tmp_path: Path, said: list[Any], kept: list[str]) -> None:
    log = FolderPlace(tmp_path / "log")
    rows = [{"flight": str(number), "late": one} for number, one in enumerate(said)]
    if "" in said:
        with pytest.raises(BadInput, match="1 labels in 'late' are no text and no whole number: ''"):
            join(log, table(tmp_path, rows), classes=True)
        rows = [row for row in rows if row["late"] != ""]
    assert join(log, table(tmp_path, rows), classes=True).labels == len(kept)
    (stored,) = log.list("flights/labels")
    read = pq.read_table(log.local(stored))
    assert read["class"].to_pylist() == kept
    assert read["label"].to_pylist() == [None] * len(kept)


@pytest.mark.parametrize("said", [1e30, math.inf, math.nan, 2.5, Decimal("2.50")])
def test_numbers_that_are_no_class(tmp_path: Path, said: object) -> None:
    log = FolderPlace(tmp_path / "log")
    with pytest.raises(BadInput, match="1 labels in 'late' are no text and no whole number"):
        join(log, table(tmp_path, [{"flight": "a", "late": said}]), classes=True)
    assert log.list("flights") == []
