"""Feast's offline store on DuckDB: one query of ASOF joins, and only what was known at the time.

Named in `feature_store.yaml` like any store of Feast's own::

    offline_store:
      type: towpath.adapters.feast_asof.AsofOfflineStore
      as_known_at: true          # a row counts only once it was created: backfills do not leak
      feature_timestamps: false  # add <view>__event_timestamp, <view>__created_timestamp of the row that was joined
      materialize_as_known_at: false # online rows as known at the end date, for replays of the past
      memory_limit: 2GB          # of DuckDB, which spills to disk beyond it; its own default if left out
      threads: 2

It reads `FileSource`s of Parquet, one local file or a folder, and writes to none. The entity rows come as a pandas
DataFrame and keep their order, their columns and their duplicates; features follow in the order they were asked for. A
row counts for an entity row at time `t` if its event timestamp is at most `t`, not older than the view's TTL (an age of
exactly the TTL counts), and, with `as_known_at`, its created timestamp is at most `t`. The newest event wins, then the
newest created, then the row that stands last in the files. Times without zone are UTC. A null key matches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
from feast.data_source import DataSource
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL, FeatureView
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.utils import _get_requested_feature_views_to_features_dict
from pydantic import Field, PositiveInt

from towpath.adapters import feast_asof_sql as sql
from towpath.adapters.feast_asof_entities import read_entity_rows
from towpath.adapters.feast_asof_job import AsofRetrievalJob
from towpath.adapters.feast_asof_query import Limits, Query
from towpath.adapters.feast_asof_sources import SourceReader
from towpath.adapters.feast_asof_views import join_keys, refuse_twice, settled_order, view_join
from towpath.core.errors import BadInput, DeclarationError, Misconfigured


class AsofOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """The `offline_store` section; unknown keys are refused."""

    type: Literal["towpath.adapters.feast_asof.AsofOfflineStore"] = "towpath.adapters.feast_asof.AsofOfflineStore"
    as_known_at: bool = True
    feature_timestamps: bool = False
    materialize_as_known_at: bool = False
    memory_limit: str | None = Field(default=None, pattern=r"^\d+(\.\d+)? ?([KMGT]i?B)$")
    threads: PositiveInt | None = None


class AsofOfflineStore(OfflineStore):  # type: ignore[misc]
    """Point-in-time joins over Parquet files. It reads only: writing is refused with what to do instead."""

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
        filter_by_created_timestamp: bool = False,
        start_date: datetime | None = None,  # noqa: ARG004  Feast gives both when there are no entity rows: refused
        end_date: datetime | None = None,  # noqa: ARG004
    ) -> RetrievalJob:
        """Every entity row with the features that held, and were known, at its time.

        The created-timestamp filter is on if the configuration's `as_known_at` or the argument says so. Raises
        `BadInput` (entity rows), `NotFound` (files), `DeclarationError` (views and sources).
        """
        options = _options(config)
        known = options.as_known_at or filter_by_created_timestamp
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        refs = settled_order(feature_refs, on_demand)
        requested, _ = _get_requested_feature_views_to_features_dict(refs, feature_views, on_demand)
        keys = dict.fromkeys(key for view in requested for _, key in join_keys(view))
        rows = read_entity_rows(entity_df, list(keys))
        reader = SourceReader(repo_path=config.repo_path, limits=_limits(options))
        views = [
            view_join(view, list(dict.fromkeys(features)), rows, reader, known=known, full_names=full_feature_names)
            for view, features in requested.items()
        ]
        columns = [name for view in views for _, name in view.features]
        if options.feature_timestamps:
            columns += [name for view in views for name in sql.feature_time_names(view.prefix)]
        refuse_twice([*rows.table.column_names, *columns])
        text = sql.historical(
            views, as_known_at=known, feature_times=options.feature_timestamps, first=rows.first, last=rows.last
        )
        return AsofRetrievalJob(
            Query(text=text, limits=reader.limits, relations={sql.ENTITY_RELATION: rows.joined}),
            repo_path=config.repo_path,
            beside=rows.table,
            columns=columns,
            full_feature_names=full_feature_names,
            on_demand_feature_views=on_demand,
            metadata=RetrievalMetadata(
                features=feature_refs,
                keys=[name for name in rows.table.column_names if name != rows.time_column],
                min_event_timestamp=sql.from_microseconds(rows.first),
                max_event_timestamp=sql.from_microseconds(rows.last),
            ),
        )

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
        config: RepoConfig,  # noqa: ARG004  the signature is Feast's
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,  # noqa: ARG004
    ) -> None:
        """Refused: raises `BadInput`, whose hint says where the rows go instead."""
        raise BadInput(
            f"{table.num_rows} rows of feature view {feature_view.name!r} were not written: this store only reads.",
            value=feature_view.name,
            hint="Write them, with event and created timestamps, to the Parquet files of the view's source; push with "
            "PushMode.ONLINE; leave offline=True off the view.",
        )

    @staticmethod
    def write_logged_features(
        config: RepoConfig,  # noqa: ARG004  the signature is Feast's
        data: pa.Table | Path,  # noqa: ARG004
        source: LoggingSource,  # noqa: ARG004
        logging_config: LoggingConfig,
        registry: BaseRegistry,  # noqa: ARG004
    ) -> None:
        """Refused: raises `DeclarationError`, for it is the feature service that asks for a log."""
        destination = type(logging_config.destination).__name__
        raise DeclarationError(
            f"The log of served features was not written to {destination}: this offline store only reads.",
            value=destination,
            hint="Take logging_config off the feature service, and log where the features are served.",
        )


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
    options = _options(config)
    reader = SourceReader(repo_path=config.repo_path, limits=_limits(options))
    event, created = times
    columns = [*keys, *features, event, *([created] if created else [])]
    scan, _ = reader.scan(source, event=event, created=created, columns=columns)
    start, end = (sql.to_microseconds(limit) for limit in span)
    text = sql.rows_between(
        scan,
        columns,
        start=start,
        end=end,
        known_by=end if options.materialize_as_known_at else None,
        latest_of=keys if latest else None,
        constant=None if keys else (DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL),
    )
    return AsofRetrievalJob(Query(text=text, limits=reader.limits), repo_path=config.repo_path)


def _options(config: RepoConfig) -> AsofOfflineStoreConfig:
    options = config.offline_store
    if not isinstance(options, AsofOfflineStoreConfig):
        raise Misconfigured(
            f"The offline store is configured as {type(options).__name__}.", valid=["AsofOfflineStoreConfig"]
        )
    return options


def _limits(options: AsofOfflineStoreConfig) -> Limits:
    return Limits(memory=options.memory_limit, threads=options.threads)
