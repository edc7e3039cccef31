"""Scoring rows with scikit-learn itself: straight on an array where the pipeline's columns can be read into a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from towpath.adapters import runtime_plan as plans
from towpath.adapters.runtime_encoder import Encoder
from towpath.adapters.runtime_plan import NotConvertible, is_text
from towpath.core.errors import BadInput


class Scorer:
    """A fitted model that scores rows. A table of pandas is made only where the columns cannot be encoded without."""

    def __init__(self, model: Any, *, columns: Sequence[str], types: Mapping[str, str]) -> None:
        self._columns = list(columns)
        self._text = [is_text(types[name]) for name in columns]
        self._encoder: Encoder | None = None
        self._estimator = model
        self._regressor = _is_regressor(model)
        try:
            known = plans.read(model, columns=columns, types=types)
            self._encoder, self._estimator = Encoder(known.plan), known.estimator
        except NotConvertible:
            pass

    def predict(self, rows: Sequence[Sequence[object]]) -> list[float]:
        """Probabilities of class 1, or a regression's numbers. Raises `BadInput` for rows it does not take."""
        import numpy as np

        if not rows:
            return []
        if self._encoder is None:
            table: Any = self._frame(rows)
        else:
            table = np.frombuffer(self._encoder.rows(rows)).reshape(-1, self._encoder.width)
        try:
            with np.errstate(all="ignore"):
                answer = self._estimator.predict(table) if self._regressor else self._chances(table)
        except ValueError as error:
            raise BadInput(f"The model does not take these rows: {error}") from error
        found: list[float] = np.asarray(answer, dtype=np.float64).tolist()
        return found

    def _chances(self, table: Any) -> Any:
        """Of class 1; of several classes, or of two that are not 0 and 1, all of them, a row's behind one another."""
        found = self._estimator.predict_proba(table)
        if list(getattr(self._estimator, "classes_", (0, 1))) == [0, 1]:
            return found[:, 1]
        return found.ravel()

    def _frame(self, rows: Sequence[Sequence[object]]) -> Any:
        import pandas as pd

        try:
            columns = list(zip(*rows, strict=True))
        except ValueError:
            columns = []
        if len(columns) != len(self._columns):
            raise BadInput("A row has more or fewer values than the model has inputs.", valid=self._columns)
        return pd.DataFrame(
            {
                name: _column(name, values, text=text)
                for name, text, values in zip(self._columns, self._text, columns, strict=True)
            }
        )


def _is_regressor(model: Any) -> bool:
    from sklearn.base import is_regressor

    return bool(is_regressor(model))


def _column(name: str, values: tuple[object, ...], *, text: bool) -> Any:
    import pandas as pd

    for value in values:
        if value is not None and isinstance(value, str) is not text and value == value:
            raise BadInput(
                f"The model does not take {value!r} for {name}, which is {'text' if text else 'a number'}.", value=value
            )
    return pd.Series(list(values), dtype=object if text else "float64")
