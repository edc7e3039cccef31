"""Putting back what a registry shows otherwise than the ledger decided."""

from __future__ import annotations

from towpath.core import names
from towpath.core.reconciliation_models import (
    ALIAS,
    NAME,
    STAGE,
    TAGS,
    VERSION,
    FoundModels,
    WantedModels,
    WantedVersion,
    elsewhere,
)
from towpath.core.reconciliation_values import Drift
from towpath.stages.reconcile_ports import Registry

STRUCTURE = (NAME, VERSION)
"""Others hang on these: an alias and tags go with a version that is deleted, and come back with it."""


def restore(registry: Registry, drift: Drift, wanted: WantedModels, found: FoundModels) -> None:
    """Put one difference back. Raises what the registry raises."""
    if drift.code == NAME:
        _name(registry, wanted, found)
    elif drift.code == VERSION:
        _create(registry, wanted, wanted.of(drift.key))
    elif drift.code == ALIAS:
        version = wanted.champion if drift.key == names.ALIAS_CHAMPION else wanted.candidate
        held = found.holding(wanted.of(version)) if version else None
        registry.point(wanted.name, drift.key, held.version if held else None)
    elif drift.code == TAGS:
        one = wanted.of(drift.key)
        held = found.holding(one)
        if held is not None:
            apart = {key: right[0] for key, right in one.tags.items() if held.tags.get(key, "") not in right}
            registry.tag(wanted.name, held.version, apart)
    elif drift.code == STAGE:
        registry.unstage(wanted.name, drift.key)


def _name(registry: Registry, wanted: WantedModels, found: FoundModels) -> None:
    """Rename it back, or, when it was deleted, register the champion and the last candidate anew."""
    moved = elsewhere(wanted, found)
    if moved is not None:
        registry.rename(moved.name, wanted.name)
        return
    for version in sorted({one for one in (wanted.champion, wanted.candidate) if one}, key=int):
        _create(registry, wanted, wanted.of(version))


def _create(registry: Registry, wanted: WantedModels, one: WantedVersion) -> None:
    tags = {key: right[0] for key, right in one.tags.items()}
    registry.create(wanted.name, run_id=one.run_id, model_id=one.model_id, tags=tags)
