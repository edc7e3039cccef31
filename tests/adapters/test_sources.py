"""What sources give as Parquet, and what they say when they cannot: files first, then SQL tables, then S3."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from servers.s3 import S3Bucket, S3Server
from towpath.adapters.s3_client import S3Settings
from towpath.adapters.sources import UriSources
from towpath.core.errors import BadInput, Misconfigured, Unreachable, Unwritable
from towpath.ports import Snapshot

FLIGHTS = "carrier,flight,dep_delay,time_hour\nUA,1545,2,2013-01-01T10:00:00Z\nAA,1141,NA,2013-01-01T11:00:00Z\n"


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Writes files below a folder and snapshots what a URI names there."""

    base: Path

    def write(self, name: str, text: str | bytes) -> None:
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    def table(self, name: str, columns: dict[str, Any]) -> None:
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)

    def snapshot(self, uri: str, *, until: tuple[str, datetime] | None = None, target: str = "t.parquet") -> Snapshot:
        return UriSources().snapshot(uri, base=self.base, target=self.base.parent / "out" / target, until=until)

    def rows(self, uri: str, *, until: tuple[str, datetime] | None = None) -> list[dict[str, Any]]:
        return rows_of(self.snapshot(uri, until=until))

    def refusal(self, uri: str, *, until: tuple[str, datetime] | None = None) -> str:
        with pytest.raises(BadInput) as caught:
            self.snapshot(uri, until=until)
        out = self.base.parent / "out"
        assert not out.exists() or not list(out.iterdir()), "a refused snapshot leaves nothing"
        return str(caught.value)


def rows_of(snapshot: Snapshot) -> list[dict[str, Any]]:
    table = pq.read_table(snapshot.file)
    assert table.num_rows == snapshot.rows
    assert {field.name: str(field.type) for field in table.schema} == snapshot.columns
    return table.to_pylist()


def bytes_of(snapshot: Snapshot) -> str:
    return hashlib.sha256(snapshot.file.read_bytes()).hexdigest()


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
            [datetime(2013, 1, 1, 5), datetime(2013, 1, 1, 6)],
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
    assert reader.rows(name) == [{'a"b': 1, "it's": 2}] if '"' not in name else True


def test_hidden_files_and_markers_do_not_count(reader: Reader) -> None:
    reader.write("data/a.csv", "x\n1\n")
    reader.write("data/_SUCCESS", "")
    reader.write("data/.a.csv.crc", "crc")
    reader.write("_named.csv", "x\n2\n")
    assert reader.rows("data") == [{"x": 1}]
    assert reader.rows("_named.csv") == [{"x": 2}]


# --- determinism ------------------------------------------------------------------------------------------------------


def test_the_same_rows_give_the_same_bytes(reader: Reader) -> None:
    for month in range(3):
        rows = "".join(
            f"{month},{n},{n * 7 % 1000 / 8},2013-0{month + 1}-01T00:00:00Z,w{n % 97}\n" for n in range(90_000)
        )
        reader.write(f"data/{month}.csv", f"month,n,value,at,word\n{rows}")
    first = reader.snapshot("data", target="1.parquet")
    assert first.rows == 270_000
    assert bytes_of(reader.snapshot("data", target="2.parquet")) == bytes_of(first)

    code = "import sys; from pathlib import Path; import duckdb\nreal = duckdb.connect\n"
    code += (
        "def connect(*a, **k):\n    c = real(*a, **k)\n    c.execute('SET threads = ' + sys.argv[1])\n    return c\n"
    )
    code += "duckdb.connect = connect\nfrom towpath.adapters.sources import UriSources\n"
    code += "UriSources().snapshot('data', base=Path(sys.argv[2]), target=Path(sys.argv[3]), until=None)"
    for threads in ("1", "8"):
        target = reader.base / f"{threads}.parquet"
        path = os.pathsep.join(entry for entry in sys.path if entry)
        command = [sys.executable, "-c", code, threads, str(reader.base), str(target)]
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
        datetime(2013, 2, 1),
    ],  # noqa: DTZ001 no zone is read as UTC
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
    assert "no row with time_hour before 2013-01-01T00:00:00+00:00" in reader.refusal(
        "a.csv", until=("time_hour", instant)
    )


