"""Aggregates over the future: a feature that equals a mean or sum which later rows were needed for.

For each column that may name entities, and for the whole table, rows are put in the order of their prediction times,
and aggregates are computed that no row could have had: of all of the entity's rows, of those to come, of a window
around the row, and of the target up to and including the row's own label. An input that equals one of them wherever it
differs from its honest twin (the same of rows so far) is a leak; equality to nine places leaves chance no room.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from towpath.core.evidence import Finding, Outcome
from towpath.measure.leakage_frame import Split, distinct, finding
from towpath.measure.metrics import Floats
from towpath.measure.verdicts import count

CODE = "leakage.aggregate"
ROWS = 1_500
_MIN_ROWS = 20
_SCREEN = 40
_DISTINCT = 10  # values of an aggregate of measures; fewer small integers meet by chance
_FEW = 5  # entities that are taken whole though they are large
_EQUAL = 0.99


@dataclass(frozen=True, kw_only=True)
class _Ordered:
    """Rows of some entities, entity by entity, each in the order of time. `begin` and `end` (n,) of a row's entity."""

    rows: NDArray[np.intp]
    begin: NDArray[np.intp]
    end: NDArray[np.intp]


def aggregate(split: Split) -> tuple[Finding, ...]:
    """One FAIL for each numeric input that equals an aggregate over later rows, else one PASS.

    Looked at are the training set and both parts together, of each up to `ROWS` rows of whole entities drawn by the
    seed, and for the table as a whole its first ones.
    """
    inputs = {name: values for name, values in split.numbers.items() if distinct(values) > 2}
    entities = {"": np.zeros(len(split.both), dtype=np.intp), **split.categories}
    guilty: dict[str, str] = {}
    for scope in (split.in_train, np.ones(len(split.both), dtype=bool)):
        for entity, codes in entities.items():
            ordered = _ordered(split, codes, scope)
            if ordered is not None:
                guilty = {**_matches(split, inputs, entity, ordered), **guilty}
    rows = len(split.both)
    return tuple(
        finding(
            CODE,
            Outcome.FAIL,
            f"Column {name} is {what}: rows that came later are in it. Aggregate what was known before each row only.",
            rows=rows,
            subject=name,
        )
        for name, what in sorted(guilty.items())
    ) or (
        finding(
            CODE,
            Outcome.PASS,
            f"None of {count(len(inputs), 'numeric input')} equals an aggregate over later rows, by "
            f"{count(len(entities) - 1, 'column')} that may name entities and for the table as a whole.",
            rows=rows,
        ),
    )


def _ordered(split: Split, codes: NDArray[np.intp], scope: NDArray[np.bool_]) -> _Ordered | None:
    rows = np.flatnonzero(scope & (codes >= 0))
    if len(rows) == 0:
        return None
    size = np.bincount(codes[rows])
    kept = np.flatnonzero(size >= 3)
    if len(kept) == 0:
        return None
    drawn = np.random.default_rng(split.seed).permutation(kept)
    drawn = drawn[np.argsort(size[drawn], kind="stable")]
    total = np.cumsum(size[drawn])
    few = np.flatnonzero((total <= ROWS) | ((np.arange(len(drawn)) < _FEW) & (total <= _FEW * ROWS)))
    alone = len(drawn) == 1
    enough = drawn if alone else drawn[few]
    wanted = np.zeros(len(size), dtype=bool)
    wanted[enough] = True
    rows = rows[wanted[codes[rows]]]
    times = pd.to_datetime(split.both[split.event_timestamp], utc=True).to_numpy(dtype="datetime64[ns]")[rows]
    rows = rows[np.lexsort((rows, times, codes[rows]))]
    rows = rows[:ROWS] if alone else rows  # the table as a whole is cut, which spares windows and running figures
    if len(rows) < _MIN_ROWS:
        return None
    first = np.flatnonzero(np.r_[True, np.diff(codes[rows]) != 0])
    length = np.diff(np.r_[first, len(rows)])
    return _Ordered(rows=rows, begin=np.repeat(first, length), end=np.repeat(first + length, length))


