"""Feast's offline store on DuckDB: one query of ASOF joins, and only what was known at the time.

Named in `feature_store.yaml` like any store of Feast's own::

    offline_store:
      type: towpath.adapters.feast_asof.AsofOfflineStore
      as_known_at: true          # a row counts only once it was created: backfills do not leak
      feature_timestamps: false  # add <view>__event_timestamp, <view>__created_timestamp of the row that was joined
      materialize_as_known_at: false # online rows as known at the end date, for replays of the past
      landing_delay: P1D         # how long after its created timestamp a row may reach the files (ISO 8601, or seconds)
      memory_limit: 2GB          # of DuckDB, which spills to disk beyond it; its own default if left out
      threads: 2

It reads `FileSource`s of Parquet, one local file or a folder, and adds rows to them. The entity rows come as a pandas
DataFrame, or as one SELECT that DuckDB runs: it can read every file that this process can, so an offline server of
Feast's over this store opens them to its clients. The rows keep their order, their columns and their duplicates;
features follow in the order they were asked for.

A row counts for an entity row at time `t` if its event timestamp is at most `t`, not older than the view's TTL (an age
of exactly the TTL counts), and, with `as_known_at`, its created timestamp is at most `t`. The newest event wins, then
the newest created, then the row that stands last in the files. Times without zone are UTC. A null key matches nothing.
A saved dataset is written as it is joined: the entity rows must fit into memory, their features need not.

Late rows reach the online store by `materialize-incremental` too, if `pull_latest_features: true` stands under
`materialization` in `feature_store.yaml`: see `pull_latest_from_table_or_query`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
from feast.data_source import DataSource
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL, FeatureView
from feast.infra.offline_stores.file_source import FileLoggingDestination, FileSource
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
from towpath.adapters.feast_asof_write import append_log, append_rows
from towpath.core.errors import DeclarationError, Misconfigured


class AsofOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """The `offline_store` section; unknown keys are refused."""

    type: Literal["towpath.adapters.feast_asof.AsofOfflineStore"] = "towpath.adapters.feast_asof.AsofOfflineStore"
    as_known_at: bool = True
    feature_timestamps: bool = False
    materialize_as_known_at: bool = False
    landing_delay: timedelta = Field(default=timedelta(days=1), ge=timedelta())
    memory_limit: str | None = Field(default=None, pattern=r"^\d+(\.\d+)? ?([KMGT]i?B)$")
    threads: PositiveInt | None = None


class AsofOfflineStore(OfflineStore):  # type: ignore[misc]
    """Point-in-time joins over Parquet files, and rows added to them."""

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
        rows = read_entity_rows(entity_df, list(keys), _limits(options))
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
        """The newest row of each key among those from `start_date` to `end_date`, both included, and among late ones.

        Late is a row of an earlier event that was created since `start_date`, less the `landing_delay`: Feast's
        incremental materialization begins where the last one ended, and would never bring it online.
        """
        options = _options(config)
        reader = SourceReader(repo_path=config.repo_path, limits=_limits(options))
        table = _Table(
            source=data_source,
            keys=join_key_columns,
            features=feature_name_columns,
            event=timestamp_field,
            created=created_timestamp_column or None,
        )
        scan, columns = table.scan(reader)
        start, end = _micros(start_date), _micros(end_date)
        span = sql.Span(
            start=start,
            end=end,
            created_since=start - sql.microseconds(options.landing_delay),
            known_by=end if options.materialize_as_known_at else None,
        )
        text = sql.newest_of(scan, columns, join_key_columns, span, constant=table.constant)
        return AsofRetrievalJob(Query(text=text, limits=reader.limits), repo_path=config.repo_path)

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
        options = _options(config)
        reader = SourceReader(repo_path=config.repo_path, limits=_limits(options))
        table = _Table(
            source=data_source,
            keys=join_key_columns,
            features=feature_name_columns,
            event=timestamp_field,
            created=created_timestamp_column or None,
        )
        scan, columns = table.scan(reader)
        start, end = (sql.to_microseconds(limit) for limit in (start_date, end_date))
        known_by = end if options.materialize_as_known_at else None
        text = sql.rows_between(scan, columns, start=start, end=end, known_by=known_by, constant=table.constant)
        return AsofRetrievalJob(Query(text=text, limits=reader.limits), repo_path=config.repo_path)

    @staticmethod
    def offline_write_batch(
        config: RepoConfig,
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Add rows to the view's source, as a push does: a file more in its folder, or its one file written anew.

        Raises `BadInput` (rows), `NotFound` (files) and `DeclarationError` (source).
        """
        source = feature_view.batch_source
        if not isinstance(source, FileSource):
            raise DeclarationError(
                f"Feature view {feature_view.name!r} has no FileSource that its rows could be written to.",
                value=type(source).__name__,
                valid=["FileSource of Parquet: a local file or folder"],
            )
        append_rows(source, table, view=feature_view.name, repo_path=config.repo_path)
        if progress:
            progress(table.num_rows)

    @staticmethod
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,  # noqa: ARG004  the signature is Feast's
        logging_config: LoggingConfig,
        registry: BaseRegistry,  # noqa: ARG004
    ) -> None:
        """Add served features to the log's folder, one Parquet file a call. Raises `DeclarationError`."""
        destination = logging_config.destination
        if not isinstance(destination, FileLoggingDestination):
            raise DeclarationError(
                f"The log of served features cannot be written to {type(destination).__name__}.",
                value=type(destination).__name__,
                valid=["FileLoggingDestination: a local folder"],
            )
        append_log(destination, data, repo_path=config.repo_path)


@dataclass(frozen=True, kw_only=True)
class _Table:
    """A source's columns as Feast asks for them."""

    source: DataSource
    keys: Sequence[str]
    features: Sequence[str]
    event: str
    created: str | None

    def scan(self, reader: SourceReader) -> tuple[sql.Scan, list[str]]:
        columns = [*self.keys, *self.features, self.event, *([self.created] if self.created else [])]
        scan, _ = reader.scan(self.source, event=self.event, created=self.created, columns=columns)
        return scan, columns

    @property
    def constant(self) -> tuple[str, str] | None:
        """The key that Feast gives a view of no entity."""
        return None if self.keys else (DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL)


def _micros(time: datetime) -> int:
    found = sql.to_microseconds(time)
    assert found is not None
    return found


def _options(config: RepoConfig) -> AsofOfflineStoreConfig:
    options = config.offline_store
    if not isinstance(options, AsofOfflineStoreConfig):
        raise Misconfigured(
            f"The offline store is configured as {type(options).__name__}.", valid=["AsofOfflineStoreConfig"]
        )
    return options


def _limits(options: AsofOfflineStoreConfig) -> Limits:
    return Limits(memory=options.memory_limit, threads=options.threads)
