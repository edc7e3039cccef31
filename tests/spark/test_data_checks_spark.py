"""Data checks in Spark: the same findings and the same failing rows as in DuckDB, on plain and on awkward tables."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from adapters import shop_tables
from adapters.test_data_checks import AS_OF, BROKEN, Run, run
from towpath.adapters.great_expectations_checks import GreatExpectationsChecks
from towpath.adapters.great_expectations_engines import DuckDB, Engine, PostgreSQL
from towpath.adapters.great_expectations_spark import Spark
from towpath.adapters.spark_session import SparkMaster, spark_session
from towpath.core import digest
from towpath.core.contract import Contract, parse
from towpath.core.errors import BadInput, DeclarationError, Misconfigured
from towpath.core.evidence import Outcome
from towpath.settings import Settings
from towpath.wiring import open_checks
from unit.shop import contract, document

# py4j leaves its connections to Java to the garbage collector.
pytestmark = [pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]

slow = [pytest.mark.slow, pytest.mark.timeout(900)]
exhaustive = [*slow, pytest.mark.exhaustive]


def alike(files: Mapping[str, Path], folder: Path, engine: Engine, of: Contract) -> Run:
    """The run in Spark, which found what DuckDB finds and set the same rows aside."""
    here, there = (
        GreatExpectationsChecks(engine=one).run(files, [of], as_of=AS_OF, folder=folder / name)
        for name, one in (("duckdb", DuckDB()), ("spark", engine))
    )
    assert there.findings == here.findings
    assert not [one for one in there.findings if one.outcome is Outcome.ERROR]
    for name, table in there.tables.items():
        other = here.tables[name]
        assert digest.of_file(table.accepted) == digest.of_file(other.accepted)
        assert (table.quarantine and digest.of_file(table.quarantine)) == (
            other.quarantine and digest.of_file(other.quarantine)
        )
    return Run(report=there, files=files, folder=folder)


# --- a contract that says everything ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "orders",
    [
        pytest.param(BROKEN, id="broken", marks=slow),
        pytest.param("SELECT * FROM orders", id="clean", marks=exhaustive),
        pytest.param("SELECT * FROM orders WHERE false", id="empty", marks=exhaustive),
        pytest.param("SELECT * RENAME (amount AS amount_eur) FROM orders", id="renamed", marks=exhaustive),
        pytest.param(
            "SELECT * REPLACE (pieces::VARCHAR AS pieces, placed_at::TIMESTAMP AS placed_at) FROM orders",
            id="other types",
            marks=exhaustive,
        ),
        pytest.param(
            "SELECT * REPLACE (NULL::VARCHAR AS amount, NULL::INTEGER AS customer) FROM orders",
            id="nothing but nulls",
            marks=exhaustive,
        ),
        pytest.param(
            "SELECT * REPLACE (amount::DECIMAL(9, 1) AS amount, pieces::UTINYINT AS pieces, packed_at::TIMESTAMP_NS AS "
            "packed_at) FROM orders UNION ALL SELECT * FROM orders WHERE id IN (8, 3)",
            id="doubled rows, narrow and wide types",
            marks=exhaustive,
        ),
        pytest.param(
            "SELECT * REPLACE (placed_at - INTERVAL 4 DAY AS placed_at, amount + 600 AS amount) FROM orders",
            id="stale and dear",
            marks=exhaustive,
        ),
    ],
)
def test_spark_finds_the_same(spark: SparkMaster, tmp_path: Path, orders: str) -> None:
    alike(shop_tables.write(tmp_path / "in", orders=orders), tmp_path, Spark(master=spark), contract())


# --- awkward names, values and types ----------------------------------------------------------------------------------

NAMED = """
SELECT
    n AS "select", 'k' || n AS "a-key %", n::UBIGINT AS "per cent", [n] AS items, {'deep': n} AS nested,
    CASE n WHEN 1 THEN 'C:\\temp' WHEN 2 THEN 'it''s' WHEN 3 THEN '{x}' WHEN 4 THEN ':colon' WHEN 5 THEN 'other'
    END AS "say it now",
    CASE n WHEN 1 THEN 'AB' || chr(10) WHEN 2 THEN 'AB' WHEN 3 THEN 'A' || chr(13) || 'B' WHEN 4 THEN 'A\\B'
    END AS code,
    CASE n WHEN 1 THEN '日本語' WHEN 2 THEN '👩‍🚀' WHEN 3 THEN 'e' || chr(769) WHEN 4 THEN '' END AS "naïve.text",
    CASE n WHEN 1 THEN 'nan'::DOUBLE WHEN 2 THEN 'inf'::DOUBLE WHEN 3 THEN -0.0 WHEN 4 THEN 0.0 WHEN 5 THEN 0.30
    END AS ratio,
    CASE n WHEN 1 THEN TIMESTAMP_NS '1969-12-31 23:59:59.999999999' WHEN 2 THEN TIMESTAMP_NS '2024-01-01'
        WHEN 3 THEN TIMESTAMP_NS '2023-12-31 23:59:59.999999999' END AS nanos,
    CASE n WHEN 1 THEN TIMESTAMPTZ '2024-03-31 02:30:00+01' WHEN 2 THEN TIMESTAMPTZ '1500-01-01 00:00:00+00'
    END AS zoned,
    CASE n WHEN 1 THEN DATE '0001-01-01' WHEN 2 THEN DATE '9999-12-31' END AS day,
    CASE n WHEN 1 THEN TIME '07:59:59.999999' WHEN 2 THEN TIME '08:00:00' END AS clock,
    n > 3 AS flag,
