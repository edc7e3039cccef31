"""reconcile: services show what the ledger decided, and what somebody moved by hand is put back or told.

Nothing that serves asks these services what to serve; so what is moved there misleads people, not callers. Each service
is looked at by itself: one that is down hides no other. A difference is recorded before it is put back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from towpath.core.errors import IntegrityError
from towpath.core.governance import Drifted
from towpath.core.reconciliation import Found, Serving, Wanted, compare
from towpath.core.reconciliation_models import WantedModels
from towpath.core.reconciliation_values import Drift
from towpath.stages.reconcile_look import SETTLE, Look, Treated
from towpath.stages.reconcile_ports import Deployments, FeatureRegistry, FeatureState, ReconcilePorts
from towpath.stages.reconcile_records import Identity, Pen, noted
from towpath.stages.reconcile_restore import restore
from towpath.stages.reconcile_wanted import Reading, features, policy, serving
from towpath.stages.scratch import made
from towpath.stages.serving import Approved

__all__ = ["SETTLE", "Reconciled", "Reconciler", "Treated", "compare"]

STORED_EVERY: Final = timedelta(minutes=5)
"""How often one reconciler reads the stored champion's bytes, which may be many."""


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """One look. `waiting`: may be work under way; `shown`: decisions that MLflow was not shown yet, and now is.

    `ended`: differences of before that are no more. `unseen`: what could not be looked at, in sentences.
    """

    project: str
    at: datetime
    treated: tuple[Treated, ...]
    waiting: tuple[Drift, ...]
    shown: tuple[Drift, ...]
    ended: tuple[Drift, ...]
    unseen: tuple[str, ...]

    @property
    def standing(self) -> tuple[Treated, ...]:
        """What differs and was not put back."""
        return tuple(one for one in self.treated if not one.restored)


class Reconciler:
    """Looks at one project, again and again, and remembers what it saw before.

    `policy`: the charter's, of who has the project's folder; None is what was frozen with the champion of each look.
    """

    def __init__(self, ports: ReconcilePorts, project: str, policy: Drifted | None) -> None:
        self._ports = ports
        self._project = project
        self._policy = policy
        self._reading = Reading(ports.ledger, ports.rollouts, project)
        self._doubtful: Mapping[Identity, datetime] = {}
        self._right: datetime | None = None
        self._stored: tuple[str, datetime, str] | None = None  # of which model, when, and what was found
        self._opened: tuple[FeatureState, FeatureRegistry] | None = None

    def look(self, now: datetime) -> Reconciled:
        """Compare, record, put back, tell.

        Raises `IntegrityError` when the ledger is not whole and `Denied` when its champion does not prove itself:
        by such a record nothing is put back.
        """
        allowed = self._reading.servable()
        models = self._reading.models(allowed.champion, now)
        look = self._begun(allowed.champion, now)
        if models is not None:
            look.part("MLflow", lambda: self._models(look, models, now))
        wanted = serving(allowed)
        if wanted is not None:
            for address in self._ports.addresses:
                self._gateway(look, address, wanted)
        look.part("Prefect", lambda: self._deployments(look, self._ports.deployments))
        if allowed.champion is not None:
            champion = allowed.champion
            look.part("the feature store", lambda: self._features(look, champion))
            look.part("the stored model", lambda: self._bytes(look, champion, now))
        return self._finished(look, now)

    def _begun(self, champion: Approved | None, now: datetime) -> Look:
        pen = Pen(
            ledger=self._ports.ledger,
            project=self._project,
            candidate=champion.candidate if champion else "",
            actor=self._ports.actor,
            now=now,
            right=self._right,
        )
        return Look(
            pen=pen,
            before=noted(self._ports.ledger, self._project),
            policy=self._policy or policy(self._ports.ledger, self._project, champion),
            alerts=self._ports.alerts,
            doubtful=self._doubtful,
        )

    def _models(self, look: Look, wanted: WantedModels, now: datetime) -> None:
        registry = self._ports.registry
        runs = {one.run_id: one.model_id for one in wanted.versions}

        def find() -> Found:
            return Found(models=registry.look(wanted.name, runs=runs, at=now))

        def mend(drift: Drift, found: Found) -> None:
            assert found.models is not None
            restore(registry, drift, wanted, found.models)

        look.judge(Wanted(models=wanted), find, mend)

    def _gateway(self, look: Look, address: str, wanted: Serving) -> None:
        gateways, project = self._ports.gateways, self._project

        def find() -> Found:
            assert gateways is not None
            return Found(gateways={address: gateways.loaded(address, project)})

        look.part(f"gateway {address}", lambda: look.judge(Wanted(serving=wanted), find))

    def _deployments(self, look: Look, deployments: Deployments | None) -> None:
        if deployments is None:
            return
        declared = deployments.declared(self._project)
        look.judge(Wanted(deployments=declared), lambda: Found(deployments=deployments.deployed(declared)))

    def _features(self, look: Look, champion: Approved) -> None:
        """The whole registry, where the champion's repository is at hand; else the views that its record names."""
        if not champion.views or self._ports.features is None:
            return
        state = features(self._ports.ledger, self._project, champion)
        if self._opened is None or self._opened[0] != state:
            self._opened = (state, self._ports.features(state))
        registry, whole = self._opened[1], state.repository == self._ports.repository
        if whole:
            declared = registry.declared()
        else:
            named = champion.views.items()
            declared = {f"feature view {name}": {"features": ", ".join(sorted(held))} for name, held in named}

        def find() -> Found:
            applied = registry.applied()
            return Found(features=applied if whole else {name: applied[name] for name in declared if name in applied})

        wanted = Wanted(features=declared, restorable=whole)

        def mend(*_: object) -> None:
            if compare(wanted, find()):  # one application puts all of them back
                registry.apply()

        look.judge(wanted, find, mend)

    def _bytes(self, look: Look, champion: Approved, now: datetime) -> None:
        """Whether the stored model is, byte for byte, the recorded one. Nothing can put it back but a backup."""
        run, last = champion.run, self._stored
        if last is None or last[0] != run.model_id or now - last[1] >= STORED_EVERY:
            self._stored = last = (run.model_id, now, self._verified(champion))
        found = last[2]
        look.judge(Wanted(stored=run.artifact_digest), lambda: Found(stored=found))

    def _verified(self, champion: Approved) -> str:
        with made(self._ports.scratch) as folder:
            try:
                self._ports.models().verified(champion.run, target=folder)
            except IntegrityError as error:
                return error.message
        return champion.run.artifact_digest

    def _finished(self, look: Look, now: datetime) -> Reconciled:
        first = {one.identity: self._doubtful.get(one.identity, now) for one in look.waiting}
        self._doubtful = first
        if not (look.treated or look.waiting or look.unseen):
            self._right = now
        return Reconciled(
            project=self._project,
            at=now,
            treated=tuple(look.treated),
            waiting=tuple(look.waiting),
            shown=tuple(look.shown),
            ended=tuple(look.ended),
            unseen=tuple(look.unseen),
        )