# --- files: bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "uri", "says"),
    [
        (
            {"flights.csv": FLIGHTS},
            "flihgts.csv",
            ["no 'flihgts.csv'", "Did you mean flights.csv?", "charter's folder"],
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
            "naive": pa.array([datetime(2013, 1, 1), None], pa.timestamp("ns")),  # noqa: DTZ001 kept without a zone
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


# --- SQL --------------------------------------------------------------------------------------------------------------

_AWARE = datetime(2013, 1, 1, 10, 0, 0, 123456, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Database:
    """A database under test: its source URI without the table, and a way to run statements in it."""

    uri: str
    run: Callable[..., None]
    postgres: bool


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, reader: Reader) -> Database:
    if request.param == "sqlite":

        def run_sqlite(statement: str, rows: list[tuple[Any, ...]] | None = None) -> None:
            connection = sqlite3.connect(reader.base / "data.db")
            connection.executemany(statement, rows) if rows else connection.execute(statement)
            connection.commit()
            connection.close()

        return Database(uri="sqlite:///data.db", run=run_sqlite, postgres=False)
    url: str = request.getfixturevalue("postgres_database")

    def run_postgres(statement: str, rows: list[tuple[Any, ...]] | None = None) -> None:
        with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.executemany(statement.replace("?", "%s"), rows) if rows else cursor.execute(statement.encode())

    return Database(uri=url, run=run_postgres, postgres=True)


def test_a_table_keeps_its_types_and_the_order_of_its_key(reader: Reader, database: Database) -> None:
    database.run(
        "CREATE TABLE flights (id integer PRIMARY KEY, delay smallint, big bigint, fare numeric(10, 2), speed double precision,"
        " late boolean, tail varchar(6), day date, at timestamp, note text, fix time)"
    )
    full = (2, -5, 2**60, "1234.50", 0.1, True, "N14228", "2013-01-02", "2013-01-02 03:04:05.000006", "é", "03:04:05")
    database.run("INSERT INTO flights VALUES (?,?,?,?,?,?,?,?,?,?,?)", [full])
    database.run("INSERT INTO flights (id) VALUES (1)")
    snapshot = reader.snapshot(f"{database.uri}#flights")
    narrow = {"id": "int32", "delay": "int16"} if database.postgres else {"id": "int64", "delay": "int64"}
    assert snapshot.columns == narrow | {
        "big": "int64",
        "fare": "decimal128(10, 2)",
        "speed": "double",
        "late": "bool",
        "tail": "string",
        "day": "date32[day]",
        "at": "timestamp[us]",
        "note": "string",
        "fix": "time64[us]",
    }
    first, second = rows_of(snapshot)
    assert (first.pop("id"), set(first.values())) == (1, {None})
    assert second == {
        "id": 2,
        "delay": -5,
        "big": 2**60,
        "fare": Decimal("1234.50"),
        "speed": 0.1,
        "late": True,
        "tail": "N14228",
        "day": date(2013, 1, 2),
        "at": datetime(2013, 1, 2, 3, 4, 5, 6),  # noqa: DTZ001 the column has no zone
        "note": "é",
        "fix": time(3, 4, 5),
    }


def test_rows_without_a_key_are_in_the_order_of_all_columns(reader: Reader, database: Database) -> None:
    database.run("CREATE TABLE t (word text, n integer)")
    rows: list[tuple[Any, ...]] = [("b", 1), ("B", 2), ("a", 9), ("a", 3), ("ä", 1)]
    database.run("INSERT INTO t VALUES (?, ?)", rows)
    first = reader.snapshot(f"{database.uri}#t", target="1.parquet")
    assert [(row["word"], row["n"]) for row in rows_of(first)] == sorted(rows)
    database.run("DELETE FROM t")
    database.run("INSERT INTO t VALUES (?, ?)", rows[::-1])
    assert bytes_of(reader.snapshot(f"{database.uri}#t", target="2.parquet")) == bytes_of(first)


def test_a_large_table_streams_and_gives_the_same_bytes_twice(reader: Reader, database: Database) -> None:
    database.run("CREATE TABLE t (id integer PRIMARY KEY, word text)")
    database.run(
        "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25001)"
        " SELECT i, CASE WHEN i % 3 = 0 THEN NULL ELSE 'w' || i END FROM n"
    )
    first = reader.snapshot(f"{database.uri}#t", target="1.parquet")
    found = rows_of(first)
    assert (len(found), found[2]["word"], found[-1]) == (25001, None, {"id": 25001, "word": "w25001"})
    assert bytes_of(reader.snapshot(f"{database.uri}#t", target="2.parquet")) == bytes_of(first)


def test_a_view_is_read_like_a_table(reader: Reader, database: Database) -> None:
    database.run("CREATE TABLE t (id integer PRIMARY KEY, x integer)")
    database.run("INSERT INTO t VALUES (?, ?)", [(1, 5), (2, 4)])
    database.run("CREATE VIEW v AS SELECT x FROM t")
    assert reader.rows(f"{database.uri}#v") == [{"x": 4}, {"x": 5}]


def test_until_cuts_tables(reader: Reader, database: Database) -> None:
    database.run("CREATE TABLE t (id integer PRIMARY KEY, at timestamp, day date)")
    rows = [(1, "2013-01-31 23:59:59", "2013-01-31"), (2, "2013-02-01 00:00:00", "2013-02-01"), (3, None, None)]
    database.run("INSERT INTO t VALUES (?, ?, ?)", rows)
    for column in ("at", "day"):
        found = reader.rows(f"{database.uri}#t", until=(column, datetime(2013, 2, 1, tzinfo=UTC)))
        assert [row["id"] for row in found] == [1]
    with pytest.raises(BadInput, match=r"no column 'when' to cut at\. Valid: id, at, day\."):
        reader.snapshot(f"{database.uri}#t", until=("when", _AWARE))


def test_sql_sources_have_no_fingerprint(reader: Reader, database: Database) -> None:
    assert UriSources().fingerprint(f"{database.uri}#t", base=reader.base) is None


def test_a_table_that_is_not_there_is_refused_with_those_that_are(reader: Reader, database: Database) -> None:
    database.run("CREATE TABLE flights (id integer PRIMARY KEY)")
    database.run("CREATE TABLE weather (id integer PRIMARY KEY)")
    refusal = reader.refusal(f"{database.uri}#flihgts")
    assert "no table 'flihgts'. Did you mean flights? Valid: flights, weather." in refusal
    assert "no table named in the URL. Valid: flights, weather." in reader.refusal(database.uri)
    assert "#flights has no rows" in reader.refusal(f"{database.uri}#flights")


def test_postgres_types_beyond_the_common_ones(reader: Reader, postgres_database: str) -> None:
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("CREATE TYPE mood AS ENUM ('sad', 'glad')")
        connection.execute("CREATE DOMAIN code AS varchar(3)")
        connection.execute("CREATE SCHEMA raw")
        connection.execute(
            "CREATE TABLE raw.kinds (at timestamptz, real_ real, plain numeric, wide numeric(50, 10), id uuid, doc jsonb,"
            " old json, bits bytea, feeling mood, place code, host inet)"
        )
        connection.execute("SET TIME ZONE 'America/New_York'")
        connection.execute(
            "INSERT INTO raw.kinds VALUES ('2013-01-01 05:00:00.123456', 0.5, 1.000000000000000001, 1e35,"
            " '12345678-1234-5678-1234-567812345678', '{\"b\": [1, null], \"a\": 2}', '{\"z\":1}', '\\x0001', 'glad', 'EWR',"
            " '10.0.0.1')"
        )
    snapshot = reader.snapshot(f"{postgres_database}#raw.kinds")
    assert snapshot.columns == {
        "at": "timestamp[us, tz=UTC]",
        "real_": "float",
        "plain": "decimal128(38, 18)",
        "wide": "decimal256(50, 10)",
        "id": "string",
        "doc": "string",
        "old": "string",
        "bits": "binary",
        "feeling": "string",
        "place": "string",
        "host": "string",
    }
    assert rows_of(snapshot) == [
        {
            "at": _AWARE,
            "real_": 0.5,
            "plain": Decimal("1.000000000000000001"),
            "wide": Decimal("1e35"),
            "id": "12345678-1234-5678-1234-567812345678",
            "doc": '{"a": 2, "b": [1, null]}',
            "old": '{"z":1}',
            "bits": b"\0\1",
            "feeling": "glad",
            "place": "EWR",
            "host": "10.0.0.1/32",
        }
    ]
    assert (
        snapshot.rows
        == reader.snapshot(f"{postgres_database}#raw.kinds", until=("at", _AWARE + timedelta(hours=1))).rows
    )


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("x numeric", "'NaN'", "column 'x', declared NUMERIC, holds Decimal('NaN')"),
        ("x numeric", "1e-19", "column 'x', declared NUMERIC, holds Decimal"),
        ("x timestamp", "'infinity'", "timestamp too large"),
        ("x interval", "'1 month'", "column 'x' has the type INTERVAL, which cannot be stored. Valid: integers"),
        ("x integer[]", "'{1}'", "column 'x' has the type"),
        ("x point", "'(1,2)'", "column 'x' has the type"),
    ],
)
def test_postgres_values_that_cannot_be_kept_are_refused(
    reader: Reader, postgres_database: str, column: str, value: str, says: str
) -> None:
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE t ({column})".encode())
        connection.execute(f"INSERT INTO t VALUES ({value})".encode())
    assert says in reader.refusal(f"{postgres_database}#t")


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("x integer", "abc", "column 'x', declared INTEGER, holds 'abc', which is not a int64"),
        ("x numeric(5, 2)", 1.005, "holds 1.005, which is not a decimal128(5, 2)"),
        ("x timestamp", "yesterday", "holds 'yesterday', which is not a timestamp[us]"),
        ("x timestamp", 1356998400, "holds 1356998400, which is not a timestamp[us]"),
        ("x boolean", 7, "holds 7, which is not a bool (a boolean is 0 or 1)"),
        ("x", 1, "column 'x' has the type none (undeclared or unknown)"),
    ],
)
def test_sqlite_values_of_another_type_than_declared_are_refused(
    reader: Reader, column: str, value: object, says: str
) -> None:
    with sqlite3.connect(reader.base / "data.db") as connection:
        connection.execute(f"CREATE TABLE t ({column})")
        connection.execute("INSERT INTO t VALUES (?)", (value,))
    connection.close()
    assert says in reader.refusal("sqlite:///data.db#t")


