"""Parity against scikit-learn: a right runtime passes; each kind of wrong one is found, with the row that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from adapters.fitted_models import COLUMNS, TYPES, answer, fitted, visits
from towpath.core.errors import BadInput
from towpath.core.evidence import Outcome, Severity
from towpath.measure import parity_rows
from towpath.measure.parity import Reference, answers, parity, reference

HOLDOUT = visits(120)[0]


@pytest.fixture(scope="module")
def truth() -> Reference:
    return reference(fitted("boosted"), HOLDOUT, columns=COLUMNS, types=TYPES)


class Answering:
    """The port `Runtime` by scikit-learn itself, row by row, with one thing wrong."""

    kind = "fake"
    columns = COLUMNS
    inline = True

    def __init__(self, truth: Reference, *, wrong: dict[str, Any] | None = None, shift: float = 0.0) -> None:
        self.known = {repr(row): one for row, one in zip(truth.rows, truth.expected, strict=True)}
        self.wrong = wrong or {}
        self.shift = shift

    def predict(self, rows: Sequence[Sequence[object]]) -> list[float]:
        found = [self.wrong.get(repr(list(row)), self.known[repr(list(row))]) for row in rows]
        if None in found:
            raise BadInput("refused")
        return [one + self.shift for one in found]

    async def predict_apart(self, rows: Sequence[Sequence[object]]) -> list[float]:
        return self.predict(rows)

    def close(self) -> None: ...


def test_the_reference_is_scikit_learn_on_every_row(truth: Reference) -> None:
    assert truth.holdout == 120
    assert len(truth.rows) == len(truth.expected) == len(truth.what)
    for place in range(0, len(truth.rows), 37):
        if not any(isinstance(one, str) != (TYPES[name] == "text") and one is not None and one == one
                   for one, name in zip(truth.rows[place], COLUMNS, strict=True)):  # fmt: skip
            assert truth.expected[place] == answer(fitted("boosted"), truth.rows[place]), truth.what[place]


@pytest.mark.parametrize(
    "value", ["nan", "None", "inf", "-inf", "1e+300", "5e-324", "-0.0", "True", "'12'", "''", "'a category never seen'"]
)
def test_every_unusual_value_is_asked(value: str, truth: Reference) -> None:
    asked = {what for what in truth.what if what.endswith(f" = {value}")}
    assert asked >= {f"{name} = {value}" for name in COLUMNS if (TYPES[name] == "text") == (value[0] == "'")} - {
        f"{name} = '12'" for name in COLUMNS
    }
    refused = {what for what, one in zip(truth.what, truth.expected, strict=True) if one is None}
    assert {"pages = inf", "minutes = -inf", "spent = '12'", "source = 5"} <= refused


def test_the_neighbours_of_every_split_are_asked(truth: Reference) -> None:
    for kind in ("boosted", "forest", "filled", "gradient"):
        points = parity_rows.split_points(fitted(kind), COLUMNS)
        assert {"pages", "spent", "minutes"} <= set(points), kind
        assert all(list(found) == sorted(found) for found in points.values())
    points = parity_rows.split_points(fitted("boosted"), COLUMNS)
    for near in (points["pages"][0], np.nextafter(points["pages"][0], np.inf), np.nextafter(points["pages"][0], 0)):
        assert f"pages = {float(near)!r}" in truth.what
    assert parity_rows.split_points(fitted("bayes"), COLUMNS) == {}


def test_a_right_runtime_passes(truth: Reference) -> None:
    finding = parity(Answering(truth, shift=1e-9), truth, tolerance=1e-6)
    assert (finding.code, finding.outcome, finding.severity) == ("register.parity", Outcome.PASS, Severity.ERROR)
    assert finding.measured == pytest.approx(1e-9, rel=1e-3)
    assert (finding.bound, finding.subject, finding.sample_size) == ("<= 1e-06", "fake", len(truth.rows))
    assert "120 rows of the holdout" in finding.reason
    again = finding.model_copy(update={"measured": 2e-9, "reason": "on another machine"})
    assert again.digestible() == finding.digestible()


@pytest.mark.parametrize(
    ("find", "says"),
    [
        ("holdout row 7", "holdout row 7: scikit-learn says"),
        ("minutes = nan", "minutes = nan: scikit-learn says"),
        ("country = 'a category never seen'", "a category never seen"),
    ],
)
def test_one_wrong_answer_fails_and_is_named(find: str, says: str, truth: Reference) -> None:
    place = truth.what.index(find)
    expected = truth.expected[place]
    assert expected is not None
    wrong = Answering(truth, wrong={repr(truth.rows[place]): expected + 0.25})
    finding = parity(wrong, truth, tolerance=1e-6)
    assert (finding.outcome, finding.severity) == (Outcome.FAIL, Severity.WARNING)
    assert finding.measured == pytest.approx(0.25)
    assert says in finding.reason


def test_a_refusal_that_is_not_shared_fails(truth: Reference) -> None:
    place, refused = truth.what.index("holdout row 3"), truth.what.index("spent = inf")
    strict = parity(Answering(truth, wrong={repr(truth.rows[place]): None}), truth, tolerance=1e-6)
    lenient = parity(Answering(truth, wrong={repr(truth.rows[refused]): 0.5}), truth, tolerance=1e-6)
    assert (strict.outcome, strict.measured) == (Outcome.FAIL, 1.0)
    assert "fake refuses it" in strict.reason
    assert (lenient.outcome, lenient.measured) == (Outcome.FAIL, 1.0)
    assert "scikit-learn refuses it, fake says 0.5" in lenient.reason


def test_nan_for_an_answer_fails(truth: Reference) -> None:
    finding = parity(Answering(truth, shift=float("nan")), truth, tolerance=1e-6)
    assert finding.outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("numbers", "told"), [([4.0, 6.0], "predictions (in standard deviations of them)"), ([4.0, 4.0], "predictions")]
)
def test_numbers_whose_spread_is_one_or_none_are_no_probabilities(numbers: list[float], told: str) -> None:
    given: dict[str, Any] = {"columns": COLUMNS, "types": TYPES, "scaled": True}
    truth = reference(fitted("boosted"), HOLDOUT, score=lambda rows: np.resize(np.array(numbers), len(rows)), **given)
    assert truth.scale == 1.0
    finding = parity(Answering(truth), truth, tolerance=1e-6)
    assert f"scikit-learn's {told} within" in finding.reason


def test_no_holdout_is_no_pass() -> None:
    nothing = reference(fitted("boosted"), HOLDOUT.head(0), columns=COLUMNS, types=TYPES)
    finding = parity(Answering(nothing), nothing, tolerance=1e-6)
    assert finding.outcome is Outcome.INCONCLUSIVE


def test_rows_at_fault_are_found_among_many() -> None:
    def score(rows: Sequence[parity_rows.Row]) -> list[float]:
        if any(row[0] in (3, 4, 9_000) for row in rows):
            raise BadInput("no")
        return [float(str(row[0])) for row in rows]

    found = answers(score, [[number] for number in range(10_000)], refusal=BadInput)
    assert [place for place, one in enumerate(found) if one is None] == [3, 4, 9_000]
    assert found[5] == 5.0
