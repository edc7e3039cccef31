"""Removal dates: read from contracts, refused where they say nothing, and what a window means to a removal."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.conftest import Cli
from contract.matrix import base
from towpath.core.contract import parse
from towpath.core.contract_changes import Impact, compare
from towpath.core.errors import Problems
from unit import shop


def dated(value: Any, *, deprecated: Any = True, name: str = "removalDate") -> dict[str, Any]:
    document = shop.document()
    column = shop.column(document, "orders", "note")
    column["customProperties"] = [{"property": name, "value": value}]
    if deprecated is not None:
        column["deprecated"] = deprecated
    return document


@pytest.mark.parametrize("value", ["2026-03-31", date(2026, 3, 31)])
def test_a_removal_date_is_read(value: Any) -> None:
    columns = parse(dated(value), origin="shop.yaml").table("orders").columns
    assert (columns["note"].deprecated, columns["note"].removal_date) == (True, date(2026, 3, 31))
    assert (columns["code"].deprecated, columns["code"].removal_date) == (False, None)


@pytest.mark.parametrize("value", ["2026-02-30", "31.3.2026", "20260331", "2026-03-31T00:00:00", 20260331, None, True])
def test_what_is_no_date_is_refused(value: Any) -> None:
    with pytest.raises(Problems) as raised:
        parse(dated(value), origin="shop.yaml")
    assert "schema[orders].properties[note].removalDate" in str(raised.value)
    assert "is no date. Write the day only, as 2026-12-31" in str(raised.value)


@pytest.mark.parametrize("deprecated", [None, False])
def test_a_date_of_what_is_not_deprecated_is_refused(deprecated: bool | None) -> None:
    with pytest.raises(Problems, match=r"the property is not deprecated\. Add `deprecated: true`"):
        parse(dated("2026-03-31", deprecated=deprecated), origin="shop.yaml")


def test_a_misspelt_date_is_not_passed_over() -> None:
    with pytest.raises(Problems, match="'removal_date' is not read; 'removalDate' is"):
        parse(dated("2026-03-31", name="removal_date"), origin="shop.yaml")


def test_the_promises_of_a_column_go_with_it_as_announced() -> None:
    """Its foreign key and a rule of the table that is asked of it are no breaking changes beside the removal."""
    old = shop.document()
    link = shop.column(old, "orders", "customer")
    link.update(deprecated=True, customProperties=[{"property": "removalDate", "value": "2026-01-01"}])
    orders = next(one for one in old["schema"] if one["name"] == "orders")
    orders["quality"] = [
        {"metric": "duplicateValues", "arguments": {"properties": ["customer", "code"]}, "mustBe": 0, "name": "pairs"},
        {"metric": "rowCount", "mustBeGreaterThan": 1},
    ]
    new = yaml.safe_load(yaml.safe_dump(old))
    for table in new["schema"]:
        if table["name"] == "orders":
            table["properties"] = [one for one in table["properties"] if one["name"] != "customer"]
            table["quality"] = table["quality"][1:]
    contracts = [parse(one, origin="shop.yaml") for one in (old, new)]
    for day, impacts in ((date(2026, 1, 1), {Impact.COMPATIBLE}), (date(2025, 12, 31), {Impact.BREAKING})):
        found = compare(*contracts, old, new, as_of=day)
        assert {one.impact for one in found.changes} == impacts
    assert len(found.changes) == 3, "before the date the key and the rule are missed too"


@pytest.mark.parametrize(("day", "code", "why"), [
    ("2026-06-29", 3, "it is deprecated until 2026-06-30, and readers were promised it until then"),
    ("2026-06-30", 0, "it was deprecated until 2026-06-30, and that day has come"),
])  # fmt: skip
def test_the_window_is_judged_as_of_a_day(cli: Cli, place: Path, day: str, code: int, why: str) -> None:
    new = base()
    new["version"] = "1.3.0"
    orders = next(one for one in new["schema"] if one["name"] == "orders")
    orders["properties"] = [one for one in orders["properties"] if one["name"] != "going"]
    (place / "old.yaml").write_text(yaml.safe_dump(base()))
    (place / "new.yaml").write_text(yaml.safe_dump(new))
    ran = cli("contract", "diff", "old.yaml", "new.yaml", "--as-of", day, "--json")
    assert (ran.code, ran.json["as_of"], [one["reason"] for one in ran.json["changes"]]) == (code, day, [why])


def test_a_removal_without_a_window_names_what_is_missing(cli: Cli, place: Path) -> None:
    new = base()
    new["version"] = "1.3.0"
    new["schema"][1]["properties"].pop(2)
    (place / "old.yaml").write_text(yaml.safe_dump(base()))
    (place / "new.yaml").write_text(yaml.safe_dump(new))
    ran = cli("contract", "diff", "old.yaml", "new.yaml", "--json")
    assert ran.code == 3
    assert "it was not deprecated with a removalDate before" in ran.json["changes"][0]["reason"]
