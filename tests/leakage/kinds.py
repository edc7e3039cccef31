"""The corpus of leaks: each kind planted into a clean split of a real table, with the gate and column to be named.

A plant changes as little as the mistake that it stands for would. It is given the clean case and a generator, and
returns the case with the leak and the column (or whatever the finding is about) that has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from leakage.tables import Case
from towpath.measure.leakage_frame import Split

Plant = Callable[[Case, np.random.Generator], tuple[Case, str]]
NEW = "planted"


class NotHere(Exception):
    """This table cannot have the leak; why not."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One way to leak: its family in the docs, what was done, the gate that must refuse it, and how it is planted."""

    family: str
    name: str
    gate: str
    plant: Plant


def _with_parts(case: Case, both: pd.DataFrame, *, inputs: tuple[str, ...] | None = None) -> Case:
    """The case with other rows (training first) and inputs, served as they are."""
    before = case.split
    split = replace(
        before,
        train=both.iloc[: len(before.train)].reset_index(drop=True),
        holdout=both.iloc[len(before.train) :].reset_index(drop=True),
        inputs=tuple(before.inputs) if inputs is None else inputs,
    )
    offline = split.holdout[list(split.inputs)].head(len(case.offline))
    return replace(case, split=split, offline=offline, online=offline.copy())


def _with_column(case: Case, values: object, name: str = NEW) -> tuple[Case, str]:
    both = case.split.both.assign(**{name: np.asarray(values)})
    return _with_parts(case, both, inputs=(*case.split.inputs, name)), name


def _labels(case: Case) -> pd.Series:
    return case.split.both[case.split.target]


def _numeric(split: Split) -> str:
    """The input whose most frequent number has the fewest rows."""
    return _spread(split)[-1]


def _spread(split: Split) -> list[str]:
    """Inputs of numbers, the one that spreads over the most values last."""
    return sorted(split.numbers, key=lambda name: -split.both[name].value_counts().iloc[0])


def _outer(split: Split) -> str:
    """An input whose range the holdout widens by one row; else fitting it on all rows tells nothing new."""
    for name in _spread(split)[::-1]:
        both, train = split.both[name], split.train[name]
        low, high = (both == both.min()).sum(), (both == both.max()).sum()
        if (train.min() > both.min() or train.max() < both.max()) and min(low, high) == 1:
            return name
    raise NotHere("the holdout lies within the training set's range")


def _entity(split: Split) -> str:
    return "tailnum" if "tailnum" in split.both else "site"


def _cell(case: Case) -> tuple[Case, str]:
    """The case with a real category of many values: a column of identifiers, or what two measures are near to."""
    split = case.split
    if "dest" in split.both:
        return case, "dest"
    most = _spread(split)[-2:]
    parts = [(split.both[name].rank(pct=True) * 6).astype(int).astype(str) for name in most]
    both = split.both.assign(cell=parts[0] + "/" + parts[1])
    return _with_parts(case, both, inputs=(*split.inputs, "cell")), "cell"


def _copy(case: Case, _: np.random.Generator) -> tuple[Case, str]:
    return _with_column(case, _labels(case))


def _words(case: Case, _: np.random.Generator) -> tuple[Case, str]:
    return _with_column(case, np.where(_labels(case) == 1, "closed", "open"))


def _monotone(case: Case, generator: np.random.Generator) -> tuple[Case, str]:
    return _with_column(case, np.exp(3 - 2 * (_labels(case) + generator.uniform(0, 0.9, len(_labels(case))))))


def _noisy(case: Case, generator: np.random.Generator) -> tuple[Case, str]:
    return _with_column(case, _labels(case) + generator.normal(0, 0.2, len(_labels(case))))


def _binned(case: Case, generator: np.random.Generator) -> tuple[Case, str]:
    """Four classes in no order, each of one label."""
    either = 2 * generator.integers(0, 2, len(_labels(case)))
    return _with_column(case, either + np.where(_labels(case) == 1, 0, 1))


