"""Data checks by Great Expectations on real engines: every check seen to pass and to bite, and the rows set aside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
import sqlalchemy as sa

from adapters import shop_tables
from towpath.adapters import great_expectations_checks, great_expectations_rows
from towpath.adapters.great_expectations_checks import GreatExpectationsChecks
from towpath.adapters.great_expectations_engines import DuckDB, PostgreSQL
from towpath.adapters.great_expectations_rows import Rows
from towpath.adapters.great_expectations_split import Aside, write_split
from towpath.core import digest
from towpath.core.checks import Check, Kind
from towpath.core.contract import Contract, Reference, parse
from towpath.core.errors import BadInput, Misconfigured, Unreachable, Unwritable
from towpath.core.evidence import Finding, Outcome, Severity
from towpath.ports import CheckReport
from unit.shop import column, contract, document

AS_OF = datetime(2024, 6, 3, 12, tzinfo=UTC)

# One sabotage a column, so that each is seen on its own; the rows are told apart by `id`.
BROKEN = """
SELECT * REPLACE (
    CASE WHEN id = 10 THEN 9 WHEN id = 9 THEN 9 ELSE id END AS id,
    CASE WHEN id = 1 THEN NULL WHEN id IN (2, 3) THEN 77 ELSE customer END AS customer,
    CASE WHEN id = 1 THEN 'ab' WHEN id = 2 THEN 'AB-12345678:x' ELSE code END AS code,
    CASE WHEN id = 1 THEN 'lost' ELSE state END AS state,
    CASE WHEN id IN (6, 7) THEN 'XL' ELSE size END AS size,
    CASE WHEN id = 1 THEN 0 WHEN id = 2 THEN 1000.6 WHEN id = 3 THEN 0.25 ELSE amount END AS amount,
    CASE WHEN id IN (1, 2) THEN 0 ELSE pieces END AS pieces,
    CASE WHEN id IN (6, 7, 8) THEN 'n/a' ELSE note END AS note,
    CASE WHEN id = 4 THEN NULL WHEN id > 6 THEN 'same' ELSE coupon END AS coupon,
    CASE WHEN id = 1 THEN DATE '2023-12-31' ELSE placed_on END AS placed_on,
    CASE WHEN id = 1 THEN TIMESTAMPTZ '2025-01-01 01:00:00+01' WHEN id = 2 THEN TIMESTAMPTZ '2025-01-01 00:59:59+01'
         WHEN id = 3 THEN NULL ELSE placed_at END AS placed_at,
    CASE WHEN id = 1 THEN TIMESTAMP '2024-01-01' WHEN id = 2 THEN TIMESTAMP '2024-05-01' ELSE packed_at END AS packed_at
) FROM orders
"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run and where it was."""

    report: CheckReport
    files: Mapping[str, Path]
    folder: Path

    def finding(self, code: str, subject: str, bound: str = "") -> Finding:
        found = [
            one for one in self.report.findings if (one.code, one.subject) == (code, subject) and bound in one.bound
        ]
        assert len(found) == 1, found
        return found[0]


def run(
    files: Mapping[str, Path],
    folder: Path,
    *,
    engine: DuckDB | PostgreSQL | None = None,
    of: Contract | None = None,
) -> Run:
    checks = GreatExpectationsChecks(engine=engine or DuckDB())
    report = checks.run(files, [of or contract()], as_of=AS_OF, folder=folder)
    return Run(report=report, files=files, folder=folder)


