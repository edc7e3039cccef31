"""Models in MLflow: saved with skops, tracked with their lineage, registered with their evidence."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from towpath import telemetry
from towpath.adapters.skops_file import canonicalise
from towpath.core import digest as digests
from towpath.core import names
from towpath.core.errors import BadInput, DeclarationError, IntegrityError, Misconfigured, NotFound, Unreachable
from towpath.ports import ModelRun, RegisteredModel, TrainingRun

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

PAYLOAD = "model.skops"
_REGISTRY_NOTE = "registered_model_meta"
# Types beyond skops' own defaults that a saved model may hold. Each was read: it only holds data, and its construction
# and state setting run no code of the file's choosing. Never taken from a model's own metadata.
TRUSTED_TYPES: tuple[str, ...] = (
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
)


class MlflowModels:
    """The port `Models` on an MLflow tracking server or database.

    `artifacts` is where models of a new experiment go (a folder or `s3://…`); None leaves it to the server.
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
            with _faults(self.uri):
                self._client = mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        return self._client

    def save(self, model: Any, *, example: Any, prediction: Any, folder: Path) -> str:
        telemetry.silence()
        import mlflow.sklearn
        from mlflow.models import infer_signature
        from skops.io import get_untrusted_types

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # hints about integer columns; the contract says which may be null
            signature = infer_signature(example, prediction)
            try:
                mlflow.sklearn.save_model(
                    model,
                    path=str(folder),
                    serialization_format="skops",
                    skops_trusted_types=list(TRUSTED_TYPES),
                    signature=signature,
                    input_example=example.head(5),
                    pip_requirements=_requirements(),
                )
            except mlflow.MlflowException as error:
                raise _unsafe(error) from error
        file = folder / PAYLOAD
        canonicalise(file)
        untrusted = sorted(set(get_untrusted_types(file=file)) - set(TRUSTED_TYPES))
        if untrusted:
            raise _untrusted(untrusted)
        return self.digest(folder)

    def digest(self, folder: Path) -> str:
        """Digest of a saved model's payload: its canonical skops file and its signature."""
        metadata = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
        return digests.of_json({PAYLOAD: digests.of_file(folder / PAYLOAD), "signature": metadata.get("signature")})

    def load(self, folder: Path) -> Any:
        from skops.io import get_untrusted_types, load

        file = folder / PAYLOAD
        if not file.is_file():
            raise NotFound(
                f"There is no {PAYLOAD} in the model's folder.", value=str(folder), hint="Only skops models are loaded."
            )
        untrusted = sorted(set(get_untrusted_types(file=file)) - set(TRUSTED_TYPES))
        if untrusted:
            raise _untrusted(untrusted)
        return load(file, trusted=list(TRUSTED_TYPES))

    def log(self, run: TrainingRun, *, folder: Path) -> ModelRun:
        from mlflow.entities import Dataset, DatasetInput

        with _faults(self.uri):
            experiment = self._experiment(run.experiment)
            found = self._finished(experiment, run)
            if found is not None:
                return found
            created = self.client.create_run(experiment, run_name=run.name, tags=dict(run.tags))
            run_id = created.info.run_id
            for key, value in run.params.items():
                self.client.log_param(run_id, key, value)
            for key, metric in run.metrics.items():
                self.client.log_metric(run_id, key, metric)
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
            self.client.set_tag(run_id, "towpath.model_id", model_id)
            self.client.set_tag(run_id, "towpath.artifact_digest", artifact_digest)
            self.client.set_terminated(run_id)
        return ModelRun(
            run_id=run_id, model_id=model_id, model_digest=run.tags[names.TAG_MODEL], artifact_digest=artifact_digest
        )

    def download(self, model_id: str, *, target: Path) -> Path:
        from mlflow.artifacts import download_artifacts

        with _faults(self.uri):
            location = self.client.get_logged_model(model_id).artifact_location
            path = Path(download_artifacts(artifact_uri=location, dst_path=str(target), tracking_uri=self.uri))
        return path

    def verified(self, run: ModelRun, *, target: Path) -> Path:
        """Download the model and compare its digests with those recorded. Raises `IntegrityError`."""
        folder = self.download(run.model_id, target=target)
        try:
            payload, artifact = self.digest(folder), _folder_digest(folder)
        except (OSError, yaml.YAMLError) as error:
            raise IntegrityError(
                f"The stored model {run.model_id} is incomplete: {error}.", gate="integrity.model", value=run.model_id
            ) from error
        for what, found, recorded in (
            ("payload", payload, run.model_digest),
            ("folder", artifact, run.artifact_digest),
        ):
            if found != recorded:
                raise IntegrityError(
                    f"The stored model's {what} has digest {digests.short(found)}, but {digests.short(recorded)} was recorded "
                    "when it was trained.",
                    gate="integrity.model",
                    value=found,
                    hint="Its bytes were changed after training. Do not serve it.",
                )
        return folder

    def register(self, name: str, run: ModelRun, *, tags: Mapping[str, str], alias: str) -> RegisteredModel:
        from mlflow.exceptions import MlflowException

        with _faults(self.uri):
            try:
                self.client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            version = next((item for item in self._versions(name) if item.run_id == run.run_id), None)
            if version is None:
                source = self.client.get_logged_model(run.model_id).artifact_location
                created = self.client.create_model_version(
                    name, source, run_id=run.run_id, model_id=run.model_id, tags=dict(tags)
                )
                version = RegisteredModel(name=name, version=str(created.version), run_id=run.run_id, tags=dict(tags))
            for key, value in tags.items():
                self.client.set_model_version_tag(name, version.version, key, value)
            self.client.set_registered_model_alias(name, alias, version.version)
        return RegisteredModel(name=name, version=version.version, run_id=run.run_id, tags=dict(tags))

    def attach(self, run_id: str, files: Sequence[Path], *, folder: str) -> None:
        with _faults(self.uri):
            for file in files:
                self.client.log_artifact(run_id, str(file), folder)

    def promote(self, name: str, version: str, *, alias: str, tags: Mapping[str, str]) -> None:
        with _faults(self.uri):
            for key, value in tags.items():
                self.client.set_model_version_tag(name, version, key, value)
            self.client.set_registered_model_alias(name, alias, version)

    def by_alias(self, name: str, alias: str) -> RegisteredModel | None:
        from mlflow.exceptions import MlflowException

        with _faults(self.uri):
            try:
                found = self.client.get_model_version_by_alias(name, alias)
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise
        return RegisteredModel(name=name, version=str(found.version), run_id=found.run_id, tags=dict(found.tags))

    def _versions(self, name: str) -> list[RegisteredModel]:
        found = self.client.search_model_versions(f"name = '{name}'")
        return [
            RegisteredModel(name=name, version=str(item.version), run_id=item.run_id, tags=dict(item.tags))
            for item in found
        ]

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        location = f"{self.artifacts}/{name}" if self.artifacts else None
        return str(self.client.create_experiment(name, artifact_location=location))

    def _finished(self, experiment: str, run: TrainingRun) -> ModelRun | None:
        """The finished run with the same key; runs with that key that a kill left unfinished are deleted."""
        key = run.tags[names.TAG_KEY]
        for found in self.client.search_runs([experiment], f"tags.`{names.TAG_KEY}` = '{key}'"):
            tags = found.data.tags
            if found.info.status == "FINISHED" and tags.get(names.TAG_MODEL) == run.tags[names.TAG_MODEL]:
                return ModelRun(
                    run_id=found.info.run_id,
                    model_id=tags["towpath.model_id"],
                    model_digest=tags[names.TAG_MODEL],
                    artifact_digest=tags["towpath.artifact_digest"],
                )
            for child in self.client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{found.info.run_id}'"):
                self.client.delete_run(child.info.run_id)
            self.client.delete_run(found.info.run_id)
        return None

    def _children(self, experiment: str, parent: str, run: TrainingRun) -> None:
        for name, params, metrics in run.children:
            child = self.client.create_run(experiment, run_name=name, tags={"mlflow.parentRunId": parent})
            for key, value in params.items():
                self.client.log_param(child.info.run_id, key, value)
            for key, metric in metrics.items():
                self.client.log_metric(child.info.run_id, key, metric)
            self.client.set_terminated(child.info.run_id)

    def _upload(self, experiment: str, run_id: str, run: TrainingRun, folder: Path) -> tuple[str, str]:
        from mlflow.entities import LoggedModelStatus

        model = self.client.create_logged_model(
            experiment, name=run.experiment, source_run_id=run_id, tags=dict(run.tags), model_type="classifier"
        )
        metadata_file = folder / "MLmodel"
        metadata = yaml.safe_load(metadata_file.read_text(encoding="utf-8"))
        metadata.update({"run_id": run_id, "model_id": model.model_id, "artifact_path": model.artifact_location})
        metadata_file.write_text(yaml.safe_dump(metadata, sort_keys=False), encoding="utf-8")
        digest = _folder_digest(folder)
        self.client.log_model_artifacts(model.model_id, str(folder))
        self.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        return model.model_id, digest