def _entity_mean(case: Case, _: np.random.Generator) -> tuple[Case, str]:
    both = case.split.both
    return _with_column(case, both.groupby(_entity(case.split))[case.split.target].transform("mean"))


def _entity_measure(case: Case, _: np.random.Generator) -> tuple[Case, str]:
    both = case.split.both
    return _with_column(case, both.groupby(_entity(case.split))[_numeric(case.split)].transform("mean"))


def _centred_window(case: Case, _: np.random.Generator) -> tuple[Case, str]:
    return _with_column(case, case.split.both[_numeric(case.split)].rolling(5, center=True, min_periods=1).mean())


def _own_label(case: Case, _: np.random.Generator) -> tuple[Case, str]:
    """A running rate that forgets to leave the row itself out."""
    both = case.split.both
    return _with_column(
        case, both.groupby(_entity(case.split))[case.split.target].transform(lambda one: one.expanding().mean())
    )


def _event_later(case: Case, _: np.random.Generator) -> tuple[Case, str]:
    return _late_stamp(case, "view__event_timestamp")


def _created_later(case: Case, _: np.random.Generator) -> tuple[Case, str]:
    """A backfill: stamped in time, written afterwards."""
    return _late_stamp(case, "view__created_timestamp")


def _late_stamp(case: Case, column: str) -> tuple[Case, str]:
    both = case.split.both.copy()
    late = np.arange(len(both)) % 10 == 0
    both[column] = both[column].where(~late, both["event_timestamp"] + np.timedelta64(3, "h"))
    return _with_parts(case, both), "view"


def _same_id(case: Case, generator: np.random.Generator) -> tuple[Case, str]:
    split = case.split
    holdout = split.holdout.copy()
    taken = generator.choice(len(holdout), max(2, len(holdout) // 20), replace=False)
    ids = generator.choice(split.train[split.row_id], len(taken), replace=False)
    holdout.loc[holdout.index[taken], split.row_id] = ids
    return replace(case, split=replace(split, holdout=holdout)), split.row_id


def _random_split(case: Case, generator: np.random.Generator) -> tuple[Case, str]:
    both = case.split.both
    mixed = both.iloc[generator.permutation(len(both))].reset_index(drop=True)
    return _with_parts(case, mixed), "event_timestamp"


def _copied_rows(case: Case, generator: np.random.Generator) -> tuple[Case, str]:
    """Rows of the holdout that are rows of training under new ids, labels included."""
    return replace(case, split=_replaced(case.split, generator, noise=0.0)), "rows"


def _nearly_copied_rows(case: Case, generator: np.random.Generator) -> tuple[Case, str]:
    """The same measured again: every number that has fractions or is large differs by a thousandth of its spread."""
    return replace(case, split=_replaced(case.split, generator, noise=0.001)), "near rows"


def _replaced(split: Split, generator: np.random.Generator, *, noise: float) -> Split:
    holdout = split.holdout.copy()
    taken = generator.choice(len(holdout), max(4, len(holdout) // 12), replace=False)
    source = split.train.iloc[generator.choice(len(split.train), len(taken), replace=False)]
    for name in (*split.inputs, split.target):
        values = source[name].to_numpy()
        if noise and name in split.numbers:
            holdout[name] = holdout[name].astype(np.float64)
            values = values + noise * split.both[name].std() * generator.normal(size=len(taken))
        holdout.loc[holdout.index[taken], name] = values
    return replace(split, holdout=holdout)


def _entity_both_sides(case: Case, generator: np.random.Generator) -> tuple[Case, str]:
    """Rows of one person, all with one label, spread over training and holdout."""
    return _persons(case, generator, wrong=0.0)


def _group_label(case: Case, generator: np.random.Generator) -> tuple[Case, str]:
    """Households in which one row in twenty-five differs from the rest."""
    return _persons(case, generator, wrong=0.04)


def _persons(case: Case, generator: np.random.Generator, *, wrong: float) -> tuple[Case, str]:
    truth = _labels(case).to_numpy()
    shown = np.where(generator.random(len(truth)) < wrong, 1 - truth, truth)
    person = np.empty(len(truth), dtype=object)
    for label in (0, 1):
        rows = np.flatnonzero(shown == label)
        numbers = generator.integers(0, max(len(rows) // 8, 5), len(rows))
        person[rows] = [f"person {2 * number + label}" for number in numbers]
    return _with_parts(case, case.split.both.assign(person=person)), "person"


def _prepared(transformer: object, chosen: Callable[[Split], str] = _numeric) -> Plant:
    """A column replaced by what a transformer makes of it that was fitted on all rows."""

    def plant(case: Case, _: np.random.Generator) -> tuple[Case, str]:
        name = chosen(case.split)
        values = case.split.both[[name]].fillna(case.split.both[name].median()).to_numpy(dtype=np.float64)
        changed = transformer.fit_transform(values)[:, 0]  # type: ignore[attr-defined]
        return _with_parts(case, case.split.both.assign(**{name: changed})), name

    return plant


def _ranks(case: Case, _: np.random.Generator) -> tuple[Case, str]:
    name = _numeric(case.split)
    return _with_parts(case, case.split.both.assign(**{name: case.split.both[name].rank(pct=True)})), name


def _filled_with_mean(case: Case, generator: np.random.Generator) -> tuple[Case, str]:
    name = _numeric(case.split)
    values = case.split.both[[name]].astype(np.float64).to_numpy()
    values[generator.random(len(values)) < 0.15] = np.nan
    return _with_parts(case, case.split.both.assign(**{name: SimpleImputer().fit_transform(values)[:, 0]})), name


def _components(case: Case, _: np.random.Generator) -> tuple[Case, str]:
    split = case.split
    names = _spread(split)[-4:]
    values = split.both[names].fillna(split.both[names].median()).to_numpy(dtype=np.float64)
    return _with_column(case, PCA(n_components=1).fit_transform(StandardScaler().fit_transform(values))[:, 0])


def _encoded(how: Callable[[pd.Series, pd.Series, np.ndarray], np.ndarray]) -> Plant:
    """A category encoded by `how(category, labels, fitted)`; `fitted` (n,) says which rows are training rows."""

    def plant(case: Case, _: np.random.Generator) -> tuple[Case, str]:
        case, category = _cell(case)
        values = how(case.split.both[category], _labels(case).astype(float), case.split.in_train)
        return _with_column(case, values)

    return plant


def _encoded_with_gaps(case: Case, generator: np.random.Generator) -> tuple[Case, str]:
    """The category is missing in a few rows, which get the mean of all."""
    case, category = _cell(case)
    both = case.split.both.copy()
    both[category] = both[category].astype(object)
    both.loc[generator.choice(len(both), max(2, len(both) // 300), replace=False), category] = None
    return _encoded(_mean_of)(_with_parts(case, both), generator)


def _mean_of(category: pd.Series, labels: pd.Series, rows: np.ndarray) -> np.ndarray:
    means = labels[rows].groupby(category[rows]).mean()
    return category.map(means).fillna(labels[rows].mean()).to_numpy()


def _smoothed(category: pd.Series, labels: pd.Series, rows: np.ndarray) -> np.ndarray:
    known = labels[rows].groupby(category[rows]).agg(["sum", "count"])
    mean = labels[rows].mean()
    return category.map((known["sum"] + 10 * mean) / (known["count"] + 10)).fillna(mean).to_numpy()


def _empirical_bayes(category: pd.Series, labels: pd.Series, rows: np.ndarray) -> np.ndarray:
    """`fit(...).transform(...)` of scikit-learn's encoder, where `fit_transform` would have cross-fitted."""
    encoder = TargetEncoder(target_type="binary").fit(category[rows].to_frame(), labels[rows].astype(int))
    return encoder.transform(category.to_frame())[:, 0]


def _mean_of_all(category: pd.Series, labels: pd.Series, rows: np.ndarray) -> np.ndarray:
    return _mean_of(category, labels, np.ones_like(rows))


def _post_outcome(case: Case, _: np.random.Generator) -> tuple[Case, str]:
    """A real column whose contract says: known from the time of the label."""
    name = _numeric(case.split)
    split = replace(case.split, known_at={**case.split.known_at, name: "settled_at"})
    both = split.both.assign(settled_at=split.both[split.label_timestamp])
    return _with_parts(replace(case, split=split), both), name


def _sorted_file(noise: float) -> Plant:
    """A row number of a file in which the classes stand one behind the other, more or less."""

    def plant(case: Case, generator: np.random.Generator) -> tuple[Case, str]:
        order = np.argsort(_labels(case) + generator.normal(0, noise, len(_labels(case))), kind="stable")
        number = np.empty(len(order), dtype=np.int64)
        number[order] = np.arange(len(order))
        return _with_column(case, number)

    return plant


def _served_in_other_units(case: Case, _: np.random.Generator) -> tuple[Case, str]:
    name = _numeric(case.split)
    return replace(case, online=case.online.assign(**{name: case.online[name] * 1.8 + 32})), name


def _served_empty(case: Case, _: np.random.Generator) -> tuple[Case, str]:
    name = _numeric(case.split)
    values = case.online[name].where(np.arange(len(case.online)) % 4 > 0)
    return replace(case, online=case.online.assign(**{name: values})), name


def _of(family: str, gate: str, **plants: Plant) -> list[Kind]:
    return [Kind(family=family, name=name.replace("_", " "), gate=gate, plant=plant) for name, plant in plants.items()]


KINDS: tuple[Kind, ...] = (
    *_of("target copy", "leakage.target_proxy", as_a_number=_copy, as_words=_words),
    *_of("target proxy", "leakage.target_proxy", monotone=_monotone, noisy=_noisy, binned=_binned),
    *_of(
        "future aggregate",
        "leakage.aggregate",
        target_mean_of_an_entity=_entity_mean,
        mean_of_a_measure_over_all_time=_entity_measure,
        window_around_the_row=_centred_window,
        running_rate_with_the_own_label=_own_label,
    ),
    *_of("feature stamped after the prediction", "leakage.future_feature", stamped_later=_event_later),
    *_of("feature created after the prediction", "leakage.future_feature", backfilled=_created_later),
    *_of("overlap by id and time", "leakage.overlap", ids_on_both_sides=_same_id, split_at_random=_random_split),
    *_of("overlap by row", "leakage.duplicate", copied_rows=_copied_rows),
    *_of("overlap by near-duplicate", "leakage.duplicate", rows_measured_again=_nearly_copied_rows),
    *_of("overlap by entity", "leakage.group", persons_on_both_sides=_entity_both_sides),
    *_of("group leakage", "leakage.group", households_on_both_sides=_group_label),
    *_of(
        "preprocessing fitted on the holdout",
        "leakage.fitted",
        standardised=_prepared(StandardScaler()),
        centred=_prepared(FunctionTransformer(lambda values: values - values.mean(axis=0))),
        scaled_to_its_range=_prepared(MinMaxScaler(), _outer),
        scaled_by_quartiles=_prepared(RobustScaler()),
        made_normal=_prepared(QuantileTransformer(n_quantiles=100, output_distribution="normal"), _outer),
        ranked=_ranks,
        filled_with_the_mean=_filled_with_mean,
        principal_component=_components,
    ),
    *_of(
        "target encoding without folds",
        "leakage.encoding",
        mean_of_training=_encoded(_mean_of),
        mean_of_training_where_known=_encoded_with_gaps,
        mean_of_training_and_holdout=_encoded(_mean_of_all),
        smoothed=_encoded(_smoothed),
        fit_and_transform_of_one_set=_encoded(_empirical_bayes),
    ),
    *_of("column known only later by contract", "leakage.known_later", known_with_the_label=_post_outcome),
    *_of("index or row order", "leakage.index", sorted_file=_sorted_file(0.0), nearly_sorted_file=_sorted_file(1.5)),
    *_of(
        "training/serving skew",
        "leakage.skew",
        other_units=_served_in_other_units,
        empty_when_served=_served_empty,
    ),
)
