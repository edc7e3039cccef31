"""Names that mean something to YAML or SQL, or that the drafts would give themselves, are names like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from cli.conftest import Cli
from init import tables
from towpath.adapters.profile_duckdb import DuckdbProfiles
from towpath.core.draft_names import unused

MADE = ("content_of_row", "is_held_out", "Place_of_row", "number_of_row", "moment_of_row", "place", "dated", "label")


def made(rows: int = 400) -> pd.DataFrame:
    """Columns that are called as the drafts call their own."""
    draw = np.random.default_rng(7)
    frame = pd.DataFrame({name: draw.normal(size=rows).round(4) for name in MADE})
    return frame.assign(on=draw.choice(["yes", "no"], rows), y=frame["label"] + draw.normal(size=rows) / 4 > 0)


def test_a_name_that_no_column_has() -> None:
    assert unused("moment", ["a", "b"]) == "moment"
    assert unused("moment", ["Moment", "MOMENT_2"]) == "moment_3"


def test_a_sample_keeps_columns_of_every_name(tmp_path: Path) -> None:
    file = tables.write(made().assign(place_=1), tmp_path / "made.parquet")
    DuckdbProfiles().sample(file, rows=100, target=tmp_path / "some.parquet")
    found = pd.read_parquet(tmp_path / "some.parquet")
    assert (len(found), list(found.columns)) == (100, [*made().columns, "place_"])


@pytest.mark.slow
def test_words_of_yaml_are_names(cli: Cli, place: Path) -> None:
    tables.write(made().assign(no=range(400)), place / "null.csv")
    drafted = cli("init", "no", "--data", "null.csv", "--target", "y", "--key", "no", "--json")
    assert drafted.code == 0, drafted.err
    charter = yaml.safe_load((place / "no/charter.yaml").read_text(encoding="utf-8"))
    assert (charter["project"], list(charter["sources"])) == ("no", ["null"])
    assert (charter["features"]["rowId"], charter["gates"]["slices"][0]["by"]) == ("no", "on")
    checked = cli("check", "no", "--json")
    assert checked.code == 0, checked.out


@pytest.mark.slow
def test_names_of_the_drafted_sql_are_names_without_a_key(cli: Cli, place: Path) -> None:
    tables.write(made(), place / "made.csv")
    drafted = cli("init", "made", "--data", "made.csv", "--target", "y", "--json")
    assert drafted.code == 0, drafted.err
    spine = (place / "made/feature_repo/transforms/spine.sql").read_text(encoding="utf-8")
    assert "moment_of_row_2 AS event_timestamp" in spine
    checked = cli("check", "made", "--json")
    assert checked.code == 0, checked.out


@pytest.mark.slow
@pytest.mark.parametrize("key", ["moment", "rows_then"])
def test_names_of_the_drafted_sql_are_names_of_a_history(key: str, cli: Cli, place: Path) -> None:
    frame = tables.visits(1500).rename(columns={"customer": key, "pages": f"{key}_rows_before"})
    tables.write(frame, place / "visits.csv")
    ask = ("--target", "bought", "--key", key, "--time", "visited at", "--json")
    drafted = cli("init", "mine", "--data", "visits.csv", *ask)
    assert drafted.code == 0, drafted.err
    assert f"{key}_rows_before_2" in (place / "mine/feature_repo/definitions.py").read_text(encoding="utf-8")
    checked = cli("check", "mine", "--json")
    assert checked.code == 0, checked.out
