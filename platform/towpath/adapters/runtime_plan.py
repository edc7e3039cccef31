"""What a fitted pipeline does to a row before its last estimator, read into a plain table: no scikit-learn to run it.

The plan is read by asking: each transformer of a kind that treats columns one by one is shown every category, a missing
value, an unseen one and the infinities, and what it answers is written down. So the plan cannot disagree with the
transformer about what it was shown, whatever its parameters mean.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

FORMAT = 1
UNSEEN = "\x00 no category has this name"


class NotConvertible(Exception):
    """The model holds something that the converter does not know. The next converter is tried; nobody else sees it."""


@dataclass(frozen=True, kw_only=True)
class Number:
    """A feature that is an input column's number as it is; `missing` stands for NaN (None: NaN is refused)."""

    column: int
    missing: float | None
    infinite: bool  # whether the infinities are taken


@dataclass(frozen=True, kw_only=True)
class Category:
    """A feature that is the code of an input column's category. A code of None means that the value is refused.

    `keys` are text, or numbers when `numeric`; `null` is for None and `nan` for NaN, which scikit-learn keeps apart.
    """

    column: int
    numeric: bool
    keys: tuple[str, ...] | tuple[float, ...]
    codes: tuple[float, ...]
    unseen: float | None
    null: float | None
    nan: float | None
    infinite: bool  # whether the infinities are taken, as unseen numbers


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a row in `columns` becomes the features of the last estimator, in their order.

    `single`: the estimator rounds features to 32 bits first. `nan` and `infinite`: whether it takes such features.
    """

    columns: tuple[str, ...]
    features: tuple[Number | Category, ...]
    single: bool
    nan: bool
    infinite: bool


@dataclass(frozen=True, kw_only=True)
class Known:
    """A model of which the plan could be read, and its last estimator."""

    plan: Plan
    estimator: Any


def dumps(plan: Plan) -> str:
    """The plan as JSON, the same text every time."""
    document = {"format": FORMAT, **asdict(plan)}
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def loads(text: str) -> Plan:
    """A plan from its JSON. Raises `ValueError` or `KeyError` or `TypeError` for what is none."""
    document = json.loads(text)
    if document.pop("format") != FORMAT:
        raise ValueError("the plan has another format")
    features = tuple(
        Category(**{**one, "keys": tuple(one["keys"]), "codes": tuple(one["codes"])}) if "codes" in one
        else Number(**one)
        for one in document.pop("features")
    )  # fmt: skip
    return Plan(**{**document, "columns": tuple(document["columns"])}, features=features)


def is_text(kind: str) -> bool:
    return kind in ("text", "str", "object") or kind.startswith("string")


def is_number(kind: str) -> bool:
    return kind.lower().rstrip("0123456789") in ("int", "uint", "float", "bool", "boolean")


def read(model: object, *, columns: Sequence[str], types: Mapping[str, str]) -> Known:
    """The plan of a fitted model or pipeline, and its last estimator.

    Raises `NotConvertible` for steps that do not treat columns one by one, and for column types that are neither text
    nor numbers.
    """
    from sklearn.pipeline import Pipeline

    for name in columns:
        if not (is_text(types[name]) or is_number(types[name])):
            raise NotConvertible(f"Column {name} is of type {types[name]}.")
    known = list(getattr(model, "feature_names_in_", columns))
    if known != list(columns):
        raise NotConvertible(f"The model was fitted on other columns: {known}.")
    steps = [step for _, step in model.steps if step != "passthrough"] if isinstance(model, Pipeline) else [model]
    if len(steps) > 2:
        raise NotConvertible(f"The pipeline has {len(steps)} steps; one may stand before the estimator.")
    features = _features(steps[0] if len(steps) == 2 else None, list(columns), types)
    single, nan, infinite = _estimator(steps[-1], len(features))
    plan = Plan(columns=tuple(columns), features=tuple(features), single=single, nan=nan, infinite=infinite)
    return Known(plan=plan, estimator=steps[-1])


def _features(step: Any, columns: list[str], types: Mapping[str, str]) -> list[Number | Category]:
    from sklearn.compose import ColumnTransformer

    if not isinstance(step, ColumnTransformer):
        return _ask(step, columns, columns, types)
    if step.sparse_output_:
        raise NotConvertible("The columns come out sparse.")
    found: list[Number | Category] = []
    for _, transformer, chosen in step.transformers_:
        if isinstance(transformer, str) and transformer == "drop":
            continue
        found += _ask(transformer, _named(chosen, columns), columns, types)
    return found


def _named(chosen: Any, columns: list[str]) -> list[str]:
    """The names that a fitted column transformer means: names, positions, a slice of them, or a mask."""
    if isinstance(chosen, slice):
        if isinstance(chosen.start, str) or isinstance(chosen.stop, str):
            raise NotConvertible("Columns are chosen by a slice of names.")
        return columns[chosen]
    if isinstance(chosen, str):
        return [chosen]
    given = list(chosen)
    if given and all(isinstance(one, bool) for one in given):
        return [name for name, taken in zip(columns, given, strict=True) if taken]
    return [one if isinstance(one, str) else columns[int(one)] for one in given]


def _ask(transformer: Any, names: list[str], columns: list[str], types: Mapping[str, str]) -> list[Number | Category]:
    """One feature a column, by what the transformer answers."""
    chain = _chain(transformer)
    encoder = next((one for one in chain if hasattr(one, "categories_")), None)
    found: list[Number | Category] = []
    for place, name in enumerate(names):
        asked = _Asked(transformer=transformer, names=names, place=place, types=types, encoder=encoder)
        position = columns.index(name)
        if encoder is not None:
            found.append(asked.category(position, list(encoder.categories_[place])))
        elif is_text(types[name]):
            raise NotConvertible(f"Column {name} is text, and nothing encodes it.")
        else:
            found.append(asked.number(position))
    return found


def _chain(transformer: Any) -> list[Any]:
    """The transformer's parts, each of a kind that answers column by column."""
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder, StandardScaler, TargetEncoder

    if isinstance(transformer, Pipeline):
        return [part for _, step in transformer.steps for part in _chain(step)]
    if transformer is None or (isinstance(transformer, str) and transformer == "passthrough"):
        return []
    one_by_one = (
        (isinstance(transformer, FunctionTransformer) and transformer.func is None)
        or (isinstance(transformer, StandardScaler) and not (transformer.with_mean or transformer.with_std))
        or (isinstance(transformer, SimpleImputer) and _fills_missing(transformer.missing_values))
        or isinstance(transformer, OrdinalEncoder | TargetEncoder)
    )
    if not one_by_one:
        raise NotConvertible(f"{type(transformer).__name__} is not read into a table.")
    return [transformer]


