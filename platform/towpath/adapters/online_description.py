"""What a reader of Feast's online store needs to know of a repository, as Feast's registry says it.

Feast takes seconds and hundreds of megabytes to import, and importing it stalls an event loop. So it is asked in a
process of its own, once, and the reader works without it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from towpath.core.errors import DeclarationError, NotFound, TowpathError

_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class View:
    """One feature view. Types are the names of Feast's value types; `table` is its name in the online store."""

    name: str
    table: str
    keys: tuple[tuple[str, str], ...]
    """Join keys in the view's order, with their types; empty for a view without an entity."""
    features: Mapping[str, str]
    ttl_seconds: float


@dataclass(frozen=True, kw_only=True)
class Description:
    """A repository's online store: its kind, its options, and the views in it."""

    project: str
    store: str
    options: Mapping[str, Any]
    key_version: int
    views: tuple[View, ...]

    def view(self, name: str) -> View:
        """Raises `NotFound`."""
        for view in self.views:
            if view.name == name:
                return view
        raise NotFound(f"There is no feature view {name!r}.", value=name, valid=[view.name for view in self.views])


def described(repository: Path, state: Path) -> Description:
    """Ask Feast. Raises `DeclarationError` or `NotFound` when it cannot say."""
    command = [sys.executable, "-m", "towpath.adapters.online_description", str(repository), str(state)]
    inherited = os.pathsep.join(entry for entry in sys.path if entry)
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            env={**os.environ, "PYTHONPATH": inherited},
        )
    except subprocess.TimeoutExpired as error:
        raise DeclarationError(
            f"Feast does not open {repository} within {_SECONDS} s.", value=str(repository)
        ) from error
    try:
        found = json.loads(done.stdout)
    except ValueError as error:
        said = done.stderr.strip().splitlines()
        raise DeclarationError(
            f"Feast does not open {repository}: {said[-1] if said else done.returncode}.", value=str(repository)
        ) from error
    if "error" in found:
        kind = NotFound if found["code"] == NotFound.code else DeclarationError
        raise kind(found["error"], value=found["value"], valid=found["valid"], hint=found["hint"])
    views = tuple(View(**{**view, "keys": tuple(map(tuple, view["keys"]))}) for view in found.pop("views"))
    return Description(**found, views=views)


def ask_feast(repository: Path, state: Path) -> Description:
    """The same in this process."""
    from towpath.adapters.feast_features_repository import opened, settings

    if not state.is_dir():
        raise NotFound(
            f"There is no feature store state in {state}.", value=str(state), hint="Run the featurize stage again."
        )
    with opened(repository, sources=Path("unset"), state=state):
        import feast
        from feast.feature_view import DUMMY_ENTITY_ID
        from feast.infra.online_stores.helpers import compute_versioned_name

        config = settings(repository)
        store = feast.FeatureStore(config=config)
        versioned = config.registry.enable_online_feature_view_versioning
        views = tuple(
            View(
                name=view.name,
                table=compute_versioned_name(view, versioned),
                keys=_keys(store, view, DUMMY_ENTITY_ID),
                features={feature.name: feature.dtype.to_value_type().name for feature in view.features},
                ttl_seconds=view.ttl.total_seconds() if view.ttl else 0.0,
            )
            for view in store.list_feature_views()
        )
        options = config.online_store.model_dump(mode="json")
        kind = str(options.pop("type"))
        if "path" in options:
            options["path"] = str(config.repo_path / str(options["path"]))
    return Description(
        project=config.project,
        store=kind,
        options=options,
        key_version=config.entity_key_serialization_version,
        views=views,
    )


def _keys(store: Any, view: Any, dummy: str) -> tuple[tuple[str, str], ...]:
    """Join keys in the order of the view's entities, with the types that the registry gives them."""
    types = {column.name: column.dtype.to_value_type().name for column in view.entity_columns}
    names = [store.get_entity(entity).join_key for entity in view.entities if entity != "__dummy"]
    return tuple((name, types[name]) for name in names if name != dummy)


def _main(repository: str, state: str) -> None:
    try:
        said = json.dumps(asdict(ask_feast(Path(repository), Path(state))))
    except TowpathError as error:
        said = json.dumps(
            {
                "error": error.message,
                "code": error.code,
                "value": None if error.value is None else str(error.value),
                "valid": error.valid,
                "hint": error.hint,
            }
        )
    sys.stdout.write(said)


if __name__ == "__main__":
    _main(*sys.argv[1:])
