"""Write docs/leakage.md anew: what of the corpus is caught, and how often clean tables raise an alarm.

PYTHONPATH=tests python -m leakage.report
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from leakage.kinds import KINDS, Kind, NotHere
from leakage.tables import TABLES, Case, case, judge
from towpath.core.evidence import Finding, Outcome

PAGE = Path(__file__).parents[2] / "docs" / "leakage.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
SEEDS = 1  # resamples of each table that each kind is planted into
RESAMPLES = 40  # clean resamples of each table


def planted(kind: Kind, table: str, seed: int) -> tuple[Case, str] | None:
    """The kind planted into a resample, and what must be named; None where the table cannot have it."""
    try:
        return kind.plant(case(table, seed), np.random.default_rng(seed))
    except NotHere:
        return None


def caught(kind: Kind, leaking: Case, subject: str) -> bool:
    """Whether the kind's own gate fails and names the column."""
    found = judge(leaking, kind.gate)
    return any(one.outcome is Outcome.FAIL and one.subject == subject for one in found)


def alarms(table: str, seed: int) -> list[Finding]:
    """What does not pass on a clean resample."""
    return [one for one in judge(case(table, seed)) if one.outcome is not Outcome.PASS]


def section(clean: Mapping[str, int], resamples: int, seeds: int) -> str:
    """The measured part of the page."""
    rows = ["| kind | planted as | gate | tables | caught |", "|---|---|---|---|---|", *_kinds(seeds)]
    false = ["| clean table | resamples | with an alarm |", "|---|---|---|"]
    false += [f"| {name} | {resamples} | {clean[name]} |" for name in TABLES]
    total, wrong = resamples * len(TABLES), sum(clean.values())
    false.append(f"| all | {total} | {wrong} ({100 * wrong / total:.1f} %) |")
    return "\n".join([BEGIN, *rows, "", *false, END])


def _kinds(seeds: int) -> Iterator[str]:
    families = len({kind.family for kind in KINDS})
    all_tried = all_found = 0
    for kind in KINDS:
        tried: Counter[str] = Counter()
        found = 0
        for table in TABLES:
            for seed in range(seeds):
                made = planted(kind, table, seed)
                if made is not None:
                    tried[table] += 1
                    found += caught(kind, *made)
        all_tried, all_found = all_tried + tried.total(), all_found + found
        yield f"| {kind.family} | {kind.name} | `{kind.gate}` | {len(tried)} | {found} of {tried.total()} |"
    yield f"| {families} kinds | {len(KINDS)} ways | | {len(TABLES)} | {all_found} of {all_tried} |"


def main() -> None:
    clean = {name: sum(bool(alarms(name, seed)) for seed in range(RESAMPLES)) for name in TABLES}
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + section(clean, RESAMPLES, SEEDS) + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