def _fills_missing(value: object) -> bool:
    """Whether it is None or NaN, and no value of the project's own that stands for "missing"."""
    return value is None or value != value


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A transformer asked about one of its columns; the others hold something that it knows."""

    transformer: Any
    names: list[str]
    place: int
    types: Mapping[str, str]
    encoder: Any

    def category(self, position: int, categories: list[Any]) -> Category:
        numeric = not is_text(self.types[self.names[self.place]])
        keys = [one for one in categories if one is not None and one == one]
        if not all(isinstance(one, str) != numeric for one in keys):
            raise NotConvertible(f"Column {self.names[self.place]} has categories of mixed types.")
        codes = self._answers(keys) if keys else []
        if codes is None:
            raise NotConvertible(f"{type(self.transformer).__name__} does not take its own categories.")
        nan = self._one(float("nan"))
        unseen: object = UNSEEN
        if numeric:
            unseen = 1.5 + max((abs(float(one)) for one in keys), default=0.0)
        return Category(
            column=position,
            numeric=numeric,
            keys=tuple(float(one) for one in keys) if numeric else tuple(str(one) for one in keys),
            codes=tuple(codes),
            unseen=self._one(unseen),
            null=nan if numeric else self._one(None),  # pandas keeps a missing number as NaN
            nan=nan,
            infinite=numeric and self._takes_infinities(),
        )

    def number(self, position: int) -> Number:
        sample = [1.5, -2.25, 0.0]
        if self._answers(sample) != sample:
            raise NotConvertible(f"{type(self.transformer).__name__} changes numbers.")
        return Number(column=position, missing=self._one(float("nan")), infinite=self._takes_infinities())

    def _takes_infinities(self) -> bool:
        return self._one(float("inf")) is not None and self._one(float("-inf")) is not None

    def _one(self, value: object) -> float | None:
        found = self._answers([value])
        return None if found is None else found[0]

    def _answers(self, values: list[Any]) -> list[float] | None:
        """What comes out in this column's place, or None when the transformer refuses."""
        import numpy as np
        import pandas as pd

        frame = pd.DataFrame(
            {name: self._column(place, name, values) for place, name in enumerate(self.names)},
            columns=self.names,
        )
        idle = self.transformer is None or isinstance(self.transformer, str)
        try:
            with np.errstate(all="ignore"):
                out = frame.to_numpy() if idle else np.asarray(self.transformer.transform(frame))
        except ValueError:
            return None
        if out.shape != (len(values), len(self.names)):
            raise NotConvertible(f"{type(self.transformer).__name__} gives more or fewer columns than it takes.")
        return [float(one) for one in out[:, self.place]]

    def _column(self, place: int, name: str, values: list[Any]) -> Any:
        import pandas as pd

        text = is_text(self.types[name])
        if place != self.place:
            known = self.encoder.categories_[place][0] if self.encoder is not None else 0.0
            values = [known] * len(values)
        return pd.Series(values, dtype=object if text else "float64")


def _estimator(estimator: Any, width: int) -> tuple[bool, bool, bool]:
    """Whether the estimator rounds to 32 bits, takes NaN, and takes infinities, among `width` features."""
    import numpy as np
    from sklearn import ensemble, tree

    answer = estimator.predict_proba if hasattr(estimator, "predict_proba") else estimator.predict

    def takes(value: float) -> bool:
        try:
            with np.errstate(all="ignore"):
                answer(np.full((1, width), value))
        except ValueError:
            return False
        return True

    rounding = (
        *(ensemble.RandomForestClassifier, ensemble.ExtraTreesClassifier, ensemble.GradientBoostingClassifier),
        *(ensemble.RandomForestRegressor, ensemble.ExtraTreesRegressor, ensemble.GradientBoostingRegressor),
        *(tree.DecisionTreeClassifier, tree.DecisionTreeRegressor),
    )
    return isinstance(estimator, rounding), takes(float("nan")), takes(float("inf"))
