"""Who stands on a table, over every project of the ledger: models, the feature views they read, endpoints that answer.

It is read from the record alone: what a model's ingestion snapshot, the inputs of its signature, the views of its
features. The SQL between a table and a view is not in the record, so a view is named where it has a feature of the
column's name, and a model of the table counts whether or not one of its inputs bears the column's name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from towpath.core.evidence import Candidate, Record, RecordKind
from towpath.core.gates import Stage
from towpath.core.rollout import Rollout
from towpath.ports import Ledger, Rollouts
from towpath.stages.work import candidate_of, champion


class Standing(StrEnum):
    """What a model is to who asks for answers."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"
    REGISTERED = "registered"


@dataclass(frozen=True, kw_only=True)
class Consumer:
    """A registered model that was made from the table.

    `contract`: digest of the contract's text that it was made by; empty where the record has none. `inputs`: the asked
    columns that are inputs of its signature, and `views` the feature views that have one; all of the model's where no
    column is asked for. `endpoints`: where it answers now.
    """

    project: str
    model: str
    candidate: str
    standing: Standing
    contract: str
    inputs: tuple[str, ...]
    views: tuple[str, ...]
    endpoints: tuple[str, ...]


def consumers_of(
    table: str, columns: Collection[str], ledger: Ledger, rollouts: Rollouts, *, projects: Collection[str]
) -> tuple[Consumer, ...]:
    """Who stands on the table in those projects, by project: those that answer first, then the newest.

    Raises `IntegrityError` for an entry that is not what was written.
    """
    found: list[Consumer] = []
    for project in sorted(projects):
        crowned, rollout = champion(ledger, project), rollouts.open(project)
        standing = _standing(crowned.candidate if crowned is not None else None, rollout)
        mine = [
            _consumer(record, candidate, table, columns, standing.get(candidate.digest or "", Standing.REGISTERED))
            for record, candidate in _registered(ledger, project)
            if table in candidate.entry(Stage.INGEST).subjects_of("dataset")
        ]
        found += sorted(mine, key=lambda one: list(Standing).index(one.standing))
    return tuple(found)


def _registered(ledger: Ledger, project: str) -> Iterator[tuple[Record, Candidate]]:
    """Every version of the project's in the registry, the newest first."""
    records = [one for one in ledger.records(project=project, kind=RecordKind.ENTRY) if one.stage == Stage.REGISTER]
    for record in reversed(records):
        if "version" in record.entry().notes:
            yield record, candidate_of(ledger, project, record.digest)


def _standing(crowned: Candidate | None, rollout: Rollout | None) -> Mapping[str, Standing]:
    """By the candidate's digest. While a rollout is open both of its models answer."""
    found: dict[str, Standing] = {}
    if rollout is not None:
        found[rollout.challenger.digest] = Standing.CHALLENGER
        found[rollout.champion.digest] = Standing.CHAMPION
    if crowned is not None and crowned.digest is not None:
        found[crowned.digest] = Standing.CHAMPION
    return found


def _consumer(
    record: Record, candidate: Candidate, table: str, columns: Collection[str], standing: Standing
) -> Consumer:
    notes = record.entry().notes
    inputs: Any = candidate.entry(Stage.TRAIN).facts.get("inputs", ())
    views: Any = candidate.entry(Stage.FEATURIZE).facts.get("views", {}) if Stage.FEATURIZE in candidate.stages else {}
    texts = candidate.entry(Stage.VALIDATE).subjects_of("contract") if Stage.VALIDATE in candidate.stages else {}
    serves = standing is not Standing.REGISTERED
    return Consumer(
        project=candidate.project,
        model=f"{notes.get('registered_model', candidate.project)}@{notes['version']}",
        candidate=candidate.id,
        standing=standing,
        contract=texts[table].digest if table in texts else "",
        inputs=tuple(str(name) for name in inputs if not columns or name in columns),
        views=tuple(str(name) for name, features in views.items() if not columns or set(features) & set(columns)),
        endpoints=endpoints(candidate.project) if serves else (),
    )


def endpoints(project: str) -> tuple[str, ...]:
    """Where a gateway answers for a project: the Open Inference Protocol and MLflow's."""
    return (f"POST /v2/models/{project}/infer", f"POST /invocations?model={project}")
