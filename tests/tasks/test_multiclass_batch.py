"""A file scored by a model of several classes: what stands in its columns, and what is no answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway import fakes
from gateway.fakes import ScriptedRuntime
from towpath.core.errors import BadInput
from towpath.stages.batch import Job, score

CHANCES = {1.0: [0.5, 0.25, 0.25], 2.0: [0.25, 0.375, 0.375], 3.0: [math.nan, 0.5, 0.5]}


def by_class(row: Sequence[object]) -> list[float]:
    return CHANCES[float(str(row[0]))]


def scored(folder: Path, values: Sequence[float], classes: tuple[Any, ...]) -> pa.Table:
    source, target = folder / "rows.parquet", folder / "scored.parquet"
    pq.write_table(pa.table({"x": pa.array(values, pa.float64())}), source)
    score(
        Job(project="shop", source=source, target=target),
        replace(fakes.approved("classes", ("x",)), classes=classes),
        ScriptedRuntime(("x",), by_class),
        now=datetime(2024, 1, 1, tzinfo=UTC),
        log=None,
        told=lambda done, of: None,
    )
    return pq.read_table(target)


@pytest.mark.parametrize("classes", [(-1, 0, 7), ("1", "10", "2")])
def test_the_most_probable_class_keeps_its_type_and_of_two_alike_the_first_is_taken(
    tmp_path: Path, classes: tuple[Any, ...]
) -> None:
    found = scored(tmp_path, [1.0, 2.0], classes)
    assert found.column_names == ["x", "prediction", *(f"probability_{one}" for one in classes)]
    assert found["prediction"].to_pylist() == list(classes[:2])
    assert [list(row.values())[2:] for row in found.to_pylist()] == [CHANCES[1.0], CHANCES[2.0]]


def test_no_rows_are_scored_to_none(tmp_path: Path) -> None:
    assert scored(tmp_path, [], ("a", "b", "c")).num_rows == 0


def test_probabilities_that_are_no_numbers_are_no_class(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"Row 2 of .*rows\.parquet: the model gives nan for a class's probability"):
        scored(tmp_path, [1.0, 3.0], ("a", "b", "c"))
    assert not (tmp_path / "scored.parquet").exists()
