"""Real tables, each as a split by time that holds no leak: four that scikit-learn ships, and flights of 2013.

Rows of scikit-learn's tables have no time; they get one each in an order drawn by the seed. They are subsamples without
replacement, so every seed gives another table, and none has a row twice that was not twice before. Each split has what
a real one has beside its inputs: a row id, an entity that many rows share, times, joined stamps, and the same rows as
served.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets

from towpath.core.evidence import Finding
from towpath.example.landing import land
from towpath.measure import leakage, leakage_gate, proxy
from towpath.measure.leakage_frame import Split
from towpath.measure.skew import skew

START = pd.Timestamp("2024-01-01", tz="UTC")
SHARE = 0.8  # of a table's rows, in one resample
TRAINED = 0.7  # of a resample's rows, by time
FLIGHTS = 12  # one of so many flights is kept
SERVED = 100


@dataclass(frozen=True, kw_only=True)
class Case:
    """A split, the bound that its charter would set for a single feature, and sampled inputs offline and as served."""

    split: Split
    bound: float
    offline: pd.DataFrame
    online: pd.DataFrame


def judge(case: Case, gate: str | None = None) -> tuple[Finding, ...]:
    """The findings of the leakage gate, as the stage `evaluate` collects them: all, or those of one code."""
    split = case.split
    ranked, source = leakage_gate.ranked_rows(split)
    checks: dict[str, Callable[[], tuple[Finding, ...]]] = {
        "leakage.target_proxy": lambda: proxy.target_proxy(
            ranked[list(split.inputs)],
            ranked[split.target].to_numpy(),
            bound=case.bound,
            source=source,
            seed=split.seed,
        ),
        "leakage.future_feature": lambda: leakage.future_feature(split.both),
        "leakage.overlap": lambda: leakage.overlap(split.train, split.holdout, row_id=split.row_id),
        **{code: partial(check, split) for code, check in leakage_gate.CHECKS.items()},
        "leakage.skew": lambda: skew(case.offline, case.online, tolerance=1e-6),
    }
    return tuple(finding for code, check in checks.items() if gate in (None, code) for finding in check())


@dataclass(frozen=True, kw_only=True)
class Table:
    """A real table: all its rows with inputs and target, what it says of them, and the charter's bound."""

    rows: pd.DataFrame
    inputs: tuple[str, ...]
    target: str
    bound: float
    entity: str
    known_at: Mapping[str, str]


def case(name: str, seed: int) -> Case:
    """One resample of a table, without a leak. The same seed gives the same."""
    table = TABLES[name]()
    generator = np.random.default_rng([seed, len(table.rows)])
    kept = generator.choice(len(table.rows), int(SHARE * len(table.rows)), replace=False)
    rows = table.rows.iloc[kept].reset_index(drop=True)
    if "event_timestamp" not in rows:
        rows = _timed(rows, generator)
    rows = rows.sort_values("event_timestamp", kind="stable", ignore_index=True)
    return split_by_time(rows, table, seed)


def split_by_time(rows: pd.DataFrame, table: Table, seed: int) -> Case:
    """The rows (ordered by time) as a case: training rows are those whose label was known when the holdout begins."""
    begins = rows["event_timestamp"].iloc[int(TRAINED * len(rows))]
    early = (rows["event_timestamp"] < begins) & (rows["label_timestamp"] < begins)
    split = Split(
        train=rows[early].reset_index(drop=True),
        holdout=rows[rows["event_timestamp"] >= begins].reset_index(drop=True),
        inputs=table.inputs,
        target=table.target,
        row_id="row_id",
        known_at=table.known_at,
        seed=seed,
    )
    offline = split.holdout[list(table.inputs)].head(SERVED)
    return Case(split=split, bound=table.bound, offline=offline, online=offline.copy())


