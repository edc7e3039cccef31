"""Rollouts: how they stand, why, whether their decisions come out again; and a person's orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import Field, JsonValue

from towpath.core.access import Action
from towpath.core.errors import BadInput
from towpath.core.evidence import Record
from towpath.core.rollout import Rollout
from towpath.core.rollout_decision import Command, Order, RolloutDecision
from towpath.core.rollout_orders import Replayed
from towpath.core.rollout_power import Planned
from towpath.core.rollout_rules import Scene, obstacles
from towpath.stages.canary import code_digest, decisions, give, observe, replayed
from towpath.stages.canary_start import start
from towpath.stages.rollout_row import require_decided
from towpath.verbs import rollout_words
from towpath.verbs.approvals import NAMED, REASON
from towpath.verbs.candidates import in_project, known, of_candidate
from towpath.verbs.desk import Desk
from towpath.verbs.verb import Document, Request, Verb

Seen = tuple[Scene, Sequence[RolloutDecision], Sequence[str]]


class ListRollouts(Request):
    """The rollouts of a project, the newest first."""

    project: str = Field(max_length=200)


class Rollouts(Document):
    """Each as it is committed, without salt and the judge's memory."""

    rollouts: list[dict[str, JsonValue]]


class AskRollout(Request):
    """A rollout by its id."""

    rollout: str = Field(max_length=200)


class RolloutStatus(Document):
    """A rollout, its evidence, what stands in the way of more exposure, and what was decided."""

    project: str
    rollout: dict[str, JsonValue]
    units: int
    evidence: dict[str, JsonValue] | None
    obstacles: list[str]
    faults: list[str]
    decisions: list[dict[str, JsonValue]]
    look: dict[str, JsonValue] | None = Field(description="Units and bad units by step and weight.")
    telemetry: dict[str, JsonValue]
    at: str


class RolloutExplained(Document):
    """Why a rollout is where it is, and what it waits for, in sentences."""

    rollout: str
    phase: str
    says: list[str]


class DecisionAgain(Document):
    """A decision, decided again from its record alone."""

    decision: str
    record: int
    verdict: str
    same: bool
    same_code: bool
    differences: list[str]


class RolloutReplayed(Document):
    """Whether every decision comes out the same."""

    rollout: str
    same: bool
    decisions: list[DecisionAgain]


class StartRollout(Request):
    """Make a registered candidate the challenger. `thresholds`: of guardrails, instead of the champion's p99."""

    candidate: str = NAMED
    reason: str = REASON
    thresholds: dict[str, float] = Field(default_factory=dict, max_length=100)


class RolloutDecided(Document):
    """A decision on a rollout, without what it was decided from."""

    rollout_id: str
    from_state: str
    to_state: str
    verdict: str
    reason_code: str
    reason: str
    actor: str
    weight_before: int
    weight_after: int
    champion: dict[str, JsonValue]
    challenger: dict[str, JsonValue]


class RolloutStarted(RolloutDecided):
    """The first decision, the thresholds that were frozen, and the units that each test can be expected to need."""

    thresholds: dict[str, float]
    plan: list[Planned]


class OrderRollout(Request):
    """An order on the project's open rollout."""

    project: str = Field(max_length=200)
    reason: str = REASON


def list_rollouts(asked: ListRollouts, desk: Desk) -> Rollouts:
    """Every one."""
    found = desk.rollouts.history(known(asked.project, desk))
    return Rollouts(rollouts=[committed(one) for one in found])


def ask_rollout(asked: AskRollout, desk: Desk) -> RolloutStatus:
    """As the next tick would see it."""
    return status_of(*look(asked.rollout, desk))


def explain(asked: AskRollout, desk: Desk) -> RolloutExplained:
    """From the same evidence as the status."""
    seen = look(asked.rollout, desk)
    row = seen[0].rollout
    return RolloutExplained(rollout=row.rollout_id, phase=row.phase.value, says=rollout_words.explain(*seen))


def replay(asked: AskRollout, desk: Desk) -> RolloutReplayed:
    """Also holds the row to its last decision: raises `IntegrityError`."""
    row = desk.rollouts.get(asked.rollout)
    require_decided(desk.ledger, row)
    return replay_of(replayed(desk.ledger.records(project=row.project), row.rollout_id))


def start_rollout(asked: StartRollout, desk: Desk) -> RolloutStarted:
    """By the policy of the charter where its folder is at hand, else by the one that was frozen with the candidate."""
    candidate, here = desk.candidate(asked.candidate), desk.here
    if here is not None and here.charter.project != candidate.project:
        raise BadInput(
            f"Candidate {candidate.id} belongs to project {candidate.project}, and {here.folder} is "
            f"{here.charter.project}.",
            value=str(here.folder),
            hint="Name the project's folder: --project DIR.",
        )
    with desk.canary() as ports:
        begun = start(
            candidate,
            here,
            ports,
            author=desk.identity.person,
            reason=asked.reason,
            now=desk.now,
            thresholds=asked.thresholds or None,
        )
    row = begun.rollout
    return RolloutStarted(
        **decided(begun.decision),
        thresholds=dict(row.thresholds),
        plan=list(begun.plan),
    )


