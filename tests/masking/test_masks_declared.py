"""Reading masks from contracts: what each form means, and every way in which one is refused."""

from __future__ import annotations

from typing import Any

import pytest

from towpath.core.contract import Contract, check_references, parse
from towpath.core.contract_masks import PERSONAL
from towpath.core.errors import Problems
from towpath.core.masking import Mask, Method, PseudonymKey


def column(name: str, kind: str = "string", *, mask: Any = None, **more: Any) -> dict[str, Any]:
    custom = [] if mask is None else [{"property": "mask", "value": mask}]
    return {"name": name, "logicalType": kind, "customProperties": custom, **more}


def document(*columns: dict[str, Any], table: str = "people", **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": table,
        "version": "1.0.0",
        "status": "active",
        "team": {"name": "people"},
        "schema": [{"name": table, "properties": [column("day", "date"), *columns]}],
        **more,
    }


def contract(*columns: dict[str, Any], **more: Any) -> Contract:
    return parse(document(*columns, **more), origin="people.yaml")


def refused(*columns: dict[str, Any], **more: Any) -> str:
    with pytest.raises(Problems) as raised:
        contract(*columns, **more)
    return str(raised.value)


@pytest.mark.parametrize(
    ("value", "kind", "mask"),
    [
        ("pseudonym", "string", Mask(method=Method.PSEUDONYM, key="default")),
        ({"pseudonym": "crm-2"}, "string", Mask(method=Method.PSEUDONYM, key="crm-2")),
        ("year", "date", Mask(method=Method.YEAR)),
        ("month", "timestamp", Mask(method=Method.MONTH)),
        ({"bucket": 10}, "integer", Mask(method=Method.BUCKET, width=10)),
        ({"bucket": 0.5}, "number", Mask(method=Method.BUCKET, width=0.5)),
        ({"first": 3}, "string", Mask(method=Method.FIRST, length=3)),
    ],
)
def test_a_mask_is_read(value: Any, kind: str, mask: Mask) -> None:
    table = contract(column("it", kind, mask=value, classification="personal")).table("people")
    assert table.masks == {"it": mask}
    assert list(table.columns) == ["day", "it"]
    assert not table.columns["it"].shown


def test_a_dropped_column_is_nobodys() -> None:
    table = contract(column("email", mask="drop", tags=["PII"])).table("people")
    assert table.masks == {"email": Mask(method=Method.DROP)}
    assert list(table.columns) == ["day"]


@pytest.mark.parametrize(
    "named", [*PERSONAL, "Personal_Data", "PII", "PII ", " personal", "personal  data", "special-category"]
)
@pytest.mark.parametrize("where", ["classification", "tags"])
def test_personal_data_without_a_mask_is_refused(named: str, where: str) -> None:
    said = refused(column("email", **{where: named if where == "classification" else [named]}))
    assert f"schema[people].properties[email]: it is classified as {named} and has no mask." in said
    assert "Valid: pseudonym, pseudonym: KEY, year, month, bucket: WIDTH, first: CHARACTERS, drop." in said
    assert "Add the custom property `mask`" in said


@pytest.mark.parametrize("named", ["confidential", "restricted", "internal", None])
def test_other_classes_need_no_mask(named: str | None) -> None:
    assert contract(column("note", classification=named)).table("people").masks == {}


@pytest.mark.parametrize(
    "value",
    ["hash", "Pseudonym", 7, None, [], {}, {"pseudonym": "A b"}, {"pseudonym": 1}, {"bucket": 0}, {"bucket": -1},
     {"bucket": True}, {"bucket": float("inf")}, "bucket", {"first": 0}, {"first": 1.5}, {"year": 2}, {"drop": True},
     {"bucket": 1, "first": 2}],
)  # fmt: skip
def test_what_is_no_mask_is_refused(value: Any) -> None:
    item = {**column("it", "integer"), "customProperties": [{"property": "mask", "value": value}]}
    said = refused(item)
    assert "schema[people].properties[it].mask:" in said
    assert "is no mask. Valid: pseudonym" in said