def _timed(rows: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    hours = pd.to_timedelta(np.arange(len(rows)), unit="h")
    times = pd.Series(START + hours, index=rows.index)
    return _stamped(
        rows.assign(
            row_id=[f"r{number:05d}" for number in generator.permutation(len(rows))],
            site=[f"site {number}" for number in generator.integers(0, max(20, len(rows) // 12), len(rows))],
            event_timestamp=times,
            label_timestamp=times + np.timedelta64(30, "m"),
            measured_at=times - np.timedelta64(10, "m"),
        )
    )


def _stamped(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(
        view__event_timestamp=rows["event_timestamp"] - np.timedelta64(2, "h"),
        view__created_timestamp=rows["event_timestamp"] - np.timedelta64(1, "h"),
    )


def _shipped(load: Callable[[], pd.DataFrame], positive: Callable[[pd.Series], pd.Series], bound: float) -> Table:
    """One of scikit-learn's tables; its last column becomes a target of 0 and 1."""
    rows = load()
    inputs = tuple(map(str, rows.columns[:-1]))
    rows = rows.rename(columns={rows.columns[-1]: "target"})
    rows["target"] = positive(rows["target"]).astype(np.int64)
    known = {inputs[0]: "measured_at"}
    return Table(rows=rows, inputs=inputs, target="target", bound=bound, entity="site", known_at=known)


@cache
def breast_cancer() -> Table:
    """569 tumours, 30 measures. One honest measure alone ranks them with 0.975, so its charter bounds 0.99."""
    return _shipped(lambda: datasets.load_breast_cancer(as_frame=True).frame, lambda target: target == 1, 0.99)


@cache
def wine() -> Table:
    """178 wines, 13 measures: the second grower's against the others'. One measure alone ranks them with 0.96."""
    return _shipped(lambda: datasets.load_wine(as_frame=True).frame, lambda target: target == 1, 0.99)


@cache
def digits() -> Table:
    """1,797 drawn digits, 64 pixels of 17 shades: odd or even."""
    return _shipped(lambda: datasets.load_digits(as_frame=True).frame, lambda target: target % 2, 0.97)


@cache
def diabetes() -> Table:
    """442 patients, 10 measures as taken (not as scaled): progression above 140."""
    return _shipped(
        lambda: datasets.load_diabetes(as_frame=True, scaled=False).frame, lambda target: target > 140, 0.97
    )


@cache
def flights() -> Table:
    """Every twelfth flight of April and May 2013 with the weather of the hour before: arrival over 15 minutes late."""
    with tempfile.TemporaryDirectory() as folder:
        land(Path(folder))
        read = {name: _months(Path(folder), name) for name in ("flights", "weather")}
    rows = read["flights"].iloc[::FLIGHTS].dropna(subset=["dep_delay", "arr_delay", "air_time", "tailnum"])
    scheduled = pd.to_datetime(rows["time_hour"], utc=True)
    left = scheduled + pd.to_timedelta(rows["minute"] + rows["dep_delay"], unit="min")
    weather = read["weather"].assign(hour_before=pd.to_datetime(read["weather"]["time_hour"], utc=True))
    weather["hour_before"] += np.timedelta64(1, "h")
    rows = rows.assign(
        row_id=[f"f{number:06d}" for number in range(len(rows))],
        weekday=scheduled.dt.dayofweek,
        late=(rows["arr_delay"] > 15).astype(np.int64),
        event_timestamp=left,
        departed_at=left,
        label_timestamp=left + pd.to_timedelta(rows["air_time"] + 25, unit="min"),
        hour_before=scheduled,
    ).merge(
        weather[["origin", "hour_before", "temp", "wind_speed", "visib"]].drop_duplicates(["origin", "hour_before"]),
        on=["origin", "hour_before"],
        how="left",
    )
    rows = rows.sort_values("event_timestamp", kind="stable", ignore_index=True)
    # what the carrier's flights that landed long ago say: the honest kind of aggregate
    rows["carrier_late"] = rows.groupby("carrier")["late"].transform(lambda late: late.shift(20).expanding().mean())
    inputs = ("carrier", "origin", "dest", "dep_delay", "hour", "weekday", "distance", "temp", "wind_speed", "visib")
    kept = [*inputs, "carrier_late", "tailnum", "late", "row_id", "event_timestamp", "label_timestamp", "departed_at"]
    return Table(
        rows=_stamped(rows[kept]),
        inputs=(*inputs, "carrier_late"),
        target="late",
        bound=0.97,
        entity="tailnum",
        known_at={"dep_delay": "departed_at"},
    )


def _months(folder: Path, name: str) -> pd.DataFrame:
    return pd.concat([pd.read_csv(folder / name / f"2013-{month:02d}.csv") for month in (4, 5)], ignore_index=True)


TABLES: Mapping[str, Callable[[], Table]] = {
    "flights": flights,
    "breast cancer": breast_cancer,
    "wine": wine,
    "digits": digits,
    "diabetes": diabetes,
}
