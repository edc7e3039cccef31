"""What tables of SQLite and PostgreSQL give as Parquet, and what is said of those that cannot be read."""

from __future__ import annotations

import socket
import sqlite3
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from adapters.snapshots import Reader, bytes_of, naive, rows_of
from towpath.adapters.sources import UriSources
from towpath.core.errors import BadInput, Misconfigured, Unreachable


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    base = tmp_path / "project"
    base.mkdir()
    return Reader(base=base)


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
        "CREATE TABLE flights (id integer PRIMARY KEY, delay smallint, big bigint, fare numeric(10, 2),"
        " speed double precision,"
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
        "at": naive(2013, 1, 2, 3, 4, 5, 6),
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
            "CREATE TABLE raw.kinds (at timestamptz, real_ real, plain numeric, wide numeric(50, 10), id uuid,"
            " doc jsonb,"
            " old json, bits bytea, feeling mood, place code, host inet)"
        )
        connection.execute("SET TIME ZONE 'America/New_York'")
        connection.execute(
            "INSERT INTO raw.kinds VALUES ('2013-01-01 05:00:00.123456', 0.5, 1.000000000000000001, 1e35,"
            " '12345678-1234-5678-1234-567812345678', '{\"b\": [1, null], \"a\": 2}', '{\"z\":1}', '\\x0001',"
            " 'glad', 'EWR',"
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
    at = naive(2013, 1, 1, 10)
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
