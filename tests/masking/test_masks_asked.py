"""Requests at the gateway with values of masked columns: masked ones pass, raw ones are refused and not repeated."""

from __future__ import annotations

from typing import Any

import pytest

from towpath.core.errors import BadInput
from towpath.core.masking import Mask, Method, PseudonymKey, masked_everywhere
from towpath.gateway.schema import Schema, View, schema

NAMED = Mask(method=Method.PSEUDONYM, key="crm")
KEY = PseudonymKey(name="crm", version=2, secret=b"k" * 32)
FIRST = Mask(method=Method.FIRST, length=2)
TENS = Mask(method=Method.BUCKET, width=10)
HALVES = Mask(method=Method.BUCKET, width=0.1)


@pytest.mark.parametrize("mask", [NAMED, FIRST, TENS, HALVES, Mask(method=Method.YEAR), Mask(method=Method.DROP)])
def test_a_mask_is_read_from_its_record(mask: Mask) -> None:
    assert Mask(**mask.recorded()) == mask  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mask", "value", "given"),
    [
        (NAMED, KEY.pseudonym("ada"), True),
        (NAMED, "ada@example.org", False),
        (NAMED, 7, False),
        (NAMED, f"{KEY.pseudonym('ada')}\n", False),
        (NAMED, None, True),
        (FIRST, "90", True),
        (FIRST, "90210", False),
        (FIRST, 902, False),
        (TENS, 120, True),
        (TENS, 120.0, True),
        (TENS, 123, False),
        (TENS, float("nan"), True),
        (HALVES, 0.30000000000000004, True),
        (HALVES, 0.35, False),
        (Mask(method=Method.DROP), "x", False),
        (TENS, 123456789012, False),
        (TENS, 10_000_000_007, False),
        (TENS, 10_000_000_007.0, False),
        (TENS, 10_000_000_000, True),
        (TENS, "0151 2345678", False),
        (HALVES, 1e9 + 0.03, False),
        (Mask(method=Method.YEAR), "1990-05-01", False),
        (Mask(method=Method.YEAR), "1990-01-01", True),
        (Mask(method=Method.YEAR), "1990-01-01T00:00:00Z", True),
        (Mask(method=Method.YEAR), "1990-01-01T08:15:00Z", False),
        (Mask(method=Method.MONTH), "1990-05-01", True),
        (Mask(method=Method.MONTH), "1990-05-17", False),
    ],
)
def test_what_a_mask_may_have_given(mask: Mask, value: Any, given: bool) -> None:
    assert mask.gives(value) is given


def test_only_names_that_are_masked_in_every_table_count() -> None:
    columns = {"people": ["id", "name"], "visits": ["id", "person"], "airlines": ["name"]}
    masks = {"people": {"id": NAMED, "name": FIRST, "email": Mask(method=Method.DROP)}, "visits": {"id": NAMED}}
    assert masked_everywhere(columns, masks) == {"id": NAMED, "email": Mask(method=Method.DROP)}


@pytest.fixture
def asked() -> Schema:
    return schema(
        [(["pages", "income", "zip"], {"pages": "int64", "income": "float64", "zip": "text"})],
        request=["pages", "income", "zip"],
        views=[View(name="people", keys=("person",), features=("age",), ttl_seconds=None)],
        unit="person",
        row_id="visit",
        masks={"person": NAMED, "income": TENS, "zip": FIRST, "elsewhere": NAMED},
    )


def row(**values: object) -> dict[str, object]:
    return {"person": KEY.pseudonym("ada"), "pages": 3, "income": 120.0, "zip": "90", **values}


def test_masked_values_are_taken(asked: Schema) -> None:
    assert set(asked.masks) == {"person", "income", "zip"}
    asked.shape([row()])
    asked.shape([row(), row(person=None, zip=None)])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"person": "ada@example.org"}, "Column 'person', row 1: the value is not masked. Valid: pseudonym by key crm"),
        ({"income": 123.45}, "Column 'income', row 1: the value is not masked. Valid: bucket of 10, null."),
        ({"income": "0151 2345678"}, "Column 'income', row 1: the value is not masked."),
        ({"zip": "90210"}, "Column 'zip', row 1: the value is not masked. Valid: first 2 characters, null."),
    ],
)
def test_a_raw_value_is_refused_and_not_repeated(asked: Schema, values: dict[str, object], said: str) -> None:
    asked.shape([row()])  # a shape that is remembered is no way round
    for rows in ([row(), row(**values)], [row(**values)]):
        with pytest.raises(BadInput) as caught:
            asked.shape(rows)
        assert said.replace("row 1", f"row {len(rows) - 1}") in str(caught.value)
        told = f"{caught.value} {caught.value.value}"
        assert not [one for one in values.values() if str(one) in told]