def _matches(split: Split, inputs: dict[str, Floats], entity: str, ordered: _Ordered) -> dict[str, str]:
    names = list(inputs)
    columns = [inputs[name][ordered.rows] for name in names]
    table = np.column_stack(columns) if columns else np.zeros((len(ordered.rows), 0))
    of = f" of each {entity}" if entity else ""
    sources = {split.target: split.labels[ordered.rows], **{name: table[:, at] for at, name in enumerate(names)}}
    guilty: dict[str, str] = {}
    for source, values in sources.items():
        for words, future, honest in _aggregates(values, ordered, target=source == split.target):
            places = np.flatnonzero(_differs(future, honest))
            if len(places) < _MIN_ROWS:
                continue
            screen = places[np.linspace(0, len(places) - 1, _SCREEN).astype(np.intp)]
            if len(np.unique(future[screen])) < (3 if source == split.target else _DISTINCT):
                continue
            alike = np.mean(np.abs(table[screen] - future[screen, None]) <= _near(future[screen])[:, None], axis=0)
            for at in np.flatnonzero(alike >= 0.95):
                equal = np.mean(np.abs(table[places, at] - future[places]) <= _near(future[places]))
                if names[at] != source and equal >= _EQUAL:
                    guilty.setdefault(names[at], f"the {words} {source}{of} in {count(len(places))}")
    return guilty


def _differs(future: Floats, honest: Floats) -> NDArray[np.bool_]:
    """Where (n,) the aggregate is there and its honest twin is another, or is not."""
    there, known = np.isfinite(future), np.isfinite(honest)
    ahead, so_far = np.where(there, future, 0.0), np.where(known, honest, 0.0)
    return there & (~known | (np.abs(ahead - so_far) > _near(ahead)))


def _near(values: Floats) -> Floats:
    return 1e-9 * np.maximum(np.abs(values), 1e-3)


def _aggregates(values: Floats, ordered: _Ordered, *, target: bool) -> Iterator[tuple[str, Floats, Floats]]:
    """What it is, the aggregate (n,) that needs later rows, and the same of rows so far, NaN where there are none.

    The row's own value is known of an input and not of the target.
    """
    begin, end = ordered.begin, ordered.end
    here = np.arange(len(values))
    filled = ~np.isnan(values)
    sums = np.r_[0.0, np.cumsum(np.where(filled, values, 0.0))]
    numbers = np.r_[0, np.cumsum(filled)]
    until = here if target else here + 1

    def total(low: NDArray[np.intp], high: NDArray[np.intp]) -> tuple[Floats, Floats]:
        many = (numbers[high] - numbers[low]).astype(np.float64)
        many[many == 0] = np.nan
        return sums[high] - sums[low], many

    past, of_past = total(begin, until)
    every, of_every = total(begin, end)
    yield "mean over all rows of", every / of_every, past / of_past
    yield "sum over all rows of", np.where(np.isnan(of_every), np.nan, every), np.where(np.isnan(of_past), np.nan, past)
    rest, of_rest = total(np.minimum(here + 1, end), end)
    yield "mean over the rows to come of", rest / of_rest, past / of_past
    for half in (1, 2, 3):
        low, high = here - half, here + half + 1
        inside = (low >= begin) & (high <= end)
        around, of_around = total(np.maximum(low, begin), np.minimum(high, end))
        trailing, of_trailing = total(np.maximum(here - 2 * half, begin), here + 1)
        window = np.where(inside, around / of_around, np.nan)
        yield f"mean over {2 * half + 1} rows around of", window, trailing / of_trailing
    if target:
        so_far, of_so_far = total(begin, here + 1)
        yield "mean up to and with its own row of", so_far / of_so_far, past / of_past
        yield "sum up to and with its own row of", so_far, past
