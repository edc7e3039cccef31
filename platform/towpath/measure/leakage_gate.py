"""Every check of a split for leakage, by the gate that it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pandas as pd

from towpath.core.evidence import Finding
from towpath.core.promises import Contract
from towpath.measure.leakage_aggregate import aggregate
from towpath.measure.leakage_contract import known_later
from towpath.measure.leakage_encoding import encoding
from towpath.measure.leakage_fitted import fitted
from towpath.measure.leakage_frame import Split
from towpath.measure.leakage_groups import group
from towpath.measure.leakage_index import index
from towpath.measure.leakage_rows import duplicate

CHECKS: Mapping[str, Callable[[Split], tuple[Finding, ...]]] = {
    "leakage.known_later": known_later,
    "leakage.aggregate": aggregate,
    "leakage.encoding": encoding,
    "leakage.fitted": fitted,
    "leakage.index": index,
    "leakage.group": group,
    "leakage.duplicate": duplicate,
}
ENOUGH = 1_000  # rows of the holdout, on which single features are ranked


def known_at(contracts: Mapping[str, Contract], request: Iterable[str]) -> dict[str, str]:
    """For each request column that bears the name of a contract's column: the column that says when it became known.

    A name that one contract gives no time is taken to be known in advance.
    """
    tables = [table for contract in contracts.values() for table in contract.tables.values()]
    found = {}
    for name in request:
        clocks = [table.columns[name].known_at for table in tables if name in table.columns]
        if clocks and all(clocks):
            found[name] = str(clocks[0])
    return found


def ranked_rows(split: Split) -> tuple[pd.DataFrame, str]:
    """The rows on which single features are ranked, and what they are as a finding's source.

    They are the holdout, or both parts when it has fewer than `ENOUGH` rows: on some dozens of rows an honest feature
    meets any bound by luck.
    """
    if len(split.holdout) >= ENOUGH:
        return split.holdout, "holdout"
    return split.both, "training set and holdout"


def of_split(split: Split) -> tuple[Finding, ...]:
    """The findings of all checks that need nothing but the split; each has one PASS, or says what is wrong."""
    return tuple(finding for check in CHECKS.values() for finding in check(split))
