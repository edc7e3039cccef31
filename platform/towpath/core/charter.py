"""The charter: what a model project declares. Unknown keys are refused; every problem is reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator, model_validator

from towpath.core.declaration import DURATION, Declaration, Duration, Name, Share, as_written
from towpath.core.errors import DeclarationError, Problems
from towpath.core.governance import LEAST, Governance, Risk
from towpath.core.rollout_policy import RolloutPolicy
from towpath.core.serving import Serving
from towpath.core.task import Task
from towpath.core.task_bounds import MulticlassGates, RegressionGates


class Owner(Declaration):
    """Who answers for the model."""

    name: str = Field(min_length=1)
    """The person or team."""
    email: str = Field(pattern=r"^[^@\s]+@[^@\s]+$")
    """Where they are reached."""


class Source(Declaration):
    """Where one table comes from, and the contract it must hold.

    `uri`: a file, folder or glob of CSV or Parquet (relative to the charter), `s3://bucket/prefix`, or a SQLAlchemy
    database address with `#table` or `#schema.table` behind it.
    """

    uri: str = Field(min_length=1)
    """Where the table lies."""
    contract: str = Field(min_length=1)
    """Its data contract (ODCS v3.1), relative to the charter."""


class Features(Declaration):
    """The Feast repository, its service, the spine's row identifier, and the columns that come with the request."""

    repository: str = "feature_repo"
    """Folder of the Feast repository, relative to the charter."""
    service: str
    """The feature service that the model reads."""
    row_id: str
    """The column of the spine that names a prediction row."""
    request: tuple[str, ...] = ()
    """Columns of the spine that come with the request, in the order in which the model gets them."""


class Metric(StrEnum):
    """Metrics by which a sweep selects."""

    LOG_LOSS = "log_loss"
    ROC_AUC = "roc_auc"
    RMSE = "rmse"
    MAE = "mae"

    @property
    def higher_is_better(self) -> bool:
        return self is Metric.ROC_AUC


_SELECTS = {
    Task.BINARY: (Metric.LOG_LOSS, Metric.ROC_AUC),
    Task.MULTICLASS: (Metric.LOG_LOSS, Metric.ROC_AUC),
    Task.REGRESSION: (Metric.RMSE, Metric.MAE),
}
"""What a task's sweep may select by, its default first."""


class Training(Declaration):
    """How the model is made: windows count back from the as-of time, `holdout` last and `span` before it."""

    entry: str = Field(default="train.py:fit", pattern=r"^[^:]+\.py:[A-Za-z_]\w*$")
    """`file.py:function`, called as `fit(frame, target, *, params, seed)`; returns the fitted model."""
    task: Task = Field(default=Task.BINARY, exclude_if=lambda task: task is Task.BINARY)  # digests of before hold
    """What is predicted; it says which bounds `gates` holds."""
    target: str
    """The label, a column of the spine: 0 or 1; a class, text or integer; or a number."""
    span: Duration
    """Prediction times of the training set, before the holdout."""
    holdout: Duration
    """Prediction times that the model is judged on, up to the as-of time."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the training, the bootstrap and every sample."""
    select: Metric = Metric.LOG_LOSS
    """The metric by which the sweep chooses, on the newest fifth of the training set; a regression's is rmse."""
    sweep: tuple[Mapping[str, Any], ...] = Field(default=({},), min_length=1)
    """Parameter sets to try; each is given to the training function."""
    min_rows: int = Field(default=500, ge=20)
    """Training rows below which nothing is trained; a fifth of it for the holdout."""

    @model_validator(mode="before")
    @classmethod
    def _selects_by_its_task(cls, given: object) -> object:
        if isinstance(given, Mapping) and given.get("task") == Task.REGRESSION and "select" not in given:
            return {**given, "select": Metric.RMSE}
        return given

    @model_validator(mode="after")
    def _select_is_of_the_task(self) -> Self:
        if self.select not in _SELECTS[self.task]:
            valid = " or ".join(metric.value for metric in _SELECTS[self.task])
            raise ValueError(f"select is {self.select.value}, and a {self.task.value} model is selected by {valid}")
        return self


