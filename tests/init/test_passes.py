"""`towpath init` and then `towpath run`, untouched: it passes, on tables of different shape and task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cli.conftest import Cli
from init import tables

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
thorough = pytest.mark.exhaustive

Make = Callable[[], pd.DataFrame]


def wine() -> pd.DataFrame:
    """The wines with their growers in words."""
    return tables.shipped("wine").assign(
        target=lambda table: table["target"].map({0: "Barolo", 1: "Grignolino", 2: "Barbera d'Asti"})
    )


@pytest.mark.parametrize(
    ("make", "file", "options", "shape", "task"),
    [
        pytest.param(
            lambda: tables.shipped("breast_cancer"),
            "cells.parquet",
            ["--target", "target"],
            "rows",
            "binary",
            id="breast_cancer",
            marks=thorough,
        ),
        pytest.param(
            tables.passengers,
            "passengers.csv",
            ["--target", "Survived", "--key", "PassengerId"],
            "facts",
            "binary",
            id="passengers",
            marks=thorough,
        ),
        pytest.param(
            tables.visits,
            "visits.csv",
            ["--target", "bought", "--key", "customer", "--time", "visited at"],
            "events",
            "binary",
            id="visits",
            marks=thorough,
        ),
        pytest.param(
            lambda: tables.shipped("diabetes", scaled=False),
            "diabetes.csv",
            ["--target", "target"],
            "rows",
            "regression",
            id="diabetes",
        ),
        pytest.param(
            tables.flights,
            "flights.csv",
            ["--target", "arr_delay", "--key", "tailnum", "--time", "time_hour"],
            "events",
            "regression",
            id="flights",
            marks=thorough,
        ),
        pytest.param(
            lambda: tables.shipped("iris"),
            "iris.csv",
            ["--target", "target"],
            "rows",
            "multiclass",
            id="iris",
            marks=thorough,
        ),
        pytest.param(wine, "wine.csv", ["--target", "target"], "rows", "multiclass", id="wine"),
        pytest.param(
            lambda: tables.shipped("digits"),
            "digits.csv",
            ["--target", "target"],
            "rows",
            "multiclass",
            id="digits",
            marks=thorough,
        ),
        pytest.param(
            tables.flights,
            "flights.csv",
            ["--target", "origin", "--time", "time_hour"],
            "rows",
            "multiclass",
            id="flights_by_origin",
            marks=thorough,
        ),
    ],
)
def test_it_passes_untouched(
    make: Make, file: str, options: list[str], shape: str, task: str, cli: Cli, place: Path
) -> None:
    tables.write(make(), place / file)
    drafted = cli("init", "mine", "--data", file, *options, "--json")
    assert drafted.code == 0, drafted.err
    assert (drafted.json["shape"], drafted.json["task"]) == (shape, task)
    assert drafted.json["warnings"] == []
    checked = cli("check", "mine", "--json")
    assert checked.code == 0, checked.out
    ran = cli("run", "mine", "--json")
    assert ran.code == 0, ran.json["refused"]
    assert ran.json["stages"][-1]["stage"] == "register"