def query(sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("clean")
    return run(shop_tables.write(folder / "in"), folder / "out")


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("broken")
    return run(shop_tables.write(folder / "in", orders=BROKEN), folder / "out")


# --- every check ------------------------------------------------------------------------------------------------------


def test_data_that_keeps_its_contract_passes(clean: Run) -> None:
    assert {finding.outcome for finding in clean.report.findings} == {Outcome.PASS}
    assert len(clean.report.findings) == 29
    kept = clean.report.tables["orders"]
    assert (kept.rows, kept.quarantined, kept.quarantine is None) == (9, 1, False), "the one size that is tolerated"


def test_nulls_never_violate_a_limit(clean: Run) -> None:
    found = clean.finding("data.range", "orders.pieces")
    assert (found.outcome, found.sample_size, found.measured) == (Outcome.PASS, 9, 0)


# subject, part of the bound, outcome, measured, rows looked at
BITES: list[tuple[str, str, str, Outcome, float, int]] = [
    ("data.null", "orders.customer", "", Outcome.FAIL, 1, 10),
    ("data.null", "orders.placed_at", "", Outcome.FAIL, 1, 10),
    ("data.null", "orders.note", "50 %", Outcome.FAIL, 50.0, 10),
    ("data.null", "orders.coupon", "40 %", Outcome.PASS, 40.0, 10),
    ("data.range", "orders.amount", "outside", Outcome.FAIL, 2, 9),
    ("data.range", "orders.amount", "multiple", Outcome.FAIL, 1, 9),
    ("data.range", "orders.pieces", "", Outcome.FAIL, 2, 9),
    ("data.range", "orders.code", "characters", Outcome.FAIL, 1, 9),
    ("data.range", "orders.placed_on", "", Outcome.FAIL, 1, 10),
    ("data.range", "orders.placed_at", "", Outcome.FAIL, 1, 9),
    ("data.range", "orders.packed_at", "", Outcome.FAIL, 1, 9),
    ("data.enumeration", "orders.state", "", Outcome.FAIL, 1, 9),
    ("data.enumeration", "orders.size", "30 %", Outcome.FAIL, 33.3333, 9),
    ("data.pattern", "orders.code", "", Outcome.FAIL, 1, 9),
    ("data.unique", "orders.id", "", Outcome.FAIL, 1, 10),
    ("data.unique", "orders.coupon", "less than 3", Outcome.FAIL, 3, 6),
    ("data.unique", "orders.customer, placed_at", "", Outcome.PASS, 0, 8),
    ("data.foreign_key", "orders.customer", "20 %", Outcome.FAIL, 22.2222, 9),
    ("data.rule", "orders", "0 rows", Outcome.FAIL, 1, 10),
]


@pytest.mark.parametrize(("code", "subject", "bound", "outcome", "measured", "looked_at"), BITES)
def test_every_check_bites(
    broken: Run, code: str, subject: str, bound: str, outcome: Outcome, measured: float, looked_at: int
) -> None:
    found = broken.finding(code, subject, bound)
    assert (found.outcome, found.measured, found.sample_size) == (outcome, measured, looked_at), found.reason
    assert found.reason


def test_a_sentence_names_rows_and_values(broken: Run) -> None:
    assert broken.finding("data.range", "orders.amount", "outside").reason == (
        "In 2 of 9 rows with a value (22.22 %) amount is outside 0 to 1000.5 (0 excluded); "
        "for example 0.0 in row 1, 1000.6 in row 2."
    )
    assert broken.finding("data.range", "orders.pieces").severity is Severity.WARNING


@pytest.mark.parametrize(
    ("orders", "of", "code", "outcome", "measured"),
    [
        (
            "SELECT * REPLACE (placed_at - INTERVAL 4 DAY AS placed_at) FROM orders",
            None,
            "data.freshness",
            Outcome.FAIL,
            138.0,
        ),
        ("SELECT * FROM orders WHERE id < 8", None, "data.volume", Outcome.FAIL, 7),
        (
            "SELECT * REPLACE (amount + 600 AS amount) FROM orders",
            "warning",
            "data.rule",
            Outcome.FAIL,
            601.7,
        ),
    ],
)
def test_checks_of_whole_tables_bite(
    tmp_path: Path, orders: str, of: str | None, code: str, outcome: Outcome, measured: float
) -> None:
    changed = run(shop_tables.write(tmp_path / "in", orders=orders), tmp_path / "out")
    found = [one for one in changed.report.findings if one.code == code and (of is None or one.severity == of)]
    assert [(one.outcome, pytest.approx(one.measured)) for one in found] == [(outcome, measured)]


def test_a_time_beyond_the_calendar_is_measured(tmp_path: Path) -> None:
    far = "CASE WHEN id = 1 THEN TIMESTAMPTZ '20000-01-01 00:00:00+00' ELSE placed_at END"
    orders = f"SELECT * REPLACE ({far} AS placed_at) FROM orders"
    found = run(shop_tables.write(tmp_path / "in", orders=orders), tmp_path / "out")
    assert "The newest placed_at is after the year 9999" in found.finding("data.freshness", "orders.placed_at").reason
    assert found.finding("data.range", "orders.placed_at").measured == 1


# --- columns ----------------------------------------------------------------------------------------------------------


def outcomes(of: Run, subject: str) -> dict[str, Outcome]:
    return {one.code: one.outcome for one in of.report.findings if one.subject == subject}


def test_a_renamed_column(tmp_path: Path) -> None:
    renamed = "SELECT * RENAME (amount AS amount_eur) FROM orders"
    found = run(shop_tables.write(tmp_path / "in", orders=renamed), tmp_path / "out")
    assert found.finding("data.schema", "orders.amount").reason == (
        "`amount` is missing; `amount_eur`, not in the contract, looks like it."
    )
    assert found.finding("data.schema", "orders.amount_eur").outcome is Outcome.FAIL
    assert outcomes(found, "orders.amount")["data.range"] is Outcome.INCONCLUSIVE
    rule = [one for one in found.report.findings if one.code == "data.rule" and one.severity is Severity.WARNING]
    assert [(one.outcome, one.reason) for one in rule] == [
        (Outcome.INCONCLUSIVE, "Not asked: it needs orders.amount, which is missing.")
    ]
    assert found.report.tables["orders"].rows == 9


def test_columns_of_the_wrong_type(tmp_path: Path) -> None:
    typed = "SELECT * REPLACE (pieces::VARCHAR AS pieces, placed_at::TIMESTAMP AS placed_at) FROM orders"
    found = run(shop_tables.write(tmp_path / "in", orders=typed), tmp_path / "out")
    assert found.finding("data.schema", "orders.pieces").reason == "`pieces` is string; the contract says integer."
    assert "without a time zone" in found.finding("data.schema", "orders.placed_at").reason
    assert outcomes(found, "orders.pieces")["data.range"] is Outcome.INCONCLUSIVE
    assert found.finding("data.freshness", "orders.placed_at").outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("cast", ["amount::BIGINT", "amount::DECIMAL(9, 1)", "amount::FLOAT"])
def test_a_number_may_come_in_any_numeric_type(tmp_path: Path, cast: str) -> None:
    typed = f"SELECT * REPLACE (greatest({cast}, 1) AS amount, pieces::UTINYINT AS pieces) FROM orders"
    found = run(shop_tables.write(tmp_path / "in", orders=typed), tmp_path / "out")
    assert found.finding("data.schema", "orders").outcome is Outcome.PASS


def test_a_column_of_nothing_but_nulls(tmp_path: Path) -> None:
    empty = "SELECT * REPLACE (NULL::VARCHAR AS amount, NULL::INTEGER AS customer) FROM orders"
    found = run(shop_tables.write(tmp_path / "in", orders=empty), tmp_path / "out")
    assert found.finding("data.schema", "orders").outcome is Outcome.PASS, "no value contradicts the type"
    assert outcomes(found, "orders.amount") == {"data.range": Outcome.INCONCLUSIVE}
    assert found.finding("data.null", "orders.customer").measured == 10
    assert found.report.tables["orders"].quarantined == 10


def test_an_empty_table(tmp_path: Path) -> None:
    found = run(shop_tables.write(tmp_path / "in", orders="SELECT * FROM orders WHERE false"), tmp_path / "out")
    of_orders = {one.code: one.outcome for one in found.report.findings if one.subject.startswith("orders")}
    assert of_orders.pop("data.schema") is Outcome.PASS
    assert of_orders.pop("data.volume") is Outcome.FAIL
    assert set(of_orders.values()) == {Outcome.INCONCLUSIVE}
    assert found.report.tables["orders"].rows == 0


def test_a_table_that_is_not_delivered(tmp_path: Path) -> None:
    files = shop_tables.write(tmp_path / "in")
    del files["customers"]
    found = run(files, tmp_path / "out")
    assert found.finding("data.schema", "customers").reason == "Table customers was not delivered."
    assert found.finding("data.foreign_key", "orders.customer").outcome is Outcome.INCONCLUSIVE
    assert found.finding("data.range", "orders.pieces").outcome is Outcome.PASS


def test_a_rule_that_does_not_run_is_an_error(tmp_path: Path) -> None:
    changed = document()
    changed["schema"][1]["quality"] = [
        {"type": "sql", "query": "SELECT count(*) FROM {object} WHERE nothing > 1", "mustBe": 0},
        {"type": "sql", "query": "SELECT sum(note) FROM {object}", "mustBe": 0},
    ]
    found = run(shop_tables.write(tmp_path / "in"), tmp_path / "out", of=parse(changed, origin="shop"))
    rules = [one for one in found.report.findings if one.code == "data.rule"]
    assert [one.outcome for one in rules] == [Outcome.ERROR, Outcome.ERROR]
    assert all("could not be carried out" in one.reason for one in rules)
    assert found.finding("data.range", "orders.pieces").outcome is Outcome.PASS, "the others are carried out"


@pytest.mark.parametrize("database", ["duckdb", "postgresql"])
def test_a_rule_may_end_in_a_comment(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> None:
    changed = document()
    queries = [
        "SELECT count(*) FROM {object}\nWHERE note LIKE 'note %' AND id % 5 = 0 -- 100% of them: {never}",
        "SELECT count(*) FROM {object} WHERE id = (SELECT max(id) FROM {object}) OR id < 2 -- the newest",
        "SELECT max(id) % 4 FROM {object} -- of all",
    ]
    changed["schema"][1]["quality"] = [{"type": "sql", "query": one, "mustBe": 0} for one in queries]
    files = shop_tables.write(tmp_path / "in")
    engine: DuckDB | PostgreSQL = DuckDB()
    if database == "postgresql":
        url = request.getfixturevalue("postgres_database")
        shop_tables.load(files, url, schema="public")
        engine = PostgreSQL(url=url)
    found = run(files, tmp_path / "out", of=parse(changed, origin="shop"), engine=engine)
    rules = [one for one in found.report.findings if one.code == "data.rule"]
    assert sorted((one.outcome.value, one.measured) for one in rules) == [("FAIL", 2), ("FAIL", 2), ("FAIL", 2)], [
        one.reason for one in rules
    ]
    aside = found.report.tables["orders"].quarantine
    assert query(f"SELECT id FROM '{aside}' ORDER BY id") == [(1,), (2,), (5,), (10,)]


@pytest.mark.parametrize("database", ["duckdb", "postgresql"])
def test_names_that_are_words_of_sql(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> None:
    spelled = {
        **document(),
        "slaProperties": [],
        "schema": [
            {
                "name": "order",
                "properties": [
                    {
                        "name": "Group",
                        "logicalType": "integer",
                        "required": True,
                        "unique": True,
                        "logicalTypeOptions": {"maximum": 1},
                    },
                    {"name": "the date", "logicalType": "date", "logicalTypeOptions": {"minimum": "2024-01-01"}},
                ],
            }
        ],
    }
    file = tmp_path / "in's" / "order.parquet"
    file.parent.mkdir()
    query(f"""COPY (SELECT n AS "Group", DATE '2024-01-01' - n::INTEGER AS "the date" FROM range(3) AS t(n))
              TO '{str(file).replace("'", "''")}' (FORMAT parquet)""")
    engine: DuckDB | PostgreSQL = DuckDB()
    if database == "postgresql":
        url = request.getfixturevalue("postgres_database")
        shop_tables.load({"order": file}, url, schema="The schema")
        engine = PostgreSQL(url=url, schema="The schema")
    found = run({"order": file}, tmp_path / "out", of=parse(spelled, origin="x"), engine=engine)
    assert found.finding("data.range", "order.Group").measured == 1
    assert found.finding("data.range", "order.the date").measured == 2
    assert found.report.tables["order"].quarantined == 2


def test_a_table_may_have_a_name_that_is_used_inside(tmp_path: Path) -> None:
    file = tmp_path / "failing.parquet"
    query(f"COPY (SELECT n // 2 AS id, -n AS copies FROM range(4) AS t(n)) TO '{file}' (FORMAT parquet)")
    columns = [
        {"name": "id", "logicalType": "integer", "primaryKey": True},
        {"name": "copies", "logicalType": "integer", "logicalTypeOptions": {"minimum": -2}},
    ]
    for name in ("failing", "copies", "kept", "numbered", "checked"):
        of = parse(
            {**document(), "slaProperties": [], "schema": [{"name": name, "properties": columns}]}, origin="inside"
        )
        found = run({name: file}, tmp_path / name, of=of)
        assert found.finding("data.unique", f"{name}.id").measured == 2
        assert query(f"SELECT id, copies FROM '{found.report.tables[name].quarantine}'") == [(0, -1), (1, -3)]


def test_a_table_may_have_the_name_by_which_another_is_read(tmp_path: Path) -> None:
    names = ("t", "T_rows_", "t_rows__")
    columns = [{"name": "id", "logicalType": "integer", "primaryKey": True}]
    of = parse(
        {**document(), "slaProperties": [], "schema": [{"name": name, "properties": columns} for name in names]},
        origin="inside",
    )
    files = {name: tmp_path / f"{name}.parquet" for name in names}
    for number, file in enumerate(files.values()):
        query(f"COPY (SELECT n // {number + 1} AS id FROM range(6) AS t(n)) TO '{file}' (FORMAT parquet)")
    found = run(files, tmp_path / "out", of=of)
    assert [found.finding("data.unique", f"{name}.id").measured for name in names] == [0, 3, 4]


# --- rows set aside ---------------------------------------------------------------------------------------------------


def test_failing_rows_are_set_aside_with_their_reasons(broken: Run) -> None:
    table = broken.report.tables["orders"]
    assert table.quarantine is not None
    rows = query(f"SELECT coalesce(customer, -1), _reasons FROM '{table.quarantine}'")
    assert len(rows) == table.quarantined == 8
    assert rows[0][1] == [
        "data.null: customer — is missing",
        "data.pattern: code — does not match ^[A-Z]{2}(?:-[0-9]+)?:x$",
        "data.enumeration: state — is none of new, it's paid",
        "data.range: amount — is outside 0 to 1000.5 (0 excluded)",
        "data.range: placed_on — is below 2024-01-01",
        "data.range: placed_at — is above 2024-12-31 23:59:59",
        "data.range: packed_at — is not above 2024-01-01 00:00:00",
    ]
    everything = " ".join(reason for _, reasons in rows for reason in reasons)
    assert "pieces" not in everything, "a warning sets nothing aside"
    assert "customers.id" not in everything, "a share of references that the contract speaks of"


def test_no_row_is_lost_and_none_changed(broken: Run, clean: Run) -> None:
    for of in (broken, clean):
        for name, table in of.report.tables.items():
            (before,) = query(f"SELECT count(*) FROM '{of.files[name]}'")
            assert table.rows + table.quarantined == before[0]
        table = of.report.tables["orders"]
        kept = query(f"SELECT * FROM '{table.accepted}'")
        aside = query(f"SELECT * EXCLUDE (_reasons) FROM '{table.quarantine}'")
        every = query(f"SELECT * FROM '{of.files['orders']}'")
        assert [row for row in every if row in kept] == kept, "in the order of the file"
        assert [row for row in every if row in aside] == aside
        assert len(kept) + len(aside) == len(every)


def test_types_outlive_the_split(broken: Run) -> None:
    table = broken.report.tables["orders"]
    describe = "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM '{}')"
    assert query(describe.format(table.accepted)) == query(describe.format(broken.files["orders"]))
    assert query(describe.format(table.quarantine))[:-1] == query(describe.format(broken.files["orders"]))


def test_a_table_without_failing_rows_is_kept_byte_for_byte(clean: Run) -> None:
    table = clean.report.tables["customers"]
    assert (table.quarantine, table.quarantined) == (None, 0)
    assert digest.of_file(table.accepted) == digest.of_file(clean.files["customers"])


def test_of_rows_that_share_a_key_the_first_is_kept(tmp_path: Path) -> None:
    doubled = "SELECT * FROM orders UNION ALL SELECT * FROM orders WHERE id IN (8, 3)"
    found = run(shop_tables.write(tmp_path / "in", orders=doubled), tmp_path / "out")
    key = found.finding("data.unique", "orders.id")
    assert (key.outcome, key.measured) == (Outcome.FAIL, 2)
    assert "the key (id) repeats that of an earlier row; for example 3 in row 11, 8 in row 12" in key.reason
    table = found.report.tables["orders"]
    assert query(f"SELECT id FROM '{table.accepted}'") == [(number,) for number in (1, 3, 4, 5, 6, 7, 8, 9, 10)]
    assert query(f"SELECT id FROM '{table.quarantine}'") == [(2,), (3,), (8,)]


def test_a_reference_without_tolerance_sets_rows_aside(tmp_path: Path) -> None:
    changed = document()
    column(changed, "orders", "customer")["relationships"] = [{"to": "customers.id"}]
    files = shop_tables.write(tmp_path / "in", orders="SELECT * REPLACE (customer + 2 AS customer) FROM orders")
    found = run(files, tmp_path / "out", of=parse(changed, origin="shop"))
    key = found.finding("data.foreign_key", "orders.customer")
    assert (key.outcome, key.measured, key.bound) == (Outcome.FAIL, 2, "0 rows not in customers.id")
    aside = found.report.tables["orders"].quarantine
    assert query(f"SELECT customer, _reasons[-1] FROM '{aside}' WHERE customer > 10") == [
        (11, "data.foreign_key: customer — is not in customers.id"),
        (12, "data.foreign_key: customer — is not in customers.id"),
    ]


@pytest.mark.slow
def test_a_reference_into_a_large_table_keeps_the_order_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other table's keys do not fit into memory, so that DuckDB looks some of them up later than others."""
    monkeypatch.setattr(great_expectations_rows, "BOUNDED", "SET memory_limit = '80MB'")
    keys = 3_000_000
    lost = f"CASE WHEN n % 1000 = 5 THEN {keys} ELSE 0 END"
    orders = f"SELECT n AS id, (n * 7919) % {keys} + {lost} AS customer FROM range(300000) AS t(n)"
    customers = f"SELECT n AS id FROM range({keys}) AS t(n)"
    files = shop_tables.write(tmp_path / "in", orders=orders, customers=customers)
    reference = Reference(columns=("customer",), table="customers", to=("id",))
    check = Check(table="orders", kind=Kind.REFERENCE, columns=("customer",), reference=reference, quarantines=True)
    rows = Rows(files, scratch=tmp_path / "scratch")
    try:
        seen = rows.observe({0: check}, contract().tables["orders"])
        assert seen[0].failing == 300
        assert [row for row, _ in seen[0].examples] == [6, 1006, 2006]
        table = rows.split("orders", {0: check}, seen, folder=tmp_path)
    finally:
        rows.close()
    assert (table.rows, table.quarantined) == (299_700, 300)
    for file in (table.accepted, table.quarantine):
        assert query(f"SELECT bool_and(id > before) FROM (SELECT id, lag(id) OVER (ORDER BY file_row_number) AS before "
                     f"FROM read_parquet('{file}', file_row_number = true))") == [(True,)]  # fmt: skip


def test_rows_that_cannot_be_written_are_said(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA numbered; CREATE TABLE numbered.t AS SELECT 1 AS x, 0 AS place")
        connection.execute("SET disabled_filesystems = 'LocalFileSystem'")
        aside = Aside(reason="r", condition="checked.x = 1", rows=1)
        with pytest.raises(Unwritable, match=r"accepted/t\.parquet cannot be written: .*Make room"):
            write_split(connection, "t", tmp_path / "t", [aside], folder=tmp_path, order="place")


def test_a_rule_that_answers_by_chance_is_said(tmp_path: Path) -> None:
    changed = document()
    changed["schema"][1]["quality"] = [
        {"type": "sql", "query": "SELECT count(*) FROM {object} WHERE random() < 0.5", "mustBe": 0}
    ]
    many = "SELECT o.* REPLACE (o.id + 10 * n AS id) FROM orders AS o, range(3000) AS r(n)"
    files = shop_tables.write(tmp_path / "in", orders=many)
    with pytest.raises(BadInput, match="a rule of its contract answers differently each time"):
        run(files, tmp_path / "out", of=parse(changed, origin="shop"))


@pytest.mark.slow
def test_the_same_data_gives_the_same_bytes_and_findings(tmp_path: Path) -> None:
    many = "SELECT o.* REPLACE (o.id + 10 * n AS id) FROM orders AS o, range(40000) AS r(n) ORDER BY n, o.id"
    files = shop_tables.write(tmp_path / "in", orders=many)
    runs = [run(files, tmp_path / str(number)) for number in range(2)]
    first, second = (
        {
            path.relative_to(of.folder).as_posix(): digest.of_file(path)
            for path in of.folder.rglob("*")
            if path.is_file() and path.suffix != ".json"
        }
        for of in runs
    )
    assert set(first) == {
        "checks.html",
        "accepted/orders.parquet",
        "accepted/customers.parquet",
        "quarantine/orders.parquet",
    }
    assert first == second
    assert runs[0].report.findings == runs[1].report.findings
    assert runs[0].report.tables["orders"].quarantined > 100_000


def test_a_second_run_into_the_same_folder_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    run(shop_tables.write(tmp_path / "in", orders=BROKEN), tmp_path / "out")
    good = "SELECT * REPLACE ('S' AS size) FROM orders"
    again = run(shop_tables.write(tmp_path / "in", orders=good), tmp_path / "out")
    assert again.report.tables["orders"].quarantine is None
    assert not (tmp_path / "out" / "quarantine" / "orders.parquet").exists()


# --- the other engine -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["clean", "broken"])
def test_postgresql_finds_the_same(
    request: pytest.FixtureRequest, postgres_database: str, tmp_path: Path, which: str
) -> None:
    here: Run = request.getfixturevalue(which)
    shop_tables.load(here.files, postgres_database, schema="delivery")
    there = run(here.files, tmp_path, engine=PostgreSQL(url=postgres_database, schema="delivery"))
    assert there.report.findings == here.report.findings
    for name, table in there.report.tables.items():
        assert digest.of_file(table.accepted) == digest.of_file(here.report.tables[name].accepted)
    raw = there.report.raw.read_text()
    assert sa.make_url(postgres_database).password not in raw, "no password leaves in a report"


def test_postgresql_with_other_columns_finds_the_same(postgres_database: str, tmp_path: Path) -> None:
    renamed = "SELECT * REPLACE (pieces::VARCHAR AS pieces) RENAME (amount AS amount_eur) FROM orders"
    files = shop_tables.write(tmp_path / "in", orders=renamed)
    here = run(files, tmp_path / "here")
    shop_tables.load(files, postgres_database, schema="public")
    there = run(files, tmp_path / "there", engine=PostgreSQL(url=postgres_database))
    assert there.report.findings == here.report.findings


def test_a_rule_that_only_the_database_cannot_run_is_an_error(postgres_database: str, tmp_path: Path) -> None:
    changed = document()
    changed["schema"][1]["quality"].append(
        {"type": "sql", "query": "SELECT count(*) FROM {object} WHERE len(note) > 900", "mustBe": 0}
    )
    files, of = shop_tables.write(tmp_path / "in"), parse(changed, origin="shop")
    here = run(files, tmp_path / "here", of=of)
    assert {one.outcome for one in here.report.findings} == {Outcome.PASS}
    shop_tables.load(files, postgres_database, schema="public")
    there = run(files, tmp_path / "there", of=of, engine=PostgreSQL(url=postgres_database))
    wrong = [one for one in there.report.findings if one.outcome is not Outcome.PASS]
    assert [(one.code, one.outcome) for one in wrong] == [("data.rule", Outcome.ERROR)], [one.reason for one in wrong]
    assert "could not be carried out" in wrong[0].reason


def test_rows_that_changed_in_the_database_are_found(postgres_database: str, tmp_path: Path, clean: Run) -> None:
    changed = shop_tables.write(tmp_path / "in", orders="SELECT * REPLACE (pieces - 2 AS pieces) FROM orders")
    shop_tables.load(changed, postgres_database, schema="public")
    there = run(clean.files, tmp_path / "out", engine=PostgreSQL(url=postgres_database))
    found = there.finding("data.range", "orders.pieces")
    assert found.outcome is Outcome.ERROR
    assert "counted 2 failing rows and the row predicate 0" in found.reason


def test_a_database_that_does_not_answer(tmp_path: Path) -> None:
    files = shop_tables.write(tmp_path / "in")
    with pytest.raises(Unreachable, match=r"PostgreSQL at 127\.0\.0\.1 does not answer") as raised:
        run(files, tmp_path / "out", engine=PostgreSQL(url="postgresql+psycopg://ann:secret@127.0.0.1:1/shop"))
    assert raised.value.temporary
    assert "secret" not in str(raised.value)


def test_a_database_that_refuses(postgres_database: str, tmp_path: Path) -> None:
    files = shop_tables.write(tmp_path / "in")
    with pytest.raises(Misconfigured, match=r"PostgreSQL at 127\.0\.0\.1 refuses: .*authentication failed") as raised:
        run(
            files,
            tmp_path / "out",
            engine=PostgreSQL(url=postgres_database.replace("towpath:", "towpath:wrong")),
        )
    assert not raised.value.temporary


def test_options_of_the_address_are_kept_and_rights_are_missed(postgres_database: str, tmp_path: Path) -> None:
    files = shop_tables.write(tmp_path / "in")
    shop_tables.load(files, postgres_database, schema="public")
    role = f"writer_{uuid.uuid4().hex}"
    url = sa.make_url(postgres_database).update_query_dict({"options": f"-crole={role} -csearch_path=pg_catalog"})
    address = url.render_as_string(hide_password=False)
    with psycopg.connect(postgres_database) as connection:
        connection.execute(f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA public TO {role}")
        connection.execute(f"GRANT SELECT ON customers, orders TO {role}")
    assert run(files, tmp_path / "read", engine=PostgreSQL(url=address)).report.tables["orders"].rows == 9
    with psycopg.connect(postgres_database) as connection:
        connection.execute(f"REVOKE SELECT ON orders FROM {role}; GRANT INSERT ON orders TO {role}")
    try:
        with pytest.raises(Misconfigured, match=r"PostgreSQL at 127\.0\.0\.1 refuses: permission denied for table"):
            run(files, tmp_path / "out", engine=PostgreSQL(url=address))
    finally:
        with psycopg.connect(postgres_database) as connection:
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_table_that_the_database_lacks(postgres_database: str, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="has no table 'customers'"):
        run(shop_tables.write(tmp_path / "in"), tmp_path / "out", engine=PostgreSQL(url=postgres_database))


# --- the reports ------------------------------------------------------------------------------------------------------


def test_great_expectations_itself_ran_every_check(broken: Run) -> None:
    raw = json.loads(broken.report.raw.read_text())
    assert set(raw) == {"orders", "customers"}
    results = [result for table in raw.values() for result in table["results"]]
    asked = {result["expectation_config"]["meta"]["towpath"] for result in results}
    assert len(asked) == len(broken.report.findings) == 29
    assert not any(result["exception_info"].get("raised_exception") for result in results)
    assert {result["expectation_config"]["severity"] for result in results} == {"critical", "warning"}


def test_a_check_that_only_the_engine_cannot_run_fails_alone(tmp_path: Path, broken: Run) -> None:
    changed = document()
    changed["schema"][1]["quality"].append(
        # The number of a row in its file is known to our own reading alone.
        {"type": "sql", "query": "SELECT count(*) FROM {object} WHERE file_row_number > 900", "mustBe": 0}
    )
    found = run(shop_tables.write(tmp_path / "in", orders=BROKEN), tmp_path / "out", of=parse(changed, origin="shop"))
    wrong = [one for one in found.report.findings if one.outcome is Outcome.ERROR]
    assert [one.code for one in wrong] == ["data.rule"]
    assert "could not be carried out" in wrong[0].reason
    assert "file_row_number" in wrong[0].reason
    assert {one for one in found.report.findings if one not in wrong} == set(broken.report.findings)
    raw = json.loads(found.report.raw.read_text())["orders"]
    failed = [one for one in raw["results"] if not one["success"]]
    assert raw["statistics"]["unsuccessful_expectations"] == len(failed)
    assert raw["statistics"]["successful_expectations"] == len(raw["results"]) - len(failed) > 0
    assert raw["success"] is False


def test_great_expectations_asks_for_a_table_in_few_queries(tmp_path: Path) -> None:
    asked: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        asked.append(statement)

    files = shop_tables.write(tmp_path / "in", orders=BROKEN)
    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        run(files, tmp_path / "out")
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    counting = [one for one in asked if "orders_rows_" in one and ("count(" in one.lower() or "sum(" in one.lower())]
    assert 1 <= len(counting) <= 3, "29 checks of two tables are not 29 queries"


def test_two_databases_never_share_a_folder_for_what_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB numbers its temporary files from 0 in each database: in one folder they would be written over."""
    folders: dict[str, Path] = {}

    class Told(Rows):
        def __init__(self, tables: Mapping[str, Path], *, scratch: Path) -> None:
            super().__init__(tables, scratch=scratch)
            (found,) = self._connection.execute("SELECT current_setting('temp_directory')").fetchall()
            folders["rows"] = Path(found[0])

    class Elsewhere(DuckDB):
        def opened(self, context: Any, tables: Mapping[str, Path], *, scratch: Path) -> Any:
            folders["engine"] = scratch
            return super().opened(context, tables, scratch=scratch)

    monkeypatch.setattr(great_expectations_checks, "Rows", Told)
    run(shop_tables.write(tmp_path / "in"), tmp_path / "out", engine=Elsewhere())
    assert folders["rows"] != folders["engine"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "accepted", "quarantine", "checks.html", "great_expectations.json",
    }  # fmt: skip


def test_the_page_is_readable_on_its_own(broken: Run) -> None:
    page = broken.report.page.read_text()
    for expected in (
        "FAIL",
        "Owner: Ann",
        "contract shop 1.2.0",
        "8 quarantined",
        "amount is outside 0 to 1000.5",
    ):
        assert expected in page
    for outside in ("http://", "https://", "<script", "<link", "src="):
        assert outside not in page
    assert "it&#39;s paid" in page, "values are escaped"


def test_classified_values_stand_in_no_report(tmp_path: Path) -> None:
    mails = "CASE WHEN n = 3 THEN 'not a mail' ELSE 'c' || n || '@example.com' END"
    secret = f"SELECT n AS id, {mails} AS email FROM range(11) AS t(n)"
    found = run(shop_tables.write(tmp_path / "in", customers=secret), tmp_path / "out")
    pattern = found.finding("data.pattern", "customers.email")
    assert (pattern.outcome, pattern.measured) == (Outcome.FAIL, 1)
    assert pattern.reason.endswith("; for example row 4.")
    for file in (found.report.page, found.report.raw):
        assert "not a mail" not in file.read_text()
    assert "(withheld)" in found.report.page.read_text()
    aside = found.report.tables["customers"].quarantine
    assert query(f"SELECT email FROM '{aside}'") == [("not a mail",)], "the quarantine keeps the row whole"


# --- misuse -----------------------------------------------------------------------------------------------------------


def test_misuse_is_refused(tmp_path: Path) -> None:
    files = shop_tables.write(tmp_path / "in")
    checks = GreatExpectationsChecks()
    with pytest.raises(BadInput, match=r"No contract speaks of table 'strange'.*customers, orders"):
        checks.run({**files, "strange": files["orders"]}, [contract()], as_of=AS_OF, folder=tmp_path / "out")
    with pytest.raises(BadInput, match="Table 'orders': there is no file"):
        checks.run({"orders": tmp_path / "nowhere"}, [contract()], as_of=AS_OF, folder=tmp_path / "out")
    with pytest.raises(BadInput, match="no time zone"):
        checks.run(files, [contract()], as_of=AS_OF.replace(tzinfo=None), folder=tmp_path / "out")
    with pytest.raises(BadInput, match="Two contracts speak of table"):
        checks.run(files, [contract(), contract()], as_of=AS_OF, folder=tmp_path / "out")


@pytest.mark.parametrize("name", ["_reasons", "_Reasons", "FILE_ROW_NUMBER"])
def test_the_column_of_reasons_is_kept_free(tmp_path: Path, name: str) -> None:
    taken = f"SELECT *, 'x' AS {name} FROM orders"
    with pytest.raises(BadInput, match="'_reasons'"):
        run(shop_tables.write(tmp_path / "in", orders=taken), tmp_path / "out")


def test_a_contract_asks_for_what_its_column_lacks_only(tmp_path: Path) -> None:
    changed = document()
    column(changed, "orders", "size")["quality"][0]["customProperties"] = [{"property": "quarantine", "value": False}]
    found = run(shop_tables.write(tmp_path / "in"), tmp_path / "out", of=parse(changed, origin="shop"))
    assert found.report.tables["orders"].quarantined == 0
    assert found.finding("data.enumeration", "orders.size").measured == pytest.approx(11.1111)


def test_great_expectations_is_imported_when_checks_run_and_not_before() -> None:
    code = "import sys, towpath.adapters.great_expectations_checks; sys.exit('great_expectations' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


@pytest.mark.slow
def test_a_process_that_ran_checks_ends_without_a_word(tmp_path: Path) -> None:
    files = shop_tables.write(tmp_path / "in")
    code = f"""
from datetime import UTC, datetime
from pathlib import Path
from towpath.adapters.great_expectations_checks import GreatExpectationsChecks
from unit.shop import contract
files = {{name: Path(file) for name, file in { ({name: str(file) for name, file in files.items()})!r}.items()}}
as_of = datetime(2024, 6, 3, 12, tzinfo=UTC)
GreatExpectationsChecks().run(files, [contract()], as_of=as_of, folder=Path({str(tmp_path)!r}))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
