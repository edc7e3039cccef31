"""The contracts: valid by the standard, true of the data, and false of data that breaks them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from open_data_contract_standard.model import Team

from example.tables import REPOSITORY, TABLES, Example
from towpath.core import contract as contracts_of_towpath
from towpath.core import odcs

MONTHS = (*(datetime(2013, month, 1, tzinfo=UTC) for month in range(2, 13)), datetime(2014, 1, 1, tzinfo=UTC))
CLOCKED = ("flights", "weather")
OPERATORS: Mapping[str, Callable[[float, Any], bool]] = {
    "mustBe": lambda value, bound: value == bound,
    "mustBeLessThan": lambda value, bound: value < bound,
    "mustBeGreaterOrEqualTo": lambda value, bound: value >= bound,
}
Promise = tuple[str, str, str, str, Any]
"""Name, severity, query of one number, operator, bound."""


@pytest.mark.parametrize("table", TABLES)
def test_a_contract_is_of_the_standard(contracts: Mapping[str, Any], table: str) -> None:
    loaded = odcs.load(odcs.plain(contracts[table]), origin=table)
    assert (loaded.apiVersion, loaded.kind, loaded.id, loaded.status) == ("v3.1.0", "DataContract", table, "active")
    assert isinstance(loaded.team, Team)
    assert [member.role for member in loaded.team.members or []] == ["owner"]


def test_every_table_has_a_contract_that_towpath_reads(contracts: Mapping[str, Any]) -> None:
    assert set(contracts) == set(TABLES)
    parsed = [contracts_of_towpath.parse(document, origin=name) for name, document in contracts.items()]
    contracts_of_towpath.check_references(parsed)
    known = {table: contract.known_at[table] for contract in parsed for table in contract.tables}
    late = {"dep_time": "departed_at", "dep_delay": "departed_at", "tailnum": "departed_at"}
    late |= {"arr_time": "landed_at", "arr_delay": "landed_at", "air_time": "landed_at"}
    assert known["flights"] == late
    assert set(known["weather"].values()) == {"known_at"}


@pytest.mark.parametrize("table", TABLES)
def test_a_contract_names_the_tables_columns_in_order(
    contracts: Mapping[str, Any], staged: Example, table: str
) -> None:
    kinds = {"integer": "BIGINT", "number": "DOUBLE", "string": "VARCHAR", "timestamp": "TIMESTAMP WITH TIME ZONE"}
    columns = [(column["name"], column["physicalType"]) for column in _table(contracts, table)["properties"]]
    assert columns == list(staged.columns(f"raw.{table}").items())
    for column in _table(contracts, table)["properties"]:
        assert column["physicalType"] == kinds[column["logicalType"]]
        assert column["classification"] in {"public", "internal"}
        assert column["description"]


@pytest.mark.parametrize("table", TABLES)
def test_known_at_names_a_column_of_the_staged_table(contracts: Mapping[str, Any], staged: Example, table: str) -> None:
    document = _table(contracts, table)
    customs = [*document.get("customProperties", [])]
    customs += [custom for column in document["properties"] for custom in column.get("customProperties", [])]
    clocks = {custom["value"] for custom in customs if custom["property"] == "knownAt"}
    assert clocks <= set(staged.columns(f"main.{table}"))
    assert bool(clocks) == (table in CLOCKED)


@pytest.mark.parametrize("as_of", MONTHS, ids=lambda as_of: f"{as_of:%Y-%m}")
def test_all_that_is_promised_holds_as_of_every_month(
    contracts: Mapping[str, Any], staged: Example, as_of: datetime
) -> None:
    broken = _broken(contracts, staged, as_of)
    assert [name for name, severity in broken if severity == "error"] == []
    # one observation of 12 February claims a wind of 1,048 miles an hour
    warnings = {name for name, _ in broken}
    assert warnings == ({"weather.wind-plausible"} if as_of > datetime(2013, 2, 13, tzinfo=UTC) else set())


@pytest.mark.parametrize(
    ("table", "change", "promise"),
    [
        ("flights", "dep_time = 2575 WHERE flight = 1545 AND dep_time IS NOT NULL", "flights.dep_time.range"),
        ("flights", "dep_time = dep_time - 5 WHERE flight = 1545 AND dep_time % 100 > 5", "flights.departure-adds-up"),
        ("flights", "arr_delay = arr_delay + 7 WHERE dest = 'IAH'", "flights.arrival-adds-up"),
        ("flights", "arr_delay = NULL WHERE month < 3 AND day < 15", "flights.arr_delay-known"),
        ("flights", "origin = 'ORD' WHERE flight = 1545", "flights.origin-in-new-york"),
        ("flights", "carrier = 'ZZ' WHERE carrier = 'OO'", "flights.carrier.known"),
        ("flights", "dest = 'QQQ' WHERE dest LIKE 'A%'", "flights.dest.known"),
        ("flights", "flight = 1 WHERE carrier = 'UA'", "flights.one-row-per-flight"),
        ("weather", "humid = 140 WHERE hour = 3", "weather.humid.range"),
        ("weather", "dewp = temp + 1 WHERE hour = 3", "weather.dew-point-below-temperature"),
        ("planes", "engine = 'Steam' WHERE seats = 55", "planes.engine-listed"),
        ("planes", "tailnum = 'N10156'", "planes.tailnum.unique"),
        ("airports", "tzone = 'Eastern' WHERE faa = 'JFK'", "airports.tzone.pattern"),
    ],
)
def test_broken_data_breaks_the_promise_it_breaks(
    contracts: Mapping[str, Any], staged: Example, table: str, change: str, promise: str
) -> None:
    column, _, rest = change.partition(" = ")
    value, _, condition = rest.partition(" WHERE ")
    changed = (
        f"SELECT * REPLACE (CASE WHEN {condition or 'true'} THEN {value} ELSE {column} END AS {column}) FROM {{rows}}"
    )
    broken = _broken(contracts, staged, MONTHS[2], **{table: changed})
    assert (promise, "error") in broken


def test_old_data_is_stale(contracts: Mapping[str, Any], staged: Example) -> None:
    broken = _broken(contracts, staged, MONTHS[2], flights="SELECT * FROM {rows} WHERE month < 3")
    assert ("flights.freshness", "error") in broken


def _table(contracts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table: Mapping[str, Any]
    [table] = contracts[name]["schema"]
    assert table["name"] == name
    return table


def _broken(contracts: Mapping[str, Any], staged: Example, as_of: datetime, **changed: str) -> list[tuple[str, str]]:
    """What the tables as of a time do not keep, with severities. `changed`: a table's SELECT from `{rows}`."""
    staged.database.execute("CREATE SCHEMA IF NOT EXISTS delivered")
    for table in TABLES:
        until = f"WHERE time_hour < TIMESTAMPTZ '{as_of}'" if table in CLOCKED else ""
        columns = ", ".join(staged.columns(f"raw.{table}"))
        source = f"(SELECT {columns} FROM raw.{table} {until})"
        text = changed.get(table, "SELECT * FROM {rows}").replace("{rows}", source)
        staged.database.execute(f"CREATE OR REPLACE TABLE delivered.{table} AS {text}")
    staged.database.execute("USE delivered")
    try:
        return [
            (name, severity)
            for table in TABLES
            for name, severity, query, operator, bound in _promises(contracts, table, as_of)
            if not OPERATORS[operator](staged.value(query.replace("{object}", table)), bound)
        ]
    finally:
        staged.database.execute("USE main")


