"""The path as data: its stages in order, and the rule for going along it."""

from __future__ import annotations

from towpath.core.errors import OutOfOrder
from towpath.core.evidence import Candidate, Outcome
from towpath.core.gates import Stage
from towpath.core.policy import Waiver
from towpath.core.waivers import covered

ORDER: tuple[Stage, ...] = (
    Stage.INGEST,
    Stage.VALIDATE,
    Stage.FEATURIZE,
    Stage.TRAIN,
    Stage.EVALUATE,
    Stage.REGISTER,
)
WATCH: tuple[Stage, ...] = (Stage.INGEST, Stage.VALIDATE, Stage.FEATURIZE, Stage.MONITOR)


def may_enter(
    stage: Stage, candidate: Candidate, *, order: tuple[Stage, ...] = ORDER, waivers: tuple[Waiver, ...] = ()
) -> None:
    """Raises `OutOfOrder` unless the candidate holds exactly the entries before `stage`, all of them PASS.

    `waivers`: those in force. Each finding that did not pass may be covered by one instead.
    """
    needed = order[: order.index(stage)]
    refused = next((entry for entry in candidate.entries if entry.outcome is not Outcome.PASS), None)
    if refused is not None and not covered(candidate, waivers):
        raise OutOfOrder(
            f"Candidate {candidate.id} was refused at {refused.stage}; {stage} is not entered.",
            value=stage.value,
            hint=f"`towpath show {candidate.id}` says why.",
        )
    if candidate.stages != tuple(item.value for item in needed):
        raise OutOfOrder(
            f"Stage {stage} follows {', '.join(needed) or 'nothing'}; candidate {candidate.id} has "
            f"{', '.join(candidate.stages) or 'no entry'}.",
            value=stage.value,
            hint="Run the path from its beginning: `towpath run`.",
        )
