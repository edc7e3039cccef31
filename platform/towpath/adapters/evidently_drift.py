"""Drift reports by Evidently: two Parquet files compared column by column.

How a column is compared is said here, never left to Evidently's choice by sample size: numbers by the Wasserstein
distance over the reference's standard deviation, words and booleans by the Jensen-Shannon distance (natural logarithm),
both drifted from 0.1 on. Evidently drops missing values before it compares, so their share is compared beside them: in
words as a value of its own, in numbers by the Jensen-Shannon distance of missing against present.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jinja2 import Environment, PackageLoader, StrictUndefined
from scipy.spatial.distance import jensenshannon

from towpath.core.errors import BadInput, NotFound, Unwritable
from towpath.ports import DriftReport
from towpath.telemetry import silence

NUMBER_THRESHOLD = 0.1
CATEGORY_THRESHOLD = 0.1
MAX_ROWS = 50_000
MAX_LEVELS = 50
PAGE = "drift.html"
_PLACES = 6  # its sums run over sets, whose order changes from process to process beyond this
_MISSING, _OTHER = "(missing)", "(other values)"


class _Kind(StrEnum):
    NUMBER = "a number"
    CATEGORY = "words or booleans"
    EMPTY = "nothing but missing values"


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """The columns of one file, at most so many of its rows, infinities as missing values."""

    frame: pd.DataFrame
    kinds: Mapping[str, _Kind]
    total: int


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """How far one column moved, and by what."""

    column: str
    distance: float
    threshold: float
    method: str

    @property
    def drifted(self) -> bool:
        return self.distance >= self.threshold


class EvidentlyDrift:
    """`DriftReports` by Evidently. Of files with more than `max_rows` rows, so many are drawn by the seed."""

    def __init__(self, *, max_rows: int = MAX_ROWS, seed: int = 0) -> None:
        self._max_rows = max_rows
        self._seed = seed

    def compare(self, reference: Path, current: Path, *, columns: Sequence[str], folder: Path) -> DriftReport:
        """Compare the columns of two Parquet files and write `drift.html`, a page of drift and data quality, to the
        folder.

        A column without any value in one file only has drifted by 1. Raises `NotFound` for a missing file, `BadInput`
        for one that is no Parquet, has no rows, lacks a column or holds it in another kind, and `Unwritable`.
        """
        if not columns:
            raise BadInput("No column was named to compare.", hint="Name the model's inputs.")
        before, after = (_read(file, columns, self._max_rows, self._seed) for file in (reference, current))
        kinds = {name: _common(name, before.kinds[name], after.kinds[name]) for name in columns}
        empty = [name for name in columns if _is_empty(before, name) or _is_empty(after, name)]
        compared = {name: kinds[name] for name in columns if name not in empty}
        frames = _shaped(before.frame, after.frame, compared)
        distances, page = _evidently(*frames, compared) if compared else ({}, "<html><body></body></html>")
        readings = [
            _without_values(name, before, after)
            if name in empty
            else _reading(name, kinds[name], distances, before, after)
            for name in columns
        ]
        return DriftReport(
            distances={item.column: item.distance for item in readings},
            drifted=tuple(item.column for item in readings if item.drifted),
            method={item.column: item.method for item in readings},
            page=_write(folder, page, readings, before, after, self._seed),
        )


def _read(file: Path, columns: Sequence[str], max_rows: int, seed: int) -> _Sample:
    if not file.is_file():
        raise NotFound(f"There is no file {file.name} to compare.", value=file)
    try:
        with pq.ParquetFile(file) as source:
            schema, total = source.schema_arrow, source.metadata.num_rows
            absent = [name for name in columns if name not in schema.names]
            if absent:
                raise BadInput(f"{file.name} has no column {absent[0]!r}.", value=absent[0], valid=sorted(schema.names))
            if not total:
                raise BadInput(f"{file.name} has no rows to compare.", value=file.name, hint="Widen the window.")
            kinds = {name: _kind(name, schema.field(name).type, file) for name in columns}
            table = _drawn(source, columns, total, max_rows, seed)
    except pa.ArrowInvalid as error:
        raise BadInput(f"{file.name} cannot be read as Parquet: {error}.", value=file.name) from error
    frame = pd.DataFrame({name: _values(table.column(name), kinds[name]) for name in columns})
    return _Sample(frame=frame, kinds=kinds, total=total)


def _kind(name: str, type_: pa.DataType, file: Path) -> _Kind:
    values = type_.value_type if pa.types.is_dictionary(type_) else type_
    if pa.types.is_null(values):
        return _Kind.EMPTY
    words = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_boolean)
    if any(test(values) for test in words):
        return _Kind.CATEGORY
    if any(test(values) for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)):
        return _Kind.NUMBER
    raise BadInput(
        f"Column {name!r} of {file.name} is of type {type_}, which has no drift method.",
        value=str(type_),
        valid=("integer", "floating", "decimal", "string", "boolean"),
        hint="Leave it out of the compared columns, or derive a number from it.",
    )


def _drawn(source: pq.ParquetFile, columns: Sequence[str], total: int, max_rows: int, seed: int) -> pa.Table:
    """All rows, or `max_rows` of them without replacement in their order, one batch in memory at a time."""
    if total <= max_rows:
        return source.read(columns=list(columns))
    chosen = np.sort(np.random.default_rng(seed).choice(total, size=max_rows, replace=False))
    parts, start = [], 0
    for batch in source.iter_batches(columns=list(columns)):
        inside = chosen[(chosen >= start) & (chosen < start + batch.num_rows)] - start
        parts.append(batch.take(pa.array(inside)))
        start += batch.num_rows
    return pa.Table.from_batches(parts)


def _values(column: pa.ChunkedArray, kind: _Kind) -> Any:
    if kind is _Kind.NUMBER:
        numbers = pd.to_numeric(column.to_pandas()).astype("float64")
        return numbers.where(np.isfinite(numbers), np.nan)
    words = column.to_pandas().astype("object")
    return words.astype(str).where(words.notna(), None).astype("object")


def _common(name: str, before: _Kind, after: _Kind) -> _Kind:
    if _Kind.EMPTY in (before, after):
        return after if before is _Kind.EMPTY else before
    if before is not after:
        raise BadInput(
            f"Column {name!r} holds {before} in the reference, but {after} in the current sample.",
            value=after,
            valid=[before],
            hint="Read both with the same contract.",
        )
    return before


def _is_empty(sample: _Sample, name: str) -> bool:
    return bool(sample.frame[name].isna().all())


def _missing(sample: _Sample, name: str) -> float:
    return float(sample.frame[name].isna().mean())


def _shaped(before: pd.DataFrame, after: pd.DataFrame, kinds: Mapping[str, _Kind]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both samples as Evidently gets them: in words, missing is a value and rare values are one."""
    reference, current = before[list(kinds)].copy(), after[list(kinds)].copy()
    for name, kind in kinds.items():
        if kind is _Kind.CATEGORY:
            both = pd.concat([reference[name], current[name]]).fillna(_MISSING)
            counts = both.value_counts().rename_axis("value").reset_index(name="rows")
            kept = set(counts.sort_values(["rows", "value"], ascending=[False, True])["value"].head(MAX_LEVELS))
            for frame in (reference, current):
                words = frame[name].fillna(_MISSING)
                frame[name] = words.where(words.isin(kept), _OTHER)
    return reference, current


