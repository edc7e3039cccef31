"""A plan under the row of its rollout: exposure falls at once, and rises only by a record that was read whole."""

from __future__ import annotations

from dataclasses import replace

from towpath.core.rollout import Rollout
from towpath.gateway.plan import Model, Plan, Split


def mark(rollout: Rollout | None) -> tuple[object, ...] | None:
    """What of a rollout needs the record to be read again: who takes part, and a weight that may have risen.

    Not its generation, which grows with every look at new evidence.
    """
    if rollout is None:
        return None
    return rollout.rollout_id, rollout.champion, rollout.challenger, _weight(rollout)


def _weight(rollout: Rollout) -> int:
    return rollout.weight if rollout.exposed else 0


def fitted(plan: Plan, rollout: Rollout | None) -> Plan:
    """The plan under the rollout's row as it is now, as far as exposure falls or only the lease changed."""
    split = plan.split
    if split is None:
        return plan
    if rollout is None or rollout.rollout_id != split.rollout:
        return replace(plan, split=None)
    same = rollout.generation == split.generation
    if same and _until(rollout) == split.until:
        return plan
    if same:
        return replace(plan, split=replace(split, until=_until(rollout)))
    if _weight(rollout) > split.weight:
        return plan
    return replace(plan, split=split_of(rollout, split.champion, split.challenger))


def _until(rollout: Rollout) -> float:
    return rollout.lease_until.timestamp() if rollout.lease_until is not None else 0.0


def split_of(rollout: Rollout, champion: Model, challenger: Model | None) -> Split | None:
    """None for a challenger that is not here and has no weight yet: the log must not say that this gateway holds it."""
    weight = _weight(rollout)
    if challenger is None and not weight:
        return None
    return Split(
        rollout=rollout.rollout_id,
        generation=rollout.generation,
        step=rollout.step,
        weight=weight,
        shadow=rollout.shadow,
        salt=bytes.fromhex(rollout.salt),
        until=_until(rollout),
        champion=champion,
        challenger=challenger,
    )
