"""What a judge reads and says: the evidence of both arms at one look, the state between looks, the judgement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from towpath.core.sequential import Bet


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Moments(_Value):
    """Count, sum and sum of squares of one value a unit (its mean loss, capped); labelled units only."""

    n: int = Field(default=0, ge=0)
    total: float = 0.0
    squares: float = Field(default=0.0, ge=0)


class Arm(_Value):
    """What one arm saw in one stratum. A unit counts once in the stratum and arm."""

    units: int = Field(default=0, ge=0)
    bad: Mapping[str, int] = {}
    """Units whose first bad event of the rollout fell here, by metric (rate and exceedance). A metric that was watched
    stands here with 0; one that is absent was not measured."""
    means: Mapping[str, Moments] = {}
    """Values by metric (mean); one that is absent was not measured."""
    scores: tuple[int, ...] = ()
    """Histogram of predictions: 20 equal bins on [0, 1], or a bin for each class that a multiclass model of either arm
    predicted, in their alphabetical order; empty when there are none."""


class Stratum(_Value):
    """Both arms under one weight (basis points): that in force when units were ASSIGNED, not when they reported."""

    step: int
    weight: int = Field(ge=0, le=10_000)
    champion: Arm = Arm()
    challenger: Arm = Arm()


class Look(_Value):
    """The evidence from the start of the rollout up to a watermark."""

    watermark: str
    requests: int = Field(ge=0)
    strata: tuple[Stratum, ...] = ()
    hard: Mapping[str, tuple[int, int]] = {}
    """For hard limits: the challenger's bad units and units, by metric."""


class Seen(_Value):
    """Bad units of one stratum at the last look: (champion, challenger) by metric."""

    step: int
    weight: int
    bad: Mapping[str, tuple[int, int]] = {}


class JudgeState(_Value):
    """What a judge carries from look to look. JSON round trip."""

    looks: int = 0
    watermark: str = ""
    bets: Mapping[str, Bet] = {}
    """Of each rate and exceedance guardrail: its test for harm."""
    peaks: Mapping[str, float] = {}
    """Of each mean guardrail: the greatest log e-value of harm so far."""
    seen: tuple[Seen, ...] = ()


class Hold(_Value):
    """A reason to stop stepping that is in force now."""

    name: str
    type: Literal["sampleRatio", "predictionDrift"]
    measured: float
    """Log e-value of the sample ratio, or the distance between the arms' predictions beyond chance."""
    bound: float
    reason: str


class MetricStatus(_Value):
    """One guardrail at one look. Pairs are (champion, challenger)."""

    name: str
    type: Literal["rate", "exceedance", "mean"]
    share: float
    harm_log_e: float
    harm_bound: float
    harmed: bool
    """Whether the evidence of harm reached its bound at this look or before."""
    promotion: Literal["pass", "inconclusive", "none"]
    """`none` when promotion asks nothing of the metric."""
    noninferiority_log_e: float | None = None
    noninferiority_bound: float | None = None
    estimate: float | None = None
    """Of a rate or exceedance the ratio challenger / champion, of a mean the difference challenger - champion."""
    interval: tuple[float, float | None] | None = None
    """Confidence sequence of the estimate at level 1 - alpha, at all looks together; an end of None is no limit."""
    units: tuple[int, int] = (0, 0)
    events: tuple[int, int] = (0, 0)
    """Bad units; of a mean the labelled units."""
    coverage: tuple[float, float] | None = None
    """Share of units with a label; None for a metric without labels."""
    reason: str = ""


class Judgement(_Value):
    """What one look says. A controller acts on `hard_limit`, `harm`, `holds` and `promotable`, in this order."""

    metrics: tuple[MetricStatus, ...]
    harm: str | None
    """Name of the first guardrail that was harmed."""
    hard_limit: str | None
    """Name of the first metric beyond its hard limit."""
    holds: tuple[Hold, ...]
    """Holds in force; empty when none is."""
    promotable: bool
    """Every metric of the promotion list passes, and nothing harms, holds or is unmeasured."""
    unmeasured: tuple[str, ...] = ()
    """What the policy watches and the evidence does not tell, in words; while there is any, nothing is promoted."""
    sample_ratio_log_e: float
    prediction_distance: float | None
    """Jensen-Shannon distance (base 2) of the arms' predictions beyond chance; None when too few were seen."""
    reasons: tuple[str, ...]