FROM range(1, 8) AS rows(n)
"""
LIMITS: list[tuple[str, str, dict[str, Any]]] = [
    ("select", "integer", {"minimum": 2, "multipleOf": 2}),
    ("a-key %", "string", {"minLength": 2}),
    ("per cent", "integer", {"maximum": 5}),
    ("items", "array", {}),
    ("nested", "object", {}),
    ("say it now", "string", {}),
    ("code", "string", {"pattern": "^A.?\\\\?B$"}),
    ("naïve.text", "string", {"minLength": 2, "maxLength": 3}),
    ("ratio", "number", {"minimum": 0, "maximum": 1, "multipleOf": 0.1}),
    ("nanos", "timestamp", {"minimum": "2024-01-01T00:00:00Z"}),
    ("zoned", "timestamp", {"minimum": "2024-03-31T01:00:00+00:00", "timezone": True}),
    ("day", "date", {"minimum": "2000-01-01"}),
    ("clock", "time", {"minimum": "08:00:00"}),
    ("flag", "boolean", {}),
]


def named() -> Contract:
    """A contract of one table, whose name is a word of SQL, with columns that are hard to write down."""
    columns: list[dict[str, Any]] = [
        {"name": name, "logicalType": kind, "logicalTypeOptions": limits} if limits else
        {"name": name, "logicalType": kind} for name, kind, limits in LIMITS
    ]  # fmt: skip
    by_name = {column["name"]: column for column in columns}
    by_name["say it now"]["enum"] = [{"value": value} for value in ("C:\\temp", "it's", "{x}", ":colon", "\\")]
    by_name["ratio"]["unique"] = True
    by_name["a-key %"]["primaryKey"] = True
    rules = [
        {"metric": "duplicateValues", "arguments": {"properties": ["day", "flag"]}, "mustBe": 0},
        {
            "type": "sql",
            "query": "SELECT count(*) FROM {object} WHERE \"say it now\" LIKE '%''s' OR code = 'A\\B'",
            "mustBe": 0,
        },
        {"type": "sql", "query": 'SELECT avg("per cent") FROM {object}', "mustBeLessThan": 3.5},
    ]
    table = {"name": "order", "properties": columns, "quality": rules}
    return parse(
        {"apiVersion": "v3.1.0", "kind": "DataContract", "id": "odd", "version": "1.0.0", "status": "active",
         "team": {"name": "odd", "members": [{"username": "ann@example.com", "role": "Data owner"}]},
         "schema": [table]},
        origin="odd",
    )  # fmt: skip


def write(folder: Path, query: str) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "order {%} *1.parquet"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"COPY ({query}) TO '{file}' (FORMAT parquet)")
    return {"order": file}


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_awkward_names_values_and_types(spark: SparkMaster, tmp_path: Path) -> None:
    found = alike(write(tmp_path / "in", NAMED), tmp_path, Spark(master=spark), named())
    failing = {one.subject for one in found.report.findings if one.outcome is Outcome.FAIL}
    assert failing >= {
        "order.say it now",
        "order.code",
        "order.naïve.text",
        "order.ratio",
        "order.nanos",
        "order.clock",
    }
    assert found.finding("data.schema", "order").outcome is Outcome.PASS


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_what_spark_cannot_read_is_said(spark: SparkMaster, tmp_path: Path) -> None:
    files = write(tmp_path / "in", 'SELECT uuid() AS "a-key %"')
    with pytest.raises(BadInput, match=r"Spark cannot read table 'order': .*UUID.*Cast that column"):
        GreatExpectationsChecks(engine=Spark(master=spark)).run(files, [named()], as_of=AS_OF, folder=tmp_path / "out")


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_a_rule_without_a_translation_is_an_error_of_its_own(spark: SparkMaster, tmp_path: Path) -> None:
    changed = document()
    query = "SELECT list_sum(arg_min(id, id, 3)) FROM {object}"
    changed["schema"][1]["quality"].append({"type": "sql", "query": query, "mustBe": 6})
    found = run(shop_tables.write(tmp_path / "in"), tmp_path, engine=Spark(master=spark), of=parse(changed, origin="s"))
    wrong = [one for one in found.report.findings if one.outcome is not Outcome.PASS]
    assert [(one.code, one.outcome) for one in wrong] == [("data.rule", Outcome.ERROR)]
    assert "no translation into Spark's SQL" in wrong[0].reason


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_great_expectations_itself_asked_spark(spark: SparkMaster, tmp_path: Path) -> None:
    """Other rows under Great Expectations than under our own reading: it is its count that disagrees."""
    files = shop_tables.write(tmp_path / "in")
    changed = shop_tables.write(tmp_path / "changed", orders="SELECT * REPLACE (pieces - 2 AS pieces) FROM orders")

    class Elsewhere(Spark):
        def opened(self, context: Any, tables: Mapping[str, Path], **more: Any) -> Any:
            return super().opened(context, changed, **more)

    found = run(files, tmp_path / "out", engine=Elsewhere(master=spark)).finding("data.range", "orders.pieces")
    assert found.outcome is Outcome.ERROR
    assert "Great Expectations counted 2 failing rows and the row predicate 0" in found.reason


# --- the session ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_sessions_share_spark_and_nothing_else(spark: SparkMaster) -> None:
    with spark_session(spark) as one, spark_session(spark) as other:
        one.sql("SELECT 1 AS a").createOrReplaceTempView("mine")
        assert [found.name for found in other.catalog.listTables()] == []
        assert other.conf.get("spark.sql.session.timeZone") == "UTC"
        assert one.sparkContext is other.sparkContext
        assert one.sparkContext.uiWebUrl is None
    with spark_session(spark) as again:
        assert again.range(3).count() == 3, "who did not start it does not stop it"


def test_a_local_spark_is_bounded_and_heard_by_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARK_DRIVER_MEMORY", raising=False)
    local, cluster = SparkMaster().options, SparkMaster(address="spark://spark:7077").options
    assert local["spark.ui.enabled"] == cluster["spark.ui.enabled"] == "false"
    assert (local["spark.driver.bindAddress"], local["spark.driver.memory"]) == ("127.0.0.1", "2g")
    assert not {"spark.driver.bindAddress", "spark.driver.memory"} & set(cluster), "a cluster's driver is reached"
    monkeypatch.setenv("SPARK_DRIVER_MEMORY", "8g")
    assert "spark.driver.memory" not in SparkMaster().options


def test_without_pyspark_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with (
        pytest.raises(Misconfigured, match=r"pyspark is not installed.*towpath\[spark\]"),
        spark_session(SparkMaster()),
    ):
        pass


def test_without_java_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("pyspark.SparkContext._active_spark_context", None)
    with (
        pytest.raises(Misconfigured, match="Spark needs Java 17 or later, and there is none"),
        spark_session(SparkMaster()),
    ):
        pass


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed: apt install default-jre-headless")
def test_a_process_that_ran_spark_ends_without_a_word(tmp_path: Path) -> None:
    code = """
