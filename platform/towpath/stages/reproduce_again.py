"""A model and its features made again in a scratch folder, of nothing but a candidate's stored objects."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from towpath.core import digest as digests
from towpath.core.errors import IntegrityError, NotFound, TowpathError
from towpath.core.evidence import Candidate
from towpath.core.gates import Stage
from towpath.core.reproduction import Parts
from towpath.ports import FeatureStore, Keys, Ledger, Models, Objects, Transforms, Window
from towpath.project import fit_in
from towpath.stages import reproduce_evidence as evidence
from towpath.stages.featurize import parts
from towpath.stages.reproduce_evidence import Pinned
from towpath.stages.scoring import Scoring
from towpath.stages.train import Trials, chosen, fitted, ordered, save


@dataclass(frozen=True, kw_only=True)
class Reproducing:
    """What reproducing asks of the world. The feature store takes seconds to import, so it is opened when needed."""

    ledger: Ledger
    objects: Objects
    models: Models
    keys: Keys
    transforms: Transforms
    features: Callable[[], FeatureStore]
    scratch: Path
    told: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Again:
    """A model as it was made again: what the sweep chose, its digest, and its scores of the holdout.

    Labels and scores are as `scoring` makes them: (n,), and of a multiclass model scores of (n, k).
    """

    scoring: Scoring
    params: Mapping[str, Any]
    trials: Trials
    digest: str
    labels: NDArray[Any]
    scores: NDArray[np.float64]


def model(candidate: Candidate, pinned: Pinned, world: Reproducing, folder: Path) -> Again:
    """The sweep, the fit and the holdout's scores, as the train and evaluate stages make them of the recorded features.

    Raises `NotFound` when the features are gone, `IntegrityError` when they are not what was recorded.
    """
    features = candidate.entry(Stage.FEATURIZE).subjects_of("features")
    frame = ordered(evidence.fetched(features["train"], world.objects))
    holdout = pd.read_parquet(evidence.fetched(features["holdout"], world.objects))
    train = candidate.entry(Stage.TRAIN)
    training, columns, scoring = pinned.training, _listed(train.facts["inputs"]), Scoring.of(train)
    inputs, target = frame[columns], frame[training.target]
    with _no_working_folder():
        fit = fit_in(_unpacked(pinned.code, folder / "code"), training.entry, project=candidate.project)
        params, trials = chosen(fit, inputs, target, training, scoring, told=world.told)
        world.told("fit on the whole window")
        made = fitted(fit, inputs, target, params, training.seed, scoring)
    digest, _ = save(made, inputs, world.models, scoring, folder=folder / "model")
    world.told("the holdout")
    again = world.models.load(folder / "model")
    return Again(
        scoring=scoring,
        params=params,
        trials=trials,
        digest=digest,
        labels=scoring.labels(holdout[training.target]),
        scores=scoring.checked(again, holdout[columns]),
    )


def features(candidate: Candidate, pinned: Pinned, world: Reproducing, folder: Path) -> tuple[Parts | None, str]:
    """The feature sets, built again of the checked tables; None where they cannot be built, and why not.

    Raises `IntegrityError` for a table that is not what was recorded.
    """
    world.told("the features, built again")
    facts: Any = candidate.entry(Stage.FEATURIZE).facts
    start, split, end = (datetime.fromisoformat(at) for at in (facts["window"][0], facts["split"], facts["window"][1]))
    sources, joined = folder / "features" / "sources", folder / "joined.parquet"
    sources.mkdir(parents=True)
    try:
        tables = {
            name: evidence.fetched(subject, world.objects)
            for name, subject in candidate.entry(Stage.VALIDATE).subjects_of("table").items()
        }
        repository = _unpacked(pinned.repository, folder / "repository")
        built = world.transforms.build(repository, tables, window=Window(start=start, end=end), target=sources)
        store = world.features()
        store.training_set(repository, pinned.features.service, sources=sources, spine=built.spine, target=joined)
    except IntegrityError:
        raise
    except NotFound as error:
        return None, f"a table is gone: {error.message}"
    except TowpathError as error:
        return None, f"it cannot be built: {error.message}"
    found = parts(joined, split, folder)
    return {name: evidence.table(rows, digests.of_file(file)) for name, file, rows in found}, ""


def _unpacked(files: Mapping[str, bytes], folder: Path) -> Path:
    """The files in a folder of their own. Their names lie below it: `pins.archived` refuses others."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@contextmanager
def _no_working_folder() -> Iterator[None]:
    """Nothing is imported from where the command was typed: Python puts it there for `python -m`."""
    before, here = list(sys.path), Path.cwd()
    sys.path[:] = [item for item in before if item and Path(item).resolve() != here]
    try:
        yield
    finally:
        sys.path[:] = before


def _listed(value: Any) -> list[str]:
    return [str(item) for item in value]
