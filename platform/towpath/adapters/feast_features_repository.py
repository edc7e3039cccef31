"""A Feast repository read from its folder: its settings, its definitions, and the environment that both read."""

from __future__ import annotations

import importlib.machinery
import logging
import os
import runpy
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import yaml

from towpath import telemetry
from towpath.adapters import feast_loading
from towpath.core import names
from towpath.core.errors import DeclarationError, NotFound, TowpathError
from towpath.ports import FeatureView
from towpath.project import SourceOnly

if TYPE_CHECKING:
    from feast.repo_config import RepoConfig

SETTINGS = "feature_store.yaml"
_NEEDED = ("feature_timestamps", "materialize_as_known_at")


@contextmanager
def opened(repository: Path, *, sources: Path, state: Path) -> Iterator[None]:
    """The environment that the repository's definitions and settings read, for as long as it is used."""
    telemetry.silence()
    if not (repository / SETTINGS).is_file():
        raise NotFound(
            f"There is no {SETTINGS} in {repository}.",
            value=str(repository),
            hint="See charter features.repository.",
        )
    before = {name: os.environ.get(name) for name in (names.ENV_FEATURES, names.ENV_FEAST_STATE)}
    os.environ.update({names.ENV_FEATURES: str(sources.absolute()), names.ENV_FEAST_STATE: str(state.absolute())})
    logging.getLogger("feast").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Feast's own deprecations
            feast_loading.load()
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def settings(repository: Path) -> RepoConfig:
    """The repository's settings, with joined rows saying when they were known and no row giving way to an older one.

    Raises `DeclarationError`.
    """
    from feast.errors import FeastError
    from feast.repo_config import FeastConfigError, load_repo_config

    from towpath.adapters.feast_online import guarded

    file = repository / SETTINGS
    try:
        config = load_repo_config(repository, file)
        store = config.offline_store
    except (yaml.YAMLError, FeastConfigError, FeastError, TypeError, ValueError) as error:
        raise DeclarationError(f"{SETTINGS} is not valid: {error}", value=str(file), hint=f"It is {file}.") from error
    for option in _NEEDED:
        if not hasattr(store, option):
            raise DeclarationError(
                f"{SETTINGS} names the offline store {store.type!r}, which cannot say when a joined row was known.",
                value=store.type,
                valid=[
                    "towpath.adapters.feast_asof.AsofOfflineStore",
                    "towpath.adapters.feast_spark.SparkAsofOfflineStore",
                ],
            )
        setattr(store, option, True)
    config.materialization_config.pull_latest_features = (
        True  # or late rows are missed, and all rows of a span are held
    )
    config.online_config = guarded(config.online_store)
    config._online_store = None  # which is kept from when it was looked at
    return config


def definitions(repository: Path) -> list[Any]:
    """Every Feast object that the repository's Python files define. Raises `DeclarationError`.

    The files are those that Feast itself would read: in subfolders too, without what `.feastignore` names.
    """
    import feast
    from feast.repo_operations import get_repo_files

    kinds = (feast.Entity, feast.FeatureView, feast.FeatureService, feast.OnDemandFeatureView)
    found: dict[tuple[str, str], Any] = {}
    with _importable(repository.resolve()):
        for file in get_repo_files(repository):
            for item in _run(file).values():
                for defined in item if isinstance(item, list | tuple) else [item]:
                    if not isinstance(defined, kinds):
                        continue
                    key = (type(defined).__name__, defined.name)
                    if found.setdefault(key, defined) != defined:
                        raise DeclarationError(
                            f"{file.name} defines the {key[0]} {key[1]!r} a second time, and differently.",
                            value=key[1],
                            hint="Rename one of them.",
                        )
    return list(found.values())


def served(defined: Sequence[Any], service: str) -> tuple[FeatureView, ...]:
    """The views of a service, in its order. Raises `DeclarationError`."""
    import feast
    from feast.feature_view import DUMMY_ENTITY_NAME

    services = {item.name: item for item in defined if isinstance(item, feast.FeatureService)}
    if service not in services:
        raise DeclarationError(f"There is no feature service {service!r}.", value=service, valid=services)
    views = {item.name: item for item in defined if isinstance(item, feast.FeatureView)}
    keys = {item.name: item.join_key for item in defined if isinstance(item, feast.Entity)}
    found = []
    for projection in services[service].feature_view_projections:
        view = views.get(projection.name)
        if view is None or projection.name_alias or projection.join_key_map:
            raise DeclarationError(
                f"Feature service {service!r} serves {projection.name_to_use()!r}, which is no plain feature view.",
                value=projection.name_to_use(),
                valid=views,
                hint="Compute on-demand features in transforms/. Instead of with_name and with_join_key_map, define a "
                "view for each role of an entity.",
            )
        entities = [entity for entity in view.entities if entity != DUMMY_ENTITY_NAME]
        unknown = [entity for entity in entities if entity not in keys]
        if unknown:
            raise DeclarationError(
                f"Feature view {view.name!r} names the entity {unknown[0]!r}, which no file defines.",
                value=unknown[0],
                valid=keys,
            )
        found.append(
            FeatureView(
                name=view.name,
                keys=tuple(keys[entity] for entity in entities),
                features=tuple(feature.name for feature in projection.features),
            )
        )
    return tuple(found)


class _FromSource:
    """Finds the modules that lie in the repository, and has them run from the source that its digest covers."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._own: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        outermost = name.partition(".")[0]
        if path is not None and outermost not in self._own:  # an environment may lie in the repository's folder too
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, [str(self._repository)] if path is None else path, target)
        if spec is None:
            return None
        self._own.add(outermost)
        if spec.origin is None or not Path(spec.origin).is_relative_to(self._repository):
            return None  # a folder alone, which is no code
        if isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = SourceOnly(name, spec.origin)
            return spec
        raise ImportError(f"the module {name!r} has no source: {spec.origin}", name=name, path=spec.origin)


@contextmanager
def _importable(repository: Path) -> Iterator[None]:
    """The repository's files can import each other, and are forgotten afterwards.

    They read the environment when they run, and another repository may have files of the same names.
    """
    before = set(sys.modules)
    finder = _FromSource(repository)
    sys.path.insert(0, str(repository))
    sys.meta_path.insert(sys.meta_path.index(importlib.machinery.PathFinder), finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        sys.path.remove(str(repository))
        for name in set(sys.modules) - before:
            if any(Path(place).is_relative_to(repository) for place in _places(sys.modules[name])):
                del sys.modules[name]


def _places(module: ModuleType) -> list[str]:
    file = getattr(module, "__file__", None)
    return [file] if file else list(getattr(module, "__path__", []))


def _run(file: Path) -> dict[str, Any]:
    try:
        return runpy.run_path(str(file))
    except TowpathError:
        raise
    except (Exception, SystemExit) as error:
        raise DeclarationError(
            f"{file.name} of the feature repository fails: {type(error).__name__}: {error}",
            value=str(file),
            hint=f"It is {file}.",
        ) from error
