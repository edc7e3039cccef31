"""The feature store: Feast applies a repository, joins training sets point-in-time, and answers online."""

from __future__ import annotations

import io
import logging
import os
import runpy
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from towpath import telemetry
from towpath.core import names
from towpath.core.errors import DeclarationError, NotFound, TowpathError
from towpath.ports import FeatureView, Parity

if TYPE_CHECKING:
    import feast

_BEGINNING = datetime(1970, 1, 2, tzinfo=UTC)


class FeastFeatures:
    """The port `FeatureStore`. Feast's registry and embedded online store lie beside the feature sources."""

    def views(self, repository: Path, service: str) -> tuple[FeatureView, ...]:
        with _opened(repository, sources=Path("unset"), state=Path("unset")):
            return _views(_definitions(repository), service)

    def training_set(self, repository: Path, service: str, *, sources: Path, spine: Path, target: Path) -> int:
        rows = pd.read_parquet(spine)
        with self._store(repository, sources, apply=True) as store:
            frame = _joined(store, service, rows)
        frame.to_parquet(target, index=False, compression="zstd")
        return len(frame)

    def materialize(self, repository: Path, service: str, *, sources: Path, until: datetime) -> None:
        with self._store(repository, sources) as store:
            for named in _views(_definitions(repository), service):
                name = named.name
                view = store.get_feature_view(name)
                start = until - view.ttl if view.ttl else _BEGINNING
                with _quiet():
                    store.materialize(start_date=start, end_date=until, feature_views=[name])

    def parity(
        self, repository: Path, service: str, *, sources: Path, spine: Path, until: datetime, sample: int, folder: Path
    ) -> tuple[tuple[Parity, ...], Path, Path]:
        rows = pd.read_parquet(spine)
        if len(rows) > sample:
            rows = rows.iloc[[int(number * len(rows) / sample) for number in range(sample)]]
        rows = rows.reset_index(drop=True).assign(**{names.EVENT_TIME: pd.Timestamp(until)})
        with self._store(repository, sources) as store:
            views = _views(_definitions(repository), service)
            offline = _joined(store, service, rows)
            online = pd.concat([rows, *(_answers(store, view, rows) for view in views)], axis=1)
        columns = [*rows.columns, *(feature for view in views for feature in view.features)]
        offline_file, online_file = folder / "offline.parquet", folder / "online.parquet"
        offline[columns].to_parquet(offline_file, index=False)
        online[columns].astype(offline[columns].dtypes.to_dict()).to_parquet(online_file, index=False)
        return tuple(_difference(view, offline, online) for view in views), offline_file, online_file

    @contextmanager
    def _store(self, repository: Path, sources: Path, *, apply: bool = False) -> Iterator[feast.FeatureStore]:
        state = sources.parent / "feast"
        state.mkdir(parents=True, exist_ok=True)
        with _opened(repository, sources=sources, state=state):
            import feast
            from feast.repo_config import load_repo_config

            config = load_repo_config(repository, repository / "feature_store.yaml")
            for option in ("feature_timestamps", "materialize_as_known_at"):
                if not hasattr(config.offline_store, option):
                    raise DeclarationError(
                        f"feature_store.yaml names the offline store {config.offline_store.type!r}, which cannot say when a "
                        "joined row was known.",
                        value=config.offline_store.type,
                        valid=["towpath.adapters.feast_asof.AsofOfflineStore"],
                    )
                setattr(config.offline_store, option, True)
            store = feast.FeatureStore(config=config)
            if apply:
                with _quiet():
                    store.apply(_definitions(repository), partial=False)
            yield store


def _joined(store: feast.FeatureStore, service: str, rows: pd.DataFrame) -> pd.DataFrame:
    job = store.get_historical_features(entity_df=rows, features=store.get_feature_service(service))
    frame: pd.DataFrame = job.to_df()
    return frame


