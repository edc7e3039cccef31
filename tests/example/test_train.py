"""The example's `fit`: the same model every time, and no surprise from values that training did not show."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.metrics import roc_auc_score

from example.tables import ROOT, Example

INPUTS = ["dep_delay", "departure_hour", "distance", "scheduled_minutes", "carrier", "origin", "dest"]
PARAMS = {"max_iter": 10, "learning_rate": 0.3, "max_leaf_nodes": 15}


@pytest.fixture(scope="session")
def fit() -> Callable[..., Any]:
    found: Callable[..., Any] = runpy.run_path(str(ROOT / "platform/towpath/example/project/train.py"))["fit"]
    return found


@pytest.fixture(scope="session")
def rows(built: Example) -> pd.DataFrame:
    """A sample of departures in January, some with an aircraft of unknown build."""
    frame: pd.DataFrame = built.database.execute(
        "SELECT s.*, CAST(seats AS DOUBLE) AS seats, engine FROM feature.spine AS s LEFT JOIN planes USING (tailnum) "
        "WHERE event_timestamp < TIMESTAMPTZ '2013-02-01 00:00:00Z' ORDER BY hash(flight_id) LIMIT 6000"
    ).df()
    assert 0 < frame["engine"].isna().sum() < len(frame)
    return frame


@pytest.fixture(scope="session")
def model(fit: Callable[..., Any], rows: pd.DataFrame) -> Any:
    return fit(rows[[*INPUTS, "seats", "engine"]], rows["late"], params=PARAMS, seed=7)


def _scores(model: Any, frame: pd.DataFrame) -> np.ndarray[Any, Any]:
    scores: np.ndarray[Any, Any] = model.predict_proba(frame)[:, 1]
    return scores


def test_it_learns_and_the_same_arguments_give_the_same_model(fit: Callable[..., Any], rows: pd.DataFrame) -> None:
    inputs, target = rows[[*INPUTS, "seats", "engine"]], rows["late"]
    before = inputs.copy()
    one, other = (fit(inputs[:4000], target[:4000], params=PARAMS, seed=7) for _ in range(2))
    scores = _scores(one, inputs[4000:])
    assert np.array_equal(scores, _scores(other, inputs[4000:]))
    assert 0.9 < roc_auc_score(target[4000:], scores) < 0.97
    pd.testing.assert_frame_equal(inputs, before)


def test_missing_and_unheard_of_values_are_answered(model: Any, rows: pd.DataFrame) -> None:
    row = rows.loc[rows["engine"].isna(), [*INPUTS, "seats", "engine"]].head(1)
    scores = [
        _scores(model, row.assign(engine=pd.Series([empty], index=row.index, dtype=object)))[0]
        for empty in (None, np.nan)
    ]
    assert scores[0] == scores[1]
    strange = row.assign(carrier="??", dest="XXX", engine="Steam", dep_delay=np.nan, seats=np.nan)
    assert 0 < _scores(model, strange)[0] < 1


def test_nullable_numbers_score_like_plain_ones(fit: Callable[..., Any], rows: pd.DataFrame) -> None:
    inputs = rows[[*INPUTS, "seats"]]
    nullable = inputs.astype({"seats": "Int64", "departure_hour": "Int64"})
    plain, other = (fit(frame, rows["late"], params=PARAMS, seed=7) for frame in (inputs, nullable))
    assert np.array_equal(_scores(plain, inputs), _scores(other, nullable))
    assert np.array_equal(_scores(plain, inputs), _scores(plain, nullable))


def test_words_where_numbers_belong_are_refused(model: Any, rows: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="could not convert string to float"):
        model.predict_proba(rows.head(2).assign(dep_delay="late"))


def test_it_is_saved_and_loaded_without_pickle(model: Any, rows: pd.DataFrame, tmp_path: Path) -> None:
    skops.io.dump(model, tmp_path / "model.skops")
    trusted = skops.io.get_untrusted_types(file=tmp_path / "model.skops")
    assert all(name.startswith(("sklearn.", "numpy.")) for name in trusted)
    loaded = skops.io.load(tmp_path / "model.skops", trusted=trusted)
    assert np.array_equal(_scores(loaded, rows), _scores(model, rows))
