"""Who reads the columns that a contract changes: the project's transforms and views, and the models of the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from towpath.core.deprecations import Leaving, Reads
from towpath.core.evidence import RecordKind
from towpath.ports import FeatureStore, Ledger, Rollouts, Transforms
from towpath.project import Project
from towpath.stages.deprecated import readers
from towpath.stages.lineage import Consumer, Registered, consumers_of, registered

Place = tuple[str, str]  # table and column


@dataclass(frozen=True, kw_only=True)
class Consumers:
    """Of one column: what of the project reads it (`untold`: why that cannot be told), and the models that hold it.

    `endpoints`: where those of them that serve now answer.
    """

    column: str
    reads: tuple[str, ...]
    models: tuple[str, ...]
    endpoints: tuple[str, ...] = ()
    untold: str = ""


def consumers(
    columns: Sequence[Place],
    project: Project,
    recorded: tuple[Ledger, Rollouts] | None,
    *,
    transforms: Transforms,
    features: FeatureStore,
    folder: Path,
) -> tuple[Consumers, ...]:
    """The consumers of each column, as they stand in the project's folder and in the record (None: there is none).

    `folder` is an empty one to work in. Raises `DeclarationError` for a feature repository that does not load.
    """
    asked = {place: _asked(place, project) for place in columns}
    known = [one for one in asked.values() if one is not None]
    reads = readers(project, known, transforms=transforms, features=features, folder=folder)
    versions = _versions(recorded)
    found = []
    for place, one in asked.items():
        read = reads[one] if one is not None else Reads()
        models = _models(place, versions)
        found.append(
            Consumers(
                column=".".join(place),
                reads=read.by,
                models=tuple(each.model for each in models),
                endpoints=tuple(dict.fromkeys(where for each in models for where in each.endpoints)),
                untold=read.untold,
            )
        )
    return tuple(found)


def _versions(recorded: tuple[Ledger, Rollouts] | None) -> tuple[Registered, ...]:
    """The registered versions of every project."""
    if recorded is None:
        return ()
    ledger, rollouts = recorded
    projects = {record.project for record in ledger.records(kind=RecordKind.ENTRY)}
    return tuple(registered(ledger, rollouts, projects=projects))


def _models(place: Place, versions: Sequence[Registered]) -> tuple[Consumer, ...]:
    """The models, of whatever project, that have an input or a feature of the column's name."""
    table, column = place
    return tuple(one for one in consumers_of(table, (column,), versions) if one.inputs or one.views)


def _asked(place: Place, project: Project) -> Leaving | None:
    """The column, as it is looked for; None when the project has no such source."""
    table, column = place
    contract = project.contracts.get(table)
    if contract is None:
        return None
    return Leaving(table=table, column=column, day=None, contract=contract.id, owner=contract.owner)