def test_sqlite_instants_with_a_zone_are_turned_to_utc(reader: Reader) -> None:
    with sqlite3.connect(reader.base / "data.db") as connection:
        connection.execute("CREATE TABLE t (at timestamp, fare decimal(6, 2))")
        connection.execute("INSERT INTO t VALUES ('2013-01-01T05:00:00-05:00', 12.3), ('2013-01-01T10:00:00Z', 12)")
    connection.close()
    at = datetime(2013, 1, 1, 10)  # noqa: DTZ001 the column has no zone
    assert reader.rows("sqlite:///data.db#t") == [
        {"at": at, "fare": Decimal("12.30")},
        {"at": at, "fare": Decimal("12.00")},
    ]


def test_sqlite_files_that_cannot_be_read_are_refused_and_not_made(reader: Reader) -> None:
    reader.write("flights.db", b"not a database at all, but long enough to have a header" * 20)
    assert "file is not a database" in reader.refusal("sqlite:///flights.db#t")
    assert "no SQLite file 'flight.db'" in reader.refusal("sqlite:///flight.db#t")
    assert "Did you mean flights.db?" in reader.refusal("sqlite:///flight.db#t")
    assert [entry.name for entry in reader.base.iterdir()] == ["flights.db"]


def test_urls_of_other_kinds_are_refused(reader: Reader) -> None:
    refusal = reader.refusal("https://example.org/flights.csv")
    assert "kind https:// are not read. Valid: a file, folder or glob, s3://, sqlite:///, postgresql://." in refusal
    assert "kind mysql:// are not read" in reader.refusal("mysql://user:hidden@host/db#t")
    assert "cannot be read as one" in reader.refusal("postgresql://user:hidden@host:port/db#t")


