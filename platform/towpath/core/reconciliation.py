"""What the ledger decided against what services show: each difference as a value. Pure.

A service shows; it never decides. `None` in `Found` means that a service was not seen, and nothing is said of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from towpath.core import digest as digests
from towpath.core.reconciliation_models import FoundModels, WantedModels, models_drift
from towpath.core.reconciliation_values import Drift

__all__ = ["Drift", "Found", "FoundModels", "Loaded", "Wanted", "WantedModels", "compare"]

STORED, FEATURES, GATEWAY, DEPLOYMENT = (
    "reconcile.stored",
    "reconcile.features",
    "reconcile.gateway",
    "reconcile.deployment",
)
_ABSENT: Final = "nothing"

Described = Mapping[str, str]
"""A thing as a service shows it, flat: what is said of it, by name."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Loaded(_Value):
    """What a gateway says that it has loaded of a project: its champion's model digest, and every version."""

    model: str
    versions: tuple[str, ...]


class Serving(_Value):
    """What gateways may have loaded: the champion always, the others while a rollout is open."""

    model: str
    version: str
    others: tuple[str, ...] = ()


class Wanted(_Value):
    """What is decided. A part that is None was never decided here, and nothing of it is compared."""

    models: WantedModels | None = None
    stored: str | None = None
    """Digest of the champion's stored folder."""
    features: Mapping[str, Described] | None = None
    """The champion's feature views and services, by kind and name."""
    restorable: bool = False
    """Whether the feature repository that the champion was made with is at hand."""
    serving: Serving | None = None
    deployments: Mapping[str, Described] | None = None


class Found(_Value):
    """What services show. A part that is None was not seen."""

    models: FoundModels | None = None
    stored: str | None = None
    """The same digest as `Wanted.stored` when every byte is as recorded, else what is wrong with them."""
    features: Mapping[str, Described] | None = None
    gateways: Mapping[str, Loaded] = Field(default_factory=dict)
    """By address; those that answered."""
    deployments: Mapping[str, Described] | None = None


def compare(wanted: Wanted, found: Found) -> tuple[Drift, ...]:
    """Every difference, in the order in which it is put back. Nothing when all that was seen is as decided."""
    return tuple(_differences(wanted, found))


def _differences(wanted: Wanted, found: Found) -> Iterator[Drift]:
    if wanted.models is not None and found.models is not None:
        yield from models_drift(wanted.models, found.models)
    if wanted.stored is not None and found.stored is not None and found.stored != wanted.stored:
        yield Drift(code=STORED, subject="the stored champion", wanted=digests.short(wanted.stored), found=found.stored)
    if wanted.features is not None and found.features is not None:
        yield from _features(wanted.features, found.features, restorable=wanted.restorable)
    if wanted.serving is not None:
        for address, loaded in sorted(found.gateways.items()):
            yield from _gateway(wanted.serving, address, loaded)
    if wanted.deployments is not None and found.deployments is not None:
        yield from _described(DEPLOYMENT, "deployment ", wanted.deployments, found.deployments, restorable=False)


def _features(wanted: Mapping[str, Described], found: Mapping[str, Described], *, restorable: bool) -> Iterator[Drift]:
    yield from _described(FEATURES, "", wanted, found, restorable=restorable)
    for name in sorted(set(found) - set(wanted)):
        said = _said(found[name], found[name])
        yield Drift(code=FEATURES, subject=name, wanted=_ABSENT, found=said, restorable=restorable)


def _described(
    code: str, prefix: str, wanted: Mapping[str, Described], found: Mapping[str, Described], *, restorable: bool
) -> Iterator[Drift]:
    """What is gone or described otherwise; of a thing that is there, only what `wanted` speaks of counts."""
    for name, terms in sorted(wanted.items()):
        shown = found.get(name)
        if shown is None:
            said = _said(terms, terms)
            yield Drift(code=code, subject=prefix + name, wanted=said, found=_ABSENT, restorable=restorable)
            continue
        apart = {key: value for key, value in terms.items() if shown.get(key) != value}
        if apart:
            yield Drift(
                code=code,
                subject=prefix + name,
                wanted=_said(apart, apart),
                found=_said(shown, apart),
                restorable=restorable,
            )


def _said(terms: Described, keys: Described) -> str:
    return "; ".join(f"{key} {terms.get(key, _ABSENT)}" for key in sorted(keys))


def _gateway(wanted: Serving, address: str, loaded: Loaded) -> Iterator[Drift]:
    """A gateway follows the record within seconds, so what it says otherwise counts when it stands."""
    allowed = {wanted.version, *wanted.others}
    if loaded.model == wanted.model and wanted.version in loaded.versions and allowed >= set(loaded.versions):
        return
    yield Drift(
        code=GATEWAY,
        subject=f"gateway {address}",
        wanted=f"model {digests.short(wanted.model)}, versions {', '.join(sorted(allowed))}",
        found=f"model {digests.short(loaded.model)}, versions {', '.join(sorted(loaded.versions)) or _ABSENT}",
        doubtful=True,
    )


def sees(found: Found, drift_code: str, subject: str) -> bool:
    """Whether the part in which such a difference would be was seen: only then is its absence news."""
    if drift_code == GATEWAY:
        return subject.removeprefix("gateway ") in found.gateways
    parts = {STORED: found.stored, FEATURES: found.features, DEPLOYMENT: found.deployments}
    return parts.get(drift_code, found.models) is not None
