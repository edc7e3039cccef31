"""The charter's section `rollout`: by which steps a challenger earns traffic, what stops and what promotes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from towpath.core.declaration import Declaration, Duration
from towpath.core.guardrails import CHAMPION_P99, HOLDS, Guardrail, HardLimit, HoldRule, Mean, Promotion, bound_of


def _whole_basis_points(percent: float) -> float:
    if abs(percent * 100 - round(percent * 100)) > 1e-9:
        raise ValueError(f"{percent} has more than two decimals; a weight is a whole number of basis points")
    return percent


Percent = Annotated[float, Field(gt=0, lt=100), AfterValidator(_whole_basis_points)]


def basis_points(percent: float) -> int:
    """A percentage of the charter as a weight: 5 is 500."""
    return round(percent * 100)


class Shadow(Declaration):
    """Mirroring of champion traffic to the challenger before it answers anybody."""

    percent: Annotated[float, Field(gt=0, le=100), AfterValidator(_whole_basis_points)]
    """Percent of the champion's traffic that the challenger sees too."""
    min_units: int = Field(ge=1)
    """Units mirrored before the first step."""

    @property
    def basis_points(self) -> int:
        return basis_points(self.percent)


class Until(Declaration):
    """When a step ends."""

    min_units: int | None = Field(default=None, ge=1)
    """Units that the challenger must have served in this step."""
    promotion: bool = False
    """Whether the step ends with the promotion test; the last step does, and no other."""
    max_duration: Duration | None = None
    """How long the step may take; then `onInconclusive` says what becomes of it."""


class Step(Declaration):
    """One weight, and until when it holds."""

    weight: Percent
    """Percent of units that the challenger serves."""
    until: Until
    """When the step ends."""

    @property
    def basis_points(self) -> int:
        return basis_points(self.weight)


class OnInconclusive(StrEnum):
    """What becomes of a rollout whose time is over without a verdict. It is never promoted."""

    HOLD = "hold"
    ROLLBACK = "rollback"


class TelemetryAction(StrEnum):
    """What is done when no evidence arrives."""

    FREEZE = "freeze"
    ROLLBACK = "rollback"


class TelemetryThen(Declaration):
    """What follows a freeze."""

    after: Duration
    """Time since the last evidence."""
    action: Literal[TelemetryAction.ROLLBACK] = TelemetryAction.ROLLBACK
    """Always rollback."""


