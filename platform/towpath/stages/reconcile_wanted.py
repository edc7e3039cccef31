"""What the ledger says that services should show: the registry's versions, aliases and tags, and what may be loaded."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from towpath.core import names
from towpath.core.evidence import Candidate, Outcome, Record, RecordKind
from towpath.core.gates import Stage
from towpath.core.governance import Drifted
from towpath.core.policy import Verdict
from towpath.core.reconciliation import Serving
from towpath.core.reconciliation_models import WantedModels, WantedVersion
from towpath.core.terms import terms
from towpath.ports import Ledger, Rollouts
from towpath.stages.reconcile_ports import FeatureState
from towpath.stages.serving import Approved, Head, Servable, servable
from towpath.stages.work import candidate_of, crowning

FRESH: Final = timedelta(seconds=60)
"""How long after a decision the registry may not have been shown it: `promote` and the controller do it at once."""


class Reading:
    """The ledger as the reconciler reads it, again and again: what was read of a registration is not read again."""

    def __init__(self, ledger: Ledger, rollouts: Rollouts, project: str) -> None:
        self._ledger = ledger
        self._rollouts = rollouts
        self._project = project
        self._head = Head()
        self._read: dict[str, Candidate] = {}

    def servable(self) -> Servable:
        """What may serve. Raises `IntegrityError` when the ledger is not whole, `Denied` for an unproven champion."""
        self._head.moved(self._ledger)
        rollout = self._rollouts.open(self._project)
        return servable(self._ledger, rollout, self._project, head=self._head)

    def models(self, champion: Approved | None, now: datetime) -> WantedModels | None:
        """Every registered version with its tags; None when nothing was ever registered."""
        registered = list(self._registrations())
        if not registered:
            return None
        crowned = [(item, _number(self._candidate(item))) for item in crowning(self._ledger, self._project)]
        versions: dict[str, WantedVersion] = {}
        for record, candidate in registered:
            number = _number(candidate)
            mine = [item for item, version in crowned if version == number]
            versions[number] = _version(record, candidate, mine, champion=bool(crowned) and number == crowned[-1][1])
        last = registered[-1][1]
        return WantedModels(
            name=str(last.entry(Stage.REGISTER).notes["registered_model"]),
            versions=tuple(versions.values()),
            champion=champion.version if champion else None,
            candidate=_number(last),
            before=crowned[-2][1] if len(crowned) > 1 else None,
            fresh=bool(crowned) and now - crowned[-1][0].at < FRESH,
        )

    def _registrations(self) -> list[tuple[Record, Candidate]]:
        """Registrations that came to a version, in their order."""
        found = []
        for record in self._ledger.records(project=self._project, kind=RecordKind.ENTRY):
            if record.stage != Stage.REGISTER:
                continue
            candidate = self._candidate(record)
            if "version" in candidate.entry(Stage.REGISTER).notes:
                found.append((record, candidate))
        return found

    def _candidate(self, record: Record) -> Candidate:
        """The candidate that an entry's record ends, or that a decision is about."""
        if record.hash not in self._read:
            digest = record.digest if record.kind is RecordKind.ENTRY else str(record.body["digest"])
            self._read[record.hash] = candidate_of(self._ledger, self._project, digest)
        return self._read[record.hash]


def _number(candidate: Candidate) -> str:
    return str(candidate.entry(Stage.REGISTER).notes["version"])


def _version(record: Record, candidate: Candidate, mine: list[Record], *, champion: bool) -> WantedVersion:
    """A version with the values that its tags may have.

    One that was never champion has no decision. A former one keeps that of its day, when it was ever shown. A version
    is registered again when only the charter changed: that writes its outcome anew.
    """
    train = candidate.entry(Stage.TRAIN)
    registered, promoted = Outcome.PASS.value, Verdict.PROMOTE.value
    outcome: tuple[str, ...]
    decision: tuple[str, ...]
    if not mine:
        outcome, decision = (registered,), ("",)
    elif champion:
        again = (registered,) if record.sequence > mine[-1].sequence else ()
        outcome, decision = (promoted, *again), (mine[-1].hash,)
    else:
        outcome, decision = (promoted, registered), (*(item.hash for item in reversed(mine)), "")
    return WantedVersion(
        version=_number(candidate),
        run_id=str(train.notes["run_id"]),
        model_id=str(train.notes["model_id"]),
        tags={
            names.TAG_PROJECT: (candidate.project,),
            names.TAG_CANDIDATE: (str(candidate.digest),),
            names.TAG_MODEL: (train.subject("model").digest,),
            names.TAG_OUTCOME: outcome,
            names.TAG_DECISION: decision,
        },
    )


def serving(found: Servable) -> Serving | None:
    """What gateways may have loaded."""
    if found.champion is None:
        return None
    others = {one.version for one in (found.incumbent, found.challenger) if one is not None}
    return Serving(model=found.champion.model, version=found.champion.version, others=tuple(sorted(others)))


def features(ledger: Ledger, project: str, champion: Approved) -> FeatureState:
    """Which features the champion was made with."""
    entry = candidate_of(ledger, project, champion.digest).entry(Stage.FEATURIZE)
    return FeatureState(
        repository=entry.subject("code", "feature_repo").digest,
        folder=entry.key.removeprefix("sha256:")[:16],
        until=datetime.fromisoformat(champion.features_until),
    )


def policy(ledger: Ledger, project: str, champion: Approved | None) -> Drifted:
    """What the champion's frozen terms let be done about what was moved: put back, where none say it."""
    frozen = terms(candidate_of(ledger, project, champion.digest)) if champion is not None else None
    return frozen.reconcile if frozen is not None else Drifted.RESTORE