def _answers(store: feast.FeatureStore, view: FeatureView, rows: pd.DataFrame) -> pd.DataFrame:
    """The online store's features of one view for each of the rows; a row with a null key gets nulls."""
    keys = list(view.keys)
    asked = rows[keys].dropna().drop_duplicates().reset_index(drop=True)
    references = [f"{view.name}:{feature}" for feature in view.features]
    if asked.empty:
        return pd.DataFrame(index=rows.index, columns=list(view.features), dtype=object)
    answer = store.get_online_features(features=references, entity_rows=asked.to_dict(orient="records")).to_dict()
    found = pd.DataFrame(
        {**{key: asked[key] for key in keys}, **{feature: answer[feature] for feature in view.features}}
    )
    return rows[keys].merge(found, on=keys, how="left")[list(view.features)]


def _difference(view: FeatureView, offline: pd.DataFrame, online: pd.DataFrame) -> Parity:
    differing = pd.Series(False, index=offline.index)
    example = ""
    for feature in view.features:
        apart = ~_same(offline[feature], online[feature])
        if apart.any() and not example:
            row = int(apart.idxmax())
            key = ", ".join(f"{name}={offline[name].iloc[row]}" for name in view.keys)
            example = (
                f"{feature} of {key} is {offline[feature].iloc[row]} offline and {online[feature].iloc[row]} online"
            )
        differing |= apart
    return Parity(view=view.name, sampled=len(offline), differing=int(differing.sum()), example=example)


def _same(left: pd.Series[Any], right: pd.Series[Any]) -> pd.Series[bool]:
    """Element by element: equal, both missing, or numbers that differ by less than one part in 10**6 (float32 online)."""
    both_missing = left.isna() & right.isna()
    if pd.api.types.is_numeric_dtype(left):
        first, second = left.astype("float64"), pd.to_numeric(right, errors="coerce").astype("float64")
        return both_missing | ((first - second).abs() <= 1e-6 * first.abs().clip(lower=1.0))
    return both_missing | (left.astype("object") == right.astype("object"))


def _views(definitions: Sequence[Any], service: str) -> tuple[FeatureView, ...]:
    import feast

    services = {item.name: item for item in definitions if isinstance(item, feast.FeatureService)}
    if service not in services:
        raise DeclarationError(f"There is no feature service {service!r}.", value=service, valid=services)
    views = {item.name: item for item in definitions if isinstance(item, feast.FeatureView)}
    keys = {item.name: item.join_key for item in definitions if isinstance(item, feast.Entity)}
    return tuple(
        FeatureView(
            name=projection.name,
            keys=tuple(keys[entity] for entity in views[projection.name].entities),
            features=tuple(feature.name for feature in projection.features),
        )
        for projection in services[service].feature_view_projections
    )


def _definitions(repository: Path) -> list[Any]:
    """Every Feast object that the repository's Python files define."""
    import feast

    kinds = (feast.Entity, feast.FeatureView, feast.FeatureService, feast.OnDemandFeatureView)
    found: dict[tuple[str, str], Any] = {}
    sys.path.insert(0, str(repository))
    try:
        for file in sorted(repository.glob("*.py")):
            for item in _run(file).values():
                for defined in item if isinstance(item, list | tuple) else [item]:
                    if isinstance(defined, kinds):
                        found[type(defined).__name__, defined.name] = defined
    finally:
        sys.path.remove(str(repository))
    return list(found.values())


def _run(file: Path) -> dict[str, Any]:
    try:
        return runpy.run_path(str(file))
    except TowpathError:
        raise
    except Exception as error:
        raise DeclarationError(
            f"{file.name} of the feature repository fails: {type(error).__name__}: {error}",
            value=str(file),
            hint=f"It is {file}.",
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Feast prints what it does and draws bars; progress is told through the port instead."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield


@contextmanager
def _opened(repository: Path, *, sources: Path, state: Path) -> Iterator[None]:
    """The environment that the repository's definitions and settings read, for as long as it is used."""
    telemetry.silence()
    if not (repository / "feature_store.yaml").is_file():
        raise NotFound(
            f"There is no feature_store.yaml in {repository}.",
            value=str(repository),
            hint="See charter features.repository.",
        )
    before = {name: os.environ.get(name) for name in (names.ENV_FEATURES, names.ENV_FEAST_STATE)}
    os.environ.update({names.ENV_FEATURES: str(sources.absolute()), names.ENV_FEAST_STATE: str(state.absolute())})
    logging.getLogger("feast").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Feast's own deprecations
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
