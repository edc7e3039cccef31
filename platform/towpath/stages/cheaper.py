"""The cheaper model of `serving.cheaper`, which answers when the latency budget is at risk. A part of register."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from towpath.core.evidence import Candidate, Outcome, Severity
from towpath.core.gates import Stage
from towpath.stages import judging
from towpath.stages.compile import Served, compiled
from towpath.stages.scoring import Scoring
from towpath.stages.serving import CHEAPER
from towpath.stages.supply import refused
from towpath.stages.train import CHECK_ROWS, fitted, ordered
from towpath.stages.work import Work


def cheaper(candidate: Candidate, work: Work, *, holdout: pd.DataFrame, folder: Path) -> Served | None:
    """Fit, save and compile it as the model was, on the same rows; None when the charter declares none.

    Its file is None, and the model serves without a cheaper one, when it is not good enough or nothing converts it: the
    findings, which are warnings, say so.
    """
    charter = work.project.charter
    if charter.serving.cheaper is None:
        return None
    scoring = Scoring.of(candidate.entry(Stage.TRAIN))
    facts: Any = candidate.entry(Stage.TRAIN).facts
    columns, types = list(facts["inputs"]), dict(facts["types"])
    rows = ordered(work.ports.objects.fetch(candidate.entry(Stage.FEATURIZE).subject("features", "train").digest))
    params, seed = dict(charter.serving.cheaper), charter.training.seed
    model = fitted(work.project.fit(), rows[columns], rows[charter.training.target], params, seed, scoring)
    example = rows[columns].head(CHECK_ROWS)
    saved = folder / "saved"
    work.ports.models.save(model, example=example, prediction=scoring.checked(model, example), folder=saved)
    read = work.ports.supply.scanner.inspect(saved, subject=f"{CHEAPER}model")
    if refused(read):
        left = tuple(item.model_copy(update={"severity": Severity.WARNING}) for item in read)
        return Served(kind=f"{CHEAPER}none", file=None, findings=left)
    model = work.ports.models.load(saved)
    served = compiled(
        model,
        saved,
        holdout=holdout,
        columns=columns,
        types=types,
        work=work,
        folder=folder / "compiled",
        scoring=scoring,
    )
    judged: Any = candidate.entry(Stage.EVALUATE).facts["metrics"]
    finding = judging.cheaper(
        scoring.labels(holdout[charter.training.target]),
        scoring.scores(model, holdout[columns]),
        judged,
        charter.gates,
        seed=seed,
    )
    named = [one.model_copy(update={"subject": f"{CHEAPER}{one.subject}"}) for one in served.findings]
    good = finding.outcome is Outcome.PASS
    return Served(kind=f"{CHEAPER}{served.kind}", file=served.file if good else None, findings=(finding, *read, *named))
