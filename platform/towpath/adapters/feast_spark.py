"""Feast's Spark store with the meaning of our own: only what was known at the time, each entity row once, in order.

Named in `feature_store.yaml` instead of `towpath.adapters.feast_asof.AsofOfflineStore`, for the same repository::

    offline_store:
      type: towpath.adapters.feast_spark.SparkAsofOfflineStore
      master: spark://spark.example.com:7077   # local[*], in this process, if left out
      feature_timestamps: false  # add <view>__event_timestamp, <view>__created_timestamp of the row that was joined
      materialize_as_known_at: false # online rows as known at the end date, for replays of the past

Feast's `SparkOfflineStore` joins. It is given views of ours over the `FileSource`s of the repository, so that
definitions and registry stay the same whichever store reads them, and what its query gets wrong does not come up: it
puts the parts of a key together without a sign between them, quotes no name, gives a row for each of two that tie, and
loses the order of the entity rows. The filter by created timestamp, off in Feast, is on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
from feast.data_source import DataSource
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL, FeatureView
from feast.infra.offline_stores.contrib.spark_offline_store.spark import SparkOfflineStoreConfig
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RepoConfig
from feast.utils import _get_requested_feature_views_to_features_dict

from towpath.adapters import feast_asof_sql as sql
from towpath.adapters.feast_asof import AsofOfflineStore
from towpath.adapters.feast_asof_entities import EntityRows, read_entity_rows
from towpath.adapters.feast_asof_job import AsofRetrievalJob
from towpath.adapters.feast_asof_query import Limits
from towpath.adapters.feast_asof_sources import SourceReader
from towpath.adapters.feast_asof_views import join_keys, refuse_twice, settled_order, view_join
from towpath.adapters.feast_spark_query import SparkJoin, SparkRows
from towpath.core.errors import DeclarationError

_LOOK = Limits(memory="512MB", threads=1)  # of DuckDB, which reads the footers of the sources


class SparkAsofOfflineStoreConfig(SparkOfflineStoreConfig):  # type: ignore[misc]
    """The `offline_store` section; unknown keys are refused."""

    type: Literal["towpath.adapters.feast_spark.SparkAsofOfflineStore"] = (
        "towpath.adapters.feast_spark.SparkAsofOfflineStore"
    )
    master: str = "local[*]"
    feature_timestamps: bool = False
    materialize_as_known_at: bool = False


class SparkAsofOfflineStore(OfflineStore):  # type: ignore[misc]
    """Point-in-time joins in Spark over Parquet files; rows are written as the store on DuckDB writes them."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,  # noqa: ARG004  it is always on
        start_date: datetime | None = None,  # noqa: ARG004  Feast gives both when there are no entity rows: refused
        end_date: datetime | None = None,  # noqa: ARG004
    ) -> RetrievalJob:
        """Every entity row with the features that held, and were known, at its time.

        Raises `BadInput` (entity rows), `NotFound` (files), `DeclarationError` (views and sources).
        """
        options = config.offline_store
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        refs = settled_order(feature_refs, on_demand)
        requested, _ = _get_requested_feature_views_to_features_dict(refs, feature_views, on_demand)
        keys = dict.fromkeys(key for view in requested for _, key in join_keys(view))
        rows = read_entity_rows(entity_df, list(keys), _LOOK)
        reader = SourceReader(repo_path=config.repo_path, limits=_LOOK)
        views = [
            view_join(view, list(dict.fromkeys(features)), rows, reader, known=True, full_names=full_feature_names)
            for view, features in requested.items()
        ]
        _refuse_parts_of_seconds(views)
        columns = [name for view in views for _, name in view.features]
        if options.feature_timestamps:
            columns += [name for view in views for name in sql.feature_time_names(view.prefix)]
        refuse_twice([*rows.table.column_names, *columns])
        return _job(
            config,
            SparkJoin(config=config, registry=registry, views=tuple(views), rows=rows,
                      feature_times=options.feature_timestamps),
            beside=rows,
            columns=columns,
            full_feature_names=full_feature_names,
            on_demand_feature_views=on_demand,
            metadata=RetrievalMetadata(
                features=feature_refs,
                keys=[name for name in rows.table.column_names if name != rows.time_column],
                min_event_timestamp=sql.from_microseconds(rows.first),
                max_event_timestamp=sql.from_microseconds(rows.last),
            ),
        )  # fmt: skip

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """The newest row of each key with an event timestamp from `start_date` to `end_date`, both included."""
        times, span = (timestamp_field, created_timestamp_column), (start_date, end_date)
        return _rows_job(config, data_source, join_key_columns, feature_name_columns, times, span, latest=True)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Every row with an event timestamp from `start_date` to `end_date`, both included, in stored order."""
        times, span = (timestamp_field, created_timestamp_column), (start_date, end_date)
        return _rows_job(config, data_source, join_key_columns, feature_name_columns, times, span)

    @staticmethod
    def offline_write_batch(
        config: RepoConfig, feature_view: FeatureView, table: pa.Table, progress: Callable[[int], Any] | None
    ) -> None:
        """Add rows to the view's source, as `AsofOfflineStore` does."""
        AsofOfflineStore.offline_write_batch(config, feature_view, table, progress)

    @staticmethod
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,
        logging_config: LoggingConfig,
        registry: BaseRegistry,
    ) -> None:
        """Add served features to the log's folder, as `AsofOfflineStore` does."""
        AsofOfflineStore.write_logged_features(config, data, source, logging_config, registry)


def _rows_job(
    config: RepoConfig,
    source: DataSource,
    keys: Sequence[str],
    features: Sequence[str],
    times: tuple[str, str | None],
    span: tuple[datetime | None, datetime | None],
    *,
    latest: bool = False,
) -> AsofRetrievalJob:
    event, created = times
    columns = tuple(dict.fromkeys([*keys, *features, event, *([created] if created else [])]))
    reader = SourceReader(repo_path=config.repo_path, limits=_LOOK)
    scan, _ = reader.scan(source, event=event, created=created, columns=columns)
    constant = None if keys else (DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL)
    return _job(
        config,
        SparkRows(
            config=config, scan=scan, keys=tuple(keys), columns=columns, span=span, constant=constant, latest=latest
        ),
    )


def _job(config: RepoConfig, query: Any, *, beside: EntityRows | None = None, **of: Any) -> AsofRetrievalJob:
    return AsofRetrievalJob(query, repo_path=config.repo_path, beside=beside.table if beside else None, **of)


def _refuse_parts_of_seconds(views: Sequence[sql.ViewJoin]) -> None:
    """Feast's Spark store cuts a TTL to whole seconds, and takes none of them for no TTL."""
    for view in views:
        if view.ttl and view.ttl % timedelta(seconds=1):
            raise DeclarationError(
                f"Feature view {view.prefix!r} has a TTL of {view.ttl}, which Spark would cut to whole seconds.",
                value=str(view.ttl),
                hint="Give it whole seconds.",
            )
