"""What the leakage gates would refuse of a drafted split: columns to leave out, each with its reason, and the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from towpath.core.evidence import Outcome, Severity
from towpath.core.task import Task
from towpath.measure import leakage_gate
from towpath.stages.init_rows import Rows, Sides
from towpath.stages.init_trial import Kind

_DISGUISED = {Task.BINARY: 0.995, Task.MULTICLASS: 0.999, Task.REGRESSION: 0.99}
_WORDS = {
    Task.BINARY: "ranks the target with ROC AUC {:.4f}",
    Task.MULTICLASS: "ranks the target's classes with ROC AUC {:.4f} on average",
    Task.REGRESSION: "explains {:.4f} of the target's variance",
}


@dataclass(frozen=True, kw_only=True)
class Leaks:
    """Inputs to leave out with the reason, and what no column that is left out would mend, as warnings."""

    columns: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def disguised(kind: Kind, train: Rows) -> dict[str, str]:
    """Inputs that alone tell the target as no honest column does, with the reason for leaving them out."""
    task = kind.scoring.task
    return {
        column: f"alone it {_WORDS[task].format(strength)}: the target in disguise, or known only afterwards"
        for column, strength in kind.strengths(train.inputs, train.labels)
        if strength >= _DISGUISED[task]
    }


def leaks(sides: Sides) -> Leaks:
    """What the checks of a split find in the drafted one; `evaluate` asks the same of the project."""
    columns, warnings = {}, []
    for found in leakage_gate.of_split(sides.split):
        if found.outcome is Outcome.PASS or found.severity is not Severity.ERROR:
            continue
        if found.subject in sides.split.inputs:
            columns[found.subject] = f"{found.code}: {found.reason.rstrip('.')}"
        else:
            warnings.append(f"`towpath run` will refuse it ({found.code}): {found.reason}")
    return Leaks(columns=columns, warnings=tuple(warnings))
