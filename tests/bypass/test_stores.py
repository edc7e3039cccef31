"""Attacks on MLflow and on the stores of models, by somebody with all rights there."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest

from bypass import means
from bypass.conftest import Typed
from bypass.scene import PROJECT, Scene, gateway
from gateway import served
from towpath import wiring
from towpath.core import names
from towpath.core.errors import IntegrityError
from towpath.core.evidence import Incident, RecordKind
from towpath.stages.attested import require_attested
from towpath.stages.serving import load as opened_model


def incidents(scene: Scene) -> list[str]:
    """The codes of the incidents that were recorded."""
    found = [Incident.model_validate(record.body) for record in scene.records(RecordKind.INCIDENT)]
    return [incident.findings[0].code for incident in found]


def version(scene: Scene, candidate: Any) -> str:
    return str(candidate.entry("register").notes["version"])


def test_alias_moved(scene: Scene) -> None:
    """The champion's alias is moved in MLflow, while a gateway serves and before another starts."""
    client, mine = scene.mlflow(), version(scene, scene.mine)
    row = served.rows(scene.built, 1)[0]
    client.set_registered_model_alias(PROJECT, names.ALIAS_CHAMPION, mine)
    with gateway(scene) as running:
        assert running.infer([row]).headers["x-towpath-version"] == version(scene, scene.champion)
        client.set_registered_model_alias(PROJECT, names.ALIAS_CHAMPION, version(scene, scene.rolling))
        assert running.infer([row]).headers["x-towpath-version"] == version(scene, scene.champion)
    scene.unmoved(mlflow=True)
    assert "reconcile.alias" in incidents(scene)


def test_tags_edited(scene: Scene) -> None:
    """The attacker's version is called promoted by its tags, with the champion's decision."""
    client, mine = scene.mlflow(), version(scene, scene.mine)
    told = client.get_model_version(PROJECT, version(scene, scene.champion)).tags
    for name, value in told.items():
        client.set_model_version_tag(PROJECT, mine, name, value)
    scene.unmoved(mlflow=True)
    assert "reconcile.tags" in incidents(scene)
    assert client.get_model_version(PROJECT, mine).tags[names.TAG_CANDIDATE] != told[names.TAG_CANDIDATE]


def test_stage_set(scene: Scene) -> None:
    """The attacker's version is put into the stage Production, which MLflow still has."""
    client, mine = scene.mlflow(), version(scene, scene.mine)
    client.transition_model_version_stage(PROJECT, mine, "Production", archive_existing_versions=True)
    scene.unmoved(mlflow=True)
    assert "reconcile.stage" in incidents(scene)


def test_version_points_to_another_model(scene: Scene) -> None:
    """The champion's version is deleted and made again from the attacker's run, under the same number and alias."""
    client = scene.mlflow()
    other = client.get_model_version(PROJECT, version(scene, scene.mine))
    old = client.get_model_version(PROJECT, version(scene, scene.champion))
    client.delete_registered_model(PROJECT)
    client.create_registered_model(PROJECT)
    client.create_model_version(PROJECT, other.source, run_id=old.run_id, tags=dict(old.tags))
    client.set_registered_model_alias(PROJECT, names.ALIAS_CHAMPION, "1")
    scene.unmoved()
    scene.reconcile()
    assert {code for code in incidents(scene) if code.startswith("reconcile.")} & {
        "reconcile.version",
        "reconcile.alias",
        "reconcile.name",
    }


def test_artifact_swapped_after_approval(scene: Scene) -> None:
    """After the approval the saved model in the artifact store is another."""
    scene.approve("grace")
    target, other = means.saved_model(scene, scene.mine), means.saved_model(scene, scene.champion)
    for file in [file for file in other.rglob("*") if file.is_file()]:
        shutil.copyfile(file, target / file.relative_to(other))
    with pytest.raises(IntegrityError) as raised:
        scene.promote("grace")
    assert raised.value.gate == "integrity.model"
    scene.unmoved()


