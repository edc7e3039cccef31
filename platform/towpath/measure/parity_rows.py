"""Rows on which converted models go wrong: missing, unseen, huge and tiny values, and the neighbours of every split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Row = list[object]

_BASES = 2  # rows of the holdout that each unusual value is put into
_SPLITS = 24  # of a column, spread over its range
_NUMBERS: tuple[object, ...] = (
    *(None, float("nan"), 0.0, -0.0, 5e-324, -5e-324, 1e300, -1e300, float("inf"), float("-inf")),
    *(True, False, 2**53 + 1, 3.5e38, "12"),
)
_TEXTS: tuple[object, ...] = (
    None,
    float("nan"),
    "",
    " ",
    "nan",
    "None",
    "a category never seen",
    "\u0130\u00df\ufb01",
    5,
)


@dataclass(frozen=True, kw_only=True)
class Unusual:
    """A row with one unusual value, and what it is in words."""

    row: Row
    what: str


def is_text(kind: str) -> bool:
    return kind in ("text", "str", "object") or kind.startswith("string")


def rows_of(frame: pd.DataFrame, columns: Sequence[str]) -> list[Row]:
    """The frame's rows as plain values, in the order of the columns."""
    return [list(row) for row in zip(*(frame[name].tolist() for name in columns), strict=True)]


def frame_of(rows: Sequence[Row], columns: Sequence[str], types: Mapping[str, str]) -> pd.DataFrame:
    """Rows that fit, as scikit-learn gets them: text as objects, numbers in 64 bits with NaN for None."""
    values = list(zip(*rows, strict=True))
    return pd.DataFrame(
        {
            name: pd.Series(list(values[place]), dtype=object if is_text(types[name]) else "float64")
            for place, name in enumerate(columns)
        }
    )


def fits(row: Row, columns: Sequence[str], types: Mapping[str, str]) -> bool:
    """Whether text stands where text belongs, and a number where a number does."""
    return all(
        value is None or value != value or isinstance(value, str) is is_text(types[name])
        for value, name in zip(row, columns, strict=True)
    )


def unusual(
    model: object, holdout: pd.DataFrame, columns: Sequence[str], types: Mapping[str, str]
) -> tuple[Unusual, ...]:
    """Rows of the holdout in each of which one value was replaced. `model` is looked into for its splits."""
    picked = holdout.iloc[np.unique(np.linspace(0, len(holdout) - 1, _BASES).astype(int))] if len(holdout) else holdout
    bases = rows_of(picked, columns)
    splits = split_points(model, columns)
    found: list[Unusual] = []
    for place, name in enumerate(columns):
        for value in _TEXTS if is_text(types[name]) else _NUMBERS:
            few = isinstance(value, float) and abs(value) == float("inf")  # refused mostly, one call each
            found += [_with(base, place, name, value) for base in (bases[:1] if few else bases)]
        for value in _near(splits.get(name, ())):
            found += [_with(base, place, name, value) for base in bases[:1]]
    # rows with the same unusual value lie together: those that are refused are then found in few steps
    return tuple(sorted(found, key=lambda one: one.what.partition(" = ")[2]))


def _with(base: Row, place: int, name: str, value: object) -> Unusual:
    return Unusual(row=[*base[:place], value, *base[place + 1 :]], what=f"{name} = {value!r}")


def _near(points: Sequence[float]) -> Iterator[float]:
    """Each chosen split point and the two numbers beside it."""
    for place in np.unique(np.linspace(0, len(points) - 1, _SPLITS).astype(int)) if len(points) else ():
        for near in (points[place], np.nextafter(points[place], np.inf), np.nextafter(points[place], -np.inf)):
            yield float(near)


def split_points(model: Any, columns: Sequence[str]) -> dict[str, list[float]]:
    """Where trees split each input column, sorted; empty for models that are no trees behind a column transformer."""
    steps = [step for _, step in model.steps] if hasattr(model, "steps") else [model]
    names = _inputs(steps[0], columns) if len(steps) > 1 else dict(enumerate(columns))
    found: dict[str, set[float]] = {}
    for feature, threshold in _splits(steps[-1]):
        if feature in names and np.isfinite(threshold):
            found.setdefault(names[feature], set()).add(float(threshold))
    return {name: sorted(points) for name, points in found.items()}


def _inputs(transformer: Any, columns: Sequence[str]) -> dict[int, str]:
    """Which input column each output is, for the parts that give one output a column."""
    found: dict[int, str] = {}
    for name, _, chosen in getattr(transformer, "transformers_", ()):
        span = transformer.output_indices_[name]
        taken = [one if isinstance(one, str) else columns[one] for one in chosen] if isinstance(chosen, list) else []
        if span.stop - span.start == len(taken):
            found |= dict(zip(range(span.start, span.stop), taken, strict=True))
    return found


def _splits(estimator: Any) -> Iterator[tuple[int, float]]:
    for trees in getattr(estimator, "_predictors", ()):
        for tree in trees:
            inner = tree.nodes[tree.nodes["is_leaf"] == 0]
            yield from zip(inner["feature_idx"].tolist(), inner["num_threshold"].tolist(), strict=True)
    members = np.ravel(getattr(estimator, "estimators_", [])).tolist() or [estimator]
    for member in members:
        tree = getattr(member, "tree_", None)
        if tree is not None:
            inner = tree.feature >= 0
            yield from zip(tree.feature[inner].tolist(), tree.threshold[inner].tolist(), strict=True)
