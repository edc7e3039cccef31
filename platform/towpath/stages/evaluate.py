"""evaluate: the model on a holdout later in time, against the charter's bounds, a naive baseline and the champion."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from towpath.core.evidence import Candidate, Finding, Outcome
from towpath.core.gates import Stage
from towpath.measure import gates, importance, leakage, leakage_gate, plots, proxy, skew
from towpath.measure.gates import Evaluation, Holdout
from towpath.measure.importance import Importance
from towpath.measure.leakage_frame import Split
from towpath.stages.attested import require_attested
from towpath.stages.train import trained
from towpath.stages.work import Begun, ChampionRecord, Work, begin, champion, compose, enter, write

LATENCY_ROWS = 200
Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """What the evaluation works from, once fetched and verified."""

    train: pd.DataFrame
    holdout: pd.DataFrame
    columns: list[str]
    model: Any
    champion: Any | None
    champion_columns: list[str]


def evaluate(candidate: Candidate, work: Work) -> Candidate:
    """Judge the candidate. Its rival is the champion at the time of its first evaluation, also when it won since."""
    enter(Stage.EVALUATE, candidate, work)
    rival = _rival(candidate, work)
    inputs = {
        "gates": work.project.section_digest("gates"),
        "champion": rival.candidate.entry(Stage.TRAIN).subject("model").digest if rival else "",
    }
    begun = begin(Stage.EVALUATE, candidate, work, inputs)
    if begun.found is not None:
        return candidate.append(begun.found)
    with work.scratch() as folder:
        judged = _fetch(candidate, rival, work, folder)
        return _evaluate(begun, judged, work, folder)


def _rival(candidate: Candidate, work: Work) -> ChampionRecord | None:
    """The champion, or the one before it when the champion is this very model: a model is not compared with itself."""
    found = champion(work.ports.ledger, work.name)
    while found is not None and candidate.entry(Stage.TRAIN).digest == found.candidate.entry(Stage.TRAIN).digest:
        found = champion(work.ports.ledger, work.name, before=found.decision.sequence)
    return found


def _fetch(candidate: Candidate, rival: ChampionRecord | None, work: Work, folder: Path) -> _Judged:
    parts = candidate.entry(Stage.FEATURIZE).subjects_of("features")
    frames = {name: pd.read_parquet(work.ports.objects.fetch(parts[name].digest)) for name in ("train", "holdout")}
    entry = candidate.entry(Stage.TRAIN)
    work.progress.step("the model, verified")
    model = work.ports.models.load(work.ports.models.verified(trained(entry), target=folder / "model"))
    champion_model, champion_columns = None, []
    if rival is not None:
        before = rival.candidate.entry(Stage.TRAIN)
        champion_columns = _listed(before.facts["inputs"])
        work.progress.step("the champion, verified")
        require_attested(work.ports.ledger, work.ports.keys, rival.candidate)
        champion_model = work.ports.models.load(work.ports.models.verified(trained(before), target=folder / "champion"))
    return _Judged(
        train=frames["train"],
        holdout=frames["holdout"],
        columns=_listed(entry.facts["inputs"]),
        model=model,
        champion=champion_model,
        champion_columns=champion_columns,
    )


def _evaluate(begun: Begun, judged: _Judged, work: Work, folder: Path) -> Candidate:
    charter = work.project.charter
    target = judged.holdout[charter.training.target].to_numpy()
    scores = _scores(judged.model, judged.holdout[judged.columns])
    rival, comparable = _champion_scores(judged)
    work.progress.step("metrics, slices, champion")
    evaluation = gates.evaluate(
        Holdout(
            labels=target,
            candidate=scores,
            champion=rival,
            base_rate=float(judged.train[charter.training.target].mean()),
            columns={
                part.by: judged.holdout[part.by].to_numpy()
                for part in charter.gates.slices
                if part.by in judged.holdout
            },
            latencies_ms=_latencies(judged.model, judged.holdout[judged.columns]),
        ),
        charter.gates,
        seed=charter.training.seed,
    )
    work.progress.step("leakage")
    findings = [*evaluation.findings, *comparable, *_leakage(begun.candidate, judged, work)]
    work.progress.step("importance")
    ranked = importance.importance(
        lambda rows: _scores(judged.model, rows), judged.holdout[judged.columns], target, seed=charter.training.seed
    )
    work.progress.step("plots")
    pictures = _plots(evaluation, ranked, judged, scores, work, folder)
    predictions = folder / "predictions.parquet"
    pd.DataFrame(
        {charter.features.row_id: judged.holdout[charter.features.row_id], "label": target, "score": scores}
    ).to_parquet(predictions, index=False)
    entry = compose(
        begun,
        subjects=[work.store("predictions", "holdout", predictions, rows=len(scores))],
        findings=findings,
        facts=_facts(evaluation, ranked),
        attachments=work.attach(*pictures),
    )
    return write(begun, entry, work)


def _leakage(candidate: Candidate, judged: _Judged, work: Work) -> Sequence[Finding]:
    charter = work.project.charter
    served = candidate.entry(Stage.FEATURIZE).subjects_of("served")
    offline, online = (
        pd.read_parquet(work.ports.objects.fetch(served[name].digest))[judged.columns] for name in ("offline", "online")
    )
    split = Split(
        train=judged.train,
        holdout=judged.holdout,
        inputs=judged.columns,
        target=charter.training.target,
        row_id=charter.features.row_id,
        known_at=leakage_gate.known_at(work.project.contracts, charter.features.request),
        seed=charter.training.seed,
    )
    ranked = leakage_gate.ranked_rows(split)
    return [
        *proxy.target_proxy(
            ranked[judged.columns],
            ranked[split.target].to_numpy(),
            bound=charter.gates.single_feature_roc_auc,
            seed=charter.training.seed,
        ),
        *leakage.future_feature(split.both),
        *leakage.overlap(judged.train, judged.holdout, row_id=charter.features.row_id),
        *leakage_gate.of_split(split),
        *skew.skew(offline, online, tolerance=1e-6),
    ]


def _champion_scores(judged: _Judged) -> tuple[Scores | None, list[Finding]]:
    if judged.champion is None:
        return None, []
    missing = [name for name in judged.champion_columns if name not in judged.holdout]
    if missing:
        return None, [
            Finding(
                code="eval.champion",
                outcome=Outcome.INCONCLUSIVE,
                subject="inputs",
                reason=f"the champion reads {', '.join(missing)}, which the candidate's features no longer hold",
            )
        ]
    return _scores(judged.champion, judged.holdout[judged.champion_columns]), []


def _scores(model: Any, rows: pd.DataFrame) -> Scores:
    return np.asarray(model.predict_proba(rows)[:, 1], dtype=np.float64)


def _latencies(model: Any, rows: pd.DataFrame) -> list[float]:
    """Milliseconds of one prediction each, on single rows and one thread as when serving, after a warm-up of ten."""
    times = []
    with threadpool_limits(limits=1):
        for number in range(min(len(rows), LATENCY_ROWS + 10)):
            row = rows.iloc[[number]]
            begun = time.perf_counter()
            model.predict_proba(row)
            times.append((time.perf_counter() - begun) * 1e3)
    return times[10:]


def _listed(value: object) -> list[str]:
    assert isinstance(value, list)
    return [str(item) for item in value]


def _facts(evaluation: Evaluation, ranked: Sequence[Importance]) -> dict[str, Any]:
    metrics = evaluation.metrics
    shown = {
        name: asdict(item)
        for name, item in (
            ("roc_auc", metrics.roc_auc),
            ("log_loss", metrics.log_loss),
            ("brier", metrics.brier),
            ("calibration", metrics.calibration),
        )
    }
    return {
        "metrics": shown,
        "groups": [asdict(group) for group in evaluation.groups],
        "importance": [asdict(item) for item in ranked],
    }


def _plots(
    evaluation: Evaluation, ranked: Sequence[Importance], judged: _Judged, scores: Scores, work: Work, folder: Path
) -> list[Path]:
    bounds = work.project.charter.gates
    target = judged.holdout[work.project.charter.training.target].to_numpy()
    pictures = [
        plots.calibration(folder / "calibration.png", target, scores, evaluation.metrics, bound=bounds.calibration),
        plots.roc(folder / "roc.png", target, scores, evaluation.metrics, bound=bounds.roc_auc),
        plots.importances(folder / "importance.png", ranked),
    ]
    if any(group.roc_auc is not None for group in evaluation.groups):
        pictures.append(plots.groups(folder / "slices.png", evaluation.groups))
    return pictures
