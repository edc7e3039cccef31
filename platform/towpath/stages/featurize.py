"""featurize: features and the training set as known at the time, proven by replay and against the online store."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from towpath.core import names
from towpath.core.errors import BadInput
from towpath.core.evidence import Candidate, Finding, Outcome, Subject
from towpath.core.gates import Stage
from towpath.ports import FeatureView, Parity, Replay, Window
from towpath.stages.work import Begun, Work, begin, compose, write

REPLAYS = 3
SAMPLE = 200


def featurize(candidate: Candidate, work: Work) -> Candidate:
    """Build the feature sources, join the spine as known, materialize, and prove it.

    On the way to a model the spine is split by time: `train`, whose labels were known before the holdout begins, and
    `holdout`. On the way to a monitoring report it is one window, `watch`.
    """
    charter = work.project.charter
    watching = Stage.MONITOR in work.order
    windows = (
        {"window": charter.monitoring.window}
        if watching
        else {"span": charter.training.span, "holdout": charter.training.holdout}
    )
    inputs = {
        "repository": work.project.repository_digest,
        "features": work.project.section_digest("features"),
        "target": charter.training.target,
        "min_rows": str(charter.training.min_rows),
        **{name: str(int(length.total_seconds())) for name, length in windows.items()},
    }
    begun = begin(Stage.FEATURIZE, candidate, work, inputs)
    if begun.found is not None:
        return candidate.append(begun.found)
    start = work.as_of - sum(windows.values(), timedelta())
    split = None if watching else work.as_of - charter.training.holdout
    return _featurize(begun, work, Window(start=start, end=work.as_of), split)


def feature_state(work: Work, candidate: Candidate) -> tuple[Path, Path]:
    """Where the featurized candidate's sources and the feature store's own files lie."""
    home = work.state / "features" / candidate.entry(Stage.FEATURIZE).key.removeprefix("sha256:")[:16]
    return home / "sources", home / "feast"


def _featurize(begun: Begun, work: Work, window: Window, split: datetime | None) -> Candidate:
    ports, service = work.ports, work.project.charter.features.service
    repository = work.project.repository
    views = ports.features.views(repository, service)
    tables = {
        table: ports.objects.fetch(subject.digest)
        for table, subject in begun.candidate.entry(Stage.VALIDATE).subjects_of("table").items()
    }
    home = work.state / "features" / begun.key.removeprefix("sha256:")[:16]
    shutil.rmtree(home, ignore_errors=True)
    sources = home / "sources"
    sources.mkdir(parents=True)
    with work.scratch() as folder:
        work.progress.step("transforms")
        built = ports.transforms.build(repository, tables, window=window, target=sources)
        work.progress.step(f"replay at {REPLAYS} times")
        known_at = {table: contract.known_at.get(table, {}) for table, contract in work.project.contracts.items()}
        replays = ports.transforms.replay(
            repository, tables, built, known_at=known_at, instants=_instants(window, split)
        )
        work.progress.step("point-in-time join")
        joined = folder / "joined.parquet"
        ports.features.training_set(repository, service, sources=sources, spine=built.spine, target=joined)
        work.progress.step("online store")
        ports.features.materialize(repository, service, sources=sources, until=window.end)
        parity, offline, online = ports.features.parity(
            repository, service, sources=sources, spine=built.spine, until=window.end, sample=SAMPLE, folder=folder
        )
        subjects = _parts(joined, work, folder, split)
        subjects += [
            work.store("served", "offline", offline, rows=SAMPLE),
            work.store("served", "online", online, rows=SAMPLE),
            *(work.store("feature_source", name, file) for name, file in built.sources.items()),
            Subject(kind="code", name="feature_repo", digest=begun.inputs["repository"]),
        ]
        findings = [
            *_rows(subjects, work.project.charter.training.min_rows, window, split),
            *(_replayed(name, replays) for name in sorted({replay.source for replay in replays})),
            *(_parity(item) for item in parity),
        ]
        entry = compose(begun, subjects=subjects, findings=findings, facts=_facts(window, split, views))
        return write(begun, entry, work)


def _facts(window: Window, split: datetime | None, views: Sequence[FeatureView]) -> dict[str, Any]:
    return {
        "window": [window.start.isoformat(), window.end.isoformat()],
        "split": split.isoformat() if split else None,
        "views": {view.name: list(view.features) for view in views},
    }


def _instants(window: Window, split: datetime | None) -> list[datetime]:
    """Times at which the past is rebuilt: evenly over the window, the last well inside the holdout."""
    length = window.end - window.start
    instants = [window.start + length * (number + 1) / (REPLAYS + 1) for number in range(REPLAYS)]
    if split is not None:
        instants[-1] = split + (window.end - split) / 2
    return instants


def _parts(joined: Path, work: Work, folder: Path, split: datetime | None) -> list[Subject]:
    columns = pq.read_schema(joined).names
    charter = work.project.charter
    wanted = (names.EVENT_TIME, names.LABEL_TIME, charter.training.target, charter.features.row_id)
    for column in (*wanted, *charter.features.request):
        if column not in columns:
            raise BadInput(
                f"The spine of {work.project.repository.name} has no column {column!r}.",
                value=column,
                valid=columns,
            )
    return [work.store("features", name, file, rows=rows) for name, file, rows in parts(joined, split, folder)]


def parts(joined: Path, split: datetime | None, folder: Path) -> list[tuple[str, Path, int]]:
    """The feature sets that a joined table makes: name, Parquet file in `folder`, rows. One, `watch`, without split."""
    table = pq.read_table(joined)
    if split is None:
        tables = {"watch": table}
    else:
        early = pc.and_(pc.less(table[names.EVENT_TIME], split), pc.less(table[names.LABEL_TIME], split))
        tables = {
            "train": table.filter(early),
            "holdout": table.filter(pc.greater_equal(table[names.EVENT_TIME], split)),
        }
    made = []
    for name, part in tables.items():
        file = folder / f"{name}.parquet"
        pq.write_table(part, file, compression="zstd")
        made.append((name, file, part.num_rows))
    return made


def _rows(subjects: Sequence[Subject], least: int, window: Window, split: datetime | None) -> list[Finding]:
    findings = []
    for subject in subjects:
        if subject.kind != "features":
            continue
        rows = subject.rows or 0
        bound = least if subject.name == "train" else max(least // 5, 20)
        since = split if subject.name == "holdout" and split else window.start
        until = split if subject.name == "train" and split else window.end
        findings.append(
            Finding(
                code="features.rows",
                outcome=Outcome.PASS if rows >= bound else Outcome.FAIL,
                subject=subject.name,
                measured=rows,
                bound=f">= {bound}",
                unit="rows",
                sample_size=rows,
                reason=f"{subject.name}: {rows:,} prediction rows from {since:%Y-%m-%d} to {until:%Y-%m-%d}",
            )
        )
    return findings


def _replayed(source: str, replays: Sequence[Replay]) -> Finding:
    mine = [replay for replay in replays if replay.source == source]
    rows, differing = sum(replay.rows for replay in mine), sum(replay.differing for replay in mine)
    bad = next((replay for replay in mine if replay.differing), None)
    outcome = Outcome.FAIL if differing else Outcome.PASS if rows else Outcome.INCONCLUSIVE
    reason = (
        f"{source}: {differing:,} of {rows:,} rows would have been different at {bad.instant:%Y-%m-%d %H:%M} UTC, "
        f"when only what was known then is used: {bad.example}"
        if bad
        else f"{source}: rebuilt from what was known at {len(mine)} times, all {rows:,} rows are the same"
    )
    return Finding(
        code="features.known_later",
        outcome=outcome,
        subject=source,
        measured=differing,
        bound="= 0",
        unit="rows",
        sample_size=rows,
        reason=reason,
    )


def _parity(item: Parity) -> Finding:
    outcome = Outcome.FAIL if item.differing else Outcome.PASS if item.sampled else Outcome.INCONCLUSIVE
    return Finding(
        code="features.offline_online",
        outcome=outcome,
        subject=item.view,
        measured=item.differing,
        bound="= 0",
        unit="rows",
        sample_size=item.sampled,
        reason=f"{item.view}: "
        + (
            f"{item.differing} of {item.sampled} sampled rows differ between the stores: {item.example}"
            if item.differing
            else f"online equals offline on {item.sampled} sampled rows"
        ),
    )