class Slice(Declaration):
    """A column whose values must each be served well: groups below `min_rows` holdout rows are not judged."""

    by: str
    """A column of the holdout."""
    min_rows: int = Field(default=500, ge=50)
    """Rows below which a group is not judged."""
    roc_auc: Share
    """The least ROC AUC of every judged group."""


class Champion(Declaration):
    """How much worse than the champion a candidate may be, at the interval's unfavourable end."""

    roc_auc_margin: float = Field(default=0.01, ge=0)
    """How much lower the ROC AUC may be."""
    log_loss_margin: float = Field(default=0.01, ge=0)
    """How much higher the log loss may be, in nats."""


class Gates(Declaration):
    """Bounds of the evaluation. Each has its gate; none can be left out, only set."""

    roc_auc: Share
    """The least ROC AUC."""
    log_loss: float = Field(gt=0)
    """The greatest log loss, in nats."""
    calibration: Share = 0.05
    """The greatest expected calibration error."""
    baseline_log_loss_gain: float = Field(default=0.0, ge=0)
    """The least gain in log loss over always predicting the base rate, in nats."""
    champion: Champion = Champion()
    """Margins against the champion."""
    slices: tuple[Slice, ...] = Field(min_length=1)
    """Columns whose groups are judged one by one."""
    latency_ms: float = Field(default=100.0, gt=0)
    """The most that 95 of 100 single-row predictions may take, in milliseconds."""
    single_feature_roc_auc: float = Field(default=0.97, gt=0.5, le=1)
    """The ROC AUC of one input alone that is too good to be honest."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence of every interval."""


Bounds = Gates | MulticlassGates | RegressionGates
BOUNDS: Mapping[Task, type[Bounds]] = {
    Task.BINARY: Gates,
    Task.MULTICLASS: MulticlassGates,
    Task.REGRESSION: RegressionGates,
}


class Monitoring(Declaration):
    """What is watched after promotion, over a window that ends at the as-of time."""

    window: Duration
    """Prediction times that are watched, up to the as-of time."""
    drift_share: Share = 0.3
    """The greatest share of columns that may have drifted."""
    prediction_distance: Share = 0.1
    """The greatest Jensen-Shannon distance (base 2) of predictions from those on the holdout."""
    schedule: str = "0 6 * * *"
    """When the watch is wanted, as cron writes it; the deployment states it again."""


class Outcome(Declaration):
    """The outcome in the world that the model must bring, so that it can be measured later."""

    metric: str
    """What is counted in the world."""
    target: str
    """What it must come to."""
    review: Duration
    """After how long it is looked at."""


class Charter(Declaration):
    """A model project's declaration."""

    towpath: Literal[1]
    """Version of the charter's format."""
    project: Name
    """Name of the project; candidates and the registered model bear it."""
    owner: Owner
    """Who answers for the model."""
    purpose: str = Field(min_length=10)
    """What the model is for, in a sentence."""
    risk: Risk
    """What a wrong answer costs."""
    sources: Mapping[Name, Source] = Field(min_length=1)
    """Where each table comes from, by its name in the contract."""
    features: Features
    """What the model reads."""
    training: Training
    """How it is made."""
    gates: Bounds
    """Bounds that it must meet, those of its task."""
    serving: Serving = Serving()
    """How it is served, and what is answered when something fails."""
    rollout: RolloutPolicy | None = None
    """How a challenger earns its traffic; when left out, a promotion moves all of it in one step."""
    governance: Governance = Governance()
    """Who must agree before a model serves, and what is done when somebody goes around it."""
    monitoring: Monitoring
    """What is watched once it is the champion."""
    outcome: Outcome
    """What it must bring."""

    @field_validator("gates", mode="before")
    @classmethod
    def _gates_of_the_task(cls, given: object, info: ValidationInfo) -> object:
        """Only the task's own bounds are tried, so that what is wrong is told of them alone."""
        training, context = info.data.get("training"), info.context or {}
        task = training.task if training is not None else context.get("task", Task.BINARY)
        return BOUNDS[task].model_validate(given)

    @model_validator(mode="after")
    def _request_is_no_target(self) -> Self:
        if self.training.target in self.features.request:
            raise ValueError(
                f"features.request lists the target {self.training.target!r}; the target is never an input"
            )
        return self

    @model_validator(mode="after")
    def _serving_fits_the_task(self) -> Self:
        task, fallback = self.training.task, self.serving.fallback
        if task is Task.REGRESSION and self.rollout is not None:
            raise ValueError(
                f"rollout judges probabilities of classes, and training.task is {task.value}; leave it out: a "
                "promotion then moves all of the traffic in one step"
            )
        if task is Task.BINARY and fallback is not None and not 0 <= fallback <= 1:
            raise ValueError(f"serving.fallback is {fallback:g}, and a binary model answers between 0 and 1")
        if task is Task.MULTICLASS and fallback is not None:
            raise ValueError(
                "serving.fallback is one number, and a multiclass model answers with one for each class; leave it out: "
                "a request that no model answers is then refused (503)"
            )
        return self

    @model_validator(mode="after")
    def _approvals_are_not_below_the_tier(self) -> Self:
        asked, least = self.governance.approvals.count, LEAST[self.risk]
        if asked is not None and asked < least:
            raise ValueError(
                f"governance.approvals.count is {asked}, and risk {self.risk.value} asks for at least {least}; "
                "raise it, or leave it out"
            )
        return self


