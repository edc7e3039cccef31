"""canary: the rollout's controller. Reads the row, asks for evidence, decides, commits, renews the lease.

Level-triggered: a tick looks at what is committed and at what is so now, never at what happened in between. It may be
repeated, and killed anywhere: row and record are one transaction, and the next tick goes on from the committed
generation. It needs the ledger's database and the prediction log; MLflow, Feast and Prefect may be down.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from towpath import __version__, core
from towpath.core import digest as digests
from towpath.core.errors import BadInput, Denied, NotFound, TowpathError
from towpath.core.evidence import Record, RecordKind
from towpath.core.looks import Look
from towpath.core.policy import Decision, Verdict
from towpath.core.rollout import Phase, Rollout, Telemetry
from towpath.core.rollout_decision import Command, Order, RolloutDecision
from towpath.core.rollout_machine import seen, tick
from towpath.core.rollout_orders import Replayed, obey, possible, replay
from towpath.core.rollout_rules import Scene
from towpath.ports import Draft, Evidence, Keys, Ledger, Rollouts
from towpath.stages.proof import agreed, decision_key
from towpath.stages.rollout_row import decided, records_of, require_decided, rollout_of
from towpath.stages.succession import crown
from towpath.stages.verdict import again, head_of
from towpath.stages.work import candidate_of, champion

LEASE: Final = timedelta(seconds=90)
"""How long gateways may expose the challenger without hearing from a controller."""
STAGE: Final = "rollout"
_DECIDES: Final = ("guardrails.py", "judge*.py", "looks.py", "rollout*.py", "sequential*.py")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CanaryPorts:
    """The world, as the controller sees it: two, and who acts. `keys`: those by which a challenger must be attested."""

    ledger: Ledger
    rollouts: Rollouts
    evidence: Evidence
    actor: str
    keys: Keys | None = None

    def close(self) -> None:
        """Give back what they hold."""
        self.evidence.close()
        self.rollouts.close()
        self.ledger.close()


@dataclass(frozen=True, kw_only=True)
class Ticked:
    """What a tick did: the rollout as it is committed now, the decision if one was taken, and what stood in the way."""

    rollout: Rollout | None
    decision: RolloutDecision | None = None
    faults: tuple[str, ...] = ()


def tick_once(ports: CanaryPorts, project: str, now: datetime, *, lease: timedelta = LEASE) -> Ticked:
    """One look at the project's open rollout; at most one transition.

    Evidence that cannot be read is silence, which the policy answers. Raises what the ledger's database raises, and
    `IntegrityError` when the row is not the one that was decided: then the lease is not renewed either.
    """
    return again(lambda: _ticked(ports, project, now, lease))


def _ticked(ports: CanaryPorts, project: str, now: datetime, lease: timedelta) -> Ticked:
    before = ports.rollouts.open(project)
    if before is None:
        return Ticked(rollout=None)
    require_decided(ports.ledger, before)
    faults: list[str] = []
    if (ending := _ending(ports, before)) is not None:
        after, decision = obey(before, ending, now)
    else:
        look, telemetry = _judged(ports.evidence, before, now, faults)
        after, found = tick(before, look, telemetry, now)
        if found is None:
            if after.generation != before.generation:
                ports.rollouts.advance(before, after, None, actor=ports.actor)
            _renew(ports.rollouts, after, now + lease)
            return Ticked(rollout=after, faults=tuple(faults))
        decision = found
    commit(ports, before, after, decision)
    _renew(ports.rollouts, after, now + lease)
    return Ticked(rollout=after, decision=decision, faults=tuple(faults))


def give(ports: CanaryPorts, project: str, command: Command, now: datetime) -> Ticked:
    """Carry out a person's order on the open rollout. Raises `NotFound` without one, and `Denied`."""
    before = ports.rollouts.open(project)
    if before is None:
        raise NotFound(
            f"Project {project} has no open rollout.", value=project, hint="`towpath rollout start` starts one."
        )
    faults: list[str] = []
    look, _ = _asked(ports.evidence, before, faults)
    after, decision = obey(before, command, now, look=look)
    commit(ports, before, after, decision)
    return Ticked(rollout=after, decision=decision, faults=tuple(faults))


def observe(ports: CanaryPorts, rollout: Rollout, now: datetime) -> tuple[Scene, tuple[str, ...]]:
    """The rollout as the next tick would see it, and what stood in the way of seeing it. Changes nothing."""
    faults: list[str] = []
    look, telemetry = _judged(ports.evidence, rollout, now, faults)
    return seen(rollout, look, telemetry, now), tuple(faults)


def commit(ports: CanaryPorts, before: Rollout, after: Rollout, decision: RolloutDecision) -> Record | None:
    """Row and record in one transaction, the succession with it.

    Raises `Denied` when another came first, and `Conflict` when the record moved on under one that makes the challenger
    champion: who agreed is looked at again then.
    """
    crowned, behind, governance = decision.crowned(), None, None
    if crowned is not None and crowned[0] is Verdict.PROMOTE:
        head, _ = head_of(ports.ledger, decision.decided_at)
        behind, governance = head.hash, agreed(ports.ledger, before)
    record = ports.rollouts.advance(
        before,
        after,
        draft(ports.ledger, decision, governance),
        actor=decision.inputs.command.author if decision.inputs.command else ports.actor,
        behind=behind,
    )
    _logger.info(
        "rollout=%s generation=%d from=%s to=%s verdict=%s reason=%s weight=%d",
        *(decision.rollout_id, decision.generation, decision.from_state, decision.to_state),
        *(decision.verdict, decision.reason_code, decision.weight_after),
    )
    return record


