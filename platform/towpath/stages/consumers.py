"""Who reads the columns that a contract changes: the project's transforms and views, and the models of the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from towpath.core.deprecations import Leaving, Reads
from towpath.core.evidence import Candidate, RecordKind
from towpath.core.gates import Stage
from towpath.ports import FeatureStore, Ledger, Transforms
from towpath.project import Project
from towpath.stages.deprecated import readers
from towpath.stages.work import candidate_of

Place = tuple[str, str]  # table and column


@dataclass(frozen=True, kw_only=True)
class Consumers:
    """Of one column: what of the project reads it (`untold`: why that cannot be told), and the models that hold it."""

    column: str
    reads: tuple[str, ...]
    models: tuple[str, ...]
    untold: str = ""


def consumers(
    columns: Sequence[Place],
    project: Project,
    ledger: Ledger | None,
    *,
    transforms: Transforms,
    features: FeatureStore,
    folder: Path,
) -> tuple[Consumers, ...]:
    """The consumers of each column, as they stand in the project's folder and in the ledger (None: there is none).

    `folder` is an empty one to work in. Raises `DeclarationError` for a feature repository that does not load.
    """
    asked = {place: _asked(place, project) for place in columns}
    known = [one for one in asked.values() if one is not None]
    reads = readers(project, known, transforms=transforms, features=features, folder=folder)
    models = tuple(_registered(ledger)) if ledger is not None and columns else ()
    found = []
    for place, one in asked.items():
        read = reads[one] if one is not None else Reads()
        found.append(
            Consumers(
                column=".".join(place),
                reads=read.by,
                models=tuple(name for name, candidate in models if _holds(candidate, *place)),
                untold=read.untold,
            )
        )
    return tuple(found)


def _asked(place: Place, project: Project) -> Leaving | None:
    """The column, as it is looked for; None when the project has no such source."""
    table, column = place
    contract = project.contracts.get(table)
    if contract is None:
        return None
    return Leaving(table=table, column=column, day=None, contract=contract.id, owner=contract.owner)


def _registered(ledger: Ledger) -> Iterator[tuple[str, Candidate]]:
    """Every version in the registry that the ledger speaks of, the newest first."""
    records = [one for one in ledger.records(kind=RecordKind.ENTRY) if one.stage == Stage.REGISTER]
    for record in reversed(records):
        notes = record.entry().notes
        if "version" in notes:
            name = f"{notes.get('registered_model', record.project)}@{notes['version']}"
            yield name, candidate_of(ledger, record.project, record.digest)


def _holds(candidate: Candidate, table: str, column: str) -> bool:
    """Whether the model was made from that table and has an input of that name."""
    if table not in candidate.entry(Stage.INGEST).subjects_of("dataset"):
        return False
    facts: Mapping[str, Any] = candidate.entry(Stage.TRAIN).facts
    return column in facts.get("inputs", ())
