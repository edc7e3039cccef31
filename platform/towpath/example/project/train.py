"""The model: gradient boosted trees over the raw feature table, as one scikit-learn pipeline.

`fit` is all that the path asks of a project. Preprocessing lives inside the pipeline, so what is evaluated, registered
and served is one object, and a raw row is all it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

# Codes below every category's own (0, 1, 2, …), so that "unheard of" and "unknown" sort beside each other.
UNSEEN, MISSING = -1, -2


def fit(frame: pd.DataFrame, target: pd.Series, *, params: Mapping[str, Any], seed: int) -> Pipeline:
    """Fit a classifier of `target` (n rows of 0 or 1) on `frame` (n rows, one column a feature).

    Columns of numbers may hold NaN; every other column is taken for categories, which may be missing (None or NaN) and
    may show values at prediction that were not there in training. `params` are those of
    `HistGradientBoostingClassifier`. The same arguments give the same model.
    """
    numbers = [name for name in frame.columns if is_numeric_dtype(frame[name]) or is_bool_dtype(frame[name])]
    categories = [name for name in frame.columns if name not in numbers]
    # The boosting's own categorical features are left off: converters to ONNX get them wrong without saying so.
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=UNSEEN, encoded_missing_value=MISSING, dtype=np.float64
    )
    # Scales nothing: it turns integers and nullable columns into floats with NaN, and refuses what is no number.
    as_floats = StandardScaler(with_mean=False, with_std=False)
    pipeline = Pipeline(
        [
            ("columns", ColumnTransformer([("categories", encoder, categories), ("numbers", as_floats, numbers)])),
            ("model", HistGradientBoostingClassifier(**{"early_stopping": False, **params}, random_state=seed)),
        ]
    )
    return pipeline.fit(_with_one_missing_value(frame, categories), target)


def _with_one_missing_value(frame: pd.DataFrame, categories: list[str]) -> pd.DataFrame:
    """`frame` with NaN for every missing category: the encoder takes None for a category of its own."""
    plain = frame.copy()
    for name in categories:
        plain[name] = frame[name].astype(object).where(frame[name].notna(), np.nan)
    return plain
