"""The feature store: Feast applies a repository, joins training sets point-in-time, and answers online."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from towpath.adapters.feast_features_parity import answers, difference, tables
from towpath.adapters.feast_features_repository import definitions, opened, served, settings
from towpath.core import names
from towpath.core.errors import DeclarationError
from towpath.ports import FeatureView, Parity

if TYPE_CHECKING:
    import feast

_BEGINNING = datetime(1, 1, 2, tzinfo=UTC)  # a day from the first, so that any zone has it


class FeastFeatures:
    """The port `FeatureStore`. Feast's registry and embedded online store lie beside the feature sources."""

    def views(self, repository: Path, service: str) -> tuple[FeatureView, ...]:
        with opened(repository, sources=Path("unset"), state=Path("unset")):
            settings(repository)
            return served(definitions(repository), service)

    def training_set(self, repository: Path, service: str, *, sources: Path, spine: Path, target: Path) -> int:
        with _store(repository, sources, apply=True) as store:
            rows = _rows(spine, served(definitions(repository), service))
            written: int = _join(store, service, rows).write(target)
        return written

    def materialize(self, repository: Path, service: str, *, sources: Path, until: datetime) -> None:
        with _store(repository, sources) as store:
            for view in served(definitions(repository), service):
                ttl = store.get_feature_view(view.name).ttl
                with quiet():
                    store.materialize(until - ttl if ttl else _BEGINNING, until, feature_views=[view.name])

    def parity(
        self, repository: Path, service: str, *, sources: Path, spine: Path, until: datetime, sample: int, folder: Path
    ) -> tuple[tuple[Parity, ...], Path, Path]:
        with _store(repository, sources) as store:
            views = served(definitions(repository), service)
            rows = _rows(spine, views)
            if len(rows) > sample:
                rows = rows.iloc[[int(number * len(rows) / sample) for number in range(sample)]]
            rows = rows.reset_index(drop=True).assign(**{names.EVENT_TIME: pd.Timestamp(until)})
            online = pd.concat([rows, *(answers(store, view, rows, at=until) for view in views)], axis=1)
            offline = _joined(store, service, rows)  # second: a join strips views of no entity in Feast's cache
        columns = [*rows.columns, *(feature for view in views for feature in view.features)]
        files = folder / "offline.parquet", folder / "online.parquet"
        for table, file in zip(tables(offline[columns], online[columns]), files, strict=True):
            pq.write_table(table, file)
        return tuple(difference(view, offline, online) for view in views), *files


@contextmanager
def _store(repository: Path, sources: Path, *, apply: bool = False) -> Iterator[feast.FeatureStore]:
    state = sources.parent / "feast"
    state.mkdir(parents=True, exist_ok=True)
    with opened(repository, sources=sources, state=state):
        import feast
        from feast.errors import FeastError

        store = feast.FeatureStore(config=settings(repository))
        if apply:
            try:
                with quiet():
                    store.apply(definitions(repository), partial=False)
            except (FeastError, ValueError) as error:
                raise DeclarationError(
                    f"Feast does not take the feature repository's definitions: {error}",
                    value=str(repository),
                    hint=f"They are in {repository}.",
                ) from error
        yield store


def _rows(spine: Path, views: Iterable[FeatureView]) -> pd.DataFrame:
    """The spine's rows. Whole-number keys stay whole, though some are null."""
    table = pq.read_table(spine)
    frame: pd.DataFrame = table.to_pandas()
    for key in {key for view in views for key in view.keys} & set(table.column_names):
        if pa.types.is_integer(table.schema.field(key).type) and table[key].null_count:
            frame[key] = pd.array(table[key].to_pylist(), dtype="Int64")
    return frame


def _join(store: feast.FeatureStore, service: str, rows: pd.DataFrame) -> Any:
    return store.get_historical_features(entity_df=rows, features=store.get_feature_service(service))


def _joined(store: feast.FeatureStore, service: str, rows: pd.DataFrame) -> pd.DataFrame:
    frame: pd.DataFrame = _join(store, service, rows).to_df()
    return frame


@contextmanager
def quiet() -> Iterator[None]:
    """Feast prints what it does and draws bars; progress is told through the port instead."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield
