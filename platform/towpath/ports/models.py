"""Asked of the tracking service and registry of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class ModelRun:
    """A tracked training run: identifiers of the tracking service and the digest of the model's payload."""

    run_id: str
    model_id: str
    model_digest: str
    artifact_digest: str


@dataclass(frozen=True, kw_only=True)
class RegisteredModel:
    """A version in the registry."""

    name: str
    version: str
    run_id: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """All that a tracked training run says of itself."""

    experiment: str
    name: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    dataset: Path
    dataset_digest: str
    environment: Mapping[str, str]
    children: Sequence[tuple[str, Mapping[str, str], Mapping[str, float]]] = ()
    model_type: str = "classifier"
    """As MLflow calls it."""


class Models(Protocol):
    """Tracking and registry of models."""

    def save(self, model: Any, *, example: Any, prediction: Any, folder: Path) -> str:
        """Save a model without pickle, with its signature; returns its payload's digest, equal for equal models."""
        ...

    def load(self, folder: Path) -> Any:
        """Load a saved model; refuses types that were not reviewed."""
        ...

    def log(self, run: TrainingRun, *, folder: Path) -> ModelRun:
        """Record a training run with its saved model; the same key in `tags` finds the run instead of doubling it."""
        ...

    def verified(self, run: ModelRun, *, target: Path) -> Path:
        """The logged model's folder, downloaded; raises `IntegrityError` when its bytes are not the recorded ones."""
        ...

    def register(self, name: str, run: ModelRun, *, tags: Mapping[str, str], alias: str) -> RegisteredModel: ...

    def attach(self, run_id: str, files: Sequence[Path], *, folder: str) -> None:
        """Add files to a run's artifacts."""
        ...

    def promote(self, name: str, version: str, *, alias: str, tags: Mapping[str, str]) -> None: ...

    def by_alias(self, name: str, alias: str) -> RegisteredModel | None: ...
