"""evaluate: the model on a holdout later in time, against the charter's bounds, a naive baseline and the champion."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

from towpath.core.evidence import Candidate, Finding, Outcome
from towpath.core.gates import Stage
from towpath.measure import importance, leakage, leakage_gate, plots, skew
from towpath.measure.importance import Importance
from towpath.measure.leakage_frame import Split
from towpath.stages import judging
from towpath.stages.attested import require_attested
from towpath.stages.judging import Asked, Judged
from towpath.stages.scoring import Scores, Scoring
from towpath.stages.tracked import trained
from towpath.stages.work import Begun, ChampionRecord, Work, begin, champion, compose, enter, write

LATENCY_ROWS = 200


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """What the evaluation works from, once fetched and verified."""

    train: pd.DataFrame
    holdout: pd.DataFrame
    columns: list[str]
    model: Any
    champion: Any | None
    champion_columns: list[str]
    scoring: Scoring
    champion_scoring: Scoring


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
    champion_model, champion_columns, champion_scoring = None, [], Scoring.of(entry)
    if rival is not None:
        before = rival.candidate.entry(Stage.TRAIN)
        champion_columns, champion_scoring = _listed(before.facts["inputs"]), Scoring.of(before)
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
        scoring=Scoring.of(entry),
        champion_scoring=champion_scoring,
    )


def _evaluate(begun: Begun, judged: _Judged, work: Work, folder: Path) -> Candidate:
    charter = work.project.charter
    bounds, seed, name = charter.gates, charter.training.seed, charter.training.target
    target = judged.scoring.labels(judged.holdout[name])
    scores = judged.scoring.scores(judged.model, judged.holdout[judged.columns])
    rival, comparable = _champion_scores(judged)
    work.progress.step("metrics, slices, champion")
    evaluation = judging.judge(
        Asked(
            labels=target,
            scores=scores,
            rival=rival,
            trained=judged.scoring.labels(judged.train[name]),
            classes=judged.scoring.classes,
            columns={
                part.by: judged.holdout[part.by].to_numpy() for part in bounds.slices if part.by in judged.holdout
            },
            latencies_ms=_latencies(judged, judged.holdout[judged.columns]),
        ),
        bounds,
        seed=seed,
    )
    work.progress.step("leakage")
    findings = [*evaluation.findings, *comparable, *_leakage(begun.candidate, judged, work)]
    work.progress.step("importance")
    ranked = importance.importance(
        lambda rows: judged.scoring.scores(judged.model, rows),
        judged.holdout[judged.columns],
        target,
        seed=seed,
        losses=judging.losses(bounds),
    )
    work.progress.step("plots")
    pictures = _plots(evaluation, ranked, work, folder)
    predictions = folder / "predictions.parquet"
    rows = {charter.features.row_id: judged.holdout[charter.features.row_id], "label": judged.holdout[name].to_numpy()}
    pd.DataFrame({**rows, **judged.scoring.columns(scores)}).to_parquet(predictions, index=False)
    entry = compose(
        begun,
        subjects=[work.store("predictions", "holdout", predictions, rows=len(scores))],
        findings=findings,
        facts={**judging.recorded(evaluation), "importance": [asdict(item) for item in ranked]},
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
    ranked, source = leakage_gate.ranked_rows(split)
    return [
        *judging.target_proxy(
            ranked[judged.columns],
            judged.scoring.labels(ranked[split.target]),
            charter.gates,
            source=source,
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
    unlike = judged.scoring.unlike(judged.champion_scoring)
    if unlike is not None:
        return None, [_incomparable(*unlike)]
    missing = [name for name in judged.champion_columns if name not in judged.holdout]
    if missing:
        why = f"the champion reads {', '.join(missing)}, which the candidate's features no longer hold"
        return None, [_incomparable("inputs", why)]
    return judged.scoring.scores(judged.champion, judged.holdout[judged.champion_columns]), []


def _incomparable(subject: str, reason: str) -> Finding:
    return Finding(code="eval.champion", outcome=Outcome.INCONCLUSIVE, subject=subject, reason=reason)


def _latencies(judged: _Judged, rows: pd.DataFrame) -> list[float]:
    """Milliseconds of one prediction each, on single rows and one thread as when serving, after a warm-up of ten."""
    times = []
    with threadpool_limits(limits=1):
        for number in range(min(len(rows), LATENCY_ROWS + 10)):
            row = rows.iloc[[number]]
            begun = time.perf_counter()
            judged.scoring.scores(judged.model, row)
            times.append((time.perf_counter() - begun) * 1e3)
    return times[10:]


def _listed(value: object) -> list[str]:
    assert isinstance(value, list)
    return [str(item) for item in value]


def _plots(evaluation: Judged, ranked: Sequence[Importance], work: Work, folder: Path) -> list[Path]:
    pictures = evaluation.draw(folder)
    what = judging.loss_name(work.project.charter.gates)
    pictures.append(plots.importances(folder / "importance.png", ranked, what=what))
    if any(group.estimate is not None for group in evaluation.groups):
        pictures.append(plots.groups(folder / "slices.png", evaluation.groups))
    return pictures
