"""Fitted classifiers of two classes over texts and numbers, of every shape that the converters know or refuse."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder
from sklearn.tree import DecisionTreeClassifier

TYPES: Mapping[str, str] = {
    "source": "text",
    "pages": "int64",
    "minutes": "float64",
    "member": "bool",
    "country": "text",
    "spent": "float64",
}
COLUMNS = tuple(TYPES)
WORDS, NUMBERS = ["source", "country"], ["pages", "minutes", "member", "spent"]
SOURCES, COUNTRIES = ["mail", "search", "ad", ""], ["at", "be", "ch", "de", "es", "fi"]


def visits(rows: int = 600) -> tuple[pd.DataFrame, pd.Series[Any]]:
    draw = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "source": draw.choice(SOURCES, rows),
            "pages": draw.integers(1, 9, rows),
            "minutes": np.where(draw.random(rows) < 0.1, np.nan, draw.normal(5, 2, rows)),
            "member": draw.random(rows) < 0.5,
            "country": draw.choice(COUNTRIES, rows),
            "spent": draw.lognormal(3, 1, rows),
        }
    )
    frame.loc[::17, "country"] = np.nan
    score = frame["pages"] + 2 * (frame["source"] == "ad") + frame["member"] + (frame["country"] == "de")
    return frame, (score + draw.normal(0, 2, rows) > 6).astype(int)


def _encoded(**given: Any) -> OrdinalEncoder:
    return OrdinalEncoder(
        **{"handle_unknown": "use_encoded_value", "unknown_value": -1, "encoded_missing_value": -2, **given}
    )


def _as_floats() -> StandardScaler:
    return StandardScaler(with_mean=False, with_std=False)


def _trees(estimator: Any, *, filled: bool = False) -> Any:
    numbers = make_pipeline(SimpleImputer(strategy="median"), _as_floats()) if filled else _as_floats()
    return make_pipeline(ColumnTransformer([("words", _encoded(), WORDS), ("numbers", numbers, NUMBERS)]), estimator)


def _linear(estimator: Any) -> Any:
    shaped = ColumnTransformer(
        [
            ("words", OneHotEncoder(handle_unknown="ignore"), WORDS),
            ("numbers", StandardScaler(), ["pages", "spent"]),
            ("member", "passthrough", ["member"]),
        ]
    )
    return make_pipeline(shaped, estimator)


def _hist(**given: Any) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(**{"max_iter": 12, "max_leaf_nodes": 7, "random_state": 1, **given})


def _by_category() -> Any:
    """Trees that split by category themselves."""
    shaped = ColumnTransformer(
        [("words", _encoded(encoded_missing_value=np.nan), WORDS), ("numbers", _as_floats(), NUMBERS)]
    )
    return make_pipeline(shaped, _hist(categorical_features=[0, 1]))


def _mixed() -> Any:
    """Positions, a passed and a dropped column, numbers and encoded numbers in turn."""
    shaped = ColumnTransformer(
        [
            ("minutes", "passthrough", [2]),
            ("words", make_pipeline(SimpleImputer(strategy="most_frequent"), _encoded()), [0, 4]),
            ("pages", _encoded(encoded_missing_value=-3), ["pages"]),
            ("idle", FunctionTransformer(), ["spent"]),
            ("member", "drop", ["member"]),
        ]
    )
    return make_pipeline(shaped, _hist())


def _by_target() -> Any:
    shaped = ColumnTransformer([("words", TargetEncoder(), WORDS), ("numbers", _as_floats(), NUMBERS)])
    return make_pipeline(shaped, _hist())


def _one_hot() -> Any:
    """Columns that no plan says, before trees."""
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(ColumnTransformer([("words", words, WORDS), ("numbers", _as_floats(), NUMBERS)]), _hist())


def _strict() -> Any:
    """An encoder that refuses what it never saw."""
    shaped = ColumnTransformer([("words", OrdinalEncoder(), WORDS), ("numbers", _as_floats(), NUMBERS)])
    return make_pipeline(shaped, _hist())


MODELS = {
    "boosted": lambda: _trees(_hist()),
    "forest": lambda: _trees(RandomForestClassifier(8, max_depth=5, random_state=1)),
    "extra trees": lambda: _trees(ExtraTreesClassifier(8, max_depth=5, random_state=1)),
    "gradient": lambda: _trees(GradientBoostingClassifier(n_estimators=8, random_state=1), filled=True),
    "tree": lambda: _trees(DecisionTreeClassifier(max_depth=5, random_state=1)),
    "one leaf": lambda: _trees(DecisionTreeClassifier(min_samples_leaf=400, random_state=1)),
    "filled": lambda: _trees(_hist(), filled=True),
    "mixed": _mixed,
    "by target": _by_target,
    "strict": _strict,
    "one hot": _one_hot,
    "by category": _by_category,
    "linear": lambda: _linear(LogisticRegression()),
    "calibrated": lambda: _linear(CalibratedClassifierCV(LogisticRegression(), cv=2)),
    "bayes": lambda: _linear(GaussianNB()),
}


@functools.cache
def fitted(kind: str) -> Any:
    """The model, fitted on `visits`; the same object every time."""
    frame, target = visits()
    return MODELS[kind]().fit(frame, target)


def frame_of(rows: Sequence[Sequence[object]]) -> pd.DataFrame:
    """Rows as scikit-learn gets them: texts as objects, numbers in 64 bits."""
    columns = list(zip(*rows, strict=True))
    return pd.DataFrame(
        {
            name: pd.Series(list(values), dtype=object if TYPES[name] == "text" else "float64")
            for name, values in zip(COLUMNS, columns, strict=True)
        }
    )


def rows_of(frame: pd.DataFrame) -> list[list[object]]:
    return [list(row) for row in zip(*(frame[name].tolist() for name in COLUMNS), strict=True)]


def answer(model: Any, row: Sequence[object]) -> float | None:
    """scikit-learn's probability of class 1, or None when it refuses the row."""
    try:
        with np.errstate(all="ignore"):
            return float(model.predict_proba(frame_of([row]))[0, 1])
    except ValueError:
        return None
