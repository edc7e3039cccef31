"""What was decided on a rollout, with everything that it was decided from: a record that can be decided again.

The body of a ledger record of kind `decision` (ROLLOUT: "Decision record"). Where the decision also makes a champion,
the body is that of the succession, and holds this one under `rollout`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from towpath.core import digest as digests
from towpath.core.looks import Hold, Judgement, Look, MetricStatus
from towpath.core.policy import Verdict as Succession
from towpath.core.rollout import Contender, Phase, Rollout, Telemetry

CONTROLLER = "controller"
"""The actor of what no person decided."""


class Verdict(StrEnum):
    """What is done with a rollout. Only `promote` is a pass."""

    CONTINUE = "continue"
    STEP_UP = "step_up"
    HOLD = "hold"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    ABORT = "abort"
    ENDED_WITHOUT_EVIDENCE = "ended_without_evidence"


class Reason(StrEnum):
    """Why, in a code."""

    STARTED = "started"
    PREPARING = "preparing"
    READY = "ready"
    SHADOWED = "shadowed"
    SHADOW_FAILED = "shadow_failed"
    UNITS = "units"
    NON_INFERIOR = "non_inferior"
    HARM = "harm"
    HARD_LIMIT = "hard_limit"
    HOLD = "hold"
    INCONCLUSIVE = "inconclusive"
    TELEMETRY_LOST = "telemetry_lost"
    TELEMETRY_BACK = "telemetry_back"
    PROMOTED = "promoted"
    BAKED = "baked"
    WITHDRAWN = "withdrawn"
    MANUAL = "manual"
    SUPERSEDED = "superseded"


class Order(StrEnum):
    """What a person can ask of a rollout."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    ABORT = "abort"
    SUPERSEDE = "supersede"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Command(_Value):
    """A person's order, in that person's name."""

    order: Order
    author: str
    reason: str


class Inputs(_Value):
    """All that a decision is a function of. Without a command it is the judge's."""

    before: Rollout
    look: Look | None
    telemetry: Telemetry
    now: datetime
    command: Command | None = None


class RolloutDecision(_Value):
    """One decision. `inputs` are enough to decide it again; the other fields say what came of them."""

    decision_id: str
    rollout_id: str
    generation: int
    """Of the rollout after the decision."""
    decided_at: datetime
    actor: str
    from_state: Phase
    to_state: Phase
    verdict: Verdict
    reason_code: Reason
    reason: str
    step: int
    weight_before: int
    weight_after: int
    champion: Contender
    challenger: Contender
    policy_digest: str
    unit: str | None
    salt_id: str
    """Digest of the salt."""
    watermark: str
    """Of the evidence that was seen; empty when none was."""
    exposure: Mapping[str, int]
    """Units by arm since the start."""
    sample_ratio_log_e: float | None
    metrics: tuple[MetricStatus, ...]
    holds: tuple[Hold, ...]
    hard_limits: Mapping[str, tuple[int, int]]
    """Bad units and units of the challenger, by metric that has a hard limit."""
    code_digest: str = ""
    """Of the code that decided; filled in where the record is written."""
    inputs: Inputs

    @property
    def body(self) -> dict[str, Any]:
        """As JSON."""
        return self.model_dump(mode="json")

    def crowned(self) -> tuple[Succession, Contender] | None:
        """The champion that this decision makes: the challenger when baking begins, the old one when baking fails."""
        match self.from_state, self.to_state:
            case Phase.PROMOTING, Phase.BAKING:
                return Succession.PROMOTE, self.challenger
            case Phase.BAKING, Phase.ROLLING_BACK:
                return Succession.ROLLBACK, self.champion
            case _:
                return None


def compose(
    after: Rollout,
    inputs: Inputs,
    judgement: Judgement | None,
    *,
    verdict: Verdict,
    reason_code: Reason,
    reason: str,
) -> RolloutDecision:
    """The record of the move from `inputs.before` to `after`."""
    before, look = inputs.before, inputs.look
    return RolloutDecision(
        decision_id=f"{after.rollout_id}.{after.generation}",
        rollout_id=after.rollout_id,
        generation=after.generation,
        decided_at=inputs.now,
        actor=inputs.command.author if inputs.command else CONTROLLER,
        from_state=before.phase,
        to_state=after.phase,
        verdict=verdict,
        reason_code=reason_code,
        reason=reason,
        step=after.step,
        weight_before=before.weight,
        weight_after=after.weight,
        champion=after.champion,
        challenger=after.challenger,
        policy_digest=after.policy_digest,
        unit=after.unit,
        salt_id=digests.of_bytes(bytes.fromhex(after.salt)),
        watermark=look.watermark if look else before.watermark,
        exposure=exposure(look),
        sample_ratio_log_e=judgement.sample_ratio_log_e if judgement else None,
        metrics=judgement.metrics if judgement else (),
        holds=judgement.holds if judgement else (),
        hard_limits=look.hard if look else {},
        inputs=inputs,
    )


def exposure(look: Look | None) -> dict[str, int]:
    """Units by arm, over all strata."""
    strata = look.strata if look else ()
    return {
        "champion": sum(one.champion.units for one in strata),
        "challenger": sum(one.challenger.units for one in strata),
    }
