"""train: the project's own `fit`, over its declared sweep, tracked with everything that made the model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from towpath.core import digest as digests
from towpath.core import names
from towpath.core.charter import Training
from towpath.core.errors import BadInput, TowpathError
from towpath.core.evidence import Candidate, Finding, Outcome, Subject
from towpath.core.gates import Stage
from towpath.core.task import Task
from towpath.measure import targets
from towpath.ports import ModelRun, Models, TrainingRun
from towpath.project import environment, environment_digest
from towpath.stages import pins
from towpath.stages.scoring import Scoring
from towpath.stages.work import Begun, Work, begin, compose, write

INNER_SHARE = 0.8  # of the training rows, by time, fit a sweep's trials; the rest choose among them
CHECK_ROWS = 500

Trials = list[tuple[dict[str, Any], dict[str, float]]]
"""The parameters of each trial, and its metrics."""


def train(candidate: Candidate, work: Work) -> Candidate:
    """Choose parameters on the newest fifth of the training window, refit on all of it, save, prove, track."""
    training = work.project.charter.training
    inputs = {
        "training": work.project.section_digest("training"),
        "features": work.project.section_digest("features"),
        "code": work.project.code_digest,
        "environment": environment_digest(),
        "pinned": pins.VERSION,
    }
    begun = begin(Stage.TRAIN, candidate, work, inputs)
    if begun.found is not None:
        return candidate.append(begun.found)
    subject = candidate.entry(Stage.FEATURIZE).subject("features", "train")
    dataset = work.ports.objects.fetch(subject.digest)
    frame = ordered(dataset)
    columns = model_columns(work, candidate)
    target = frame[training.target]
    finding = targets.finding(training.target, target, training.task)
    if finding.outcome is not Outcome.PASS:
        return write(begun, compose(begun, findings=[finding]), work)
    return _train(begun, work, frame[columns], target, finding, dataset=dataset, dataset_digest=subject.digest)


def ordered(dataset: Path) -> pd.DataFrame:
    """The training rows in the order in which models are fitted on them."""
    return pd.read_parquet(dataset).sort_values([names.EVENT_TIME], kind="stable", ignore_index=True)


def model_columns(work: Work, candidate: Candidate) -> list[str]:
    """The model's inputs in order: request columns as declared, then each view's features as defined."""
    views: Any = candidate.entry(Stage.FEATURIZE).facts["views"]
    return [*work.project.charter.features.request, *(name for features in views.values() for name in features)]


def _train(
    begun: Begun,
    work: Work,
    inputs: pd.DataFrame,
    target: pd.Series[Any],
    checked: Finding,
    *,
    dataset: Path,
    dataset_digest: str,
) -> Candidate:
    training = work.project.charter.training
    pinned, fit = pins.pin(begun.candidate, begun.inputs, work), work.project.fit()
    scoring = Scoring(task=training.task, classes=targets.classes(target, training.task))
    params, trials = chosen(fit, inputs, target, training, scoring, told=work.progress.step)
    work.progress.step("fit on the whole window")
    model = fitted(fit, inputs, target, params, training.seed, scoring)
    with work.scratch() as folder:
        saved = folder / "model"
        model_digest, before = save(model, inputs, work.ports.models, scoring, folder=saved)
        after = scoring.checked(work.ports.models.load(saved), inputs.head(CHECK_ROWS))
        work.progress.step("tracking")
        run = work.ports.models.log(
            _run(
                begun, work, params, trials, dataset=dataset, dataset_digest=dataset_digest, model_digest=model_digest
            ),
            folder=saved,
        )
    subjects = [
        Subject(kind="model", name=work.name, digest=model_digest),
        Subject(kind="code", name="project", digest=begun.inputs["code"]),
        Subject(kind="environment", name="python", digest=begun.inputs["environment"]),
        *pinned,
    ]
    entry = compose(
        begun,
        subjects=subjects,
        findings=[checked, _roundtrip(before, after)],
        facts=_facts(params, trials, inputs, target, scoring),
        notes=_notes(run, work),
    )
    return write(begun, entry, work)


def chosen(
    fit: Any,
    inputs: pd.DataFrame,
    target: pd.Series[Any],
    training: Training,
    scoring: Scoring,
    *,
    told: Callable[[str], None],
) -> tuple[dict[str, Any], Trials]:
    """The sweep's best parameters, and every trial with its metrics."""
    cut = int(len(inputs) * INNER_SHARE)
    trials: Trials = []
    for number, params in enumerate(training.sweep, start=1):
        told(f"trial {number} of {len(training.sweep)}")
        trials.append((dict(params), _trial(fit, inputs, target, cut, dict(params), training.seed, scoring)))
    sign = -1 if training.select.higher_is_better else 1
    best = min(range(len(trials)), key=lambda item: sign * trials[item][1][training.select.value])
    return trials[best][0], trials