def _evidently(
    reference: pd.DataFrame, current: pd.DataFrame, kinds: Mapping[str, _Kind]
) -> tuple[dict[str, float], str]:
    """Evidently's distance of each column, and its page."""
    silence()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports use deprecated names, and a constant column has no correlation
        from evidently import DataDefinition, Dataset, Report
        from evidently.metrics import ValueDrift
        from evidently.presets import DataSummaryPreset

        definition = DataDefinition(
            numerical_columns=[name for name, kind in kinds.items() if kind is _Kind.NUMBER],
            categorical_columns=[name for name, kind in kinds.items() if kind is _Kind.CATEGORY],
        )
        # DataDriftPreset would compute each column three times, for the table that our banner is.
        drift = [
            ValueDrift(column=name, method="wasserstein", threshold=NUMBER_THRESHOLD)
            if kind is _Kind.NUMBER
            else ValueDrift(column=name, method="jensenshannon", threshold=CATEGORY_THRESHOLD)
            for name, kind in kinds.items()
        ]
        snapshot = Report([*drift, DataSummaryPreset()]).run(
            Dataset.from_pandas(current, data_definition=definition),
            Dataset.from_pandas(reference, data_definition=definition),
        )
        page = snapshot.get_html_str(as_iframe=False)
    found = {
        item["config"]["column"]: round(float(item["value"]), _PLACES)
        for item in snapshot.dict()["metrics"]
        if item["config"]["type"].endswith(":ValueDrift")
    }
    return found, page


def _reading(name: str, kind: _Kind, distances: Mapping[str, float], before: _Sample, after: _Sample) -> _Reading:
    if kind is _Kind.CATEGORY:
        return _Reading(
            column=name,
            distance=distances[name],
            threshold=CATEGORY_THRESHOLD,
            method=f"jensenshannon, threshold {CATEGORY_THRESHOLD}",
        )
    gone, left = _missing(before, name), _missing(after, name)
    missing = round(float(jensenshannon([gone, 1 - gone], [left, 1 - left])), _PLACES)
    if missing >= CATEGORY_THRESHOLD and missing > distances[name]:
        method = f"jensenshannon of missing values, threshold {CATEGORY_THRESHOLD}"
        return _Reading(column=name, distance=missing, threshold=CATEGORY_THRESHOLD, method=method)
    method = f"wasserstein / sd, threshold {NUMBER_THRESHOLD}"
    return _Reading(column=name, distance=distances[name], threshold=NUMBER_THRESHOLD, method=method)


def _without_values(name: str, before: _Sample, after: _Sample) -> _Reading:
    """A column that has no values in one sample has drifted as far as can be; in both it has not moved."""
    if _is_empty(before, name) and _is_empty(after, name):
        return _Reading(column=name, distance=0.0, threshold=CATEGORY_THRESHOLD, method="no values in either sample")
    which = "reference" if _is_empty(before, name) else "current sample"
    return _Reading(column=name, distance=1.0, threshold=CATEGORY_THRESHOLD, method=f"no values in the {which}")


def _write(folder: Path, page: str, readings: Sequence[_Reading], before: _Sample, after: _Sample, seed: int) -> Path:
    """Evidently's page with our reading on top of it."""
    environment = Environment(loader=PackageLoader("towpath.adapters"), autoescape=True, undefined=StrictUndefined)
    banner = environment.get_template("drift_banner.html.j2").render(
        readings=sorted(readings, key=lambda item: (not item.drifted, -item.distance, item.column)),
        samples=[("reference", len(before.frame), before.total), ("current sample", len(after.frame), after.total)],
        seed=seed,
        levels=MAX_LEVELS,
    )
    head, body, rest = page.partition("<body>")
    target = folder / PAGE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target.write_text(head + body + banner + rest, encoding="utf-8")
    except OSError as error:
        raise Unwritable(f"The drift page {PAGE} cannot be written: {error}.", value=folder) from error
    return target
