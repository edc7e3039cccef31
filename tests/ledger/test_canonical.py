"""Bodies come back as they went in, and their text is the one that was hashed."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from ledger.drafts import START, decision
from towpath.core import digest as digests
from towpath.core.errors import BadInput
from towpath.ledger import chain
from towpath.ledger.canonical import canonical, parse, stamp
from towpath.ledger.export import export, verify_export
from towpath.ledger.verification import verify_records

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.one_of(
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([2.0**53, -(2.0**53), 1e20, 1e21, 1e-7, 5e-324, 1.7976931348623157e308, -0.0, 0.1 + 0.2]),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=15,
)
bodies = st.dictionaries(texts, values, max_size=5)


@given(bodies)
def test_canonical_text_is_read_back_as_the_same_value_and_the_same_text(body: dict[str, Any]) -> None:
    text = canonical(body)
    assert parse(text) == body
    assert canonical(parse(text)) == text
    assert text.encode() == rfc8785.dumps(body)


@given(bodies, bodies)
def test_a_sealed_body_is_verified_and_survives_an_export(first: dict[str, Any], second: dict[str, Any]) -> None:
    one = chain.seal(decision("1", body=first), previous=None, sequence=1, at=START, actor="ada")
    two = chain.seal(decision("2", body=second), previous=one.hash, sequence=2, at=START, actor="ada")
    assert chain.read(chain.store(one)) == one
    assert (one.body, one.digest) == (first, digests.of_json(first))
    assert verify_records([one, two]).whole
    stream = io.BytesIO()
    export([one, two], stream)
    stream.seek(0)
    assert verify_export(stream) == verify_records([one, two])


@given(st.datetimes())
def test_a_time_is_written_with_microseconds(at: Any) -> None:
    written = stamp(at.replace(tzinfo=START.tzinfo))
    assert (len(written), written[-1]) == (27, "Z")
    assert parse(f'"{written}"') == written


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53, "\ud800", {1: "a"}, {"a": START}, {"a": b"b"}, {"a"}])
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(BadInput, match=r"cannot be written as canonical JSON: .* integers below 2\*\*53"):
        canonical({"value": value})


def test_what_nests_too_deep_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(BadInput, match="canonical JSON"):
        canonical(deep)
    while deep:  # taken apart by hand: the interpreter would recurse
        deep = deep.pop()
