"""A rollout: one challenger on its way to the champion's traffic, as the one row that everybody reads.

`rollout_machine` says how it moves, `rollout_decision` how each move is written down. Weights are whole basis points,
0 to 10,000; times are UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from towpath.core import digest as digests
from towpath.core.looks import JudgeState
from towpath.core.rollout_policy import RolloutPolicy

WHOLE = 10_000
"""All units, in basis points."""


class Phase(StrEnum):
    """Where a rollout is."""

    PENDING = "pending"
    PREPARING = "preparing"
    SHADOWING = "shadowing"
    PROGRESSING = "progressing"
    HELD = "held"
    PROMOTING = "promoting"
    BAKING = "baking"
    SUCCEEDED = "succeeded"
    ROLLING_BACK = "rolling-back"
    ROLLED_BACK = "rolled-back"
    ABORTED = "aborted"
    SUPERSEDED = "superseded"


EXPOSED = frozenset({Phase.PROGRESSING, Phase.HELD, Phase.PROMOTING, Phase.BAKING})
"""Phases in which the challenger answers units."""
FINAL = frozenset({Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.ABORTED, Phase.SUPERSEDED})
"""Phases that are never left."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Contender(_Value):
    """A model that takes part: the candidate it belongs to, and its version in the registry."""

    candidate: str
    digest: str
    """Of the candidate: that of its last entry."""
    model: str
    """Digest of the model."""
    version: str


class Telemetry(_Value):
    """What is known of the gateways: whether they are heard, and whether they hold the rollout."""

    at: datetime | None = None
    """When the newest logged request of the project was answered, by whichever arm; None when there is none."""
    ready: bool = False
    """Whether the project's newest requests were answered by gateways that hold both models of this rollout."""
    shadowed: int = Field(default=0, ge=0)
    """Units mirrored to the challenger so far."""
    shadow_failed: int = Field(default=0, ge=0)
    """Mirrored units for which the challenger failed at least once."""


class Rollout(_Value):
    """One rollout as committed. Everything that was frozen at its start, and where it is now. JSON round trip.

    Until BAKING the project's champion is `champion`. From BAKING on it is `challenger`, and `champion` keeps the
    holdback, WHOLE - `weight`.
    """

    rollout_id: str
    project: str
    generation: int = Field(ge=0)
    phase: Phase
    step: int = Field(ge=0)
    """Index into the policy's steps."""
    weight: int = Field(ge=0, le=WHOLE)
    """Share of units that the challenger answers."""
    shadow: int = Field(default=0, ge=0, le=WHOLE)
    """Share of units whose requests are mirrored to the challenger."""
    salt: str
    """16 bytes, hexadecimal; a new one every rollout."""
    unit: str | None
    """The entity column that assignment is sticky by; None: every request is a unit of its own."""
    champion: Contender
    challenger: Contender
    policy: RolloutPolicy
    policy_digest: str
    thresholds: Mapping[str, float]
    """Threshold or cap of each guardrail that has one, by name; frozen at the start."""
    held: str | None = None
    """Why stepping stopped; None unless held."""
    acknowledged: tuple[str, ...] = ()
    """Holds that a person has seen and resumed from; they stop nothing any more."""
    lease_until: datetime | None = None
    """Until when gateways may expose the challenger. Renewed without a new generation."""
    phase_since: datetime
    step_since: datetime
    watermark: str = ""
    """Of the last evidence that was judged."""
    judge: JudgeState
    started_by: str
    started_at: datetime
    last_evidence_at: datetime | None = None
    """When the newest request of the evidence was answered."""

    @property
    def exposed(self) -> bool:
        return self.phase in EXPOSED and self.weight > 0

    @property
    def open(self) -> bool:
        return self.phase not in FINAL


def policy_digest(policy: RolloutPolicy) -> str:
    """Digest of a policy as the charter writes it."""
    return digests.of_json(policy.model_dump(mode="json", by_alias=True))