from towpath.adapters.spark_session import SparkMaster, spark_session
from towpath.core.errors import Misconfigured
with spark_session(SparkMaster(address="local[1]")) as session:
    assert session.range(3).count() == 3
from pyspark import SparkContext
assert SparkContext._active_spark_context is None, "closed"
try:
    with spark_session(SparkMaster(address="nowhere")):
        pass
except Misconfigured as error:
    assert "'nowhere' is no master of Spark" in str(error), error
else:
    raise AssertionError
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed: apt install default-jre-headless")
def test_a_spark_that_has_ended_is_started_again_and_a_users_own_is_left_alone() -> None:
    code = """
from pyspark.sql import SparkSession
from towpath.adapters.spark_session import SparkMaster, spark_session
master = SparkMaster(address="local[1]")
mine = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
mine.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
with spark_session(master) as session:
    assert session.sql("SELECT timestamp_ntz '2024-01-01' = to_timestamp('2024-01-01T00:00:00Z')").first()[0]
assert SparkSession.getActiveSession() is mine or SparkSession.getActiveSession()._jsparkSession == mine._jsparkSession
assert mine.conf.get("spark.sql.session.timeZone") == "Asia/Tokyo"
assert SparkSession.builder.getOrCreate() is mine
mine._jsc.sc().stop()  # as its cluster does, without a word to Python
with spark_session(master) as session:
    assert session.range(3).count() == 3
again = SparkSession.builder.master("local[1]").getOrCreate()
assert again.range(3).count() == 3
again.stop()
with spark_session(master) as session:
    assert session.range(3).count() == 3
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


# --- the setting ------------------------------------------------------------------------------------------------------


def test_the_settings_name_the_engine(tmp_path: Path) -> None:
    def engine(**environment: str) -> Any:
        checks = open_checks(Settings.read(environment, folder=tmp_path))
        assert isinstance(checks, GreatExpectationsChecks)
        return checks.engine

    assert engine() == DuckDB()
    assert engine(TOWPATH_CHECKS="spark") == Spark(master=SparkMaster(address="local[*]"))
    assert engine(TOWPATH_CHECKS="spark", TOWPATH_SPARK="yarn").master.address == "yarn"
    url = "postgresql+psycopg://ann:secret@db.example.com/shop"
    assert engine(TOWPATH_CHECKS=url) == PostgreSQL(url=url)
    assert "secret" not in repr(Settings.read({"TOWPATH_CHECKS": url}, folder=tmp_path))
    with pytest.raises(DeclarationError, match="TOWPATH_CHECKS names no engine: 'mysql'") as raised:
        engine(TOWPATH_CHECKS="mysql://ann:secret@db.example.com/shop")
    assert "secret" not in str(raised.value)
