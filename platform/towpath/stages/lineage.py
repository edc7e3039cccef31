"""Who stands on a table, over every project of the ledger: models, the feature views they read, endpoints that answer.

It is read from the record alone: what a model's ingestion snapshot, the inputs of its signature, the views of its
features. The SQL between a table and a view is not in the record, so a view is named where it has a feature of the
column's name, and a model of the table counts whether or not one of its inputs bears the column's name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from towpath.core.evidence import Candidate
from towpath.core.gates import Stage
from towpath.core.rollout import Rollout
from towpath.ports import Ledger, Rollouts
from towpath.stages.work import candidates, crowning


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


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A candidate that is a version in the registry, and what it is to who asks for answers."""

    candidate: Candidate
    standing: Standing


def registered(ledger: Ledger, rollouts: Rollouts, *, projects: Collection[str]) -> Iterator[Registered]:
    """Every version of those projects, by project: those that answer first, then the newest.

    A project's entries are read once, however many candidates they make. Raises `IntegrityError` for an entry that is
    not what was written.
    """
    for project in sorted(projects):
        crowned = [str(one.body["digest"]) for one in crowning(ledger, project)]
        standing = _standing(crowned[-1] if crowned else None, rollouts.open(project))
        mine = [
            Registered(candidate=one, standing=standing.get(one.digest or "", Standing.REGISTERED))
            for one in reversed(candidates(ledger, project))
            if one.stages[-1] == Stage.REGISTER and "version" in one.entries[-1].notes
        ]
        yield from sorted(mine, key=lambda one: list(Standing).index(one.standing))


def consumers_of(table: str, columns: Collection[str], versions: Iterable[Registered]) -> tuple[Consumer, ...]:
    """Who of them stands on the table, in their order."""
    return tuple(
        _consumer(one.candidate, table, columns, one.standing)
        for one in versions
        if table in one.candidate.entry(Stage.INGEST).subjects_of("dataset")
    )


def _standing(crowned: str | None, rollout: Rollout | None) -> Mapping[str, Standing]:
    """By the candidate's digest. While a rollout is open both of its models answer."""
    found: dict[str, Standing] = {}
    if rollout is not None:
        found[rollout.challenger.digest] = Standing.CHALLENGER
        found[rollout.champion.digest] = Standing.CHAMPION
    if crowned is not None:
        found[crowned] = Standing.CHAMPION
    return found


def _consumer(candidate: Candidate, table: str, columns: Collection[str], standing: Standing) -> Consumer:
    notes = candidate.entry(Stage.REGISTER).notes
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
