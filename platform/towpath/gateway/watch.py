"""Following the record of one project: what is noticed at once, and what has to be loaded first.

What was loaded last goes on serving while the database is away. Exposure falls at once, before anything is verified;
it rises only by a ledger that is whole. The lease needs no thread at all: every request looks at the clock.

A loaded model that no trusted key states any more answers nothing more, whatever else is wrong: the last champion that
still proves itself takes its place, or nobody does.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from towpath.core.errors import Conflict, Denied, IntegrityError, TowpathError
from towpath.core.rollout import Rollout
from towpath.core.statement import GATE
from towpath.gateway.exposure import fitted, mark, split_of
from towpath.gateway.loading import Loader
from towpath.gateway.plan import Model, Plan
from towpath.gateway.reading import Readers
from towpath.gateway.schema import schema
from towpath.ports import Ledger, Rollouts, TrustedKey
from towpath.stages.serving import Approved, Head, Refused, Servable, report, servable, shown, standing_before

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

    def __init__(self, rules: Rules, sources: Sources, *, apply: Callable[[Plan | None], None], actor: str) -> None:
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
        self._trusted: Mapping[str, TrustedKey] | None = None
        self._refused: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def look(self, *, resolving: bool = False) -> bool:
        """Look once, and follow what needs no loading; whether there is something to `resolve`.

        Raises what the stores raise; the plan stays as it is then, until its lease is over.
        """
        rollout = self._open()
        with self._lock:
            self._rollout = rollout
            if self.plan is not None and (now := fitted(self.plan, rollout)) is not self.plan:
                self._put(now)
        if resolving:
            return False
        moved = self._head.moved(self._sources.ledger)
        return moved or self._again or mark(rollout) != self._seen or self._sources.loader.trusted() != self._trusted

    def resolve(self) -> None:
        """Verify the record, load what it lets serve, and put the plan. Raises as `look`, and `IntegrityError`."""
        self._again = True  # until this has gone well
        rollout, trusted = self._rollout, self._sources.loader.trusted()
        self._unload()
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
        try:
            plan, complete = self._planned(found)
        except IntegrityError as error:
            if error.gate == GATE and found.champion is not None:
                if self.plan is None:
                    self._fall_back()
                written = (found.champion.candidate, str(error)) in self._refused
                self._again, self._seen, self._trusted = not written, mark(rollout), trusted
            raise
        if plan is not None:
            self._follow(plan)
        self._again, self._seen, self._trusted = not complete, mark(rollout), trusted

    def _follow(self, plan: Plan) -> None:
        with self._lock:
            self._put(fitted(plan, self._rollout))
        self._sources.loader.retire({model.approved.digest for model in plan.models})
        self._sources.readers.retire(plan.reader)

    def _unload(self) -> None:
        """Take out of the plan what no longer proves itself. What only cannot be asked stays, as the error says."""
        plan = self.plan
        if plan is None:
            return
        unproven: dict[Model, TowpathError] = {}
        for model in plan.models:
            try:
                self._sources.loader.prove(model.approved, self._head.attestations(model.approved.candidate))
            except (Denied, IntegrityError) as error:
                unproven[model] = error
        if not unproven:
            return
        with self._lock:
            left = self.plan.without(unproven) if self.plan is not None else None
            self._put(left)
        self._sources.loader.retire({model.approved.digest for model in left.models} if left is not None else set())
        for model, why in unproven.items():
            self._refuse(Refused(candidate=model.approved.candidate, error=why))

    def _fall_back(self) -> None:
        """Serve the last champion before the present one that may, if there is one.

        Raises `IntegrityError` where the record by which it was champion is not as it was written.
        """
        for earlier in standing_before(self._sources.ledger, self._rules.project):
            try:
                self._sources.loader.prove(earlier, self._head.attestations(earlier.candidate))
                plan, _ = self._planned(Servable(champion=earlier))
            except (Denied, IntegrityError) as error:
                _log.warning("%s does not take the champion's place: %s", earlier.candidate, error)
                continue
            self._head.require_whole_for(self._sources.ledger, shown(earlier))
            if plan is not None:
                _log.warning("%s is served in the champion's place", earlier.candidate)
                self._follow(plan)
            return

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

        A champion that cannot be loaded is the caller's error, and leaves the last plan in place. A rollout whose
        incumbent cannot be loaded takes no part.
        """
        if found.champion is None:
            return None, True
        champion, models = self._must(found.champion), []
        split, complete = None, True
        if found.rollout is not None and found.incumbent is not None:
            incumbent, complete = self._may(found.incumbent)
            if incumbent is not None:
                challenger, complete = self._may(found.challenger)
                split = split_of(found.rollout, incumbent, challenger)
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
        """An incident in the ledger, once; when that cannot be written, the refusal stands all the same."""
        known = refused.candidate, str(refused.error)
        if known in self._refused:
            return
        _log.error("%s is not served: %s", refused.candidate, refused.error)
        try:
            report(self._sources.ledger, self._rules.project, refused, actor=self._actor)
            if not refused.error.temporary:
                self._refused.add(known)
        except TowpathError as error:
            _log.warning("the incident of %s is not written: %s", refused.candidate, error)

    def _put(self, plan: Plan | None) -> None:
        self.plan = plan
        self._apply(plan)
