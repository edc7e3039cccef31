"""`towpath init` and then `towpath run`, untouched: it passes, on tables of different shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from init import tables
from init.conftest import Cli

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Make = Callable[[], pd.DataFrame]


@pytest.mark.parametrize(
    ("make", "file", "options", "shape"),
    [
        pytest.param(
            lambda: tables.shipped("breast_cancer"), "cells.parquet", ["--target", "target"], "rows", id="breast_cancer"
        ),
        pytest.param(
            tables.passengers,
            "passengers.csv",
            ["--target", "Survived", "--key", "PassengerId"],
            "facts",
            id="passengers",
        ),
        pytest.param(
            tables.visits,
            "visits.csv",
            ["--target", "bought", "--key", "customer", "--time", "visited at"],
            "events",
            id="visits",
        ),
    ],
)
def test_it_passes_untouched(make: Make, file: str, options: list[str], shape: str, cli: Cli, place: Path) -> None:
    tables.write(make(), place / file)
    drafted = cli("init", "mine", "--data", file, *options, "--json")
    assert drafted.code == 0, drafted.err
    assert drafted.json["shape"] == shape
    assert drafted.json["warnings"] == []
    checked = cli("check", "mine", "--json")
    assert checked.code == 0, checked.out
    ran = cli("run", "mine", "--json")
    assert ran.code == 0, ran.json["refused"]
    assert ran.json["stages"][-1]["stage"] == "register"