def _folder_digest(folder: Path) -> str:
    """Digest of a model's folder without the note that MLflow adds to it on registration."""
    files = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    return digests.of_tree(folder, names=[name for name in files if name != _REGISTRY_NOTE])


def _requirements() -> list[str]:
    import sklearn
    import skops

    return [f"scikit-learn=={sklearn.__version__}", f"skops=={skops.__version__}"]


def _untrusted(types: list[str]) -> DeclarationError:
    return DeclarationError(
        f"The model holds types that nobody reviewed: {', '.join(types)}.",
        value=types[0],
        valid=TRUSTED_TYPES,
        hint="Use estimators that skops knows, or review the type and add it to TRUSTED_TYPES.",
    )


def _unsafe(error: Exception) -> BadInput:
    return BadInput(
        f"The model cannot be saved without pickle: {error}",
        hint="Use scikit-learn estimators; functions and classes of one's own cannot be stored safely.",
    )


@contextmanager
def _faults(uri: str) -> Iterator[None]:
    """MLflow's and its stores' errors as ours."""
    import requests
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    try:
        yield
    except (requests.ConnectionError, requests.Timeout, OperationalError) as error:
        raise Unreachable(
            f"MLflow at {uri} does not answer: {type(error).__name__}.",
            value=uri,
            hint="Start it (`towpath up`) or mend TOWPATH_MLFLOW.",
        ) from error
    except MlflowException as error:
        if "Max retries exceeded" in str(error) or "Connection refused" in str(error):
            raise Unreachable(
                f"MLflow at {uri} does not answer.", value=uri, hint="Start it (`towpath up`) or mend TOWPATH_MLFLOW."
            ) from error
        if error.error_code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            raise Misconfigured(
                f"MLflow at {uri} refuses us: {error.message}", value=uri, hint="Check its credentials."
            ) from error
        raise
