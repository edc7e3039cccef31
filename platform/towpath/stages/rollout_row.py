"""The row of a rollout, held to the record: what was decided last is what the row says, or nobody acts by it.

Rows change and the record does not. Somebody who may write the database can put any row there; what the ledger's key
signed says who takes part, by which policy, and how much traffic the challenger was given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from towpath.core import digest as digests
from towpath.core.errors import Conflict, IntegrityError
from towpath.core.evidence import Record, RecordKind
from towpath.core.rollout import Rollout, policy_digest
from towpath.core.rollout_decision import RolloutDecision
from towpath.ports import Ledger


def decided(record: Record) -> RolloutDecision:
    """The rollout decision of a record that has one."""
    return RolloutDecision.model_validate(record.body.get("rollout", record.body))


def rollout_of(record: Record) -> str | None:
    """The rollout that a record decides on; None when it decides on none."""
    found = record.body.get("rollout", record.body) if record.kind is RecordKind.DECISION else None
    return str(found["rollout_id"]) if isinstance(found, Mapping) and "rollout_id" in found else None


def records_of(ledger: Ledger, rollout: Rollout) -> Iterator[Record]:
    """The decisions on a rollout, in order."""
    for record in ledger.records(project=rollout.project, kind=RecordKind.DECISION):
        if rollout_of(record) == rollout.rollout_id:
            yield record


def require_decided(ledger: Ledger, rollout: Rollout) -> None:
    """Raises `IntegrityError` unless the row says what its last decision in the ledger says: phase, step and weight,
    who takes part, the policy, the thresholds and the salt; `Conflict` for one of before that decision.

    What only the row knows, which is what the judge has seen since, is held by the seal of the row.
    """
    records = list(records_of(ledger, rollout))
    last = decided(records[-1]) if records else None
    if last is None:
        raise _changed(rollout, "nothing was ever decided on it")
    if rollout.generation < last.generation:
        raise Conflict(
            f"Rollout {rollout.rollout_id} has moved on from generation {rollout.generation}.",
            value=rollout.generation,
            valid=[last.generation],
            hint="Look again. If the row stays behind its record, someone put an old one back.",
        )
    if (last.to_state, last.step, last.weight_after) != (rollout.phase, rollout.step, rollout.weight):
        raise _changed(rollout, f"{last.to_state} at {last.weight_after} was decided")
    if (last.champion, last.challenger) != (rollout.champion, rollout.challenger):
        raise _changed(rollout, "others take part in it by its record")
    frozen = last.inputs.before
    same = (
        (last.policy_digest, policy_digest(rollout.policy)) == (rollout.policy_digest, rollout.policy_digest),
        last.unit == rollout.unit,
        last.salt_id == digests.of_bytes(bytes.fromhex(rollout.salt)),
        frozen.thresholds == rollout.thresholds,
    )
    if not all(same):
        raise _changed(rollout, "it was started with another policy, threshold or salt")


def _changed(rollout: Rollout, what: str) -> IntegrityError:
    return IntegrityError(
        f"The row of rollout {rollout.rollout_id} is {rollout.phase} at weight {rollout.weight}, and {what}.",
        gate="integrity.ledger",
        value=rollout.rollout_id,
        hint="Someone changed the database. Until it is restored no lease is given: the champion serves alone.",
    )
