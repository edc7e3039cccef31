"""What files give as Parquet, and what is said of those that cannot be read."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.snapshots import FLIGHTS, Reader, bytes_of, naive, rows_of
from towpath.adapters.sources import UriSources
from towpath.core.errors import Unwritable


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    base = tmp_path / "project"
    base.mkdir()
    return Reader(base=base)


# --- CSV: types -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kind", "read"),
    [
        (["1", "-2", "9223372036854775807"], "int64", [1, -2, 9223372036854775807]),
        (["1", "NA", ""], "int64", [1, None, None]),
        (["1.5", "2", "1e3", "NaN"], "double", [1.5, 2.0, 1000.0, None]),
        (["true", "FALSE", "NA"], "bool", [True, False, None]),
        (["2013-01-31", "", "NA"], "date32[day]", [date(2013, 1, 31), None, None]),
        (["23:59:59.5", "00:01"], "time64[us]", [time(23, 59, 59, 500000), time(0, 1)]),
        (
            ["2013-01-01 05:00:00", "2013-01-01T06:00"],
            "timestamp[us]",
            [naive(2013, 1, 1, 5), naive(2013, 1, 1, 6)],
        ),
        (
            ["2013-01-01T10:00:00Z", "2013-01-01 10:00:00.25+02:00"],
            "timestamp[us, tz=UTC]",
            [datetime(2013, 1, 1, 10, tzinfo=UTC), datetime(2013, 1, 1, 8, 0, 0, 250000, tzinfo=UTC)],
        ),
        # what a number or a date would lose stays text
        (["01234", "99999"], "string", ["01234", "99999"]),
        (["007.5", "1.0"], "string", ["007.5", "1.0"]),
        (["+1", "2"], "string", ["+1", "2"]),
        ([" 1", "2"], "string", [" 1", "2"]),
        (["1", "9223372036854775808"], "string", ["1", "9223372036854775808"]),
        (["1", "x"], "string", ["1", "x"]),
        (["T", "F"], "string", ["T", "F"]),
        (["01/02/2013", "13/02/2013"], "string", ["01/02/2013", "13/02/2013"]),
        (["2013-02-29"], "string", ["2013-02-29"]),
        (["2013-01-01", "2013-01-01 10:00:00"], "string", ["2013-01-01", "2013-01-01 10:00:00"]),
        (["2013-01-01 10:00:00", "2013-01-01 10:00:00Z"], "string", ["2013-01-01 10:00:00", "2013-01-01 10:00:00Z"]),
        (["2013-01-01 10:00:00.1234567"], "string", ["2013-01-01 10:00:00.1234567"]),
        (["NA", "", "NA"], "string", [None, None, None]),
        (['"a,b"', '"line\nbreak"', '"""quoted"""'], "string", ["a,b", "line\nbreak", '"quoted"']),
    ],
)
def test_a_column_has_the_type_that_all_its_values_hold(
    reader: Reader, values: list[str], kind: str, read: list[Any]
) -> None:
    reader.write("a.csv", "x,row\n" + "".join(f"{value},{row}\n" for row, value in enumerate(values)))
    snapshot = reader.snapshot("a.csv")
    assert snapshot.columns == {"x": kind, "row": "int64"}
    found = [row["x"] for row in rows_of(snapshot)]
    assert [None if value != value else value for value in found] == read  # NaN is the only value unlike itself


def test_a_type_is_that_of_the_last_row_too(reader: Reader) -> None:
    reader.write("a.csv", "code,row\n" + "".join(f"{10000 + row},{row}\n" for row in range(200_000)) + "00042,200000\n")
    snapshot = reader.snapshot("a.csv")
    assert snapshot.columns == {"code": "string", "row": "int64"}
    found = rows_of(snapshot)
    assert found[-1] == {"code": "00042", "row": 200000}
    assert [row["row"] for row in found] == list(range(200_001))


def test_types_are_of_all_the_files_and_rows_in_the_order_of_their_names(reader: Reader) -> None:
    reader.write("data/2013-02.csv", "zip,delay\n00501,1.5\n")
    reader.write("data/2013-01.csv", "zip,delay\n10001,2\n10002,\n")
    reader.write("data/2013-03.csv", "delay,zip\nNA,10003\n")
    expected = [
        {"zip": "10001", "delay": 2.0},
        {"zip": "10002", "delay": None},
        {"zip": "00501", "delay": 1.5},
        {"zip": "10003", "delay": None},
    ]
    for uri in ("data", "data/2013-*.csv", "da*/*.csv", "**/*.csv", str(reader.base / "data")):
        snapshot = reader.snapshot(uri)
        assert rows_of(snapshot) == expected
        assert snapshot.columns == {"zip": "string", "delay": "double"}


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffa,b\n1,x\n2,y\n",
        "a;b\n1;x\n2;y\n",
        "a\tb\n1\tx\n2\ty\n",
        "a,b\r\n1,x\r\n2,y\r\n",
        "a,b\n1,x\n2,y",
        '"a","b"\n"1","x"\n"2","y"\n',
        "a,b\n1,x\n\n2,y\n\n",
    ],
    ids=["byte order mark", "semicolon", "tab", "CRLF", "no last line end", "all quoted", "blank lines"],
)
def test_dialects_of_csv(reader: Reader, text: str) -> None:
    reader.write("a.csv", text)
    assert reader.rows("a.csv") == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


@pytest.mark.parametrize("name", ["a[1].csv", "it's.csv", "a*b?.csv", "mit Umläuten.CSV"])
def test_a_file_may_have_an_odd_name(reader: Reader, name: str) -> None:
    reader.write(name, "a\"b,it's\n1,2\n")
    assert reader.rows(name) == [{'a"b': 1, "it's": 2}]


def test_hidden_files_and_markers_do_not_count(reader: Reader) -> None:
    reader.write("data/a.csv", "x\n1\n")
    reader.write("data/_SUCCESS", "")
    reader.write("data/.a.csv.crc", "crc")
    reader.write("_named.csv", "x\n2\n")
    assert reader.rows("data") == [{"x": 1}]
    assert reader.rows("_named.csv") == [{"x": 2}]


# --- determinism ------------------------------------------------------------------------------------------------------

_SNAPSHOT_WITH_THREADS = """
import sys
from pathlib import Path
import duckdb
from towpath.adapters.sources import UriSources

