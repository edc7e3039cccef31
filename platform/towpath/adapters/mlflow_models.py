"""Models in MLflow: tracked with their lineage, stored with their digests, registered with their evidence."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from towpath import telemetry
from towpath.adapters.mlflow_models_faults import faults, reach, shown
from towpath.adapters.mlflow_models_saved import folder_digest, load, note_run, payload_digest, save
from towpath.core import digest as digests
from towpath.core import names
from towpath.core.errors import IntegrityError, Misconfigured, NotFound
from towpath.ports import ModelRun, RegisteredModel, TrainingRun

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TAG_MODEL_ID = "towpath.model_id"
_TAG_ARTIFACT = "towpath.artifact_digest"
_SQLITE = "sqlite:///"


class MlflowModels:
    """The port `Models` on an MLflow tracking server or database.

    `artifacts` is where models of a new experiment go (a folder's or bucket's URI); None leaves it to the server. What
    goes wrong with MLflow is raised as `Unreachable`, `Unwritable`, `Misconfigured` or `NotFound`.
    """

    def __init__(self, uri: str, *, artifacts: str | None) -> None:
        self.uri = uri
        self.artifacts = artifacts
        self._client: MlflowClient | None = None

    @property
    def client(self) -> MlflowClient:
        if self._client is None:
            telemetry.silence()
            os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
            import mlflow

            logging.getLogger("mlflow").setLevel(logging.ERROR)
            logging.getLogger("alembic").setLevel(logging.WARNING)
            reach(self.uri)
            with faults(self.uri), _making_database(self.uri):
                self._client = mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        return self._client

    def save(self, model: Any, *, example: Any, prediction: Any, folder: Path) -> str:
        return save(model, example=example, prediction=prediction, folder=folder)

    def load(self, folder: Path) -> Any:
        return load(folder)

    def log(self, run: TrainingRun, *, folder: Path) -> ModelRun:
        from mlflow.entities import Dataset, DatasetInput

        with faults(self.uri):
            experiment = self._experiment(run.experiment)
            found = self._finished(experiment, run)
            if found is not None:
                return found
            created = self.client.create_run(experiment, run_name=run.name, tags=dict(run.tags))
            run_id = created.info.run_id
            self._values(run_id, run.params, run.metrics)
            dataset = Dataset(
                name=run.dataset.name,
                digest=digests.short(run.dataset_digest),
                source_type="towpath",
                source=run.dataset_digest,
            )
            self.client.log_inputs(run_id, [DatasetInput(dataset=dataset, tags=[])])
            self.client.log_dict(run_id, dict(run.environment), "environment.json")
            self._children(experiment, run_id, run)
            model_id, artifact_digest = self._upload(experiment, run_id, run, folder)
            self.client.set_tag(run_id, _TAG_MODEL_ID, model_id)
            self.client.set_tag(run_id, _TAG_ARTIFACT, artifact_digest)
            self.client.set_terminated(run_id)
        return ModelRun(
            run_id=run_id, model_id=model_id, model_digest=run.tags[names.TAG_MODEL], artifact_digest=artifact_digest
        )

    def verified(self, run: ModelRun, *, target: Path) -> Path:
        try:
            folder = self._download(run.model_id, target)
            payload, artifact = payload_digest(folder), folder_digest(folder)
        except (OSError, yaml.YAMLError, NotFound) as error:
            raise IntegrityError(
                f"The stored model {run.model_id} is incomplete: {error}.",
                gate="integrity.model",
                value=run.model_id,
                hint="Restore it from a copy, or train again.",
            ) from error
        for what, found, recorded in (
            ("payload", payload, run.model_digest),
            ("folder", artifact, run.artifact_digest),
        ):
            if found != recorded:
                raise IntegrityError(
                    f"The stored model's {what} has digest {digests.short(found)}, but {digests.short(recorded)} was "
                    "recorded when it was trained.",
                    gate="integrity.model",
                    value=found,
                    hint="Its bytes were changed after training. Do not serve it.",
                )
        return folder

    def register(self, name: str, run: ModelRun, *, tags: Mapping[str, str], alias: str) -> RegisteredModel:
        """The version of that run in the registry, made when there is none, with these tags and the alias."""
        from mlflow.exceptions import MlflowException

        with faults(self.uri):
            try:
                self.client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = self.client.search_model_versions(f"run_id = '{run.run_id}'")
            version = next((str(item.version) for item in found if item.name == name), None)
            if version is None:
                source = self.client.get_logged_model(run.model_id).artifact_location
                created = self.client.create_model_version(
                    name, source, run_id=run.run_id, model_id=run.model_id, tags=dict(tags)
                )
                version = str(created.version)
            self._stamp(name, version, alias=alias, tags=tags)
        return RegisteredModel(name=name, version=version, run_id=run.run_id, tags=dict(tags))

    def attach(self, run_id: str, files: Sequence[Path], *, folder: str) -> None:
        with faults(self.uri):
            for file in files:
                self.client.log_artifact(run_id, str(file), folder)

    def promote(self, name: str, version: str, *, alias: str, tags: Mapping[str, str]) -> None:
        with faults(self.uri):
            self._stamp(name, version, alias=alias, tags=tags)

    def by_alias(self, name: str, alias: str) -> RegisteredModel | None:
        from mlflow.exceptions import MlflowException

        with faults(self.uri):
            try:
                found = self.client.get_model_version_by_alias(name, alias)
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise
        return RegisteredModel(name=name, version=str(found.version), run_id=found.run_id, tags=dict(found.tags))

    def _stamp(self, name: str, version: str, *, alias: str, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self.client.set_model_version_tag(name, version, key, value)
        self.client.set_registered_model_alias(name, alias, version)

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is None:
            location = f"{self.artifacts}/{name}" if self.artifacts else None
            try:
                return str(self.client.create_experiment(name, artifact_location=location))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self.client.get_experiment_by_name(name)  # another process was faster
        if found.lifecycle_stage != "active":
            raise Misconfigured(
                f"The experiment {name!r} in MLflow at {shown(self.uri)} was deleted.",
                value=name,
                hint=f"Restore it (`mlflow experiments restore -x {found.experiment_id}`), or rename the project.",
            )
        return str(found.experiment_id)

    def _finished(self, experiment: str, run: TrainingRun) -> ModelRun | None:
        """The finished run with the same key and model; runs with that key that never finished are deleted."""
        key = run.tags[names.TAG_KEY]
        same: ModelRun | None = None
        for found in self.client.search_runs([experiment], f"tags.`{names.TAG_KEY}` = '{key}'"):
            tags = found.data.tags
            if found.info.status != "FINISHED":
                self._delete(experiment, found.info.run_id)
            elif tags.get(names.TAG_MODEL) == run.tags[names.TAG_MODEL]:
                same = ModelRun(
                    run_id=found.info.run_id,
                    model_id=tags[_TAG_MODEL_ID],
                    model_digest=tags[names.TAG_MODEL],
                    artifact_digest=tags[_TAG_ARTIFACT],
                )
        return same

    def _delete(self, experiment: str, run_id: str) -> None:
        """A run with its trials and its half-stored model."""
        for model in self.client.search_logged_models([experiment], f"source_run_id = '{run_id}'"):
            self.client.delete_logged_model(model.model_id)
        for child in self.client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'"):
            self.client.delete_run(child.info.run_id)
        self.client.delete_run(run_id)

    def _values(self, run_id: str, params: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        for key, value in params.items():
            self.client.log_param(run_id, key, value)
        for key, metric in metrics.items():
            self.client.log_metric(run_id, key, metric)

    def _children(self, experiment: str, parent: str, run: TrainingRun) -> None:
        for name, params, metrics in run.children:
            child = self.client.create_run(experiment, run_name=name, tags={"mlflow.parentRunId": parent})
            self._values(child.info.run_id, params, metrics)
            self.client.set_terminated(child.info.run_id)

    def _upload(self, experiment: str, run_id: str, run: TrainingRun, folder: Path) -> tuple[str, str]:
        """The logged model's identifier, and the digest of its folder as it is stored."""
        from mlflow.entities import LoggedModelStatus

        model = self.client.create_logged_model(
            experiment, name=run.experiment, source_run_id=run_id, tags=dict(run.tags), model_type=run.model_type
        )
        note_run(folder, run_id=run_id, model_id=model.model_id, location=model.artifact_location)
        digest = folder_digest(folder)
        self.client.log_model_artifacts(model.model_id, str(folder))
        self.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        return model.model_id, digest

    def _download(self, model_id: str, target: Path) -> Path:
        from mlflow.artifacts import download_artifacts

        with faults(self.uri):
            location = self.client.get_logged_model(model_id).artifact_location
            return Path(download_artifacts(artifact_uri=location, dst_path=str(target), tracking_uri=self.uri))


@contextmanager
def _making_database(uri: str) -> Iterator[None]:
    """One process at a time: two that migrate an empty SQLite file at once both fail."""
    if not uri.startswith(_SQLITE):
        yield
        return
    with Path(f"{uri.removeprefix(_SQLITE)}.lock").open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
