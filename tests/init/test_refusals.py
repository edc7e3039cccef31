"""What `towpath init` cannot work with is refused with a sentence that names it, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.conftest import Cli
from init import tables
from towpath.adapters.profile_duckdb import DuckdbProfiles
from towpath.core.draft import Asked, plan, require_columns
from towpath.core.errors import BadInput
from towpath.core.profile import TableProfile

ROWS = 300


def good() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    height = draw.normal(170, 10, ROWS)
    return pd.DataFrame(
        {
            "number": np.arange(ROWS),
            "group": np.arange(ROWS) % 7,
            "height": height,
            "day": pd.date_range("2024-01-01", periods=ROWS).strftime("%Y-%m-%d"),
            "one": 1,
            "grade": np.arange(ROWS) % 5,
            "weight": height / 2 + draw.normal(0, 5, ROWS),
            "words": [f"w{place % 200}" for place in range(ROWS)],
            "kind": np.where(np.arange(ROWS) % 25 == 0, "rare", np.where(np.arange(ROWS) % 2, "odd", "even")),
            "tall": height > 170,
        }
    )


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TableProfile]:
    frame = good().assign(day=pd.date_range("2024-01-01", periods=ROWS).date)
    file = tables.write(frame, tmp_path_factory.mktemp("people") / "people.parquet")
    return file, DuckdbProfiles().profile(file)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--target", "tal"], "--target names 'tal', which is no column of people. Valid: number, group, height,"),
        (["--target", "tall", "--key", "id"], "--key names 'id', which is no column of people. Valid: number,"),
        (["--target", "tall", "--time", "when"], "--time names 'when', which is no column of people. Valid:"),
        (["--target", "tall", "--key", "tall"], "Column 'tall' is named twice."),
        (["--target", "one"], "The target 'one' holds only the value 1, so there is nothing to learn."),
        (["--target", "day"], "The target 'day' is of type DATE; a target is a class or a number."),
        (["--target", "kind"], "people has 300 rows with a target, 12 of its rarest class: too few to hold out"),
        (["--target", "words"], "The target 'words' is text of 200 distinct values; classes are at most 50."),
        (["--target", "tall", "--time", "height"], "which is of type DOUBLE and no date or time. Valid: day."),
        (["--target", "tall", "--key", "height"], "a key is text or a whole number. Valid: number, group, one, grade,"),
        (["--target", "tall", "--key", "group"], "whose 7 values name 300 rows, and no --time says"),
    ],
)
def test_columns(options: list[str], says: str, people: tuple[Path, TableProfile]) -> None:
    file, profile = people
    named = dict(zip([option.removeprefix("--") for option in options[::2]], options[1::2], strict=True))
    asked = Asked(project="mine", table="people", **named)

    def planned() -> object:
        require_columns(asked, profile)
        return plan(asked, profile, keys=DuckdbProfiles().distinct(file, [asked.key]) if asked.key else None)

    with pytest.raises(BadInput) as raised:
        planned()
    assert says in str(raised.value)


def test_a_column_that_is_not_there(cli: Cli, place: Path) -> None:
    tables.write(good(), place / "people.csv")
    ran = cli("init", "mine", "--data", "people.csv", "--target", "tal")
    assert ran.code == 2
    assert "Valid: number, group, height, day," in " ".join(ran.err.split())
    assert not (place / "mine").exists()


Spoil = Callable[[Path], object]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda file: file.write_bytes(b""), "is empty (0 bytes)"),
        (lambda file: file.write_bytes(b"a,b\n"), "has a header and no rows"),
        (lambda file: file.write_bytes(b"a,tall,a\n1,0,2\n"), "names columns twice: 'a'"),
        (lambda file: file.write_bytes(b"a,tall,A\n1,0,2\n"), "names columns twice: 'a', 'A'"),
        (
            lambda file: file.write_bytes("größe,tall\nü,0\n".encode("latin-1")),
            "is not UTF-8: line 1 has the byte 0xF6",
        ),
        (lambda file: file.write_bytes(b"a,tall\n1,0,5\n"), "line 2: 3 fields where the header has 2"),
        (lambda file: file.write_bytes(b'a,tall\n"1,0\n'), "bad quotes"),
        (lambda file: file.write_bytes(b"1,0\n2,1\n"), "the first line looks like data"),
        (lambda file: file.write_bytes(b"a,tall\n1,0\n2,1\n3,0\n4,1\n5,0\n"), "5 rows with a target, 2 of its rarest"),
        (lambda file: file.write_bytes(b'a""b,"x""y",tall\n1,2,0\n1,2,1\n'), "takes no column named"),
        (lambda file: None, "There is no file or folder 'people.csv'"),
        (lambda file: file.mkdir(), "There is no file to read in 'people.csv'"),
        (lambda file: tables.write(good()[["tall", "one"]], file), "No column of people is left to learn from: 'one'"),
        (lambda file: tables.write(good()[["tall"]], file), "No column of people is left to learn from."),
    ],
)
def test_files(spoil: Spoil, says: str, cli: Cli, place: Path) -> None:
    spoil(place / "people.csv")
    ran = cli("init", "mine", "--data", "people.csv", "--target", "tall")
    assert ran.code == 2
    assert says in " ".join(ran.err.split())
    assert not (place / "mine").exists()


def test_a_type_that_no_contract_describes(cli: Cli, place: Path) -> None:
    table = pa.table({"photo": [b"\x00"] * ROWS, "tall": [True, False] * (ROWS // 2)})
    pq.write_table(table, place / "people.parquet")
    ran = cli("init", "mine", "--data", "people.parquet", "--target", "tall")
    assert ran.code == 2
    assert "Column 'photo' is of type BLOB, which no contract describes." in " ".join(ran.err.split())


@pytest.mark.parametrize("name", ["My Model", "über", "1st", "a/b c"])
def test_a_name_that_no_project_has(name: str, cli: Cli, place: Path) -> None:
    tables.write(good(), place / "people.csv")
    ran = cli("init", name, "--data", "people.csv", "--target", "tall")
    assert ran.code == 2
    assert "is no project name" in ran.err


def test_a_folder_of_something_else_is_left_alone(cli: Cli, place: Path) -> None:
    tables.write(good(), place / "p.csv")
    (place / "mine").mkdir()
    (place / "mine/thesis.txt").write_text("years of work", encoding="utf-8")
    ran = cli("init", "mine", "--data", "p.csv", "--target", "tall")
    assert ran.code == 2
    assert "is not empty and holds no project" in " ".join(ran.err.split())
    assert [item.name for item in (place / "mine").iterdir()] == ["thesis.txt"]


def test_nothing_to_learn_says_what_could_be_learnt(people: tuple[Path, TableProfile]) -> None:
    asked = Asked(project="mine", table="people", target="one")
    with pytest.raises(BadInput) as raised:
        plan(asked, people[1], keys=None)
    assert raised.value.valid == tuple(name for name in good().columns if name != "one")
    assert raised.value.hint.startswith("Name a column whose value differs")
