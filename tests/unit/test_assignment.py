"""Assignment: sticky, monotone, uniform, and independent from rollout to rollout."""

from __future__ import annotations

import random
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from towpath.core.assignment import BUCKETS, Arm, arm, bucket, mirrored

UNITS = [f"N{number:05d}" for number in range(20_000)]
salts = st.binary(min_size=16, max_size=16)
units = st.text(max_size=40)
weights = st.integers(min_value=0, max_value=BUCKETS)
buckets = st.integers(min_value=0, max_value=BUCKETS - 1)


@given(salts, units)
def test_a_unit_has_one_bucket(salt: bytes, unit: str) -> None:
    assert 0 <= bucket(salt, unit) < BUCKETS
    assert bucket(salt, unit) == bucket(bytes(salt), "".join(unit))


def test_every_process_agrees() -> None:
    """Also with another seed of Python's own hash."""
    code = "from towpath.core.assignment import bucket; print([bucket(b's' * 16, f'N{n}') for n in range(50)])"
    found = {
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {f"{[bucket(b's' * 16, f'N{n}') for n in range(50)]}\n"}


def test_the_buckets_are_what_was_published() -> None:
    """Another implementation of keyed BLAKE2b gives these; a change here moves every unit of an open rollout."""
    salt = bytes(range(16))
    assert [bucket(salt, unit) for unit in ("N14228", "N24211", "", "Zürich")] == [9715, 1355, 8685, 1132]


@given(buckets, weights, weights)
def test_exposure_is_monotone_in_the_weight(number: int, one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert arm(number, low) is not Arm.CHALLENGER or arm(number, high) is Arm.CHALLENGER


@given(buckets)
def test_weight_nought_is_nobody_and_weight_all_is_everybody(number: int) -> None:
    assert arm(number, 0) is Arm.CHAMPION
    assert arm(number, BUCKETS) is Arm.CHALLENGER
    assert not mirrored(number, 0)
    assert mirrored(number, BUCKETS)


@given(weights)
def test_a_missing_unit_is_the_champions(weight: int) -> None:
    assert arm(None, weight) is Arm.CHAMPION
    assert not mirrored(None, weight)


@given(buckets, st.integers(min_value=0, max_value=BUCKETS // 2), st.integers(min_value=0, max_value=BUCKETS // 2))
def test_nobody_is_exposed_and_mirrored(number: int, weight: int, shadow: int) -> None:
    assert not (arm(number, weight) is Arm.CHALLENGER and mirrored(number, shadow))


def _chi_square(counts: list[int], expected: float) -> float:
    return sum((count - expected) ** 2 / expected for count in counts)


def test_buckets_are_uniform() -> None:
    """100 cells of 100 buckets: chi-square with 99 degrees of freedom exceeds 164 once in 25,000 uniform hashes."""
    for salt in (b"a" * 16, b"b" * 16, bytes(16)):
        counts = [0] * 100
        for unit in UNITS:
            counts[bucket(salt, unit) // 100] += 1
        assert _chi_square(counts, len(UNITS) / 100) < 164


def test_one_rollout_says_nothing_of_the_next() -> None:
    """A 10 x 10 table of two salts' deciles; salts that differ in one bit are the hard case. 99 degrees of freedom."""
    draw = random.Random(7)
    for _ in range(5):
        first = draw.randbytes(16)
        second = bytes([first[0] ^ 1]) + first[1:]
        table = [0] * 100
        for unit in UNITS:
            table[bucket(first, unit) // 1_000 * 10 + bucket(second, unit) // 1_000] += 1
        assert _chi_square(table, len(UNITS) / 100) < 164
