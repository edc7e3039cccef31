"""Digests, errors, gates and the order of the path."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towpath.core import digest as digests
from towpath.core import errors
from towpath.core.errors import (
    Conflict,
    DeclarationError,
    IntegrityError,
    OutOfOrder,
    Problems,
    TooManyRequests,
    TowpathError,
    Unreachable,
)
from towpath.core.evidence import Candidate, Entry, Finding, Outcome
from towpath.core.gates import GATES, Stage, gate
from towpath.path import ORDER, WATCH, may_enter

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(alphabet="abc", min_size=1), VALUES))
def test_the_digest_of_json_does_not_depend_on_the_order_of_keys(value: dict[str, object]) -> None:
    assert digests.of_json(value) == digests.of_json(dict(reversed(value.items())))


def test_the_digest_of_json_is_that_of_its_canonical_form() -> None:
    assert digests.of_json({"b": 1.0, "a": "é"}) == "sha256:" + hashlib.sha256('{"a":"é","b":1}'.encode()).hexdigest()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**60])
def test_what_has_no_canonical_form_has_no_digest(value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        digests.of_json(value)


def test_the_digest_of_a_folder_names_files_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_text("2")
    first = digests.of_tree(tmp_path)
    assert first == digests.of_json({"a": digests.of_bytes(b"1"), "b/c": digests.of_bytes(b"2")})
    (tmp_path / "b" / "c").rename(tmp_path / "d")
    assert digests.of_tree(tmp_path) != first


KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TowpathError)]


def test_every_error_has_a_code_of_its_own() -> None:
    assert len({kind.code for kind in KINDS}) == len(KINDS)
    assert {kind for kind in KINDS if kind.temporary} == {Conflict, TooManyRequests, Unreachable}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not Problems])
def test_an_error_says_its_value_the_valid_ones_and_what_to_do_and_survives_a_process(kind: type[TowpathError]) -> None:
    error = kind("No colour 'x'.", value="x", valid=["red", "blue"], hint="Choose one.")
    assert str(error) == "No colour 'x'. Valid: red, blue. Choose one."
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.value) == (
        kind,
        str(error) if kind is not IntegrityError else str(again),
        "x",
    )


def test_problems_list_each_and_survive_a_process() -> None:
    several = Problems([DeclarationError("one."), DeclarationError("two.")])
    assert str(pickle.loads(pickle.dumps(several))) == str(several) == "2 problems:\n  - one.\n  - two."


def test_every_gate_asks_a_question_and_says_what_to_do() -> None:
    for code, item in GATES.items():
        assert code == item.code
        assert item.asks.endswith("?")
        assert item.mend.endswith(".")
    assert {item.stage for item in GATES.values() if item.required} == set(ORDER)


def test_an_unknown_gate_is_named_with_the_valid_ones() -> None:
    with pytest.raises(DeclarationError, match=r"no gate 'eval\.magic'.*Valid: .*eval\.roc_auc"):
        gate("eval.magic")


def chain(*stages: Stage, last: Outcome = Outcome.PASS) -> Candidate:
    grown = Candidate(project="p")
    for stage in stages:
        outcome = last if stage is stages[-1] else Outcome.PASS
        findings = (Finding(code="ingest.rows", outcome=outcome, reason="r"),)
        grown = grown.append(
            Entry(stage=stage, project="p", key=json.dumps(stage), previous=grown.digest, inputs={}, findings=findings)
        )
    return grown


@pytest.mark.parametrize("order", [ORDER, WATCH])
def test_a_stage_is_entered_after_those_before_it_and_only_then(order: tuple[Stage, ...]) -> None:
    for number, stage in enumerate(order):
        may_enter(stage, chain(*order[:number]), order=order)
        for wrong in set(range(len(order) + 1)) - {number}:
            with pytest.raises(OutOfOrder):
                may_enter(stage, chain(*order[:wrong]), order=order)


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.ERROR])
def test_nothing_is_entered_after_a_refusal(outcome: Outcome) -> None:
    with pytest.raises(OutOfOrder, match="was refused at ingest; validate is not entered"):
        may_enter(Stage.VALIDATE, chain(Stage.INGEST, last=outcome))