def test_a_postgres_that_does_not_answer_is_unreachable(reader: Reader) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        uri = f"postgresql://user:hidden@127.0.0.1:{probe.getsockname()[1]}/data#t"
        with pytest.raises(Unreachable, match=r"postgresql://127\.0\.0\.1:\d+/data does not answer") as caught:
            reader.snapshot(uri)
    assert "hidden" not in str(caught.value)


def test_a_postgres_that_refuses_is_misconfigured(reader: Reader, postgres_database: str) -> None:
    name = postgres_database.rpartition("/")[2]
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("CREATE TABLE secret (id integer PRIMARY KEY)")
        role = f"reader_{uuid.uuid4().hex}"
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'hidden'".encode())
    server = postgres_database.rpartition("@")[2]
    for uri, says in [
        (f"postgresql://{role}:wrong@{server}#secret", "password authentication failed"),
        (f"postgresql://{role}:hidden@{server}#secret", "permission denied for table secret"),
        (postgres_database.removesuffix(name) + "no_such_database#t", "does not exist"),
    ]:
        with pytest.raises(Misconfigured, match=says) as caught:
            reader.snapshot(uri)
        assert "hidden" not in str(caught.value)


# --- S3 ---------------------------------------------------------------------------------------------------------------


def s3_sources(server: S3Server) -> UriSources:
    settings = S3Settings(
        endpoint=server.endpoint,
        region="us-east-1",
        access_key=server.access_key,
        secret_key=server.secret_key,
        attempts=2,
    )
    return UriSources(s3=settings)


