"""Every change of the matrix is classed as it is, and the version is held to the worst of them."""

from __future__ import annotations

import pytest

from contract.matrix import AS_OF, CASES, PAGE, Case, base, written
from towpath.core.contract import parse
from towpath.core.contract_changes import Impact, compare
from towpath.core.contract_versions import Bump, Version
from towpath.core.errors import DeclarationError
from unit import shop

BUMPS = {Impact.BREAKING: Bump.MAJOR, Impact.COMPATIBLE: Bump.MINOR, Impact.METADATA: Bump.PATCH}


def compared(new: dict[str, object], old: dict[str, object] | None = None):  # type: ignore[no-untyped-def]
    old = old or base()
    return compare(parse(old, origin="old.yaml"), parse(new, origin="new.yaml"), old, new, as_of=AS_OF)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.about)
def test_a_change_is_found_once_and_classed(case: Case) -> None:
    found = case.compared()
    assert [(one.where, one.impact) for one in found.changes] == [(case.where, case.impact)]
    assert found.changes[0].reason
    assert found.changes[0].what
    assert found.bump is BUMPS[case.impact]


def test_the_matrix_is_large_and_names_each_change_once() -> None:
    assert len(CASES) >= 60
    assert len({case.about for case in CASES}) == len(CASES)
    assert {case.impact for case in CASES} == set(Impact)


def test_the_page_is_what_the_matrix_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == written(), "`make docs` writes it anew"


def test_no_change_needs_no_version() -> None:
    same = compared(base())
    assert (same.changes, same.bump, same.enough) == ((), Bump.NONE, True)


def test_the_worst_change_stands_first_and_decides() -> None:
    new = base()
    new["name"] = "The shop"
    shop.column(new, "orders", "code")["required"] = True
    shop.column(new, "orders", "amount")["logicalTypeOptions"]["maximum"] = 5000
    found = compared(new)
    assert [one.impact for one in found.changes] == [Impact.BREAKING, Impact.COMPATIBLE, Impact.METADATA]
    assert (found.bump, str(found.least)) == (Bump.MAJOR, "2.0.0")


@pytest.mark.parametrize(
    ("version", "enough"),
    [("1.2.0", False), ("1.2.9", False), ("1.3.0", True), ("1.10.0", True), ("v2.0.0-rc.1", True), ("0.9.0", False)],
)
def test_a_compatible_change_needs_a_minor_version(version: str, enough: bool) -> None:
    new = base()
    new["version"] = version
    shop.column(new, "orders", "code")["required"] = True
    assert compared(new).enough is enough


def level(name: str, **said: object) -> dict[str, object]:
    """A service level of the shop with custom properties."""
    return {"property": name, "value": 2, "unit": "d",
            "customProperties": [{"property": key, "value": value} for key, value in said.items()]}  # fmt: skip


def of_levels(old: list[dict[str, object]], new: list[dict[str, object]]) -> list[tuple[str, Impact]]:
    documents = [{**base(), "slaProperties": levels} for levels in (old, new)]
    return [(one.where, one.impact) for one in compared(documents[1], documents[0]).changes]


@pytest.mark.parametrize("value", ["high", [99], True])
def test_an_objective_of_a_level_that_nobody_measures_may_be_anything(value: object) -> None:
    found = of_levels([level("availability", sloObjective=99)], [level("availability", sloObjective=value)])
    assert found == [("slaProperties[availability].sloObjective", Impact.BREAKING)]


def test_an_objective_is_found_under_the_short_name_of_its_promise() -> None:
    levels = [
        {**level(name, sloObjective=share), "element": "orders.placed_at"}
        for name, share in (("fr", 99), ("freshness", 60))
    ]
    found = of_levels([levels[0]], [levels[1]])
    assert ("slaProperties[freshness of orders.placed_at].sloObjective", Impact.BREAKING) in found


def test_a_window_in_another_unit_is_the_same() -> None:
    assert of_levels([level("latency", sloWindow="4w")], [level("latency")]) == [("contract", Impact.METADATA)]


def test_of_two_levels_of_one_name_each_is_compared() -> None:
    strict, lax = ({**level("availability"), "value": value, "unit": "%"} for value in (99.9, 90))
    assert Impact.BREAKING in [impact for _, impact in of_levels([strict, lax], [lax, lax])]


def test_a_lower_version_of_the_same_contract_is_not_enough() -> None:
    new = base()
    new["version"] = "1.1.9"
    assert not compared(new).enough


@pytest.mark.parametrize("text", ["1.2", "1", "01.2.3", "latest", "", "1.2.3.4"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(DeclarationError, match=r"new\.yaml: version is .* Write three numbers"):
        Version.parse(text, where="new.yaml")