def test_a_misspelt_mask_is_no_silence() -> None:
    item = {**column("it"), "customProperties": [{"property": "masks", "value": "drop"}]}
    assert "'masks' is not read; 'mask' is." in refused(item)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (column("it", "integer", mask="pseudonym"), "logicalType is integer; a pseudonym is text. Valid: string."),
        (column("it", "string", mask="year"), "logicalType is string; year is not for it. Valid: date, timestamp."),
        (column("it", "string", mask={"bucket": 2}), "bucket is not for it. Valid: number, integer."),
        (column("it", "integer", mask={"bucket": 2.5}), "buckets of 2.5 are not of integers."),
        (column("it", "integer", mask={"bucket": 2}, unique=True), "many values become one: it is no key."),
        (column("it", "date", mask="year", primaryKey=True), "many values become one: it is no key."),
        (column("it", mask="drop", required=True), "it is dropped, and the contract promises more of it (required)."),
        (column("it", mask="drop", logicalTypeOptions={"maxLength": 3}), "promises more of it (limits)."),
        (column("it", mask="pseudonym", logicalTypeOptions={"pattern": ".+@.+"}), "it is checked after masking"),
        (
            column("it", mask="pseudonym", quality=[{"metric": "invalidValues", "arguments": {"validValues": ["a"]},
                                                     "mustBe": 0}]),
            "it is checked after masking",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_promised_of_a_masked_column_is_refused(item: dict[str, Any], said: str) -> None:
    assert said in refused(item)


def test_clocks_are_not_masked() -> None:
    promise = {"property": "freshness", "value": 1, "unit": "d", "element": "people.seen"}
    said = refused(column("seen", "timestamp", mask="month"), slaProperties=[promise])
    assert "properties[seen]: it tells when rows happened or values became known, and cannot be masked." in said
    late = column("late", customProperties=[{"property": "knownAt", "value": "seen"}])
    assert "properties[seen]: it tells when" in refused(column("seen", "timestamp", mask="year"), late)


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("pseudonym", "pseudonym", ""),
        ("pseudonym", {"pseudonym": "other"}, "with pseudonym by key default and pseudonym by key other"),
        ("pseudonym", None, "with pseudonym by key default and no mask"),
        (None, "pseudonym", "with no mask and pseudonym by key default"),
        ({"first": 3}, {"first": 3}, "with first 3 characters and first 3 characters"),
    ],
)
def test_references_need_the_same_pseudonym(one: Any, other: Any, said: str) -> None:
    unique = {} if isinstance(other, dict) and "first" in other else {"unique": True}
    people = contract(column("id", mask=other, **unique))
    visits = contract(column("person", mask=one, relationships=[{"to": "people.id"}]), table="visits")
    if not said:
        check_references([people, visits])
        return
    with pytest.raises(Problems) as raised:
        check_references([people, visits])
    assert f"visits.person refers to people.id, {said}: no reference would be found." in str(raised.value)
    assert "Give both columns a pseudonym by the same key." in str(raised.value)


def test_a_pseudonym_is_of_its_key_its_version_and_its_value() -> None:
    key = PseudonymKey(name="default", version=1, secret=bytes(range(32)))
    # openssl mac -macopt size:16 -macopt hexkey:000102…1e1f -macopt custom:towpath.value -in FILE BLAKE2BMAC
    assert key.pseudonym("ada@example.org") == "p1-3c126fed90dc0fd070d8e50e5c7591aa"
    other = PseudonymKey(name="default", version=1, secret=bytes(32))
    later = PseudonymKey(name="default", version=2, secret=bytes(32))
    shown = {one.pseudonym("ada@example.org") for one in (key, other, later)} | {key.pseudonym("ada@example.com")}
    assert len(shown) == 4
    assert key.key_id != other.key_id
    assert "secret" not in repr(key)
