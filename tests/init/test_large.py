"""Tables of many rows: what is estimated is said to be, and a key that is too long to look up is told as that."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from init import tables
from towpath.adapters import profile_duckdb
from towpath.adapters.profile_duckdb import DuckdbProfiles
from towpath.cli.init import _told
from towpath.core.draft import Asked, Plan, Shape, plan
from towpath.core.draft_columns import Role
from towpath.core.draft_contract import properties
from towpath.core.draft_split import by_content
from towpath.core.profile import TableProfile
from towpath.stages.init import Drafted
from towpath.stages.init_files import Owner, repository
from towpath.stages.init_keep import Kept

ROWS = 5000


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    places = np.arange(ROWS)
    frame = pd.DataFrame(
        {
            "place": places,
            "account_id": places * 7,
            "nearly": places // 1.02,
            "words": [f"w{place}" for place in places],
            "kind": places % 4,
            "y": places % 2 == 0,
        }
    ).astype({"nearly": int})
    return tables.write(frame, tmp_path_factory.mktemp("large") / "large.parquet")


def planned(profile: TableProfile, key: str | None = None) -> Plan:
    asked = Asked(project="mine", table="large", target="y", key=key)
    return plan(asked, profile, keys=profile.columns[key].rows if key else None)


def test_a_running_number_is_found_where_others_are_estimated(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = DuckdbProfiles().profile(file)
    monkeypatch.setattr(profile_duckdb, "_EXACT_ROWS", 1000)
    profile = DuckdbProfiles().profile(file)
    counted = {name: (column.distinct, column.estimated) for name, column in profile.columns.items()}
    assert counted["words"][1]
    assert {name: held for name, held in counted.items() if name != "words"} == {
        name: (column.distinct, False) for name, column in exact.columns.items() if name != "words"
    }
    drafted = planned(profile)
    whys = {column.name: column.why for column in drafted.columns if column.role is Role.LEFT_OUT}
    assert whys["place"] == "a running number of the rows"
    assert whys["account_id"] == "a number of its own in every row, named like an identifier"
    assert whys["words"].startswith("text of about ")
    assert "Seen: about " in properties(drafted)[3]["description"]


def test_a_key_of_too_many_values_is_told_as_that(file: Path) -> None:
    profile = DuckdbProfiles().profile(file)
    many = 4_000_000
    columns = {name: replace(column, rows=many) for name, column in profile.columns.items()}
    drafted = planned(TableProfile(rows=many, columns=columns), key="account_id")
    assert (drafted.shape, drafted.too_many) == (Shape.ROWS, True)
    split = by_content(drafted.share, as_of=datetime(2024, 6, 1, tzinfo=UTC))
    files = repository(drafted, split, owner=Owner(name="ada", email="a@b.c"), slices=[])
    definitions = files["feature_repo/definitions.py"]
    assert "Nothing names a row" not in definitions
    assert "account_id names each row, but 4,000,000 rows of 4 inputs are more than 3,000,000 values" in definitions
    told = " ".join(_told(Drafted(plan=drafted, kept=Kept(), warnings=())))
    assert "--key names each row, but 4,000,000 rows of 4 inputs are more than 3,000,000 values" in told
    assert not planned(profile, key="account_id").too_many