def _promises(contracts: Mapping[str, Any], name: str, as_of: datetime) -> Iterator[Promise]:
    table = _table(contracts, name)
    for column in table["properties"]:
        yield from _column(name, column)
    key = {column.get("primaryKeyPosition", 0): column["name"] for column in table["properties"]}
    columns = ", ".join(key[position] for position in sorted(key) if position)
    yield f"{name}.key", "error", f"SELECT count(*) - count(DISTINCT ({columns})) FROM {name}", "mustBe", 0
    for rule in table.get("quality", []):
        yield _rule(name, "", rule)
    for sla in contracts[name]["slaProperties"]:
        if sla["property"] == "freshness":
            oldest = as_of - timedelta(days=sla["value"])
            newest = f"SELECT (max({sla['element'].split('.')[1]}) >= TIMESTAMPTZ '{oldest}')::INT FROM {name}"
            yield f"{name}.freshness", "error", newest, "mustBe", 1


def _column(table: str, column: Mapping[str, Any]) -> Iterator[Promise]:
    name, limits = column["name"], column.get("logicalTypeOptions", {})
    failing = {
        "required": f"{name} IS NULL" if column.get("required") else "",
        "range": f"{name} < {limits['minimum']}" if "minimum" in limits else "",
        "length": f"length({name}) NOT BETWEEN {limits.get('minLength', 0)} AND {limits.get('maxLength', 1000)}"
        if column["logicalType"] == "string"
        else "",
        "pattern": f"NOT regexp_matches({name}, '{limits['pattern']}')" if "pattern" in limits else "",
    }
    if "maximum" in limits:
        failing["range"] += f" OR {name} > {limits['maximum']}"
    for kind, condition in failing.items():
        if condition:
            yield f"{table}.{name}.{kind}", "error", f"SELECT count(*) FROM {table} WHERE {condition}", "mustBe", 0
    if column.get("unique"):
        yield (
            f"{table}.{name}.unique",
            "error",
            f"SELECT count({name}) - count(DISTINCT {name}) FROM {table}",
            "mustBe",
            0,
        )
    for rule in column.get("quality", []):
        yield _rule(table, name, rule)
    for relationship in column.get("relationships", []):
        other, key = relationship["to"].split(".")
        customs = {custom["property"]: custom["value"] for custom in relationship.get("customProperties", [])}
        orphans = f"count(*) FILTER ({name} NOT IN (SELECT {key} FROM {other}))"
        share = f"SELECT 100.0 * {orphans} / count(*) FROM {table}"
        operator = next((item for item in OPERATORS if item in customs), "mustBe")
        yield f"{table}.{name}.known", "error", share, operator, customs.get(operator, 0)


def _rule(table: str, column: str, rule: Mapping[str, Any]) -> Promise:
    [operator] = [name for name in OPERATORS if name in rule]
    arguments = rule.get("arguments", {})
    if rule.get("type") == "sql":
        query = rule["query"]
    elif rule["metric"] == "rowCount":
        query = f"SELECT count(*) FROM {table}"
    elif rule["metric"] == "duplicateValues":
        query = f"SELECT count(*) - count(DISTINCT ({', '.join(arguments['properties'])})) FROM {table}"
    else:
        listed = ", ".join(f"'{value}'" for value in arguments.get("validValues", []))
        condition = f"{column} NOT IN ({listed})" if rule["metric"] == "invalidValues" else f"{column} IS NULL"
        unit = "100.0 / count(*)" if rule.get("unit") == "percent" else "1"
        query = f"SELECT count(*) FILTER ({condition}) * {unit} FROM {table}"
    return f"{table}.{rule['id']}", rule["severity"], query, operator, rule[operator]


def test_only_contracts_are_in_the_contracts_folder() -> None:
    found = {file.name for file in Path(REPOSITORY / "contracts").iterdir()}
    assert found == {f"{table}.odcs.yaml" for table in TABLES}
