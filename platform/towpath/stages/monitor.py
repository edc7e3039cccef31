"""monitor: the champion on later data: drift against its training set, its predictions, and its performance.

And the contracts' service levels: what is left of their error budgets, and how fast it goes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from towpath.core.errors import NotFound
from towpath.core.evidence import Candidate, Finding, Outcome
from towpath.core.gates import Stage
from towpath.core.slo import Status, judged, promises
from towpath.measure import drift
from towpath.stages import judging, slo
from towpath.stages.attested import require_attested
from towpath.stages.scoring import Scoring
from towpath.stages.tracked import trained
from towpath.stages.work import Begun, ChampionRecord, Work, begin, champion, compose, write


def monitor(candidate: Candidate, work: Work) -> Candidate:
    """Compare the watched window with what the champion was trained and judged on."""
    found = champion(work.ports.ledger, work.name)
    if found is None:
        raise NotFound(
            f"Project {work.name} has no champion to watch.",
            value=work.name,
            hint="Promote a candidate: `towpath promote`.",
        )
    levels = slo.statuses(
        promises(work.project.contracts), slo.measurements(work.ports.ledger, work.name), until=work.as_of
    )
    inputs = {
        **slo.inputs(levels),
        "champion": found.candidate.digest or "",
        "monitoring": work.project.section_digest("monitoring"),
        "gates": work.project.section_digest("gates"),
    }
    begun = begin(Stage.MONITOR, candidate, work, inputs)
    if begun.found is not None:
        return candidate.append(begun.found)
    with work.scratch() as folder:
        return _monitor(begun, found, levels, work, folder)


def _monitor(
    begun: Begun, found: ChampionRecord, levels: tuple[Status, ...], work: Work, folder: Path
) -> Candidate:  # fmt: skip
    charter, objects = work.project.charter, work.ports.objects
    features = begun.candidate.entry(Stage.FEATURIZE).subject("features", "watch")
    current_file = objects.fetch(features.digest)
    current = pd.read_parquet(current_file)
    made = found.candidate.entry(Stage.TRAIN)
    columns = [str(name) for name in _list(made.facts["inputs"])]
    reference_file = objects.fetch(found.candidate.entry(Stage.FEATURIZE).subject("features", "train").digest)
    known = pd.read_parquet(objects.fetch(found.candidate.entry(Stage.EVALUATE).subject("predictions").digest))
    work.progress.step("the champion, verified")
    require_attested(work.ports.ledger, work.ports.keys, found.candidate)
    model = work.ports.models.load(work.ports.models.verified(trained(made), target=folder / "model"))
    scoring = Scoring.of(made)
    scores = scoring.scores(model, current[columns])
    work.progress.step("drift report")
    report = work.ports.drift.compare(reference_file, current_file, columns=columns, folder=folder)
    work.progress.step("performance")
    labels = current[charter.training.target]
    learnt = scoring.learnt(labels)
    findings = [
        *drift.findings(report, share=charter.monitoring.drift_share, rows=len(current)),
        judging.prediction_drift(known, scoring.columns(scores), bound=charter.monitoring.prediction_distance),
        *judging.performance(scoring.labels(labels[learnt]), scores[learnt], charter.gates, seed=charter.training.seed),
        *judging.new_classes(labels, learnt),
        _quality(begun.candidate),
        *(judged(one) for one in levels),
    ]
    entry = compose(
        begun,
        findings=findings,
        facts={
            "distances": dict(report.distances),
            "drifted": list(report.drifted),
            "champion": found.candidate.id,
            "rows": len(current),
            "slo": [one.document for one in levels],
        },
        attachments=work.attach(report.page),
    )
    return write(begun, entry, work)


def _quality(candidate: Candidate) -> Finding:
    facts = candidate.entry(Stage.VALIDATE).facts
    accepted, quarantined = (sum(_mapping(facts[name]).values()) for name in ("accepted", "quarantined"))
    rows = accepted + quarantined
    return Finding(
        code="monitor.quality",
        outcome=Outcome.PASS,
        measured=quarantined,
        bound="contracts hold",
        unit="rows",
        sample_size=rows,
        reason=f"the contracts hold; {quarantined:,} of {rows:,} rows were set aside",
    )


def _list(value: Any) -> list[Any]:
    return list(value)


def _mapping(value: Any) -> dict[str, int]:
    return dict(value)
