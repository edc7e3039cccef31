"""compile: the fastest conversion of a model that answers as the model itself does. A part of register."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from towpath.core.evidence import Finding, Outcome, Severity
from towpath.core.task import Task
from towpath.measure.parity import parity, reference
from towpath.stages.scoring import Scoring
from towpath.stages.supply import refused
from towpath.stages.work import Work

SKLEARN = "sklearn"


@dataclass(frozen=True, kw_only=True)
class Served:
    """How a model will be served: the kind of runtime, its compiled file (None: the saved model itself), and why."""

    kind: str
    file: Path | None
    findings: tuple[Finding, ...]

    @property
    def chosen(self) -> Finding:
        """The finding of the runtime that serves."""
        return next(item for item in self.findings if (item.code, item.subject) == ("register.parity", self.kind))


def compiled(
    model: Any,
    saved: Path,
    *,
    holdout: pd.DataFrame,
    columns: Sequence[str],
    types: Mapping[str, str],
    work: Work,
    folder: Path,
    scoring: Scoring,
) -> Served:
    """Convert the model in every known way, measure each, and take the first that passes. A conversion that the scanner
    refuses is left out, unopened.

    `saved` is the model's verified folder: scikit-learn serves from it when no conversion passes, which a finding says.
    """
    runtimes, tolerance = work.ports.runtimes, work.project.charter.serving.parity_tolerance
    truth = reference(
        model,
        holdout,
        columns=columns,
        types=types,
        score=lambda rows: scoring.scores(model, rows),
        width=scoring.width,
        scaled=scoring.task is Task.REGRESSION,
    )
    findings: list[Finding] = []
    found: tuple[str, Path] | None = None
    for one in runtimes.compile(model, columns=columns, types=types, folder=folder):
        read = work.ports.supply.scanner.inspect(one.file, subject=one.kind)
        if refused(read):
            findings += [finding.model_copy(update={"severity": Severity.WARNING}) for finding in read]
            continue
        findings += read
        with closing(runtimes.open(one.kind, one.file, columns=columns, types=types)) as runtime:
            findings.append(parity(runtime, truth, tolerance=tolerance))
        if found is None and findings[-1].outcome is Outcome.PASS:
            found = one.kind, one.file
    if found is not None:
        return Served(kind=found[0], file=found[1], findings=tuple(findings))
    with closing(runtimes.open(SKLEARN, saved, columns=columns, types=types)) as runtime:
        last = parity(runtime, truth, tolerance=tolerance)
    why = "no conversion of the model is known" if not findings else "no conversion is near enough"
    update = {"severity": Severity.ERROR, "reason": f"{last.reason}; it serves itself, because {why}"}
    return Served(kind=SKLEARN, file=None, findings=(*findings, last.model_copy(update=update)))
