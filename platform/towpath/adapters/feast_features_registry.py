"""Feast's registry of one champion: what is applied in it, against what the repository's files define."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from towpath.adapters.feast_features import FeastFeatures, quiet
from towpath.adapters.feast_features_repository import definitions, opened, settings
from towpath.core.errors import DeclarationError, NotFound

Described = Mapping[str, Mapping[str, str]]


class FeastRegistry:
    """The port `FeatureRegistry` over a repository's folder and the folder of Feast's state.

    The registry is read again only when its file changed: opening it costs a second, and importing Feast several.
    """

    def __init__(self, repository: Path, service: str, *, sources: Path, state: Path, until: datetime) -> None:
        self._repository = repository
        self._service = service
        self._sources = sources
        self._state = state
        self._until = until
        self._seen: tuple[object, Described] | None = None

    def declared(self) -> Described:
        """Raises `DeclarationError` for a repository that does not load."""
        with opened(self._repository, sources=self._sources, state=self._state):
            return _described(definitions(self._repository))

    def applied(self) -> Described:
        """Raises `NotFound` where the state is not on this machine, and `DeclarationError`."""
        if not self._state.is_dir():
            raise NotFound(f"The champion's feature store is not on this machine: {self._state}.")
        stamp = _stamp(self._state)
        if self._seen is None or stamp is None or self._seen[0] != stamp:
            self._seen = (stamp, self._read())
        return self._seen[1]

    def apply(self) -> None:
        """Apply the files' definitions, and fill again the views that were gone, up to the champion's window's end."""
        before = self.applied()
        with opened(self._repository, sources=self._sources, state=self._state):
            import feast
            from feast.errors import FeastError

            defined = definitions(self._repository)
            try:
                with quiet():
                    store = feast.FeatureStore(config=settings(self._repository))
                    store.apply(defined, objects_to_delete=_strangers(store, defined), partial=False)
            except (FeastError, ValueError) as error:
                raise DeclarationError(f"Feast does not apply the repository: {error}") from error
        self._seen = None
        if any(name.startswith(_VIEW) and name not in before for name in _described(defined)):
            FeastFeatures().materialize(self._repository, self._service, sources=self._sources, until=self._until)

    def _read(self) -> Described:
        with opened(self._repository, sources=self._sources, state=self._state):
            import feast
            from feast.errors import FeastError

            try:
                store = feast.FeatureStore(config=settings(self._repository))
                return _described([*store.list_feature_views(), *store.list_feature_services()])
            except (FeastError, ValueError, OSError) as error:
                raise DeclarationError(f"Feast's registry in {self._state} cannot be read: {error}") from error


_VIEW = "feature view "


def _described(objects: Iterable[Any]) -> Described:
    """What decides what a view or a service answers. Sources by the names of their files: folders may move."""
    import feast

    found: dict[str, Mapping[str, str]] = {}
    for one in objects:
        if isinstance(one, feast.FeatureView):
            found[f"{_VIEW}{one.name}"] = {
                "features": ", ".join(sorted(feature.name for feature in one.features)),
                "types": ", ".join(sorted(f"{item.name} {item.dtype}" for item in one.features)),
                "entities": ", ".join(one.entities),
                "ttl": f"{one.ttl.total_seconds() if one.ttl else 0:g} s",
                "online": str(bool(one.online)).lower(),
                "source": Path(str(getattr(one.batch_source, "path", "") or one.batch_source.name)).name,
            }
        elif isinstance(one, feast.FeatureService):
            members = [f"{view.name}:{item.name}" for view in one.feature_view_projections for item in view.features]
            found[f"feature service {one.name}"] = {"features": ", ".join(sorted(members))}
    return found


def _strangers(store: Any, defined: Iterable[Any]) -> list[Any]:
    """What the registry holds and no file defines."""
    kept = set(_described(defined))
    return [
        one
        for one in (*store.list_feature_views(), *store.list_feature_services())
        if not set(_described([one])) <= kept
    ]


def _stamp(state: Path) -> object:
    """Changes when the registry's file does; None where it is none."""
    files = sorted(state.glob("registry*"))
    return [(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files] or None
