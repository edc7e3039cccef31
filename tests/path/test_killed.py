"""Killed with SIGKILL at any point and started again: the same candidate as without interruption, and nothing twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from path import small
from path.mortal import Mortals, Point, Walk
from path.trail import Trail, copy
from towpath.core import names
from towpath.core.digest import of_file
from towpath.core.evidence import RecordKind
from towpath.core.gates import Stage
from towpath.path import WATCH
from towpath.stages.tracked import trained
from towpath.stages.work import Work, champion

POINTS: dict[Stage, tuple[tuple[str, int], ...]] = {
    Stage.INGEST: (("step", 1), ("rename", 2), ("append", 1), ("appended", 1)),
    Stage.VALIDATE: (("step", 1), ("rename", 5), ("append", 1), ("appended", 1)),
    Stage.FEATURIZE: (("step", 2), ("step", 4), ("rename", 3), ("append", 1), ("appended", 1)),
    Stage.TRAIN: (
        ("step", 2),
        ("mlflow.create_experiment", 1),
        ("mlflow.create_run", 2),
        ("mlflow.create_logged_model", 1),
        ("mlflow.log_model_artifacts", 1),
        ("mlflow.set_terminated", 3),
        ("appended", 1),
    ),
    Stage.EVALUATE: (("step", 3), ("rename", 2), ("appended", 1)),
    Stage.REGISTER: (
        ("step", 2),
        ("mlflow.create_registered_model", 1),
        ("mlflow.create_model_version", 1),
        ("mlflow.set_model_version_tag", 2),
        ("mlflow.set_registered_model_alias", 1),
        ("mlflow.log_artifact", 2),
        ("append", 1),
        ("appended", 1),
    ),
}


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("stage", POINTS)
def test_killed_in_a_stage(stage: Stage, trail: Trail, mortals: Mortals, tmp_path: Path) -> None:
    state = trail.before(stage, tmp_path / "state")
    for name, number in POINTS[stage]:
        point = Point(stage=stage.value, name=name, number=number)
        mortals.killed(_walk(trail, state, until=stage.value, die=point))
    walked = mortals.finished(_walk(trail, state, until=stage.value))
    assert walked.digest == trail.entry(stage).digest
    assert walked.computed == []  # the last kill came when everything was written
    with small.opened(trail.project, state, environment=trail.environment) as work:
        _nothing_twice(work, trail, reached=stage)


@pytest.mark.slow
def test_killed_once_in_each_stage_on_one_way(trail: Trail, mortals: Mortals, project: Path, tmp_path: Path) -> None:
    """In another process, on one thread, with project and state elsewhere: the same candidate all the same."""
    state = tmp_path / "state"
    for point in (
        Point(stage="ingest", name="rename", number=3),
        Point(stage="validate", name="rename", number=4),
        Point(stage="featurize", name="step", number=3),
        Point(stage="train", name="mlflow.log_model_artifacts"),
        Point(stage="evaluate", name="step", number=3),
        Point(stage="register", name="mlflow.create_model_version"),
        Point(stage="promote", name="append"),
        Point(stage="promote", name="mlflow.set_model_version_tag"),
    ):
        mortals.killed(_elsewhere(project, state, die=point))
    walked = mortals.finished(_elsewhere(project, state))
    assert walked.digest == trail.candidate.digest
    with small.opened(project, state) as work:
        _nothing_twice(work, trail, reached=Stage.REGISTER)
        _one_champion(work, trail)


@pytest.mark.slow
@pytest.mark.parametrize(
    "points",
    [
        [("append", 1)],
        [("appended", 1), ("mlflow.set_model_version_tag", 1), ("mlflow.set_registered_model_alias", 1)],
    ],
    ids=["before it is decided", "after it is decided"],
)
def test_killed_in_a_promotion(points: list[tuple[str, int]], trail: Trail, mortals: Mortals, tmp_path: Path) -> None:
    state = trail.after(Stage.REGISTER, tmp_path / "state")
    for name, number in points:
        point = Point(stage="promote", name=name, number=number)
        mortals.killed(_walk(trail, state, promote=True, die=point))
    mortals.finished(_walk(trail, state, promote=True))
    with small.opened(trail.project, state, environment=trail.environment) as work:
        _one_champion(work, trail)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_killed_while_watching(trail: Trail, mortals: Mortals, tmp_path: Path) -> None:
    state = trail.after(Stage.PROMOTE, tmp_path / "state")
    mortals.finished(_watch(trail, state, until="featurize"))
    expected = mortals.finished(_watch(trail, copy(state, tmp_path / "whole")))
    for name, number in (("step", 3), ("appended", 1)):
        mortals.killed(_watch(trail, state, die=Point(stage="monitor", name=name, number=number)))
    walked = mortals.finished(_watch(trail, state))
    assert walked.digest == expected.digest
    assert (expected.reused, expected.computed) == ([*WATCH[:-1]], ["monitor"])
    assert walked.computed == []
    with small.opened(trail.project, state, environment=trail.environment) as work:
        keys = Counter(record.key for record in small.records(work.ports.ledger, RecordKind.ENTRY))
        assert set(keys.values()) == {1}
        assert work.ports.ledger.verify().whole


def _walk(
    trail: Trail, state: Path, *, until: str | None = None, promote: bool = False, die: Point | None = None
) -> Walk:
    return Walk(
        project=trail.project,
        state=state,
        environment=trail.environment,
        as_of=small.AS_OF,
        until=until,
        promote=promote,
        die=die,
    )


def _elsewhere(project: Path, state: Path, *, die: Point | None = None) -> Walk:
    return Walk(project=project, state=state, environment={}, as_of=small.AS_OF, promote=True, die=die)


def _watch(trail: Trail, state: Path, *, until: str | None = None, die: Point | None = None) -> Walk:
    return Walk(
        project=trail.project,
        state=state,
        environment=trail.environment,
        as_of=small.WATCHED,
        watch=True,
        until=until,
        die=die,
    )


def _nothing_twice(work: Work, trail: Trail, *, reached: Stage) -> None:
    entries = small.records(work.ports.ledger, RecordKind.ENTRY)
    stages = list(trail.candidate.stages)
    assert [record.stage for record in entries] == stages[: stages.index(reached) + 1]
    assert [record.digest for record in entries] == [trail.entry(Stage(record.stage)).digest for record in entries]
    assert work.ports.ledger.verify().whole
    _objects_whole(work)
    if Stage.TRAIN in stages[: stages.index(reached) + 1]:
        _tracked_once(work, entries[stages.index(Stage.TRAIN)].key or "", trail)
    if reached is Stage.REGISTER:
        _registered_once(work)


def _objects_whole(work: Work) -> None:
    root = work.state / "objects"
    for file in root.glob("??/*"):
        assert of_file(file) == f"sha256:{file.parent.name}{file.name}"
    for entry in small.records(work.ports.ledger, RecordKind.ENTRY):
        sizes = {item.digest: item.size for item in entry.entry().subjects}
        sizes |= {item.digest: item.size for item in entry.entry().attachments}
        for digest, size in sizes.items():
            if size is not None:
                assert work.ports.objects.fetch(digest).stat().st_size == size


def _tracked_once(work: Work, key: str, trail: Trail) -> None:
    client = work.ports.models.client  # type: ignore[attr-defined]
    experiment = client.get_experiment_by_name(work.name).experiment_id
    runs = client.search_runs([experiment])
    (parent,) = [run for run in runs if run.data.tags.get(names.TAG_KEY) == key]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(children) == len(work.project.charter.training.sweep)
    assert len(runs) == 1 + len(children)
    models = client.search_logged_models([experiment])
    assert [model.source_run_id for model in models] == [parent.info.run_id]
    entry = next(record for record in small.records(work.ports.ledger) if record.stage == Stage.TRAIN).entry()
    assert trained(entry).run_id == parent.info.run_id
    assert trained(entry).model_digest == trail.entry(Stage.TRAIN).subject("model").digest


def _registered_once(work: Work) -> None:
    client = work.ports.models.client  # type: ignore[attr-defined]
    (version,) = client.search_model_versions(f"name = '{work.name}'")
    entry = next(record for record in small.records(work.ports.ledger) if record.stage == Stage.REGISTER)
    assert len(small.records(work.ports.ledger, RecordKind.ATTESTATION)) == 1
    assert version.tags[names.TAG_CANDIDATE] == entry.digest
    found = work.ports.models.by_alias(work.name, names.ALIAS_CANDIDATE)
    assert found is not None
    assert found.version == str(version.version)
    attached = {item.path for item in client.list_artifacts(version.run_id, names.EVIDENCE_FOLDER)}
    assert {
        f"{names.EVIDENCE_FOLDER}/{name}" for name in ("model_card.md", "model_card.html", "evidence.json")
    } <= attached


def _one_champion(work: Work, trail: Trail) -> None:
    decisions = small.records(work.ports.ledger, RecordKind.DECISION)
    assert [record.body["verdict"] for record in decisions] == ["PROMOTE"]
    found = champion(work.ports.ledger, work.name)
    assert found is not None
    assert found.candidate.digest == trail.candidate.digest
    alias = work.ports.models.by_alias(work.name, names.ALIAS_CHAMPION)
    assert alias is not None
    assert alias.tags[names.TAG_DECISION] == decisions[0].hash
    assert work.ports.ledger.verify().whole
