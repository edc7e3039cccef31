"""Reading a data contract: what it says, and every way in which it can be refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from towpath.core import digest
from towpath.core.contract import (
    Bound,
    Limits,
    LogicalType,
    Metric,
    Operator,
    Reference,
    Unit,
    check_references,
    parse,
)
from towpath.core.errors import DeclarationError, Problems
from towpath.core.evidence import Severity
from unit.shop import column, contract, document

Change = Callable[[dict[str, Any]], object]


def problems(changed: dict[str, Any]) -> list[str]:
    with pytest.raises(Problems) as raised:
        parse(changed, origin="shop.yaml")
    return [str(problem) for problem in raised.value.problems]


def test_the_header_is_read() -> None:
    shop = contract()
    assert (shop.id, shop.version, shop.status, shop.owner) == ("shop", "1.2.0", "active", "Ann")
    assert list(shop.tables) == ["customers", "orders"]
    assert shop.digest == digest.of_json(document())


def test_the_digest_is_of_the_document_and_not_of_its_layout() -> None:
    turned = dict(reversed(document().items()))
    assert parse(turned, origin="elsewhere.yaml").digest == contract().digest
    other = document()
    column(other, "orders", "pieces")["description"] = "How many."
    assert parse(other, origin="shop.yaml").digest != contract().digest


def test_columns_are_read() -> None:
    orders = contract().table("orders")
    amount = orders.columns["amount"]
    assert amount.logical_type is LogicalType.NUMBER
    assert amount.limits == Limits(minimum=0, exclusive_minimum=True, maximum=1000.5, multiple_of=0.1)
    assert orders.columns["state"].limits.values == ("new", "it's paid")
    assert orders.primary_key == ("id",)
    assert orders.columns["id"].required
    assert not contract().table("customers").columns["email"].shown


def test_a_time_limit_is_kept_as_utc() -> None:
    changed = document()
    column(changed, "orders", "placed_at")["logicalTypeOptions"]["maximum"] = "2024-12-31T23:00:00+02:00"
    orders = parse(changed, origin="shop.yaml").table("orders")
    assert orders.columns["placed_at"].limits.maximum == "2024-12-31 21:00:00"


def test_dates_that_yaml_reads_as_dates_are_text() -> None:
    changed = document()
    column(changed, "orders", "placed_on")["logicalTypeOptions"]["minimum"] = date(2024, 1, 1)
    assert parse(changed, origin="shop.yaml").digest == contract().digest


def test_references_carry_their_tolerance() -> None:
    assert contract().table("orders").references == (
        Reference(
            columns=("customer",),
            table="customers",
            to=("id",),
            bound=Bound(operator=Operator.LESS_OR_EQUAL, values=(20.0,), unit=Unit.PERCENT),
        ),
    )


def test_rules_are_read_and_text_is_left_to_people() -> None:
    rules = contract().table("orders").rules
    assert [rule.metric for rule in rules] == [Metric.ROW_COUNT, Metric.DUPLICATE_VALUES, None, None]
    assert rules[0].bound.values == (8.0, 12.0)
    assert rules[3].severity is Severity.WARNING


def test_what_was_known_when() -> None:
    known = contract().known_at
    assert known["customers"] == {}
    assert known["orders"]["id"] == "created_at"
    assert {clock for name, clock in known["orders"].items() if name != "id"} == {"placed_at"}


def test_freshness_names_the_event_time() -> None:
    shop = contract()
    assert (shop.event_time("orders"), shop.freshness("orders")) == ("placed_at", timedelta(days=2))
    assert (shop.event_time("customers"), shop.freshness("customers")) == (None, None)
    with pytest.raises(DeclarationError, match=r"no table 'ordes'.*customers, orders"):
        shop.event_time("ordes")


@pytest.mark.parametrize(
    ("unit", "hours"),
    [("h", 1), ("hours", 1), ("min", 1 / 60), ("d", 24), ("days", 24), ("w", 168), ("y", 8760)],
)
def test_units_of_freshness(unit: str, hours: float) -> None:
    changed = document()
    changed["slaProperties"][0]["unit"] = unit
    assert parse(changed, origin="shop.yaml").freshness("orders") == timedelta(hours=2 * hours)


def test_freshness_may_be_a_warning() -> None:
    changed = document()
    changed["slaProperties"][0]["customProperties"] = [{"property": "severity", "value": "warning"}]
    found = parse(changed, origin="shop.yaml").table("orders").freshness
    assert found is not None
    assert found.severity is Severity.WARNING


@pytest.mark.parametrize(
    ("bound", "inside", "outside"),
    [
        (Bound(operator=Operator.MUST_BE, values=(3.0,)), [3], [2, 4]),
        (Bound(operator=Operator.MUST_NOT_BE, values=(3.0,)), [2, 4], [3]),
        (Bound(operator=Operator.GREATER, values=(3.0,)), [4], [3]),
        (Bound(operator=Operator.GREATER_OR_EQUAL, values=(3.0,)), [3], [2]),
        (Bound(operator=Operator.LESS, values=(3.0,)), [2], [3]),
        (Bound(operator=Operator.LESS_OR_EQUAL, values=(3.0,)), [3], [4]),
        (Bound(operator=Operator.BETWEEN, values=(3.0, 5.0)), [3, 5], [2, 6]),
        (Bound(operator=Operator.NOT_BETWEEN, values=(3.0, 5.0)), [2, 6], [3, 5]),
    ],
)
def test_operators(bound: Bound, inside: list[int], outside: list[int]) -> None:
    assert all(bound.holds(value) for value in inside)
    assert not any(bound.holds(value) for value in outside)


def _set(table: str, name: str, **values: Any) -> Change:
    return lambda of: column(of, table, name).update(values)


def _options(name: str, **values: Any) -> Change:
    return lambda of: column(of, "orders", name).__setitem__("logicalTypeOptions", values)


def _quality(name: str, **values: Any) -> Change:
    return lambda of: column(of, "orders", name).__setitem__("quality", [values])


def _sla(**values: Any) -> Change:
    return lambda of: of["slaProperties"][0].update(values)


REFUSED: dict[str, tuple[Change, str]] = {
    "unknown key at the top": (lambda of: of.update(shcema=[]), r"unknown key 'shcema'.*schema"),
    "unknown key of a column": (
        _set("orders", "note", requierd=True),
        r"properties\[note\]: unknown key 'requierd'.*required",
    ),
    "unknown key of a rule": (
        _quality("note", metric="nullValues", mustBeLess=3, mustBe=0),
        r"quality\[0\]: unknown key 'mustBeLess'.*mustBeLessThan",
    ),
    "unknown key of an enum value": (_set("orders", "state", enum=[{"vlaue": 1}]), "unknown key 'vlaue'"),
    "unknown key of a team member": (lambda of: of.update(team=[{"nmae": "x"}]), "unknown key 'nmae'"),
    "wrong type of a key": (_set("orders", "note", required="yes"), r"properties\[note\].required: .*bool.*'yes'"),
    "version as a number": (lambda of: of.update(version=1.0), "version.*string"),
    "no version": (lambda of: of.pop("version"), "version: missing"),
    "another kind": (lambda of: of.update(kind="Data"), "kind.*'Data'.*DataContract"),
    "an old standard": (lambda of: of.update(apiVersion="v2.2.2"), "apiVersion.*v3.1.0"),
    "unknown status": (lambda of: of.update(status="activ"), "status.*'activ'.*proposed, draft, active"),
    "no owner": (lambda of: of.pop("team"), "nobody owns the contract"),
    "no table": (lambda of: of.update(schema=[], slaProperties=[]), "no table"),
    "table twice": (lambda of: of["schema"].append(of["schema"][0]), "table 'customers' is there twice"),
    "table name with a quote": (lambda of: of["schema"][0].update(name='a"b'), "no table name"),
    "column twice": (
        lambda of: of["schema"][0]["properties"].append(of["schema"][0]["properties"][0]),
        "'id' is there twice",
    ),
    "the column of reasons": (
        lambda of: column(of, "orders", "note").update(name="_reasons"),
        "'_reasons' is no column name",
    ),
    "no column": (lambda of: of["schema"][0].update(properties=[]), "at least one column"),
    "unknown logical type": (_set("orders", "note", logicalType="text"), "logicalType is 'text'.*string, date"),
    "no logical type": (_set("orders", "note", logicalType=None), "logicalType is None"),
    "another physical name": (_set("orders", "note", physicalName="NOTE"), "physicalName 'NOTE' differs"),
    "nested columns": (_set("orders", "note", properties=[{"name": "x"}]), "nested properties are not checked"),
    "knownAt misspelt": (
        _set("orders", "note", customProperties=[{"property": "known_at", "value": "x"}]),
        "'known_at' is not read; 'knownAt' is",
    ),
    "knownAt no column": (
        _set("orders", "note", customProperties=[{"property": "knownAt", "value": 3}]),
        "knownAt is 3",
    ),
    "option of another type": (_options("note", minimum=3), "'minimum' does not belong to string.*minLength"),
    "unknown option": (_options("pieces", minimun=3), "'minimun' does not belong to integer"),
    "bounds that contradict": (_options("pieces", minimum=5, maximum=1), "nothing lies between 5 and 1"),
    "open bounds that contradict": (_options("amount", exclusiveMinimum=1, maximum=1), "nothing lies between 1 and 1"),
    "both ends of one side": (_options("amount", exclusiveMinimum=1, minimum=1), "both given"),
    "times that contradict": (
        _options("placed_on", minimum="2024-02-01", maximum="2024-01-01"),
        "nothing lies between 2024-02-01 and 2024-01-01",
    ),
    "lengths that contradict": (_options("note", minLength=3, maxLength=2), "minLength 3 is above maxLength 2"),
    "negative length": (_options("note", minLength=-1), "lengths are"),
    "limit that is no number": (_options("pieces", minimum="one"), "minimum is 'one'; it is a number"),
    "limit that is no time": (_options("placed_on", minimum="yesterday"), "minimum is 'yesterday'; it is a date"),
    "step of nothing": (_options("amount", multipleOf=0), "multipleOf is 0"),
    "pattern that is none": (_options("note", pattern="[a"), "no regular expression"),
    "pattern that looks around": (_options("note", pattern="^(?=a)b"), "databases do not agree"),
    "pattern that refers back": (_options("note", pattern=r"^(a)\1$"), "databases do not agree"),
    "format that is not checked": (_options("note", format="iban"), "format 'iban' is not checked.*email"),
    "local time": (_options("packed_at", defaultTimezone="Europe/Paris"), "defaultTimezone is 'Europe/Paris'"),
    "timezone no truth": (_options("packed_at", timezone="yes"), "timezone is 'yes'"),
    "value of another type": (_set("orders", "state", enum=[{"value": 3}]), "3 is no string"),
    "unknown metric": (_quality("note", metric="nulValues", mustBe=0), "metric is 'nulValues'.*nullValues"),
    "metric of a table": (_quality("note", metric="rowCount", mustBe=0), "metric is 'rowCount'"),
    "metric of a column": (
        lambda of: of["schema"][1]["quality"][0].update(metric="nullValues"),
        "metric is 'nullValues'.*rowCount",
    ),
    "no operator": (_quality("note", metric="nullValues"), "0 operators"),
    "two operators": (_quality("note", metric="nullValues", mustBe=0, mustBeLessThan=3), "2 operators"),
    "operator without a number": (
        _quality("note", metric="nullValues", mustBe="none"),
        "mustBe is 'none'; it takes a number",
    ),
    "interval of nothing": (_quality("note", metric="nullValues", mustBeBetween=[5, 1]), "smaller number comes first"),
    "unknown unit": (_quality("note", metric="nullValues", mustBe=0, unit="share"), "unit is 'share'.*rows, percent"),
    "unknown severity": (
        _quality("note", metric="nullValues", mustBe=0, severity="fatal"),
        "severity is 'fatal'.*error, warning",
    ),
    "unknown argument": (
        _quality("note", metric="invalidValues", arguments={"validValue": ["x"]}, mustBe=0),
        "no argument 'validValue'.*validValues",
    ),
    "share of a row count": (
        lambda of: of["schema"][1]["quality"][0].update(unit="percent"),
        "a row count is no share",
    ),
    "key of an unknown column": (
        lambda of: of["schema"][1]["quality"][1]["arguments"].update(properties=["custmer"]),
        "no column 'custmer'",
    ),
    "key of no column": (
        lambda of: of["schema"][1]["quality"][1].update(arguments={}),
        "needs the argument `properties`",
    ),
    "custom rule": (
        _quality("note", type="custom", engine="soda", implementation="x"),
        "type is 'custom'.*library, sql",
    ),
    "a query that writes": (_quality("note", type="sql", query="DELETE FROM x", mustBe=0), "not one SELECT"),
    "two queries": (_quality("note", type="sql", query="SELECT 1; DROP TABLE x", mustBe=0), "not one SELECT"),
    "quarantine no truth": (
        _quality("note", metric="nullValues", mustBe=0, customProperties=[{"property": "quarantine", "value": "no"}]),
        "unknown key 'customProperties'|quarantine is 'no'",
    ),
    "reference without a table": (_set("orders", "customer", relationships=[{"to": "id"}]), "to is 'id'"),
    "reference of a column with from": (
        _set("orders", "customer", relationships=[{"from": "orders.id", "to": "customers.id"}]),
        "`from` belongs to",
    ),
    "reference of a table from nowhere": (
        lambda of: of["schema"][1].update(relationships=[{"from": "orders.nobody", "to": "customers.id"}]),
        "no column 'nobody'",
    ),
    "reference of another kind": (
        _set("orders", "customer", relationships=[{"type": "fk", "to": "customers.id"}]),
        "type is 'fk'",
    ),
    "freshness of no column": (_sla(element="orders.placed"), "element is 'orders.placed'.*orders.placed_at"),
    "freshness of a text": (_sla(element="orders.note"), "element is 'orders.note'"),
    "freshness in an unknown unit": (_sla(unit="m"), "unit is 'm'.*min"),
    "freshness without a number": (_sla(value="soon"), "value is 'soon'"),
    "freshness twice": (lambda of: of["slaProperties"].append(of["slaProperties"][0]), "two freshness promises"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    change, expected = REFUSED[name]
    changed = document()
    change(changed)
    found = problems(changed)
    assert len(found) == 1, found
    assert re.search(expected, found[0])
    assert found[0].startswith("shop.yaml: ")


def test_every_problem_is_reported_at_once() -> None:
    changed = document()
    changed["status"] = "lost"
    column(changed, "orders", "pieces")["logicalTypeOptions"] = {"minimum": 5, "maximum": 1, "step": 2}
    column(changed, "orders", "note")["logicalType"] = "text"
    changed["slaProperties"][0]["unit"] = "moons"
    assert len(problems(changed)) == 5


@pytest.mark.parametrize("given", [None, [], "kind: DataContract", 3])
def test_a_document_is_a_mapping(given: object) -> None:
    with pytest.raises(DeclarationError, match=r"shop.yaml holds .*, not a mapping"):
        parse(given, origin="shop.yaml")


def test_the_producers_own_custom_properties_are_left_alone() -> None:
    changed = document()
    column(changed, "orders", "note")["customProperties"] = [{"property": "steward", "value": "Bo"}]
    assert parse(changed, origin="shop.yaml").table("orders").columns["note"].name == "note"


def test_references_between_contracts() -> None:
    whole = document()
    orders, customers = document(), document()
    orders["schema"], customers["schema"] = [whole["schema"][1]], [whole["schema"][0]]
    customers["slaProperties"] = []
    both = [parse(orders, origin="orders.yaml"), parse(customers, origin="customers.yaml")]
    check_references(both)
    with pytest.raises(Problems, match=r"refers to customers\.id, a table that no contract declares.*orders"):
        check_references(both[:1])
    with pytest.raises(Problems, match="declared by two contracts"):
        check_references([*both, both[1]])


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("customers.number", r"there is no column 'number'.*id, email"),
        ("customers.email", "integer cannot refer to string"),
        ("orders.pieces", "which is no key"),
    ],
)
def test_references_that_lead_nowhere(to: str, expected: str) -> None:
    changed = document()
    column(changed, "orders", "customer")["relationships"] = [{"to": to}]
    with pytest.raises(Problems, match=expected):
        check_references([parse(changed, origin="shop.yaml")])


def test_a_reference_of_several_columns() -> None:
    changed = document()
    changed["schema"][1]["relationships"] = [
        {"from": ["orders.customer", "note"], "to": ["customers.id", "customers.email"]}
    ]
    found = parse(changed, origin="shop.yaml").table("orders").references[-1]
    assert (found.columns, found.table, found.to) == (("customer", "note"), "customers", ("id", "email"))