def save(
    model: Any, inputs: pd.DataFrame, models: Models, scoring: Scoring, *, folder: Path
) -> tuple[str, np.ndarray[Any, Any]]:
    """Save a model with the signature that the first rows give it; its digest, and what it says of those rows."""
    example = inputs.head(CHECK_ROWS)
    found = scoring.checked(model, example)
    return models.save(model, example=example, prediction=found, folder=folder), found


def _trial(
    fit: Any,
    inputs: pd.DataFrame,
    target: pd.Series[Any],
    cut: int,
    params: dict[str, Any],
    seed: int,
    scoring: Scoring,
) -> dict[str, float]:
    model = fitted(fit, inputs.iloc[:cut], target.iloc[:cut], params, seed, scoring)
    return targets.trial(scoring.labels(target.iloc[cut:]), scoring.checked(model, inputs.iloc[cut:]), scoring.task)


def fitted(
    fit: Any, inputs: pd.DataFrame, target: pd.Series[Any], params: dict[str, Any], seed: int, scoring: Scoring
) -> Any:
    """What the project's `fit` makes of the rows. Raises `BadInput` when it fails or makes no model of the task."""
    try:
        model = fit(inputs, target, params=params, seed=seed)
    except TowpathError:
        raise
    except Exception as error:
        raise BadInput(
            f"The project's fit failed with parameters {params}: {type(error).__name__}: {error}",
            value=json.dumps(params, default=str),
            hint="Run it on the training set named in `towpath show`.",
        ) from error
    scoring.require_fit(model)
    return model


def _roundtrip(before: np.ndarray[Any, Any], after: np.ndarray[Any, Any]) -> Finding:
    gap = float(np.max(np.abs(before - after)))
    return Finding(
        code="train.model",
        outcome=Outcome.PASS if gap == 0.0 else Outcome.FAIL,
        measured=gap,
        bound="= 0",
        sample_size=len(before),
        reason=f"saved and loaded without pickle, {len(before)} predictions "
        + ("are the same" if gap == 0.0 else f"differ by up to {gap:.3g}"),
    )


def _facts(
    params: dict[str, Any],
    trials: Trials,
    inputs: pd.DataFrame,
    target: pd.Series[Any],
    scoring: Scoring,
) -> dict[str, Any]:
    binary = scoring.task is Task.BINARY
    return {
        **scoring.facts,
        "params": params,
        "trials": [{"params": tried, "metrics": metrics} for tried, metrics in trials],
        "rows": len(inputs),
        **({} if scoring.classes else {"positive_rate" if binary else "target_mean": float(target.mean())}),
        "inputs": list(inputs.columns),
        "types": {name: "text" if kind == "object" else str(kind) for name, kind in inputs.dtypes.items()},
    }


def _notes(run: ModelRun, work: Work) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "model_id": run.model_id,
        "artifact_digest": run.artifact_digest,
        "commit": work.project.commit(),
        "machine": pins.machine(),
    }


def _run(
    begun: Begun,
    work: Work,
    params: dict[str, Any],
    trials: Trials,
    *,
    dataset: Path,
    dataset_digest: str,
    model_digest: str,
) -> TrainingRun:
    best = next(metrics for tried, metrics in trials if tried == params)
    return TrainingRun(
        experiment=work.name,
        name=f"{work.name}-{digests.short(begun.key)}",
        params={**{key: str(value) for key, value in params.items()}, "seed": str(work.project.charter.training.seed)},
        metrics={f"inner_{key}": value for key, value in best.items()},
        tags={
            names.TAG_PROJECT: work.name,
            names.TAG_KEY: begun.key,
            names.TAG_MODEL: model_digest,
            names.TAG_DATA: dataset_digest,
            names.TAG_CODE: begun.inputs["code"],
            names.TAG_COMMIT: work.project.commit(),
            names.TAG_ENVIRONMENT: begun.inputs["environment"],
        },
        dataset=dataset,
        dataset_digest=dataset_digest,
        children=[
            (f"trial {number}", {key: str(value) for key, value in tried.items()}, metrics)
            for number, (tried, metrics) in enumerate(trials, start=1)
        ],
        environment=environment(),
        model_type="regressor" if work.project.charter.training.task is Task.REGRESSION else "classifier",
    )
