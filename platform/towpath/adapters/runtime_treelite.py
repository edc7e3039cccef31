"""Tree ensembles in 64 bits by treelite's General Tree Inference Library, also those that split by category.

The call goes to treelite's C interface directly: its Python function makes a configuration and copies shapes on every
call, which costs three times as much as one row's trees.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from towpath.adapters import runtime_file as files
from towpath.adapters.runtime_classes import LEAST, is_known
from towpath.adapters.runtime_encoder import Encoder
from towpath.adapters.runtime_plan import Known, NotConvertible

KIND = "treelite"
_TREES = "trees.treelite"


def compile_treelite(known: Known, file: Path) -> None:
    """Write the model's runtime file. Raises `NotConvertible`."""
    files.write(file, known.plan, _TREES, imported(known.estimator).serialize_bytes())


def imported(estimator: Any) -> Any:
    """The estimator as a treelite model. Raises `NotConvertible` for one that is no tree ensemble of known classes."""
    import numpy as np
    import treelite.sklearn
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier

    if not is_known(estimator):
        raise NotConvertible("The classes are neither 0 and 1 nor three and more.")
    if isinstance(estimator, GradientBoostingClassifier | HistGradientBoostingClassifier):
        if estimator.loss != "log_loss":
            raise NotConvertible(f"The loss {estimator.loss} has another link than the logistic one.")
    elif isinstance(estimator, DecisionTreeClassifier):
        estimator = _forest_of(RandomForestClassifier(n_estimators=1), estimator)
    try:
        with np.errstate(invalid="ignore"):  # it casts a category that is NaN
            model = treelite.sklearn.import_model(estimator)
    except (treelite.TreeliteError, NotImplementedError, AssertionError) as error:
        raise NotConvertible(f"treelite does not import {type(estimator).__name__}: {error}") from error
    if (model.input_type, model.output_type) != ("float64", "float64"):
        raise NotConvertible(f"The trees are of type {model.input_type} and give {model.output_type}.")
    return model


def _forest_of(forest: Any, tree: Any) -> Any:
    """A single tree as the forest of one that it is, which treelite knows."""
    forest.estimators_ = [tree]
    for name in ("n_features_in_", "n_outputs_", "n_classes_", "classes_"):
        setattr(forest, name, getattr(tree, name))
    return forest


class TreeliteRuntime:
    """The port `Runtime` on a file of `compile_treelite`. Calls share nothing, so threads may call it at once."""

    kind = KIND
    inline = True

    def __init__(self, file: Path) -> None:
        import treelite
        from treelite.core import _LIB
        from treelite.gtil.gtil import GTILConfig

        plan, trees = files.read(file, _TREES)
        try:
            self._model = treelite.Model.deserialize_bytes(trees)
        except treelite.TreeliteError as error:
            raise files.damaged(file, error) from error
        self.columns = plan.columns
        self._encoder = Encoder(plan)
        self._config = GTILConfig(predict_type="default", nthread=1)
        self._outputs = self._width(_LIB)
        # of the probabilities of two classes the second is the answer, of several classes all of them are
        self._answer = slice(None) if self._outputs >= LEAST else slice(self._outputs - 1, None, self._outputs)
        # A prototype of our own: bytes and addresses go through as they are.
        self._call = ctypes.CFUNCTYPE(
            ctypes.c_int,
            *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p),
        )(("TreeliteGTILPredict", _LIB))
        self._handles = (self._model.handle.value, self._config.handle.value)

    def _width(self, library: Any) -> int:
        """Values that one row's prediction consists of: the probability of class 1, or those of all classes."""
        shape, dimensions = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64()
        library.TreeliteGTILGetOutputShape(
            self._model.handle, ctypes.c_uint64(1), self._config.handle, ctypes.byref(shape), ctypes.byref(dimensions)
        )
        width = 1
        for place in range(dimensions.value):
            width *= shape[place]
        return width

    def predict(self, rows: Sequence[Sequence[object]]) -> list[float]:
        if not rows:
            return []
        features = self._encoder.rows(rows)
        out = array("d", bytes(8 * self._outputs * len(rows)))
        model, config = self._handles
        if self._call(model, features, b"float64", len(rows), out.buffer_info()[0], config):
            raise files.damaged(Path(_TREES), "treelite refuses to predict")
        return out[self._answer].tolist()

    async def predict_apart(self, rows: Sequence[Sequence[object]]) -> list[float]:
        return self.predict(rows)

    def close(self) -> None:
        """Nothing is held but memory."""
