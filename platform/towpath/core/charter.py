"""The charter: what a model project declares. Unknown keys are refused; every problem is reported at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from towpath.core.errors import DeclarationError, Problems

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _duration(value: object) -> object:
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+)([mhdw])", value.strip())
        if match is None:
            raise ValueError(f"{value!r} is no duration; write a whole number and m, h, d or w, for example 31d")
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    return value


def _duration_text(value: timedelta) -> str:
    minutes = int(value.total_seconds() // 60)
    for unit, size in (("d", 1440), ("h", 60)):
        if minutes % size == 0:
            return f"{minutes // size}{unit}"
    return f"{minutes}m"


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration, json_schema_input_type=str),
    PlainSerializer(_duration_text, return_type=str),
]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


class Declaration(BaseModel):
    """Base of every part of the charter: frozen, camelCase in YAML, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Owner(Declaration):
    """Who answers for the model."""

    name: str = Field(min_length=1)
    email: str = Field(pattern=r"^[^@\s]+@[^@\s]+$")


class Risk(StrEnum):
    """The materiality of a wrong answer; later it decides how many people approve."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Source(Declaration):
    """Where one table comes from, and the contract it must hold.

    `uri`: a file, folder or glob of CSV or Parquet (relative to the charter), `s3://bucket/prefix`, or a SQLAlchemy
    database address with `#table` or `#schema.table` behind it.
    """

    uri: str = Field(min_length=1)
    contract: str = Field(min_length=1)


class Features(Declaration):
    """The Feast repository, its service, the spine's row identifier, and the columns that come with the request."""

    repository: str = "feature_repo"
    service: str
    row_id: str
    request: tuple[str, ...] = ()


class Metric(StrEnum):
    """Metrics by which a sweep selects."""

    LOG_LOSS = "log_loss"
    ROC_AUC = "roc_auc"


class Training(Declaration):
    """How the model is made: windows count back from the as-of time, `holdout` last and `span` before it."""

    entry: str = Field(default="train.py:fit", pattern=r"^[^:]+\.py:[A-Za-z_]\w*$")
    target: str
    span: Duration
    holdout: Duration
    seed: int = Field(default=0, ge=0, lt=2**32)
    select: Metric = Metric.LOG_LOSS
    sweep: tuple[Mapping[str, Any], ...] = Field(default=({},), min_length=1)
    min_rows: int = Field(default=500, ge=20)


class Slice(Declaration):
    """A column whose values must each be served well: groups below `min_rows` holdout rows are not judged."""

    by: str
    min_rows: int = Field(default=500, ge=50)
    roc_auc: Share


class Champion(Declaration):
    """How much worse than the champion a candidate may be, at the interval's unfavourable end."""

    roc_auc_margin: float = Field(default=0.01, ge=0)
    log_loss_margin: float = Field(default=0.01, ge=0)


class Gates(Declaration):
    """Bounds of the evaluation. Each has its gate; none can be left out, only set."""

    roc_auc: Share
    log_loss: float = Field(gt=0)
    calibration: Share = 0.05
    baseline_log_loss_gain: float = Field(default=0.0, ge=0)
    champion: Champion = Champion()
    slices: tuple[Slice, ...] = Field(min_length=1)
    latency_ms: float = Field(default=100.0, gt=0)
    single_feature_roc_auc: float = Field(default=0.97, gt=0.5, le=1)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


class Monitoring(Declaration):
    """What is watched after promotion, over a window that ends at the as-of time."""

    window: Duration
    drift_share: Share = 0.3
    prediction_distance: Share = 0.1
    schedule: str = "0 6 * * *"


class Outcome(Declaration):
    """The outcome in the world that the model must bring, so that it can be measured later."""

    metric: str
    target: str
    review: Duration


class Charter(Declaration):
    """A model project's declaration."""

    towpath: Literal[1]
    project: Name
    owner: Owner
    purpose: str = Field(min_length=10)
    risk: Risk
    sources: Mapping[Name, Source] = Field(min_length=1)
    features: Features
    training: Training
    gates: Gates
    monitoring: Monitoring
    outcome: Outcome

    @model_validator(mode="after")
    def _request_is_no_target(self) -> Self:
        if self.training.target in self.features.request:
            raise ValueError(
                f"features.request lists the target {self.training.target!r}; the target is never an input"
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
    try:
        return Charter.model_validate(document)
    except ValidationError as error:
        raise Problems([_problem(origin, dict(item)) for item in error.errors()]) from error


def _problem(origin: str, item: dict[str, Any]) -> DeclarationError:
    where = ".".join(str(part) for part in item["loc"]) or "(whole)"
    value = item.get("input")
    if item["type"] == "extra_forbidden":
        return DeclarationError(f"{origin}: {where}: unknown key.", value=value, valid=_valid_keys(item["loc"]))
    if item["type"] == "missing":
        return DeclarationError(
            f"{origin}: {where}: missing.", hint="Add it; docs/reference/charter.md says what it is."
        )
    shown = repr(value)
    return DeclarationError(f"{origin}: {where}: {item['msg']} (it is {shown[:80]}).", value=value)


def _valid_keys(location: tuple[object, ...]) -> list[str]:
    model: Any = Charter
    for part in location[:-1]:
        fields = {field.alias or name: field.annotation for name, field in getattr(model, "model_fields", {}).items()}
        if isinstance(part, str) and part in fields:
            model = fields[part]
        args = getattr(model, "__args__", ())
        model = next((arg for arg in args if isinstance(arg, type) and issubclass(arg, BaseModel)), model)
    return sorted(field.alias or name for name, field in getattr(model, "model_fields", {}).items())


def json_schema() -> dict[str, Any]:
    """The charter's JSON Schema (draft 2020-12) for editors."""
    schema = Charter.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Towpath charter"}