def test_objects_below_a_prefix_are_read_like_files(reader: Reader, s3: S3Bucket) -> None:
    for name, text in [("2.csv", "x,at\n2,2013-02-01T00:00:00Z\n"), ("1.csv", "x,at\n01,2013-01-01T00:00:00Z\n")]:
        s3.write(f"raw/flights/{name}", text.encode())
        reader.write(f"data/{name}", text)
    s3.write("raw/flights_old/0.csv", b"other\n1\n")
    sources = s3_sources(s3.server)
    target = reader.base / "out" / "s3.parquet"
    snapshot = sources.snapshot(f"s3://{s3.name}/raw/flights", base=reader.base, target=target, until=None)
    assert [row["x"] for row in rows_of(snapshot)] == ["01", "2"]
    assert bytes_of(snapshot) == bytes_of(reader.snapshot("data"))
    assert [entry.name for entry in target.parent.iterdir()] == ["s3.parquet"]
    until = ("at", datetime(2013, 2, 1, tzinfo=UTC))
    uri = f"s3://{s3.name}/raw/flights/"
    assert sources.snapshot(uri, base=reader.base, target=target, until=until).rows == 1
    uri = f"s3://{s3.name}/raw/flights/2.csv"
    assert rows_of(sources.snapshot(uri, base=reader.base, target=target, until=None))[0]["x"] == 2


def test_parquet_objects_are_read(reader: Reader, s3: S3Bucket) -> None:
    reader.table("a.parquet", {"x": [1, 2]})
    s3.write("data/a.parquet", (reader.base / "a.parquet").read_bytes())
    uri = f"s3://{s3.name}/data"
    snapshot = s3_sources(s3.server).snapshot(uri, base=reader.base, target=reader.base / "t", until=None)
    assert rows_of(snapshot) == [{"x": 1}, {"x": 2}]


def test_the_fingerprint_of_objects_follows_their_content(reader: Reader, s3: S3Bucket) -> None:
    sources = s3_sources(s3.server)

    def fingerprint() -> str | None:
        return sources.fingerprint(f"s3://{s3.name}/data", base=reader.base)

    s3.write("data/a.csv", b"x\n1\n")
    first = fingerprint()
    assert first == fingerprint()
    s3.write("data/a.csv", b"x\n2\n")
    changed = fingerprint()
    s3.write("data/b.csv", b"x\n1\n")
    assert len({first, changed, fingerprint()}) == 3


def test_objects_that_cannot_be_read_are_refused(reader: Reader, s3: S3Bucket) -> None:
    s3.write("data/flights/a.csv", b"x\n1\n")
    s3.write("data/mixed/a.csv", b"x\n1\n")
    s3.write("data/mixed/b.txt", b"x\n1\n")
    s3.write("data/ragged/a.csv", b"x,y\n1\n")

    def refusal(prefix: str) -> str:
        with pytest.raises(BadInput) as caught:
            s3_sources(s3.server).snapshot(
                f"s3://{s3.name}/{prefix}", base=reader.base, target=reader.base / "out" / "t", until=None
            )
        assert list((reader.base / "out").iterdir()) == []
        return str(caught.value)

    assert "no object 'data/flihgts' and none below it. Did you mean data/flights?" in refusal("data/flihgts")
    assert f"s3://{s3.name}/data/mixed/b.txt is not of a format that can be read (.txt)" in refusal("data/mixed")
    assert f"s3://{s3.name}/data/ragged/a.csv, line 2: 1 fields" in refusal("data/ragged")


def test_a_bucket_that_is_not_there_is_misconfigured(reader: Reader, s3: S3Bucket) -> None:
    with pytest.raises(Misconfigured, match="has no bucket 'absent-bucket'"):
        s3_sources(s3.server).snapshot("s3://absent-bucket/x", base=reader.base, target=reader.base / "t", until=None)
    with pytest.raises(BadInput, match="names no bucket"):
        s3_sources(s3.server).fingerprint("s3:///x", base=reader.base)


def test_an_s3_that_does_not_answer_is_unreachable(reader: Reader) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server = S3Server(
            endpoint=f"http://127.0.0.1:{probe.getsockname()[1]}", access_key="a", secret_key="b", enforces=True
        )
        with pytest.raises(Unreachable, match="does not answer"):
            s3_sources(server).snapshot("s3://b/x", base=reader.base, target=reader.base / "t", until=None)
