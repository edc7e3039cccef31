"""What an ONNX model of ours takes and gives, as plain JSON inside the model: enough to call it with numpy alone."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from towpath.adapters.runtime_classes import classes_of
from towpath.adapters.runtime_plan import Category, NotConvertible, Plan, is_text

FORMAT = 1
PROPERTY = "towpath.signature"
# A string tensor holds neither None nor NaN, so these stand for them; no category may bear such a name.
NULL, NAN = "\x01null", "\x01nan"
_LARGEST = 1.7976931348623157e308
_LARGEST_SINGLE = math.nextafter(3.4028235677973366e38, 0.0)  # the first number beyond becomes infinity in 32 bits


@dataclass(frozen=True, kw_only=True)
class Input:
    """One input, a tensor of shape (rows, 1): of strings, or of doubles.

    `null` and `nan`: whether None and NaN are taken (for numbers they are the same). `limit`: the greatest magnitude of
    a number that is taken; None takes infinities. `known`: the only texts that are taken; None takes any.
    """

    name: str
    type: str
    null: bool = True
    nan: bool = True
    limit: float | None = None
    known: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The inputs in order, and the output: its last column is the probability of class 1.

    Of a multiclass model it has a column for each of `classes`, in their order.
    """

    inputs: tuple[Input, ...]
    output: str
    classes: tuple[str | int, ...] = ()

    def document(self) -> dict[str, object]:
        meaning: dict[str, object] = {"meaning": "probability of class 1, in the last column"}
        if self.classes:
            meaning = {"meaning": "probability of each class, a column each", "classes": list(self.classes)}
        return {
            "format": FORMAT,
            "inputs": [asdict(one) for one in self.inputs],
            "output": {"name": self.output, "type": "double", **meaning},
            "null": NULL,
            "nan": NAN,
        }


def dumps(signature: Signature) -> str:
    return json.dumps(signature.document(), sort_keys=True, separators=(",", ":"))


def loads(text: str) -> Signature:
    """A signature from its JSON. Raises `ValueError`, `KeyError` or `TypeError` for what is none."""
    document = json.loads(text)
    if document["format"] != FORMAT:
        raise ValueError("the signature has another format")
    inputs = tuple(
        Input(**{**one, "known": None if one["known"] is None else tuple(one["known"])}) for one in document["inputs"]
    )
    output = document["output"]
    return Signature(inputs=inputs, output=output["name"], classes=tuple(output.get("classes", ())))


def of_plan(plan: Plan, *, output: str, classes: tuple[str | int, ...] = ()) -> Signature:
    """The signature of a graph made from a plan. Raises `NotConvertible` for what no graph can say."""
    inputs = []
    for position, name in enumerate(plan.columns):
        features = [one for one in plan.features if one.column == position]
        inputs.append(_of_features(name, features, plan))
    return Signature(inputs=tuple(inputs), output=output, classes=classes)


def _of_features(name: str, features: Sequence[object], plan: Plan) -> Input:
    if len(features) != 1:
        raise NotConvertible(f"Column {name} gives {len(features)} features.")
    (feature,) = features
    if isinstance(feature, Category):
        if feature.numeric:
            raise NotConvertible(f"Column {name} has numbers for categories.")
        known = tuple(str(key) for key in feature.keys)
        return Input(
            name=name,
            type="text",
            null=_taken(feature.null, plan),
            nan=_taken(feature.nan, plan),
            known=None if _taken(feature.unseen, plan) else known,
        )
    missing = _taken(feature.missing, plan)  # type: ignore[attr-defined]
    infinite = plan.infinite and feature.infinite  # type: ignore[attr-defined]
    limit = _LARGEST_SINGLE if plan.single else None if infinite else _LARGEST
    return Input(name=name, type="number", null=missing, nan=missing, limit=limit)


def _taken(code: float | None, plan: Plan) -> bool:
    return code is not None and (plan.nan or code == code)


def of_model(model: object, *, columns: Sequence[str], types: Mapping[str, str], output: str) -> Signature:
    """The signature of a model whose steps are not known: it is asked what it takes, column by column."""
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(model)
    asked = _Asked(model, columns, types)
    inputs = []
    for name in columns:
        if is_text(types[name]):
            if not asked.takes(name, "\x01 no category has this name"):
                raise NotConvertible(f"The model refuses unseen categories of {name}.")
            inputs.append(
                Input(name=name, type="text", null=asked.takes(name, None), nan=asked.takes(name, float("nan")))
            )
        else:
            missing = asked.takes(name, float("nan"))
            limit = _LARGEST if not asked.takes(name, float("inf")) else None
            inputs.append(Input(name=name, type="number", null=missing, nan=missing, limit=limit))
    return Signature(inputs=tuple(inputs), output=output, classes=classes_of(model))


class _Asked:
    """A model asked about single rows in which one value is unusual, the others zeros and unseen texts."""

    def __init__(self, model: object, columns: Sequence[str], types: Mapping[str, str]) -> None:
        self._model = model
        self._row = {name: "" if is_text(types[name]) else 0.0 for name in columns}
        self._types = types
        if not self._answers(self._row):
            raise NotConvertible("The model does not answer a row of zeros and empty texts.")

    def takes(self, name: str, value: object) -> bool:
        return self._answers({**self._row, name: value})

    def _answers(self, row: Mapping[str, object]) -> bool:
        import numpy as np
        import pandas as pd

        frame = pd.DataFrame(
            {name: pd.Series([value], dtype=object if is_text(self._types[name]) else "float64")
             for name, value in row.items()}
        )  # fmt: skip
        try:
            with np.errstate(all="ignore"):
                self._model.predict_proba(frame)  # type: ignore[attr-defined]
        except ValueError:
            return False
        return True
