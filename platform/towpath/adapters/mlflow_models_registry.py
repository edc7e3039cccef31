"""MLflow's registry as the reconciler sees it and puts it right."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from towpath.adapters.mlflow_models import MlflowModels
from towpath.adapters.mlflow_models_faults import faults, reach
from towpath.core.reconciliation_models import NO_STAGE, FoundModels, FoundVersion

if TYPE_CHECKING:
    from mlflow import MlflowClient

_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class MlflowRegistry:
    """The port `Registry` over the same MLflow that `MlflowModels` writes to."""

    def __init__(self, models: MlflowModels) -> None:
        self._models = models
        self._places: dict[str, str] = {}  # a logged model never moves

    @property
    def _client(self) -> MlflowClient:
        return self._models.client

    def look(self, name: str, *, runs: Mapping[str, str], at: datetime) -> FoundModels:
        """One reading of the registered model, its versions, and, when it is gone, of its versions elsewhere."""
        client = self._client
        reach(self._models.uri)  # a client that was opened before would try for minutes
        with faults(self._models.uri):
            shown = self._registered(name)
            places = {model_id: place for model_id in runs.values() if (place := self._place(model_id))}
            versions = [_found(item) for item in client.search_model_versions(f"name = '{_quoted(name)}'")]
            elsewhere = [] if shown is not None else self._elsewhere(runs)
        aliases = None if shown is None else {alias: str(number) for alias, number in shown.aliases.items()}
        return FoundModels(at=at, aliases=aliases, versions=tuple(versions), elsewhere=tuple(elsewhere), places=places)

    def point(self, name: str, alias: str, version: str | None) -> None:
        with faults(self._models.uri):
            if version is None:
                self._client.delete_registered_model_alias(name, alias)
            else:
                self._client.set_registered_model_alias(name, alias, version)

    def tag(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        with faults(self._models.uri):
            for key, value in tags.items():
                if value:
                    self._client.set_model_version_tag(name, version, key, value)
                else:
                    self._client.delete_model_version_tag(name, version, key)

    def unstage(self, name: str, version: str) -> None:
        import warnings

        with faults(self._models.uri), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that stages are deprecated is why they are emptied
            self._client.transition_model_version_stage(name, version, NO_STAGE)

    def rename(self, name: str, to: str) -> None:
        with faults(self._models.uri):
            self._client.rename_registered_model(name, to)

    def create(self, name: str, *, run_id: str, model_id: str, tags: Mapping[str, str]) -> str:
        """Raises `NotFound` when the logged model itself is gone."""
        with faults(self._models.uri):
            if self._registered(name) is None:
                self._client.create_registered_model(name)
            place = self._client.get_logged_model(model_id).artifact_location
            made = self._client.create_model_version(
                name, place, run_id=run_id, model_id=model_id, tags={key: value for key, value in tags.items() if value}
            )
        return str(made.version)

    def _registered(self, name: str) -> Any | None:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code in _MISSING:
                return None
            raise

    def _place(self, model_id: str) -> str | None:
        """Where the logged model lies; None for one that was deleted."""
        from mlflow.exceptions import MlflowException

        if model_id not in self._places:
            try:
                self._places[model_id] = str(self._client.get_logged_model(model_id).artifact_location)
            except MlflowException as error:
                if error.error_code in _MISSING:
                    return None
                raise
        return self._places[model_id]

    def _elsewhere(self, runs: Mapping[str, str]) -> list[FoundVersion]:
        found = (self._client.search_model_versions(f"run_id = '{_quoted(run)}'") for run in runs)
        return [_found(item) for items in found for item in items]


def _found(item: Any) -> FoundVersion:
    return FoundVersion(
        name=item.name,
        version=str(item.version),
        run_id=item.run_id or "",
        source=item.source or "",
        tags=dict(item.tags),
        stage=item.current_stage or NO_STAGE,
        created_at=_time(item.creation_timestamp),
        updated_at=_time(item.last_updated_timestamp or item.creation_timestamp),
    )


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _quoted(text: str) -> str:
    """For MLflow's filters, which know no escapes; names and run ids of ours hold no quotes."""
    return text.replace("'", "")