class OnTelemetryLost(Declaration):
    """What is done when no evidence arrives while the challenger serves."""

    after: Duration = timedelta(minutes=5)
    """Time since the last evidence."""
    action: TelemetryAction = TelemetryAction.FREEZE
    """Freeze: no step is taken."""
    then: TelemetryThen | None = TelemetryThen(after=timedelta(minutes=30))
    """What follows."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.then is not None and self.then.after <= self.after:
            raise ValueError("onTelemetryLost.then.after is not later than onTelemetryLost.after")
        return self


class Bake(Declaration):
    """The time after promotion during which the old champion keeps a part of the traffic."""

    duration: Duration = timedelta(hours=24)
    """How long."""
    holdback: Percent = 5
    """Percent of units that the old champion keeps."""

    @property
    def basis_points(self) -> int:
        return basis_points(self.holdback)


class RolloutPolicy(Declaration):
    """How a challenger earns its traffic, and what takes it away."""

    unit: str | None = Field(default=None, min_length=1)
    """The entity column that assignment is sticky by; when left out, every request is a unit of its own."""
    shadow: Shadow | None = None
    """Mirroring before the first step; none when left out."""
    steps: tuple[Step, ...] = Field(min_length=1)
    """Weights in order; the last ends with the promotion test."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """The chance of rolling back a challenger that harms nobody, over the whole rollout."""
    guardrails: tuple[Guardrail, ...] = Field(min_length=1)
    """What is watched for harm; harm rolls back."""
    promotion: tuple[Promotion, ...] = Field(min_length=1)
    """What must be shown before promotion; each at full alpha."""
    holds: tuple[HoldRule, ...] = HOLDS
    """What stops the steps until a person looks."""
    hard_limits: tuple[HardLimit, ...] = ()
    """Rates that roll back at once."""
    on_inconclusive: OnInconclusive = OnInconclusive.HOLD
    """What becomes of a step whose time is over without a verdict."""
    on_telemetry_lost: OnTelemetryLost = OnTelemetryLost()
    """What is done when no evidence arrives."""
    bake: Bake = Bake()
    """The time after promotion."""

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        problems = [*self._of_names(), *self._of_steps(), *self._of_metrics()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def guardrail(self, name: str) -> Guardrail:
        """The guardrail of that name. Raises `KeyError` when there is none; names are checked at admission."""
        return {guardrail.name: guardrail for guardrail in self.guardrails}[name]

    def margin(self, name: str) -> Promotion | None:
        """What promotion asks of a metric; None when it asks nothing."""
        return next((promotion for promotion in self.promotion if promotion.metric == name), None)

    @property
    def frozen(self) -> tuple[str, ...]:
        """Guardrails whose threshold or cap is measured on the champion when the rollout starts."""
        return tuple(one.name for one in self.guardrails if bound_of(one) == CHAMPION_P99)

    def _of_names(self) -> Iterator[str]:
        for what, names in (
            ("guardrails", [one.name for one in self.guardrails]),
            ("promotion", [one.metric for one in self.promotion]),
            ("holds", [one.name for one in self.holds]),
            ("hardLimits", [one.metric for one in self.hard_limits]),
        ):
            yield from (f"{what} names {name!r} twice" for name in _twice(names))
        for what in ("sampleRatio", "predictionDrift"):
            if sum(one.type == what for one in self.holds) > 1:
                yield f"holds has {what} twice"

    def _of_steps(self) -> Iterator[str]:
        weights = [step.weight for step in self.steps]
        if any(later < earlier for earlier, later in pairwise(weights)):
            yield f"weights of steps fall: {weights}; a weight is at least the one before"
        for number, step in enumerate(self.steps):
            last = number == len(self.steps) - 1
            if step.until.promotion != last:
                yield f"steps[{number}].until.promotion is {step.until.promotion}; it is true for the last step alone"
            if not last and step.until.min_units is None:
                yield f"steps[{number}].until.minUnits is missing; a step before the last ends with units"

    def _of_metrics(self) -> Iterator[str]:
        names = [guardrail.name for guardrail in self.guardrails]
        total = sum(guardrail.share for guardrail in self.guardrails)
        if abs(total - 1) > 1e-9:
            yield f"shares of the guardrails sum to {total:g}, not 1"
        delayed = [guardrail.name for guardrail in self.guardrails if guardrail.delayed]
        if delayed and self.unit is None:
            yield f"unit is missing; {', '.join(delayed)} waits for labels, which are joined by unit"
        for promotion in self.promotion:
            if promotion.metric not in names:
                yield f"promotion names the metric {promotion.metric!r}; valid: {', '.join(names)}"
            else:
                yield from _margin_fits(self.guardrail(promotion.metric), promotion)
        rates = [guardrail.name for guardrail in self.guardrails if not isinstance(guardrail, Mean)]
        for limit in self.hard_limits:
            if limit.metric not in rates:
                yield f"hardLimits names the metric {limit.metric!r}; valid: {', '.join(rates) or 'none'}"


def _margin_fits(guardrail: Guardrail, promotion: Promotion) -> Iterator[str]:
    margin, name = promotion.non_inferior, promotion.metric
    if isinstance(guardrail, Mean):
        if margin.absolute is None or margin.ratio is not None or margin.floor is not None:
            yield f"promotion of {name}: nonInferior of a mean is absolute, and nothing else"
    elif margin.ratio is None or margin.absolute is not None:
        yield f"promotion of {name}: nonInferior of a {guardrail.type} is ratio, and perhaps floor"


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]