def opening(decision: RolloutDecision, governance: Mapping[str, Any]) -> Draft:
    """The record of a rollout's start, and of those who agreed to its challenger."""
    written = _signed(decision)
    said = {"verdict": written.verdict.value, "reason": written.reason}
    return _draft(written, {**said, "governance": dict(governance), "rollout": written.body})


def draft(ledger: Ledger, decision: RolloutDecision, governance: Mapping[str, Any] | None = None) -> Draft:
    """The ledger record of a decision; of one that makes a champion, the record of the succession with it inside.

    `governance`: who agreed, of one that makes the challenger champion.
    """
    written = _signed(decision)
    crowned = written.crowned()
    if crowned is None:
        return _draft(written, written.body)
    verdict, contender = crowned
    project = written.inputs.before.project
    candidate = candidate_of(ledger, project, contender.digest)
    reasons = Decision(verdict=verdict, candidate=candidate.id, digest=candidate.digest, reasons=(written.reason,))
    current = champion(ledger, project)
    return crown(reasons, candidate, current, reason=written.reason, governance=governance, rollout=written.body)


def _signed(decision: RolloutDecision) -> RolloutDecision:
    return decision.model_copy(update={"code_digest": code_digest()})


def _draft(written: RolloutDecision, body: Mapping[str, Any]) -> Draft:
    return Draft(
        kind=RecordKind.DECISION,
        project=written.inputs.before.project,
        candidate=written.challenger.candidate,
        stage=STAGE,
        key=decision_key(written.rollout_id, written.generation),
        digest=digests.of_json(body),
        body=body,
    )


def decisions(ledger: Ledger, rollout: Rollout) -> tuple[tuple[Record, RolloutDecision], ...]:
    """Every decision on a rollout, in order, with its record."""
    return tuple((record, decided(record)) for record in records_of(ledger, rollout))


def replayed(records: Iterable[Record], rollout_id: str) -> tuple[tuple[Record, Replayed], ...]:
    """Every decision on a rollout that is among the records, decided again from its record alone."""
    found: list[tuple[Record, Replayed]] = []
    for record in records:
        if rollout_of(record) == rollout_id:
            previous = found[-1][1].decision if found else None
            found.append((record, replay(decided(record), previous=previous)))
    return tuple(found)


@cache
def code_digest() -> str:
    """Digest of the code that judges and decides, and of the version it belongs to."""
    folder = Path(core.__file__).parent
    files = {file.name for pattern in _DECIDES for file in folder.glob(pattern)}
    return digests.of_json({"towpath": __version__, "core": digests.of_tree(folder, names=sorted(files))})


def _asked(evidence: Evidence, rollout: Rollout, faults: list[str]) -> tuple[Look | None, Telemetry]:
    """The evidence, or nothing where it cannot be read: that pulls traffic back in the end, and never raises it."""
    try:
        return evidence.look(rollout) if rollout.exposed else None, evidence.telemetry(rollout)
    except TowpathError as error:
        _logger.warning("rollout=%s evidence cannot be read: %s", rollout.rollout_id, error)
        faults.append(error.message)
        return None, Telemetry()  # gateways that are heard while nothing is judged must not look like good news


def _judged(evidence: Evidence, rollout: Rollout, now: datetime, faults: list[str]) -> tuple[Look | None, Telemetry]:
    """The evidence that a judge takes. What contradicts itself is as good as none: silence, then a rollback."""
    look, telemetry = _asked(evidence, rollout, faults)
    try:
        seen(rollout, look, telemetry, now)
    except BadInput as error:
        _logger.warning("rollout=%s evidence cannot be: %s", rollout.rollout_id, error)
        faults.append(error.message)
        return None, Telemetry()
    return look, telemetry


def _renew(rollouts: Rollouts, rollout: Rollout, until: datetime) -> None:
    if rollout.open and rollout.phase is not Phase.ROLLING_BACK:
        rollouts.renew(rollout.rollout_id, rollout.generation, until)


def _ending(ports: CanaryPorts, rollout: Rollout) -> Command | None:
    """What ends a rollout whatever its evidence says: another champion, or an approval that was taken back."""
    if (other := _usurper(ports.ledger, rollout)) is not None:
        reason = f"record {other.sequence} made {other.candidate} the champion"
        return Command(order=Order.SUPERSEDE, author=ports.actor, reason=reason)
    if Order.ABORT not in possible(rollout.phase):
        return None  # the challenger is the champion, or on its way out
    try:
        agreed(ports.ledger, rollout)
    except Denied as error:
        order = Order.ROLLBACK if rollout.exposed or rollout.shadow else Order.ABORT
        return Command(order=order, author=ports.actor, reason=error.message)
    return None


def _usurper(ledger: Ledger, rollout: Rollout) -> Record | None:
    """The decision that made somebody champion whom this rollout does not expect; then its comparison means nothing."""
    expected = rollout.challenger if rollout.phase is Phase.BAKING else rollout.champion
    current = champion(ledger, rollout.project)
    if current is None:
        raise Denied(f"Project {rollout.project} has a rollout and no champion.", value=rollout.rollout_id)
    return current.decision if current.candidate.digest != expected.digest else None
