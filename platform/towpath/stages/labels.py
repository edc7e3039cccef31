"""labels: what may come true of a project's predictions, by the record."""

from __future__ import annotations

from towpath.core.gates import Stage
from towpath.ports import Ledger
from towpath.stages.work import champion


def are_classes(ledger: Ledger, project: str) -> bool:
    """Whether the project's champion is a multiclass model, whose labels are classes; otherwise they are 0 and 1."""
    found = champion(ledger, project)
    return found is not None and bool(found.candidate.entry(Stage.TRAIN).facts.get("classes"))
