"""Every kind of leak planted into real tables is refused by its gate, by name; clean tables raise no alarm."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest

from leakage import report
from leakage.kinds import KINDS, Kind
from leakage.tables import TABLES, case, judge
from towpath.core.evidence import Outcome
from towpath.core.gates import GATES
from towpath.measure import leakage_gate

FAST = "diabetes"


def named(kind: Kind) -> str:
    return f"{kind.gate.removeprefix('leakage.')}: {kind.name}"


ONE_OF_A_GATE = {kind.gate: kind for kind in reversed(KINDS)}.values()
EACH = [pytest.param(kind, marks=() if kind in ONE_OF_A_GATE else pytest.mark.slow, id=named(kind)) for kind in KINDS]


@pytest.mark.parametrize("kind", EACH)
def test_a_planted_leak_is_refused_by_its_gate_and_named(kind: Kind) -> None:
    made = next(found for seed in range(9) if (found := report.planted(kind, FAST, seed)) is not None)
    assert report.caught(kind, *made), judge(made[0], kind.gate)


def test_a_clean_table_passes_every_gate() -> None:
    assert not report.alarms(FAST, 0)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("table", [name for name in TABLES if name != FAST])
@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_a_planted_leak_is_refused_in_every_table(kind: Kind, table: str) -> None:
    for seed in range(report.SEEDS):
        made = report.planted(kind, table, seed)
        assert made is None or report.caught(kind, *made), judge(made[0], kind.gate)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("table", TABLES)
def test_clean_resamples_raise_as_few_alarms_as_the_page_says(table: str) -> None:
    found = sum(bool(report.alarms(table, seed)) for seed in range(report.RESAMPLES))
    said = re.search(rf"^\| {table} \| {report.RESAMPLES} \| (\d+) \|$", page(), flags=re.MULTILINE)
    assert said is not None
    assert found == int(said[1])


def page() -> str:
    return report.PAGE.read_text(encoding="utf-8")


def test_the_page_lists_the_corpus_and_nothing_missed() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| `(leakage\.\w+)` \| (\d) \| (\d+) of (\d+) \|$", page(), re.MULTILINE)
    assert [(family, name, gate) for family, name, gate, *_ in rows] == [(k.family, k.name, k.gate) for k in KINDS]
    assert all(found == tried and int(tried) > 0 for *_, found, tried in rows)
    assert len({kind.family for kind in KINDS}) >= 12


def test_the_page_says_false_alarms_of_at_most_two_in_a_hundred() -> None:
    said = re.search(r"^\| all \| (\d+) \| (\d+) \(", page(), re.MULTILINE)
    assert said is not None
    assert int(said[1]) == report.RESAMPLES * len(TABLES)
    assert int(said[2]) <= 0.02 * int(said[1])


def test_every_gate_of_leakage_is_in_the_corpus_and_on_the_page() -> None:
    gates = {code for code in GATES if code.startswith("leakage.")}
    assert gates == {kind.gate for kind in KINDS}
    assert all(f"| `{code}` |" in page() for code in gates)


def test_a_column_whose_time_is_not_selected_is_warned_of() -> None:
    clean = case(FAST, 0)
    del clean.split.train["measured_at"], clean.split.holdout["measured_at"]
    warned, passed = judge(clean, "leakage.known_later")
    assert (warned.outcome, warned.severity.value) == (Outcome.INCONCLUSIVE, "warning")
    assert passed.outcome is Outcome.PASS


def test_an_encoding_is_found_where_a_row_lacks_its_category() -> None:
    """Too few values for a test of chance: only that they are the rates tells."""
    clean = case(FAST, 0)
    split, both = clean.split, clean.split.both
    region = pd.qcut(both[split.inputs[0]].rank(method="first"), 10).astype(str).mask(both.index == 7)
    means = region.map(both[split.target].groupby(region).mean()).fillna(both[split.target].mean())
    both, rows = both.assign(region=region, rate=means), len(split.train)
    leaking = replace(
        split,
        train=both.head(rows),
        holdout=both.tail(len(both) - rows).reset_index(drop=True),
        inputs=(*split.inputs, "region", "rate"),
    )
    (found,) = judge(replace(clean, split=leaking), "leakage.encoding")
    assert (found.outcome, found.subject, found.sample_size) == (Outcome.FAIL, "rate", len(both) - 1)


def test_inputs_of_text_alone_are_judged_by_every_gate() -> None:
    clean = case(FAST, 0)
    words = {name: pd.qcut(clean.split.both[name], 4, duplicates="drop").astype(str) for name in clean.split.numbers}
    both, rows = clean.split.both.assign(**words), len(clean.split.train)
    split = replace(clean.split, train=both.head(rows), holdout=both.tail(len(both) - rows).reset_index(drop=True))
    assert not split.numbers
    for gate in leakage_gate.CHECKS:
        assert all(found.outcome is Outcome.PASS for found in judge(replace(clean, split=split), gate)), gate


def test_single_inputs_are_told_of_the_rows_that_they_were_ranked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = case(FAST, 0)
    assert {found.source for found in judge(clean, "leakage.target_proxy")} == {"training set and holdout"}
    monkeypatch.setattr(leakage_gate, "ENOUGH", 10)
    assert {found.source for found in judge(clean, "leakage.target_proxy")} == {"holdout"}


def test_too_few_rows_are_inconclusive_of_copies() -> None:
    clean = case(FAST, 0)
    few = replace(clean, split=replace(clean.split, train=clean.split.train.head(20)))
    (found,) = judge(few, "leakage.duplicate")
    assert found.outcome is Outcome.INCONCLUSIVE
