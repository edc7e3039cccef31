"""What the reconciler asks of the services that show what the ledger decided, as ports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from towpath.core.reconciliation import Loaded
from towpath.core.reconciliation_models import FoundModels
from towpath.ports import Ledger, Models, Rollouts

Described = Mapping[str, Mapping[str, str]]


class Registry(Protocol):
    """The model registry: what it shows, and how it is put right. Raises `Unreachable` and what `Models` raises."""

    def look(self, name: str, *, runs: Mapping[str, str], at: datetime) -> FoundModels:
        """The registered model of that name. `runs`: ids of the runs of interest, each with its logged model's id."""
        ...

    def point(self, name: str, alias: str, version: str | None) -> None:
        """Let an alias show that version; None takes it away."""
        ...

    def tag(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version; one with an empty text is taken away."""
        ...

    def unstage(self, name: str, version: str) -> None:
        """Take a version out of MLflow's deprecated stages."""
        ...

    def rename(self, name: str, to: str) -> None: ...

    def create(self, name: str, *, run_id: str, model_id: str, tags: Mapping[str, str]) -> str:
        """A version of that run and logged model, its number; the registered model too where there is none."""
        ...


class FeatureRegistry(Protocol):
    """The feature store's registry of one champion."""

    def declared(self) -> Described:
        """What the repository's files define: views and services, by kind and name."""
        ...

    def applied(self) -> Described:
        """The same as the registry holds it."""
        ...

    def apply(self) -> None:
        """Make the registry hold what the files define, and nothing else."""
        ...


class Gateways(Protocol):
    """The gateways that the settings name."""

    def loaded(self, address: str, project: str) -> Loaded:
        """What one says that it has loaded. Raises `Unreachable` for one that does not answer or is not ready."""
        ...


class Deployments(Protocol):
    """The deployments of a file, and how Prefect has them."""

    def declared(self, project: str) -> Described: ...

    def deployed(self, wanted: Described) -> Described: ...


class Alerts(Protocol):
    """Where people are told. Never raises: what cannot be told is logged and counted in `failed`."""

    sent: int
    failed: int

    def tell(self, title: str, text: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class FeatureState:
    """A champion's features: the digest of their repository, their folder's name, and the end of their window."""

    repository: str
    folder: str
    until: datetime


@dataclass(frozen=True, kw_only=True)
class ReconcilePorts:
    """What the reconciler acts on. What is None, or an empty list, is not there to be looked at.

    `features`: opens the registry of a champion's features; None where the project's folder is not at hand. `models`
    reads stored bytes; it is opened for that alone.
    """

    ledger: Ledger
    rollouts: Rollouts
    registry: Registry
    models: Callable[[], Models]
    alerts: Alerts
    actor: str
    scratch: Path
    gateways: Gateways | None = None
    addresses: Sequence[str] = ()
    features: Callable[[FeatureState], FeatureRegistry] | None = None
    repository: str | None = None
    """Digest of the feature repository in the project's folder."""
    deployments: Deployments | None = None

    def close(self) -> None:
        self.ledger.close()
        self.rollouts.close()
