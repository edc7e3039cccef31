"""What a rollout measures: guardrails against harm, the tests that promote, holds and hard limits."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from towpath.core.declaration import Declaration, Name, Share


class Event(StrEnum):
    """Events of a request that a guardrail may count."""

    ERROR = "error"
    """The arm's model failed or was late."""
    FALLBACK = "fallback"
    """Something other than the arm's model answered."""


class Measure(StrEnum):
    """Quantities of a prediction that a guardrail may measure; lower is better for each."""

    LATENCY_MS = "latency_ms"
    LOG_LOSS = "log_loss"
    """Minus the logarithm of the probability that was given to what came true, in nats."""
    BRIER = "brier"
    """The squared distance from what came true: from 0 to 1, of a multiclass model over its classes, from 0 to 2."""

    @property
    def labelled(self) -> bool:
        return self is not Measure.LATENCY_MS


CHAMPION_P99: Final = "championP99"
FromChampion = Literal["championP99"]


class _Guardrail(Declaration):
    name: Name
    """Name of the metric; promotion and hard limits use it."""
    share: float = Field(gt=0, le=1)
    """Its share of alpha; the shares of all guardrails sum to 1."""


class Rate(_Guardrail):
    """The share of units that met an event at least once."""

    type: Literal["rate"]
    """Always rate."""
    event: Event
    """The event that is counted."""

    @property
    def delayed(self) -> bool:
        return False


class Exceedance(_Guardrail):
    """The share of units with at least one value above a threshold."""

    type: Literal["exceedance"]
    """Always exceedance."""
    of: Literal[Measure.LATENCY_MS]
    """What is measured; what needs labels is judged by its mean."""
    threshold: FromChampion | float
    """The threshold, or championP99: the champion's 99th percentile, frozen when the rollout starts."""

    @property
    def delayed(self) -> bool:
        return False


class Mean(_Guardrail):
    """The mean over units of a capped value."""

    type: Literal["mean"]
    """Always mean."""
    of: Measure
    """What is measured."""
    cap: FromChampion | float
    """Values above it count as it, or championP99: the champion's 99th percentile, frozen when the rollout starts."""
    labels: Literal["delayed"] | None = None
    """`delayed` when the measure needs a label, which comes later."""

    @property
    def delayed(self) -> bool:
        return self.labels is not None

    @model_validator(mode="after")
    def _labels_are_told(self) -> Self:
        if self.of.labelled and not self.delayed:
            raise ValueError(f"{self.name}: {self.of} needs labels; write labels: delayed")
        if self.delayed and not self.of.labelled:
            raise ValueError(f"{self.name}: {self.of} needs no label; leave labels out")
        return self


Guardrail = Annotated[Rate | Exceedance | Mean, Field(discriminator="type")]


def bound_of(guardrail: Guardrail) -> str | float | None:
    """The threshold or cap that a guardrail declares."""
    match guardrail:
        case Mean():
            return guardrail.cap
        case Exceedance():
            return guardrail.threshold
        case _:
            return None


class NonInferior(Declaration):
    """How much worse than the champion still is good enough."""

    ratio: float | None = Field(default=None, gt=1)
    """For a rate: the challenger's must lie below this many times the champion's."""
    absolute: float | None = Field(default=None, gt=0)
    """For a mean: the challenger's must lie less than this above the champion's."""
    floor: float | None = Field(default=None, gt=0, lt=1)
    """For a rate: below this share of units the ratio does not matter. Without it, no bad event is no evidence."""


class Promotion(Declaration):
    """One metric that must be shown to be non-inferior."""

    metric: Name
    """Name of a guardrail."""
    non_inferior: NonInferior
    """The margin."""
    min_label_coverage: Share = 0.8
    """The least share of each arm's units whose labels have come; for a metric with labels."""


class SampleRatio(Declaration):
    """Hold when the arms' units are not in the ratio of their weights."""

    name: Name
    """Name of the hold."""
    type: Literal["sampleRatio"]
    """Always sampleRatio."""
    alpha: float = Field(default=0.001, gt=0, lt=0.5)
    """The chance of a hold when the ratio is right."""


class PredictionDrift(Declaration):
    """Hold when the arms' predictions are distributed too differently."""

    name: Name
    """Name of the hold."""
    type: Literal["predictionDrift"]
    """Always predictionDrift."""
    distance: Literal["jensenShannon"] = "jensenShannon"
    """Jensen-Shannon distance (base 2)."""
    max: float = Field(default=0.1, gt=0, lt=1)
    """The greatest distance."""


HoldRule = Annotated[SampleRatio | PredictionDrift, Field(discriminator="type")]


class HardLimit(Declaration):
    """A rate of the challenger that rolls back at once, without a test."""

    metric: Name
    """Name of a guardrail of type rate or exceedance."""
    max: float = Field(gt=0, lt=1)
    """The greatest share of bad units."""
    min_units: int = Field(default=20, ge=1)
    """Units of the challenger below which it is not judged."""


HOLDS: tuple[SampleRatio | PredictionDrift, ...] = (
    SampleRatio(name="srm", type="sampleRatio"),
    PredictionDrift(name="drift", type="predictionDrift"),
)
