"""Rows on both sides of the split that look the same: copies, and copies with a little noise.

Many honest rows look alike, so likeness alone proves nothing; what does is that rows of the holdout have more twins in
training than training rows have among themselves. A twin is a row whose nearest neighbour lies at most a twentieth as
far as the second nearest. In smooth data of d intrinsic dimensions that has a chance of 0.05^d (Facco et al. 2017,
*Scientific Reports* 7, TwoNN); here the tail of the ratio is fitted to the training set itself (peaks over threshold),
with the shape taken two standard errors heavier than estimated, and the twins seen in training are a lower bound.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from towpath.core.evidence import Finding, Outcome
from towpath.measure.leakage_frame import LEVEL, Split, finding
from towpath.measure.metrics import Floats
from towpath.measure.verdicts import count, number, percent

CODE = "leakage.duplicate"
SAMPLE = 800
REFERENCE = 100_000
_NEAR = 0.05
_CHUNK = 64
_DIMENSIONS = 8  # of the random unit vector that stands for a category: different ones lie about sqrt(2) apart
_TAIL = 0.2
_MIN_TRAIN = 50


def duplicate(split: Split) -> tuple[Finding, ...]:
    """One FAIL for copies across the split, else for near copies, that are more than training has, else one PASS.

    Copies are counted on all rows; near copies of up to `SAMPLE` rows of the holdout, drawn by the seed, among up to
    `REFERENCE` rows of the training set.
    """
    rows = len(split.both)
    if len(split.train) < _MIN_TRAIN or split.holdout.empty:
        words = f"{count(len(split.train))} of training are too few to say how alike rows are; {_MIN_TRAIN} are needed."
        return (finding(CODE, Outcome.INCONCLUSIVE, words, rows=rows),)
    copies, own_copies = _copies(split)
    points = _points(split)
    near, judged, own_near, own_judged, rate = _near_twins(split, points)
    exact_chance = _chance(copies, len(split.holdout), own_copies, len(split.train), rate)
    near_chance = _chance(near, judged, own_near, own_judged, rate)
    found = []
    if exact_chance < LEVEL / 2:
        found.append(_guilty("rows", "a copy", copies, len(split.holdout), own_copies, len(split.train), exact_chance))
    elif near_chance < LEVEL / 2:
        found.append(_guilty("near rows", "a near copy", near, judged, own_near, own_judged, near_chance))
    return tuple(found) or (
        finding(
            CODE,
            Outcome.PASS,
            f"{count(copies)} of {len(split.holdout):,} of the holdout have a copy in training, and {near:,} of "
            f"{judged:,} sampled a near copy; of training rows among themselves {own_copies:,} of {len(split.train):,} "
            f"and {own_near:,} of {own_judged:,}.",
            rows=rows,
            measured=copies,
            unit="rows",
        ),
    )


def _guilty(subject: str, what: str, twins: int, of: int, own: int, own_of: int, chance: float) -> Finding:
    return finding(
        CODE,
        Outcome.FAIL,
        f"{count(twins)} of {of:,} of the holdout ({percent(twins / of)}) have {what} in the training set, by all "
        f"model inputs; of training rows among themselves {own:,} of {own_of:,} do (p {number(chance)}): the model is "
        "examined on what it learnt. Remove the copies before splitting.",
        rows=of,
        subject=subject,
        measured=twins,
        unit="rows",
    )


def _copies(split: Split) -> tuple[int, int]:
    """Rows of the holdout that are in training too, and rows of training that are there twice, by their inputs."""
    inputs = split.both[list(split.inputs)]
    words = {name: inputs[name].astype(str) for name in split.inputs if name not in split.numbers}
    keys = pd.util.hash_pandas_object(inputs.assign(**words), index=False).to_numpy()
    train, holdout = keys[split.in_train], keys[~split.in_train]
    return int(np.isin(holdout, train).sum()), int(pd.Series(train).duplicated(keep=False).sum())


def _points(split: Split) -> NDArray[np.float32]:
    """Rows (n, d): numbers standardised, missing ones at the mean and marked, categories as random unit vectors."""
    generator = np.random.default_rng(split.seed)
    parts = []
    for name in split.inputs:
        if name in split.numbers:
            values = split.numbers[name]
            missing = np.isnan(values)
            spread = float(np.nanstd(values)) if not missing.all() else 0.0
            if spread > 0:
                parts.append(np.where(missing, 0.0, (values - np.nanmean(values)) / spread)[:, None])
            if missing.any():
                parts.append(missing[:, None].astype(np.float64))
            continue
        codes, kinds = pd.factorize(split.both[name].astype(str))
        units = generator.normal(size=(len(kinds), _DIMENSIONS))
        parts.append((units / np.linalg.norm(units, axis=1, keepdims=True))[codes])
    return np.hstack(parts or [np.zeros((len(split.both), 1))]).astype(np.float32)


def _near_twins(split: Split, points: NDArray[np.float32]) -> tuple[int, int, int, int, float]:
    """Near twins and rows judged of the holdout, the same within training, and the rate that chance brings at most."""
    generator = np.random.default_rng(split.seed)
    train, holdout = np.flatnonzero(split.in_train), np.flatnonzero(~split.in_train)
    reference = generator.permutation(train)[:REFERENCE]
    judged = generator.permutation(holdout)[:SAMPLE]
    own = np.arange(min(SAMPLE, len(reference)))
    across = _log_ratios(points[judged], points[reference], None)
    within = _log_ratios(points[reference[own]], points[reference], own)
    limit = -np.log(_NEAR)
    plain = within[within < limit]
    rate = 1.0
    if len(plain) >= _MIN_TRAIN / 2:
        threshold = float(np.quantile(plain, 1 - _TAIL))
        excess = plain[plain > threshold] - threshold
        shape = 1 / max(float(excess.mean()), 1e-9) * max(1 - 2 / len(excess) ** 0.5, 0.1) if len(excess) else 0.0
        rate = min(1.0, _TAIL * float(np.exp(-shape * (limit - threshold))))
    return int((across >= limit).sum()), len(judged), int((within >= limit).sum()), len(own), rate


def _log_ratios(asked: NDArray[np.float32], reference: NDArray[np.float32], own: NDArray[np.intp] | None) -> Floats:
    """log(r2 / r1) (n,) of each asked row's two nearest reference rows; infinite for an exact twin.

    `own`: where the asked row itself is among the reference.
    """
    found = np.empty(len(asked))
    squares = np.einsum("ij,ij->i", reference, reference)
    for start in range(0, len(asked), _CHUNK):
        block = asked[start : start + _CHUNK]
        distances = squares - 2 * (block @ reference.T)
        line = np.arange(len(block))
        if own is not None:
            distances[line, own[start : start + _CHUNK]] = np.inf
        nearest = distances.argmin(axis=1)
        distances[line, nearest] = np.inf
        second = distances.argmin(axis=1)
        radii = [
            np.linalg.norm(block.astype(np.float64) - reference[place].astype(np.float64), axis=1)
            for place in (nearest, second)
        ]
        low, high = np.minimum(*radii), np.maximum(*radii)
        with np.errstate(divide="ignore", invalid="ignore"):
            found[start : start + _CHUNK] = np.where(low <= 1e-6, np.inf, np.log(high / low))
    return found


def _chance(twins: int, of: int, own: int, own_of: int, rate: float) -> float:
    """How likely chance brings so many twins: by the fitted tail, and, where training has twins, by comparing both."""
    if twins < 2 or twins / of <= 2 * own / own_of:
        return 1.0
    by_tail = float(stats.binom.sf(twins - 1, of, rate))
    if own == 0:
        return by_tail
    table = [[twins, of - twins], [own, own_of - own]]
    return max(by_tail, float(stats.fisher_exact(table, alternative="greater").pvalue))