def order(asked: OrderRollout, desk: Desk, what: Order) -> RolloutDecided:
    """Carry out a person's order."""
    command = Command(order=what, author=desk.identity.person, reason=asked.reason)
    with desk.canary() as ports:
        done = give(ports, known(asked.project, desk), command, desk.now)
    assert done.decision is not None
    return RolloutDecided(**decided(done.decision))


def look(rollout: str, desk: Desk) -> Seen:
    """The rollout as the next tick would see it, what was decided on it, and what cannot be read."""
    with desk.canary() as ports:
        row = ports.rollouts.get(rollout)
        scene, faults = observe(ports, row, desk.now)
        return scene, [decision for _, decision in decisions(ports.ledger, row)], faults


def status_of(scene: Scene, made: Sequence[RolloutDecision], faults: Sequence[str]) -> RolloutStatus:
    """Everything that is known of a rollout."""
    return RolloutStatus(
        project=scene.rollout.project,
        rollout=committed(scene.rollout),
        units=scene.units,
        evidence=scene.judgement.model_dump(mode="json") if scene.judgement else None,
        obstacles=obstacles(scene) if scene.rollout.open else [],
        faults=list(faults),
        decisions=[decided(one) for one in made],
        look=scene.look.model_dump(mode="json") if scene.look else None,
        telemetry=scene.telemetry.model_dump(mode="json"),
        at=scene.now.isoformat(),
    )


def replay_of(found: Sequence[tuple[Record, Replayed]]) -> RolloutReplayed:
    """What came out of each decision."""
    rows = [
        DecisionAgain(
            decision=one.decision.decision_id,
            record=record.sequence,
            verdict=one.decision.verdict.value,
            same=not one.differences,
            same_code=one.decision.code_digest == code_digest(),
            differences=list(one.differences),
        )
        for record, one in found
    ]
    return RolloutReplayed(rollout=found[0][1].decision.rollout_id, same=all(row.same for row in rows), decisions=rows)


def committed(rollout: Rollout) -> dict[str, Any]:
    """A rollout's row as JSON. Who knows the salt can tell who gets the challenger: it stays here."""
    return rollout.model_dump(mode="json", exclude={"judge", "salt"})


def decided(decision: RolloutDecision) -> dict[str, Any]:
    """A decision as JSON, without what it was decided from."""
    return decision.model_dump(mode="json", exclude={"inputs"})


def _of_rollout(asked: AskRollout, desk: Desk) -> str:
    return desk.rollouts.get(asked.rollout).project


def _ordering(what: Order, about: str) -> Verb[OrderRollout, RolloutDecided]:
    def perform(asked: OrderRollout, desk: Desk) -> RolloutDecided:
        return order(asked, desk, what)

    return Verb(
        name=f"rollout-{what}",
        about=about,
        action=Action(f"rollout-{what}"),
        request=OrderRollout,
        answer=RolloutDecided,
        perform=perform,
        project=in_project,
        path=f"/v1/projects/{{project}}/rollout/{what}",
    )


ORDERS: Final[Mapping[Order, str]] = {
    Order.PAUSE: "Stop stepping, at the weight that it has.",
    Order.RESUME: "Go on after a pause or a hold.",
    Order.PROMOTE: "Promote without waiting for the evidence.",
    Order.ROLLBACK: "Send every unit back to the old champion.",
    Order.ABORT: "End a rollout that is not wanted any more.",
}
ROLLOUTS: Final = Verb(
    name="rollouts",
    about="List a project's rollouts.",
    action=Action.READ,
    request=ListRollouts,
    answer=Rollouts,
    perform=list_rollouts,
    project=in_project,
    path="/v1/projects/{project}/rollouts",
    changes=False,
)
ROLLOUT_STATUS: Final = Verb(
    name="rollout-status",
    about="How a rollout stands: weights, evidence against its bounds, decisions.",
    action=Action.READ,
    request=AskRollout,
    answer=RolloutStatus,
    perform=ask_rollout,
    project=_of_rollout,
    path="/v1/rollouts/{rollout}",
    changes=False,
)
ROLLOUT_EXPLAIN: Final = Verb(
    name="rollout-explain",
    about="Say in sentences why a rollout is where it is, and what it waits for.",
    action=Action.READ,
    request=AskRollout,
    answer=RolloutExplained,
    perform=explain,
    project=_of_rollout,
    path="/v1/rollouts/{rollout}/explain",
    changes=False,
)
ROLLOUT_REPLAY: Final = Verb(
    name="rollout-replay",
    about="Decide every decision of a rollout again, from its record alone.",
    action=Action.READ,
    request=AskRollout,
    answer=RolloutReplayed,
    perform=replay,
    project=_of_rollout,
    path="/v1/rollouts/{rollout}/replay",
    changes=False,
)
ROLLOUT_START: Final = Verb(
    name="rollout-start",
    about="Make a registered candidate the challenger.",
    action=Action.ROLLOUT_START,
    request=StartRollout,
    answer=RolloutStarted,
    perform=start_rollout,
    project=of_candidate,
    path="/v1/candidates/{candidate}/rollout/start",
)
ORDERING: Final = {what: _ordering(what, about) for what, about in ORDERS.items()}
VERBS: Final = (
    ROLLOUTS,
    ROLLOUT_STATUS,
    ROLLOUT_EXPLAIN,
    ROLLOUT_REPLAY,
    ROLLOUT_START,
    *ORDERING.values(),
)