def parse(document: object, *, origin: str = "charter.yaml") -> Charter:
    """A charter from parsed YAML. Raises `Problems` with every error: where, which value, what is valid."""
    if not isinstance(document, dict):
        raise DeclarationError(
            f"{origin} holds {type(document).__name__}, not a mapping.",
            value=document,
            hint="See docs/reference/charter.md.",
        )
    task = _task(document)
    try:
        return Charter.model_validate(document, context={"task": task})
    except ValidationError as error:
        raise Problems([_problem(origin, dict(item), task) for item in error.errors()]) from error


def _task(document: Mapping[Any, Any]) -> Task:
    """The task that a charter names, also when the rest of it is wrong; binary when it names none that there is."""
    training = document.get("training")
    named = training.get("task") if isinstance(training, Mapping) else None
    return next((task for task in Task if task == named), Task.BINARY)


def _problem(origin: str, item: dict[str, Any], task: Task) -> DeclarationError:
    where = ".".join(str(part) for part in item["loc"]) or "(whole)"
    value = item.get("input")
    if item["type"] == "extra_forbidden":
        valid = _valid_keys(item["loc"], task)
        others = [other for other in Task if other is not task and item["loc"][-1] in _valid_keys(item["loc"], other)]
        if others:
            of = " or ".join(other.value for other in others)
            told = f"{origin}: {where}: a bound of a {of} model, and training.task is {task.value}."
            return DeclarationError(told, value=value, valid=valid)
        return DeclarationError(f"{origin}: {where}: unknown key.", value=value, valid=valid)
    if item["type"] == "missing":
        return DeclarationError(
            f"{origin}: {where}: missing.", hint="Add it; docs/reference/charter.md says what it is."
        )
    message = str(item["msg"]).removeprefix("Value error, ")
    shown = repr(value)[:80]
    told = message if shown in message or isinstance(value, dict) else f"{message} (it is {shown})"
    return DeclarationError(f"{origin}: {where}: {told}.", value=value)


def _valid_keys(location: tuple[object, ...], task: Task) -> list[str]:
    models: list[type[BaseModel]] = [Charter]
    if location[0] == "gates" and len(location) > 1:
        models, location = [BOUNDS[task]], location[1:]
    for part in location[:-1]:
        fields = [(name, field) for model in models for name, field in model.model_fields.items()]
        inside = [model for name, field in fields if part in (field.alias, name) for model in _models(field.annotation)]
        tagged = [
            model
            for model in models
            if "type" in model.model_fields and part in get_args(model.model_fields["type"].annotation)
        ]
        models = inside or tagged or models
    return sorted({field.alias or name for model in models for name, field in model.model_fields.items()})


def _models(annotation: object) -> list[type[BaseModel]]:
    """Every model inside an annotation: of a sequence, a mapping, a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def json_schema() -> dict[str, Any]:
    """The charter's JSON Schema (draft 2020-12) for editors."""
    schema = Charter.model_json_schema(by_alias=True)
    for part in schema["$defs"].values():
        for field in part.get("properties", {}).values():
            if field.get("pattern") == DURATION and "default" in field:
                field["default"] = as_written(field["default"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Towpath charter"}
