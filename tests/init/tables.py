"""Tables that people bring: real ones that scikit-learn ships, and made ones of a known shape."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets

from towpath.example.landing import land


def shipped(name: str, **options: Any) -> pd.DataFrame:
    """A data set of scikit-learn with its target as the column `target`."""
    loaded: Any = getattr(datasets, f"load_{name}")(as_frame=True, **options)
    frame: pd.DataFrame = loaded.frame
    return frame


def flights() -> pd.DataFrame:
    """The example's flights of May 2013, as they are delivered."""
    with tempfile.TemporaryDirectory() as folder:
        land(Path(folder))
        return pd.read_csv(Path(folder) / "flights/2013-05.csv")


def passengers(rows: int = 891, *, seed: int = 1) -> pd.DataFrame:
    """A table like the Titanic's: a running number, names, categories, missing ages and cabins, a target in words."""
    draw = np.random.default_rng(seed)
    sex = draw.choice(["male", "female"], rows, p=[0.65, 0.35])
    grade = draw.choice([1, 2, 3], rows, p=[0.24, 0.21, 0.55])
    age = draw.gamma(9, 3.3, rows).round(1)
    odds = 2.4 * (sex == "female") - 1.0 * (grade - 2) - 0.02 * (age - 30) - 0.9
    return pd.DataFrame(
        {
            "PassengerId": np.arange(1, rows + 1),
            "Survived": np.where(draw.random(rows) < 1 / (1 + np.exp(-odds)), "yes", "no"),
            "Pclass": grade,
            "Name": [f'Doe, {"Mr" if one == "male" else "Mrs"}. "{number}"' for number, one in enumerate(sex)],
            "Sex": sex,
            "Age": np.where(draw.random(rows) < 0.2, np.nan, age),
            "SibSp": draw.poisson(0.5, rows),
            "Ticket": [f"A/{draw.integers(100_000)}" for _ in range(rows)],
            "Fare": np.exp(draw.normal(4.2 - grade * 0.7, 0.6, rows)).round(4),
            "Cabin": np.where(draw.random(rows) < 0.77, None, "C" + (np.arange(rows) % 150).astype(str).astype(object)),
            "Embarked": np.where(draw.random(rows) < 0.01, None, draw.choice(["S", "C", "Q"], rows)),
        }
    )


def visits(rows: int = 3000, *, customers: int = 200, seed: int = 2) -> pd.DataFrame:
    """Events: many rows of each customer, each at a time of the first half of 2024, whether it ended in a purchase."""
    draw = np.random.default_rng(seed)
    at = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(np.sort(draw.integers(0, 181 * 86_400, rows)), unit="s")
    pages, device = draw.poisson(5, rows), draw.choice(["phone", "tablet", "desk"], rows)
    odds = 0.5 * (pages - 5) + 0.9 * (device == "desk") - 0.4
    return pd.DataFrame(
        {
            "customer": [f"c{number:03d}" for number in draw.integers(0, customers, rows)],
            "visited at": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "pages": pages,
            "device": device,
            "returning": draw.random(rows) < 0.4,
            "first seen": (at - pd.to_timedelta(draw.integers(0, 900, rows), unit="D")).strftime("%Y-%m-%d"),
            "bought": draw.random(rows) < 1 / (1 + np.exp(-odds)),
        }
    )


def write(frame: pd.DataFrame, file: Path) -> Path:
    """The table as CSV or Parquet, by the file's name."""
    if file.suffix == ".parquet":
        frame.to_parquet(file, index=False)
    else:
        frame.to_csv(file, index=False)
    return file
