"""What serves now, as one value that is replaced whole: models, and how a rollout splits units between them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import msgspec

from towpath.core.assignment import Arm, arm, bucket, mirrored
from towpath.gateway.asked import Asked
from towpath.gateway.batching import Batcher
from towpath.gateway.online import OnlineReader
from towpath.gateway.outputs import ONE_NUMBER, Outputs
from towpath.gateway.schema import Schema
from towpath.stages.serving import Approved


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """A loaded model. `cheaper` answers when `main` would miss the latency budget."""

    approved: Approved
    main: Batcher
    cheaper: Batcher | None
    outputs: Outputs = ONE_NUMBER
    removed: Callable[[], None] = lambda: None
    """Removes the files that a process of the model's own is started from."""

    def rows(self, asked: Asked, positions: Sequence[int] | None) -> list[tuple[object, ...]]:
        """The model's input rows, its columns in order; `positions` are rows of the request, None is all of them."""
        rows = asked.rows if positions is None else [asked.rows[place] for place in positions]
        columns = self.approved.columns
        if len(columns) == 1:
            return [(row[columns[0]],) for row in rows]
        return list(map(itemgetter(*columns), rows))

    def close(self) -> None:
        self.main.close()
        if self.cheaper is not None:
            self.cheaper.close()
        self.removed()


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """An open rollout: in force until its lease is over. Weights are basis points.

    `challenger` is None when the record or its bytes did not let it be loaded here; its units then get the champion,
    and that is marked.
    """

    rollout: str
    generation: int
    step: int
    weight: int
    shadow: int
    salt: bytes
    until: float  # seconds since 1970
    champion: Model
    challenger: Model | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`champion` is the ledger's, and serves alone when there is no split or its lease is over.

    `reader` fills features that a request does not bring; without one it must bring all of them.
    """

    schema: Schema
    champion: Model
    split: Split | None
    reader: OnlineReader | None = None

    @property
    def outputs(self) -> Outputs:
        """What answers look like; the models of a rollout all have the classes that the champion has, or none."""
        return self.champion.outputs

    def in_force(self, now: float) -> Split | None:
        return self.split if self.split is not None and self.split.until > now else None

    @property
    def models(self) -> tuple[Model, ...]:
        found = [self.champion]
        if self.split is not None:
            found += [item for item in (self.split.champion, self.split.challenger) if item is not None]
        return tuple(dict.fromkeys(found))

    def without(self, gone: Collection[Model]) -> Plan | None:
        """The plan when those may answer nothing any more; None when the champion is among them.

        A rollout goes with its own champion; of a challenger that is gone, its units get the champion.
        """
        if self.champion in gone:
            return None
        split = self.split
        if split is None or split.champion in gone:
            return replace(self, split=None)
        return replace(self, split=replace(split, challenger=None)) if split.challenger in gone else self


class Part(msgspec.Struct, kw_only=True):
    """The rows of a request that one arm answers; `positions` None means all of them."""

    arm: Arm
    name: str  # the arm's, for the log: an enum's value costs a call
    model: Model | None
    positions: list[int] | None


class Assigned(msgspec.Struct, kw_only=True):
    """A request's rows by arm, their buckets (None without a unit or a rollout), and those to be mirrored."""

    split: Split | None
    buckets: list[int | None]
    parts: tuple[Part, ...]
    shadow: Part | None


def assign(plan: Plan, asked: Asked, now: float) -> Assigned:
    """Which model answers which rows, by nothing but the plan, the units and the clock."""
    split = plan.in_force(now)
    if split is None:
        alone = Part(arm=Arm.CHAMPION, name="champion", model=plan.champion, positions=None)
        return Assigned(split=None, buckets=[None] * len(asked.rows), parts=(alone,), shadow=None)
    if len(asked.units) == 1:
        return _assign_one(split, asked.units[0])
    buckets = [None if unit is None else bucket(split.salt, unit) for unit in asked.units]
    arms = [arm(number, split.weight) for number in buckets]
    parts = tuple(_part(which, split, arms) for which in (Arm.CHAMPION, Arm.CHALLENGER) if which in arms)
    return Assigned(split=split, buckets=buckets, parts=parts, shadow=_shadow(split, buckets, arms))


def _assign_one(split: Split, unit: str | None) -> Assigned:
    """The same for one row, which most requests are."""
    number = None if unit is None else bucket(split.salt, unit)
    which = arm(number, split.weight)
    if which is Arm.CHALLENGER:
        part = Part(arm=which, name="challenger", model=split.challenger, positions=None)
        return Assigned(split=split, buckets=[number], parts=(part,), shadow=None)
    part = Part(arm=which, name="champion", model=split.champion, positions=None)
    shadow = _shadow(split, [number], [which]) if split.shadow else None
    return Assigned(split=split, buckets=[number], parts=(part,), shadow=shadow)


def _part(which: Arm, split: Split, arms: Sequence[Arm]) -> Part:
    model = split.champion if which is Arm.CHAMPION else split.challenger
    places = [place for place, item in enumerate(arms) if item is which]
    return Part(arm=which, name=which.value, model=model, positions=None if len(places) == len(arms) else places)


def _shadow(split: Split, buckets: Sequence[int | None], arms: Sequence[Arm]) -> Part | None:
    if not split.shadow or split.challenger is None:
        return None
    places = [
        place for place, number in enumerate(buckets) if arms[place] is Arm.CHAMPION and mirrored(number, split.shadow)
    ]
    return Part(arm=Arm.SHADOW, name="shadow", model=split.challenger, positions=places) if places else None