def test_weights_swapped_in_the_artifact_store(scene: Scene) -> None:
    """One weights file of the champion's saved model is swapped in place."""
    folder = means.saved_model(scene, scene.champion)
    weights = max((file for file in folder.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    means.swap(weights, bytes(content))
    scene.unmoved()
    scene.reconcile()
    assert any(code.startswith(("reconcile.", "integrity.")) for code in incidents(scene)), incidents(scene)


def test_weights_swapped_in_the_object_store(scene: Scene) -> None:
    """The compiled model that gateways load is swapped in place for the attacker's; a gateway starts."""
    theirs = means.stored_object(scene, means.compiled(scene.mine)).read_bytes()
    means.swap(means.stored_object(scene, means.compiled(scene.champion)), theirs)
    with gateway(scene, wait=False) as running:
        assert running.get("/readyz").status == 503
        assert running.infer(served.rows(scene.built, 1)).status != 200
    assert "integrity.model" in incidents(scene)
    scene.unmoved()


def test_weights_swapped_behind_their_verification(scene: Scene, tmp_path: Path) -> None:
    """The file is swapped in the moment between the comparison of its digest and its loading."""
    found = scene.servable().champion
    assert found is not None
    assert found.runtime is not None
    objects = wiring.open_objects(scene.settings)
    honest = means.stored_object(scene, found.runtime.digest)
    theirs = means.stored_object(scene, means.compiled(scene.mine)).read_bytes()
    good = honest.read_bytes()

    class Raced:
        """The store, in which somebody writes behind every look."""

        def fetch(self, digest: str) -> Path:
            file = objects.fetch(digest)
            means.swap(file, theirs)
            return file

    with scene.ledger() as ledger:
        attested = require_attested(ledger, wiring.open_keys(scene.settings), found.claims)
    folder = tmp_path / "loading"
    folder.mkdir()
    with pytest.raises(IntegrityError):
        opened_model(
            found,
            found.runtime,
            attested=attested,
            objects=Raced(),  # type: ignore[arg-type]
            models=lambda: wiring.open_models(scene.settings),
            runtimes=wiring.open_runtimes(scene.settings),
            folder=folder,
        )
    means.swap(honest, good)
    scene.unmoved()


def test_another_registry(scene: Scene, tmp_path: Path) -> None:
    """The gateway's settings name an MLflow and an object store of the attacker's own."""
    theirs = tmp_path / "theirs"
    shutil.copytree(scene.state / "objects", theirs)
    name = means.stored_object(scene, means.compiled(scene.champion)).relative_to(scene.state / "objects")
    means.swap(theirs / name, means.stored_object(scene, means.compiled(scene.mine)).read_bytes())
    more = {"TOWPATH_MLFLOW": f"sqlite:///{tmp_path / 'theirs.db'}", "TOWPATH_OBJECTS": str(theirs)}
    with gateway(scene, wait=False, more=more) as running:
        assert running.get("/readyz").status == 503
        assert running.infer(served.rows(scene.built, 1)).status != 200
    scene.unmoved()


def test_alias_moved_before_a_batch(scene: Scene, typed: Typed, tmp_path: Path) -> None:
    """With the alias moved, a file is scored by the command."""
    scene.mlflow().set_registered_model_alias(PROJECT, names.ALIAS_CHAMPION, version(scene, scene.mine))
    given = served.rows(scene.built, 5)
    source = tmp_path / "rows.csv"
    with source.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(given[0]))
        writer.writeheader()
        writer.writerows(given)
    named = ("--input", str(source), "--output", str(tmp_path / "scored.csv"))
    ran = typed("ada", "batch", str(scene.project), *named, "--json")
    assert (ran.code, ran.json["candidate"]) == (0, scene.champion.id), ran.err
    scene.unmoved(mlflow=True)


@pytest.mark.slow
def test_registry_moved_over_rest(scene: Scene) -> None:
    """Alias, tag and stage are set by requests to an MLflow server, as any program does that reaches it."""
    mine = version(scene, scene.mine)
    with means.mlflow_server(scene) as ask:
        ask("registered-models/alias", {"name": PROJECT, "alias": names.ALIAS_CHAMPION, "version": mine})
        told = {"name": PROJECT, "version": mine, "key": names.TAG_OUTCOME, "value": "PROMOTE"}
        ask("model-versions/set-tag", told)
        moved = {"name": PROJECT, "version": mine, "stage": "Production", "archive_existing_versions": True}
        ask("model-versions/transition-stage", moved)
    assert scene.alias() == mine
    scene.unmoved(mlflow=True)
    assert {"reconcile.alias", "reconcile.tags", "reconcile.stage"} <= set(incidents(scene))


def test_registered_without_the_path(scene: Scene) -> None:
    """A version is registered with MLflow's client alone, with every tag that the path writes, and given the alias."""
    client = scene.mlflow()
    run = client.create_run(experiment_id="0")
    told = client.get_model_version(PROJECT, version(scene, scene.champion)).tags
    source = str(means.saved_model(scene, scene.mine))
    made = client.create_model_version(PROJECT, source, run_id=run.info.run_id, tags=dict(told))
    client.set_registered_model_alias(PROJECT, names.ALIAS_CHAMPION, made.version)
    scene.unmoved(mlflow=True)
    assert "reconcile.alias" in incidents(scene)