real = duckdb.connect

def connect(*args, **kwargs):
    connection = real(*args, **kwargs)
    connection.execute(f"SET threads = {sys.argv[1]}")
    return connection

duckdb.connect = connect
UriSources().snapshot("data", base=Path(sys.argv[2]), target=Path(sys.argv[3]), until=None)
"""


@pytest.mark.slow
def test_the_same_rows_give_the_same_bytes(reader: Reader) -> None:
    for month in range(3):
        rows = "".join(
            f"{month},{n},{n * 7 % 1000 / 8},2013-0{month + 1}-01T00:00:00Z,w{n % 97}\n" for n in range(90_000)
        )
        reader.write(f"data/{month}.csv", f"month,n,value,at,word\n{rows}")
    first = reader.snapshot("data", target="1.parquet")
    assert first.rows == 270_000
    assert bytes_of(reader.snapshot("data", target="2.parquet")) == bytes_of(first)

    for threads in ("1", "8"):
        target = reader.base / f"{threads}.parquet"
        path = os.pathsep.join(entry for entry in sys.path if entry)
        command = [sys.executable, "-c", _SNAPSHOT_WITH_THREADS, threads, str(reader.base), str(target)]
        subprocess.run(command, env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": threads}, check=True)
        assert hashlib.sha256(target.read_bytes()).hexdigest() == bytes_of(first)


def test_bytes_do_not_depend_on_how_rows_are_spread_over_files(reader: Reader) -> None:
    rows = [f"{n},{n % 13}\n" for n in range(150_000)]
    reader.write("whole/a.csv", "n,m\n" + "".join(rows))
    reader.write("parts/a.csv", "n,m\n" + "".join(rows[:70_001]))
    reader.write("parts/b.csv", "n,m\n" + "".join(rows[70_001:]))
    whole, parts = reader.snapshot("whole", target="1.parquet"), reader.snapshot("parts", target="2.parquet")
    assert bytes_of(whole) == bytes_of(parts)
    assert bytes_of(
        UriSources().snapshot("1.parquet", base=whole.file.parent, target=reader.base / "3", until=None)
    ) == (bytes_of(whole))
    assert pq.ParquetFile(whole.file).metadata.row_group(0).column(0).compression == "ZSTD"


def test_a_snapshot_replaces_the_one_before_and_leaves_nothing_else(reader: Reader) -> None:
    reader.write("a.csv", "x\n1\n")
    reader.snapshot("a.csv")
    reader.write("a.csv", "x\n2\n")
    snapshot = reader.snapshot("a.csv")
    assert rows_of(snapshot) == [{"x": 2}]
    assert [entry.name for entry in snapshot.file.parent.iterdir()] == ["t.parquet"]


def test_the_fingerprint_of_files_follows_names_and_bytes(reader: Reader) -> None:
    reader.write("data/a.csv", "x\n1\n")
    reader.write("data/b.csv", "x\n2\n")
    sources = UriSources()

    def fingerprint(uri: str = "data") -> str:
        found = sources.fingerprint(uri, base=reader.base)
        assert found is not None
        assert found.startswith("sha256:")
        return found

    first = fingerprint()
    assert fingerprint() == first
    shutil.copytree(reader.base / "data", reader.base / "moved")
    assert fingerprint("moved") == first
    assert fingerprint(str(reader.base / "moved")) == first
    (reader.base / "data/b.csv").rename(reader.base / "data/c.csv")
    renamed = fingerprint()
    reader.write("data/c.csv", "x\n3\n")
    assert len({first, renamed, fingerprint(), fingerprint("data/a.csv")}) == 4


# --- until ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        (["2013-01-31T23:59:59Z", "2013-02-01T00:00:00Z", "NA", "2013-02-01T00:30:00+01:00"], [0, 3]),
        (["2013-01-31 23:59:59.999999", "2013-02-01 00:00:00", "", "2013-03-01 00:00:00"], [0]),
        (["2013-01-31", "2013-02-01", "NA", "2013-02-02"], [0]),
    ],
    ids=["zone", "no zone", "date"],
)
@pytest.mark.parametrize(
    "instant",
    [
        datetime(2013, 2, 1, tzinfo=UTC),
        datetime(2013, 1, 31, 19, tzinfo=timezone(timedelta(hours=-5))),
        naive(2013, 2, 1),
    ],
    ids=["UTC", "New York", "no zone"],
)
def test_until_keeps_the_rows_before_an_instant(
    reader: Reader, values: list[str], kept: list[int], instant: datetime
) -> None:
    reader.write("a.csv", "at,row\n" + "".join(f"{value},{row}\n" for row, value in enumerate(values)))
    assert [row["row"] for row in reader.rows("a.csv", until=("at", instant))] == kept


def test_until_of_a_column_that_cannot_be_cut_is_refused(reader: Reader) -> None:
    reader.write("a.csv", FLIGHTS)
    instant = datetime(2013, 1, 1, tzinfo=UTC)
    assert "has no column 'time' to cut at. Valid: carrier, flight, dep_delay, time_hour." in reader.refusal(
        "a.csv", until=("time", instant)
    )
    assert "'carrier' of a.csv is string, not a date or a timestamp" in reader.refusal(
        "a.csv", until=("carrier", instant)
    )


def test_no_row_before_the_instant_is_an_empty_snapshot(reader: Reader) -> None:
    reader.write("a.csv", FLIGHTS)
    assert reader.rows("a.csv", until=("time_hour", datetime(2013, 1, 1, tzinfo=UTC))) == []


# --- files: bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "uri", "says"),
    [
        (
            {"flights.csv": FLIGHTS},
            "flihgts.csv",
            ["no 'flihgts.csv'", "Did you mean flights.csv?", "Paths are relative to ", "/project."],
        ),
        ({"data/flights.csv": FLIGHTS}, "dta/flights.csv", ["has no 'dta'", "Did you mean data?"]),
        ({"data/a.csv": FLIGHTS}, "data/*.parquet", ["no file to read in 'data/*.parquet'"]),
        ({"data/.hidden.csv": FLIGHTS}, "data", ["no file to read in 'data'"]),
        ({"a.csv": ""}, "a.csv", ["a.csv is empty (0 bytes)"]),
        ({"data/a.csv": FLIGHTS, "data/b.csv": ""}, "data", ["data/b.csv is empty"]),
        ({"a.csv": "x,y\n"}, "a.csv", ["a.csv has a header and no rows"]),
        ({"a.csv": "\nx,y\n1,2\n"}, "a.csv", ["a.csv: the header has no name for column 1"]),
        ({"a.csv": "x,,z\n1,2,3\n"}, "a.csv", ["the header has no name for column 2"]),
        ({"a.csv": "x,y,x\n1,2,3\n"}, "a.csv", ["names columns twice: 'x', 'x'", "Rename them"]),
        ({"a.csv": "x,y,X\n1,2,3\n"}, "a.csv", ["names columns twice: 'x', 'X'", "differ only in case"]),
        ({"a.csv": "UA,1545,2013-01-01\nAA,1141,2013-01-02\n"}, "a.csv", ["looks like data ('1545', '2013-01-01')"]),
        ({"a.csv": 'x,"y\n1,2\n'}, "a.csv", ["a.csv, line 1: unexpected end of data"]),
        ({"a.csv": "x,y\n1,2\n3\n4,5\n"}, "a.csv", ["a.csv, line 3: 1 fields where the header has 2"]),
        ({"a.csv": "x,y\n1,2\n3,4,5\n"}, "a.csv", ["a.csv, line 3: 3 fields where the header has 2"]),
        ({"a.csv": 'x,y\n1,"two\nlines"\n3\n'}, "a.csv", ["a.csv, line 4: 1 fields"]),
        ({"a.csv": 'x,y\n1,2\n3,"4\n5,6\n'}, "a.csv", ["a.csv, line 3: bad quotes"]),
        ({"a.csv": 'x,y\n1,"2"3\n'}, "a.csv", ["a.csv, line 2: bad quotes"]),
        ({"a.csv": "x,y\r\n1,2\n3,4\r\n"}, "a.csv", ["a.csv: line ends of several kinds are mixed"]),
        (
            {"a.csv": "x,y\n1,ok\n2,caf\xe9\n".encode("latin-1")},
            "a.csv",
            ["not UTF-8: line 3 has the byte 0xE9 (offset 14)"],
        ),
        (
            {"a.csv": "x,y\n1,2\n".encode("utf-16")},
            "a.csv",
            ["a.csv is not UTF-8: line 1 has the byte 0xFF (offset 0)"],
        ),
        ({"a.xlsx": "x"}, "a.xlsx", ["(.xlsx)", "Valid: .csv, .parquet"]),
        ({"flights": "x"}, "flights", ["(no extension)", "Valid: .csv, .parquet"]),
        (
            {"data/a.csv": "x\n1\n", "data/b.csv.gz": "x"},
            "data",
            ["data/b.csv.gz is not of a format that can be read (.gz)"],
        ),
        ({"data/a.csv": "x\n1\n", "data/b.parquet": "x"}, "data", ["data mixes formats: data/a.csv, data/b.parquet"]),
        (
            {"data/a.csv": "x,y\n1,2\n", "data/b.csv": "x,z\n1,2\n"},
            "data",
            ["data/b.csv has other columns than data/a.csv: it lacks 'y' and adds 'z'", "Valid: x, y"],
        ),
        ({"data/month=1/a.csv": "x\n1\n"}, "data", ["partition folder (month=1)", "would be lost"]),
        ({"a.parquet": ""}, "a.parquet", ["a.parquet is empty"]),
        ({"a.parquet": "x,y\n1,2\n"}, "a.parquet", ["a.parquet cannot be read as Parquet", "write it again"]),
        ({"a.parquet": b"PAR1 cut short"}, "a.parquet", ["a.parquet cannot be read as Parquet"]),
    ],
)
def test_files_that_cannot_be_read_are_refused(
    reader: Reader, files: dict[str, str | bytes], uri: str, says: list[str]
) -> None:
    for name, text in files.items():
        reader.write(name, text)
    refusal = reader.refusal(uri)
    for sentence in says:
        assert sentence in refusal


def test_a_bad_byte_is_found_far_into_a_file(reader: Reader) -> None:
    text = ("x,y\n" + "1,é\n" * 500_000).encode()
    reader.write("a.csv", text + b"2,\xe9\n")
    assert f"line 500002 has the byte 0xE9 (offset {len(text) + 2})" in reader.refusal("a.csv")


def test_a_damaged_page_is_refused_though_the_footer_is_whole(reader: Reader) -> None:
    reader.table("a.parquet", {"x": list(range(50_000))})
    data = bytearray((reader.base / "a.parquet").read_bytes())
    data[200:4000] = b"\xff" * 3800
    reader.write("a.parquet", bytes(data))
    assert "a.parquet cannot be read as Parquet" in reader.refusal("a.parquet")


def test_a_target_that_cannot_be_written_is_unwritable(reader: Reader) -> None:
    reader.write("a.csv", FLIGHTS)
    with pytest.raises(Unwritable, match=r"Cannot write the snapshot .*(Not a directory|File exists)"):
        UriSources().snapshot("a.csv", base=reader.base, target=reader.base / "a.csv" / "t.parquet", until=None)


# --- Parquet ----------------------------------------------------------------------------------------------------------


def test_parquet_types_are_kept(reader: Reader) -> None:
    at = datetime(2013, 1, 1, 5, tzinfo=timezone(timedelta(hours=-5)))
    reader.table(
        "a.parquet",
        {
            "small": pa.array([1, None], pa.int8()),
            "unsigned": pa.array([2**63, None], pa.uint64()),
            "money": pa.array([Decimal("12.30"), None], pa.decimal128(12, 2)),
            "at": pa.array([at, None], pa.timestamp("us", tz="America/New_York")),
            "naive": pa.array([naive(2013, 1, 1), None], pa.timestamp("ns")),
            "word": pa.array(["a", None]).dictionary_encode(),
            "large": pa.array(["b", None], pa.large_string()),
            "nothing": pa.nulls(2),
            "bits": pa.array([b"\0\1", None]),
            "day": pa.array([date(2013, 1, 1), None]),
        },
    )
    snapshot = reader.snapshot("a.parquet")
    assert snapshot.columns == {
        "small": "int8",
        "unsigned": "uint64",
        "money": "decimal128(12, 2)",
        "at": "timestamp[us, tz=UTC]",
        "naive": "timestamp[ns]",
        "word": "string",
        "large": "string",
        "nothing": "string",
        "bits": "binary",
        "day": "date32[day]",
    }
    found = rows_of(snapshot)
    assert found[0]["money"] == Decimal("12.30")
    assert found[0]["at"] == at
    assert found[0]["unsigned"] == 2**63
    assert set(found[1].values()) == {None}


def test_parquet_files_are_joined_where_one_type_holds_the_other(reader: Reader) -> None:
    reader.table("data/1.parquet", {"x": pa.array([1, 2], pa.int32()), "y": pa.nulls(2)})
    reader.table("data/2.parquet", {"y": ["a"], "x": pa.array([1.5])})
    reader.table("data/3.parquet", {"x": pa.array([], pa.int32()), "y": pa.array([], pa.string())})
    snapshot = reader.snapshot("data")
    assert snapshot.columns == {"x": "double", "y": "string"}
    assert rows_of(snapshot) == [{"x": 1.0, "y": None}, {"x": 2.0, "y": None}, {"x": 1.5, "y": "a"}]


def test_parquet_files_that_do_not_go_together_are_refused(reader: Reader) -> None:
    reader.table("types/1.parquet", {"x": [1]})
    reader.table("types/2.parquet", {"x": ["a"]})
    assert "Column 'x' is int64 up to here and string in types/2.parquet" in reader.refusal("types")
    reader.table("columns/1.parquet", {"x": [1]})
    reader.table("columns/2.parquet", {"y": [1]})
    assert "columns/2.parquet has other columns than columns/1.parquet" in reader.refusal("columns")
    reader.table("loss/1.parquet", {"x": [1.5]})
    reader.table("loss/2.parquet", {"x": [2**53 + 1]})
    assert "column 'x' cannot be stored as double without loss" in reader.refusal("loss")
    reader.table("none/1.parquet", {"x": pa.array([], pa.int64())})
    assert "none has no rows" in reader.refusal("none")
