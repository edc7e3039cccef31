"""Following the record: a thread that looks twice a second, and another that loads what the record lets serve.

What was loaded last goes on serving while the database is away. Exposure falls at once, before anything is verified;
it rises only by a ledger that is whole. The lease needs no thread at all: every request looks at the clock.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from towpath.core.errors import Conflict, Denied, IntegrityError, TowpathError
from towpath.core.rollout import Rollout
from towpath.gateway.loading import Loader
from towpath.gateway.metrics import Metrics
from towpath.gateway.plan import Model, Plan, Split
from towpath.gateway.reading import Readers
from towpath.gateway.schema import schema
from towpath.ports import Ledger, Rollouts
from towpath.stages.serving import Approved, Head, Refused, Servable, report, servable

SECONDS = 0.5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the charter says of a project's requests."""

    project: str
    request: tuple[str, ...]
    row_id: str
    unit: str | None


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What a watch reads: the record, and where models and features come from."""

    ledger: Ledger
    rollouts: Rollouts
    loader: Loader
    readers: Readers


class Watch:
    """One project's record, as one worker follows it. `apply` is called with every new plan, in whatever thread.

    `look` and `resolve` may run at once, each in a thread of its own.
    """

    def __init__(self, rules: Rules, sources: Sources, *, apply: Callable[[Plan], None], actor: str) -> None:
        self.plan: Plan | None = None
        self._rules = rules
        self._sources = sources
        self._apply = apply
        self._actor = actor
        self._head = Head()
        self._rollout: Rollout | None = None
        self._seen: tuple[object, ...] | None = None
        self._again = True
        self._forged = ""
        self._lock = threading.Lock()

    def look(self, *, resolving: bool = False) -> bool:
        """Look once, and follow what needs no loading; whether there is something to `resolve`.

        Raises what the stores raise; the plan stays as it is then, until its lease is over.
        """
        rollout = self._open()
        with self._lock:
            self._rollout = rollout
            if self.plan is not None and (fitted := _fitted(self.plan, rollout)) is not self.plan:
                self._put(fitted)
        if resolving:
            return False
        return self._head.moved(self._sources.ledger) or self._again or _mark(rollout) != self._seen

    def resolve(self) -> None:
        """Verify the record, load what it lets serve, and put the plan. Raises as `look`, and `IntegrityError`."""
        self._again = True  # until this has gone well
        rollout = self._rollout
        try:
            found = self._servable(rollout)
        except Conflict:  # the record moved on behind the row, which is read again; an old row put back is no rollout
            rollout = self._open()
            try:
                found = self._servable(rollout)
            except Conflict as error:
                found = self._servable(None)
                _log.error("the row of the rollout stays behind its record: %s", error)
        for refused in found.refused:
            self._refuse(refused)
        plan, complete = self._planned(found)
        if plan is not None:
            with self._lock:
                self._put(_fitted(plan, self._rollout))
            self._sources.loader.retire({model.approved.digest for model in plan.models})
            self._sources.readers.retire(plan.reader)
        self._again, self._seen = not complete, _mark(rollout)

    def _open(self) -> Rollout | None:
        """The open rollout; none where its row is not what was written."""
        try:
            return self._sources.rollouts.open(self._rules.project)
        except IntegrityError as error:
            if str(error) != self._forged:
                self._forged = str(error)
                self._refuse(Refused(candidate="", error=Denied(error.message, value=error.value, hint=error.hint)))
            return None

    def _servable(self, rollout: Rollout | None) -> Servable:
        return servable(self._sources.ledger, rollout, self._rules.project, head=self._head)

    def _planned(self, found: Servable) -> tuple[Plan | None, bool]:
        """The plan, and whether it is all that was wanted: what was unreachable is tried again at the next look.

        A champion that cannot be loaded is the caller's error, and leaves the last plan in place.
        """
        if found.champion is None:
            return None, True
        champion, models = self._must(found.champion), []
        split, complete = None, True
        if found.rollout is not None and found.incumbent is not None:
            challenger, complete = self._may(found.challenger)
            split = _split(found.rollout, self._must(found.incumbent), challenger)
        models = [champion]
        if split is not None:
            models += [split.champion, *([split.challenger] if split.challenger is not None else [])]
        newest = max((model.approved for model in models), key=lambda item: item.features_until)
        reader, views = self._sources.readers.get(newest)
        served = {name for model in models for name in model.approved.views}
        columns = schema(
            [(model.approved.columns, model.approved.types) for model in models],
            request=self._rules.request,
            views=[view for view in views if view.name in served],
            unit=found.rollout.unit if found.rollout is not None else self._rules.unit,
            row_id=self._rules.row_id,
            # where one of them knows raw values still, its requests bring these
            masks={
                name: mask
                for name, mask in champion.approved.masks.items()
                if all(name in model.approved.masks for model in models)
            },
        )
        return Plan(schema=columns, champion=champion, split=split, reader=reader), complete

    def _must(self, approved: Approved) -> Model:
        try:
            return self._sources.loader.get(approved, self._head.attestations(approved.candidate))
        except TowpathError as error:
            self._refuse(Refused(candidate=approved.candidate, error=error))
            raise

    def _may(self, approved: Approved | None) -> tuple[Model | None, bool]:
        if approved is None:
            return None, True
        try:
            return self._sources.loader.get(approved, self._head.attestations(approved.candidate)), True
        except TowpathError as error:
            self._refuse(Refused(candidate=approved.candidate, error=error))
            return None, not error.temporary

    def _refuse(self, refused: Refused) -> None:
        """An incident in the ledger; when that cannot be written, the refusal stands all the same."""
        _log.error("%s is not served: %s", refused.candidate, refused.error)
        try:
            report(self._sources.ledger, self._rules.project, refused, actor=self._actor)
        except TowpathError as error:
            _log.warning("the incident of %s is not written: %s", refused.candidate, error)

    def _put(self, plan: Plan) -> None:
        self.plan = plan
        self._apply(plan)


class Watcher(threading.Thread):
    """Looks at every project twice a second, until it is stopped. `looked` is told when a look went well."""

    def __init__(self, watches: Sequence[tuple[Watch, Callable[[float], None]]], metrics: Metrics) -> None:
        super().__init__(name="towpath-watch", daemon=True)
        self._watches = watches
        self._metrics = metrics
        self._stop_asked = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="towpath-load")
        self._resolving: dict[Watch, Future[bool]] = {}
        self._told = ""

    def first(self) -> bool:
        """Look at every project and load what it needs, in this thread.

        Whether that has come to an end, be it a refusal: what is only unreachable may answer at the next attempt.
        """
        went = [self._look(watch, looked, wait=True) for watch, looked in self._watches]
        return all(went)

    def run(self) -> None:
        while not self._stop_asked.wait(SECONDS):
            for watch, looked in self._watches:
                self._look(watch, looked, wait=False)

    def stop(self) -> None:
        self._stop_asked.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _look(self, watch: Watch, looked: Callable[[float], None], *, wait: bool) -> bool:
        running = self._resolving.get(watch)
        try:
            needed = watch.look(resolving=running is not None and not running.done())
        except Exception as error:  # noqa: BLE001 - the last plan goes on serving, whatever happened
            return self._failed(error)
        looked(time.time())
        if not needed and (running is None or running.done()):
            self._told = ""
        self._metrics.polls["changed" if needed else "same"].inc()
        if needed and wait:
            return self._resolve(watch)
        if needed:
            self._resolving[watch] = self._pool.submit(self._resolve, watch)
        return True

    def _resolve(self, watch: Watch) -> bool:
        try:
            watch.resolve()
        except Exception as error:  # noqa: BLE001
            return self._failed(error)
        return True

    def _failed(self, error: Exception) -> bool:
        if self._stop_asked.is_set():
            return False
        if str(error) != self._told:
            self._told = str(error)
            _log.warning("the record cannot be followed: %s", error)
        self._metrics.polls["failed"].inc()
        return isinstance(error, TowpathError) and not error.temporary


def _mark(rollout: Rollout | None) -> tuple[object, ...] | None:
    """What of a rollout needs the record to be read again: who takes part, and a weight that may have risen.

    Not its generation, which grows with every look at new evidence.
    """
    if rollout is None:
        return None
    return rollout.rollout_id, rollout.champion, rollout.challenger, _weight(rollout)


def _weight(rollout: Rollout) -> int:
    return rollout.weight if rollout.exposed else 0


def _fitted(plan: Plan, rollout: Rollout | None) -> Plan:
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
    return replace(plan, split=_split(rollout, split.champion, split.challenger))


def _until(rollout: Rollout) -> float:
    return rollout.lease_until.timestamp() if rollout.lease_until is not None else 0.0


def _split(rollout: Rollout, champion: Model, challenger: Model | None) -> Split | None:
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
